"""``mail-proxy <instance> <tenant> accounts …``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from mail_proxy.errors import NotFound
from mail_proxy.model.accounts import SANDBOX_HOST, SMTPS_PORT, Account, Rest, TlsMode
from mail_proxy_cli import next_steps
from mail_proxy_cli.checking import STEP_COLUMNS, failures, steps
from mail_proxy_cli.complete import accounts as complete_accounts
from mail_proxy_cli.errors import FAILED, OK
from mail_proxy_cli.fields import faults_as_options, given, may_prompt, one_id, read_secret_line
from mail_proxy_cli.nodes import Group, example, near, with_options
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import (
    Column,
    certificates,
    confirm,
    echo_json,
    echo_record,
    echo_table,
    one_line,
    when,
)
from mail_proxy_cli.progress import busy
from mail_proxy_cli.scope import Scope, pass_scope

F = TypeVar("F", bound=Callable[..., object])

FIELD_OF_OPTION = {
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "tls": "tls",
    "use_tls": "use_tls",
    "tls_verify": "tls_verify",
    "tls_ca": "tls_ca",
    "from_address": "from_address",
    "batch_size": "batch_size",
    "max_concurrent": "max_concurrent",
    "ttl": "ttl",
    "limit_minute": "limit_per_minute",
    "limit_hour": "limit_per_hour",
    "limit_day": "limit_per_day",
    "limit_behavior": "limit_behavior",
    "on_unknown": "on_unknown",
    "pec": "is_pec_account",
    "imap_host": "imap_host",
    "imap_port": "imap_port",
    "imap_user": "imap_user",
    "imap_password": "imap_password",
    "imap_folder": "imap_folder",
}

OPTION_OF_FIELD = {field: "--" + option.replace("_", "-") for option, field in FIELD_OF_OPTION.items()}
OPTION_OF_FIELD["id"] = "ID"

COLUMNS = (
    Column("id", whole=True),
    Column("host"),
    Column("port", right=True, spare=3),
    Column("tls", spare=4),
    Column("user", spare=1),
    Column("from_address", spare=2),
    Column("last_error"),
)

TIMES = ("created_at", "updated_at")

COUNT = click.IntRange(0)


def configuration(function: F) -> F:
    """The options of an account's configuration."""
    options = (
        click.option(
            "--host", help=f"The SMTP server; '{SANDBOX_HOST}' only keeps the mail, to try things out."
        ),
        click.option(
            "--port", type=click.IntRange(1, 65535), help="Its port.  [default: 587, or 465 with ssl]"
        ),
        click.option("--user", "--username", metavar="USER", help="Who logs in."),
        click.option(
            "--password", help="The password; others on this machine may see it: rather use the next."
        ),
        click.option("--password-stdin", is_flag=True, help="Read the password from standard input."),
        click.option(
            "--tls", type=click.Choice(["none", "starttls", "ssl"]), help="How the connection is encrypted."
        ),
        click.option(
            "--use-tls/--no-use-tls", default=None, help="STARTTLS or not, where the port does not tell."
        ),
        click.option("--use-ssl", is_flag=True, help="The same as --tls ssl."),
        click.option(
            "--tls-verify/--no-tls-verify", default=None, help="Whether its certificate is verified."
        ),
        click.option(
            "--tls-ca", metavar="FILE", type=click.Path(), help="Certificates that sign the server's, in PEM."
        ),
        click.option("--from-address", metavar="ADDRESS", help="From, for messages that have none."),
        click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Messages in one turn."),
        click.option("--max-concurrent", type=click.IntRange(1), metavar="N", help="Connections at a time."),
        click.option("--ttl", type=COUNT, metavar="S", help="Seconds a connection is kept.  [default: 300]"),
        click.option("--limit-minute", type=COUNT, metavar="N", help="Messages a minute; 0: any."),
        click.option(
            "--limit-hour", "--hourly-limit", type=COUNT, metavar="N", help="Messages an hour; 0: any."
        ),
        click.option("--limit-day", "--daily-limit", type=COUNT, metavar="N", help="Messages a day; 0: any."),
        click.option(
            "--limit-behavior", type=click.Choice(["defer", "reject"]), help="What is over a limit."
        ),
        click.option(
            "--on-unknown", type=click.Choice(["retry", "hold"]), help="What may have been sent already."
        ),
        click.option("--pec/--no-pec", default=None, help="Whether it is a PEC account."),
        click.option("--imap-host", metavar="HOST", help="Where its receipts arrive."),
        click.option(
            "--imap-port", type=click.IntRange(1, 65535), metavar="PORT", help="Its port.  [default: 993]"
        ),
        click.option("--imap-user", metavar="USER", help="Who logs in.  [default: the SMTP user]"),
        click.option("--imap-password", metavar="PASSWORD", help="The password there."),
        click.option("--imap-folder", metavar="FOLDER", help="Which folder.  [default: INBOX]"),
    )
    return with_options(function, options)


