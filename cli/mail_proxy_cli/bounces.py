"""``mail-proxy <instance> config bounce``: the mailbox where bounces arrive."""

from __future__ import annotations

import click

from mail_proxy_cli.fields import faults_as_options, given, may_prompt, read_secret_line
from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import echo_json, echo_record
from mail_proxy_cli.scope import Scope, pass_scope

FIELD_OF_OPTION = {
    "host": "bounce_imap_host",
    "port": "bounce_imap_port",
    "user": "bounce_imap_user",
    "password": "bounce_imap_password",
    "folder": "bounce_imap_folder",
    "ssl": "bounce_imap_ssl",
    "interval": "bounce_poll_interval",
    "return_path": "bounce_return_path",
    "enable": "bounce_enabled",
}
OPTION_OF_FIELD = {field: "--" + option.replace("_", "-") for option, field in FIELD_OF_OPTION.items()}


@command(
    "bounce", example="mail-proxy myserver config bounce --host imap.acme.com --user bot --password-stdin"
)
@click.option("--host", metavar="HOST", help="The IMAP server.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Its port.  [default: 993]")
@click.option("--user", metavar="USER", help="Who logs in.")
@click.option("--password", help="The password; others on this machine may see it: rather use the next.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--folder", metavar="FOLDER", help="Which folder.  [default: INBOX]")
@click.option(
    "--ssl/--no-ssl", default=None, help="Whether TLS begins with the connection.  [default: --ssl]"
)
@click.option(
    "--interval", type=click.IntRange(1, 86400), metavar="S", help="Seconds between two looks.  [default: 60]"
)
@click.option(
    "--return-path",
    metavar="ADDRESS",
    help="Where bounces are sent, {token} standing for each message's own; empty: to each message's sender.",
)
@click.option("--enable/--disable", default=None, help="Whether bounces are collected.  [default: --enable]")
@click.option("--show", is_flag=True, help="Show what is set, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what is set.")
@pass_scope
def bounce(scope: Scope, /, *, show: bool, as_json: bool, **options: object) -> None:
    """Say where bounces are collected, or that they are not.

    What is left out stays as it is. Without any option, on a terminal, a dialogue asks for what is needed,
    and tries the login.
    """
    if show or as_json:
        if given(options) != {"password_stdin": False}:
            raise click.UsageError("--show and --json change nothing: give them alone")
        _show(scope, as_json=as_json)
        return
    values = _fields_of(options)
    if not values:
        if not may_prompt():
            raise click.UsageError("which mailbox? mail-proxy … config bounce --host HOST --user USER …")
        from mail_proxy_cli.wizards.bounces import ask

        values = ask(scope)
    with faults_as_options(OPTION_OF_FIELD):
        kept = run(scope, lambda runtime: runtime.services.instance_settings.change_bounce(values))
    if kept.bounce_enabled:
        where = f"{kept.bounce_imap_user} at {kept.bounce_imap_host}:{kept.bounce_imap_port}"
        click.echo(f"bounces are collected from {where}, folder {kept.bounce_imap_folder}")
    else:
        click.echo("bounces are not collected")


def _show(scope: Scope, *, as_json: bool) -> None:
    from mail_proxy.services.views import bounce_view

    view = bounce_view(run(scope, lambda runtime: runtime.services.instance_settings.get()))
    if as_json:
        echo_json(view)
    else:
        echo_record(view, color=scope.invocation.color)


def _fields_of(options: dict[str, object]) -> dict[str, object]:
    """Turn the options given into the fields of the service; none if there are none."""
    values = given(options)
    if values.pop("password_stdin", False):
        if "password" in values:
            raise click.UsageError("the password is given twice: --password and --password-stdin")
        values["password"] = read_secret_line()
    if values:
        values.setdefault("enable", True)
    return {FIELD_OF_OPTION[name]: None if value == "" else value for name, value in values.items()}