@click.group(cls=Group)
def accounts() -> None:
    """List, show, add, change, delete and test SMTP accounts."""


@example("mail-proxy myserver acme accounts list --json")
@accounts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def list_accounts(scope: Scope, *, as_json: bool) -> None:
    """List the tenant's accounts."""
    from mail_proxy.services.views import account_view

    found = run(scope, lambda runtime: runtime.services.accounts.list(scope.tenant))
    rows = [account_view(account) for account in found]
    if as_json:
        echo_json(rows)
    else:
        empty = "no accounts yet: 'accounts add' makes one"
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty=empty)


@example("mail-proxy myserver acme accounts show main")
@accounts.command("show")
@click.argument("account_id", metavar="ID", shell_complete=complete_accounts)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def show_account(scope: Scope, account_id: str, *, as_json: bool) -> None:
    """Show one account; never its password."""
    from mail_proxy.services.views import account_view

    account = find_account(scope, account_id)
    view = account_view(account)
    if as_json:
        echo_json(view)
    else:
        echo_record(_shown(view, account.rest), color=scope.invocation.color)


def _shown(view: Mapping[str, object], rest: Rest | None) -> dict[str, object]:
    """The account for people: of certificates only how many there are, and until when it rests."""
    shown = {name: when(value) if name in TIMES else value for name, value in view.items()}
    if view.get("tls_ca"):
        shown["tls_ca"] = f"{certificates(str(view['tls_ca']))} (--json shows all)"
    if rest is not None:
        is_over = not rest.holds(time.time())
        shown["circuit"] = "open, to be probed" if is_over else f"open, rests until {when(rest.until)}"
    return shown


@example("mail-proxy myserver acme accounts add backup --host smtp.acme.com --port 465 --tls ssl")
@accounts.command("add")
@click.argument("account_id", metavar="[ID]", required=False)
@click.option("--id", "id_option", metavar="ID", help="The id, in place of the argument.")
@configuration
@pass_scope
def add_account(scope: Scope, /, account_id: str | None, id_option: str | None, **options: object) -> None:
    """Add an SMTP account.

    Without any option, on a terminal, a dialogue asks for what is needed: it knows the usual providers, and
    tries the login.
    """
    name = one_id(account_id, id_option)
    values = fields_of(options)
    with faults_as_options(OPTION_OF_FIELD):
        fields = _fields_of_new(scope, name, values, may_ask=id_option is None)
        account = run(scope, lambda runtime: runtime.services.accounts.create(scope.tenant, fields))
    click.echo(f"added account '{account.id}'")
    next_steps.after_account(scope, account)


def _fields_of_new(
    scope: Scope, name: str | None, values: dict[str, object], *, may_ask: bool
) -> dict[str, object]:
    """The fields of a new account: from the options, or asked for."""
    if not values and may_ask and may_prompt():
        from mail_proxy_cli.wizards.accounts import ask

        return ask(scope, name)
    if name is None:
        raise click.UsageError("which id? mail-proxy … accounts add ID --host HOST")
    if values.get("tls") == TlsMode.SSL.value:
        values = {"port": SMTPS_PORT, **values}
    return {"id": name, **values}


@example("mail-proxy myserver acme accounts update main --limit-minute 30")
@accounts.command("update")
@click.argument("account_id", metavar="ID", shell_complete=complete_accounts)
@configuration
@pass_scope
def update_account(scope: Scope, /, account_id: str, **options: object) -> None:
    """Change what the options name, and nothing else."""
    values = fields_of(options)
    if not values:
        raise click.UsageError("nothing to change: name at least one option")
    find_account(scope, account_id)
    with faults_as_options(OPTION_OF_FIELD):
        run(scope, lambda runtime: runtime.services.accounts.update(scope.tenant, account_id, values))
    click.echo(f"changed account '{account_id}'")


@example("mail-proxy myserver acme accounts delete main --force")
@accounts.command("delete")
@click.argument("account_id", metavar="ID", shell_complete=complete_accounts)
@click.option("-f", "--force", is_flag=True, help="Do not ask, and let its queued messages fail.")
@pass_scope
def delete_account(scope: Scope, account_id: str, *, force: bool) -> None:
    """Delete an account.

    While messages are queued for it this is refused; with --force they become errors, and are reported.
    """
    find_account(scope, account_id)
    confirm(f"Delete account '{account_id}' of tenant '{scope.tenant}'?", force=force)
    with busy("deleting"):
        failed = run(
            scope, lambda runtime: runtime.services.accounts.delete(scope.tenant, account_id, force=force)
        )
    what = "1 queued message" if failed == 1 else f"{failed} queued messages"
    click.echo(f"deleted account '{account_id}'" + (f"; {what} failed" if failed else ""))


@example("mail-proxy myserver acme accounts test main")
@accounts.command("test")
@click.argument("account_id", metavar="ID", shell_complete=complete_accounts)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def test_account(scope: Scope, account_id: str, *, as_json: bool) -> int:
    """Log in at an account's servers now, and tell how that goes; nothing is sent.

    SMTP: connect, TLS, login, NOOP. IMAP, where the account has it: connect, TLS, login, the folder. It takes
    15 s at most. The exit code is 1 when a login does not work.
    """
    from mail_proxy.services.views import check_view

    account = find_account(scope, account_id)
    with busy(f"trying {account.host}"):
        check = run(scope, lambda runtime: runtime.services.account_check.check(account))
    failed = failures(account, check)
    if as_json:
        echo_json(check_view(check))
    else:
        echo_table(steps(account, check), STEP_COLUMNS, color=scope.invocation.color, empty="")
    for line in failed:
        click.echo(f"Error: {one_line(line)}", err=True)
    return FAILED if failed else OK


def find_account(scope: Scope, account_id: str) -> Account:
    """The tenant's account of that id; an unknown one is told with its like."""
    found = run(scope, lambda runtime: runtime.services.accounts.list(scope.tenant))
    by_id = {account.id: account for account in found}
    if account_id not in by_id:
        raise NotFound("account", account_id, near(account_id, by_id))
    return by_id[account_id]


def fields_of(options: dict[str, object]) -> dict[str, object]:
    """Turn the options given into the fields of the service."""
    values = given(options)
    if values.pop("use_ssl", False):
        if values.get("tls", "ssl") != "ssl":
            raise click.UsageError("--use-ssl and --tls contradict each other")
        values["tls"] = "ssl"
    if values.pop("password_stdin", False):
        if "password" in values:
            raise click.UsageError("the password is given twice: --password and --password-stdin")
        values["password"] = read_secret_line()
    if "tls_ca" in values:
        values["tls_ca"] = Path(str(values["tls_ca"])).read_text("ascii", errors="replace")
    return {FIELD_OF_OPTION[name]: value for name, value in values.items()}
