"""``mail-proxy <instance> tenants …``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from mail_proxy_cli import next_steps
from mail_proxy_cli.complete import tenants as complete_tenants
from mail_proxy_cli.fields import (
    faults_as_options,
    given,
    may_prompt,
    one_id,
    read_secret_line,
    refuse_reserved,
)
from mail_proxy_cli.moments import moment
from mail_proxy_cli.nodes import Group, example, with_options
from mail_proxy_cli.opening import check_tenant, run
from mail_proxy_cli.output import Column, confirm, echo_json, echo_record, echo_table, when
from mail_proxy_cli.progress import progress
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.tenant_fields import OPTION_OF_FIELD, changed_fields, new_fields

if TYPE_CHECKING:
    from mail_proxy.services.tenants import TenantsService

F = TypeVar("F", bound=Callable[..., object])

TIMES = ("created_at", "updated_at", "api_key_expires_at")

COLUMNS = (
    Column("id", whole=True),
    Column("name"),
    Column("client_base_url", spare=1),
    Column("active"),
    Column("suspended_batches", spare=2),
)


def configuration(function: F) -> F:
    """The options of a tenant's configuration."""
    options = (
        click.option("--name", help="Name for people."),
        click.option("--base-url", metavar="URL", help="Where its application is reached."),
        click.option("--sync-path", "--sync-url", metavar="PATH", help="Where reports are posted, under it."),
        click.option(
            "--attachment-path", "--attachment-url", metavar="PATH", help="Where attachments are fetched."
        ),
        click.option(
            "--auth-method", type=click.Choice(["none", "bearer", "basic"]), help="How we log in there."
        ),
        click.option("--auth-token", metavar="TOKEN", help="Token, for bearer."),
        click.option("--auth-user", metavar="USER", help="User, for basic."),
        click.option("--auth-password", metavar="PASSWORD", help="Password, for basic."),
        click.option(
            "--webhook-secret",
            metavar="SECRET",
            help="Signs its reports; others on this machine may see it: rather use the next.",
        ),
        click.option(
            "--webhook-secret-stdin", is_flag=True, help="Read the secret of the reports from standard input."
        ),
        click.option("--no-webhook-secret", is_flag=True, help="Sign its reports no more."),
        click.option(
            "--rate-limit-hourly", type=click.IntRange(0), metavar="N", help="Messages an hour; 0: any."
        ),
        click.option(
            "--rate-limit-daily", type=click.IntRange(0), metavar="N", help="Messages a day; 0: any."
        ),
        click.option("--active/--inactive", default=None, help="Whether it may hand in messages."),
    )
    return with_options(function, options)


@click.group(cls=Group)
def tenants() -> None:
    """List, show, add, change and delete tenants, and their API keys."""


@example("mail-proxy myserver tenants list --active-only")
@tenants.command("list")
@click.option("--active-only", is_flag=True, help="Leave out those that are not active.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def list_tenants(scope: Scope, *, active_only: bool, as_json: bool) -> None:
    """List the tenants."""
    from mail_proxy.services.views import tenant_view

    found = run(scope, lambda runtime: runtime.services.tenants.list(active_only=active_only))
    rows = [tenant_view(tenant) for tenant in found]
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty="no tenants")


@example("mail-proxy myserver tenants show acme --json")
@tenants.command("show")
@click.argument("tenant_id", metavar="ID", shell_complete=complete_tenants)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def show_tenant(scope: Scope, tenant_id: str, *, as_json: bool) -> None:
    """Show one tenant."""
    from mail_proxy.services.views import tenant_view

    view = tenant_view(run(known(scope, tenant_id), lambda runtime: runtime.services.tenants.get(tenant_id)))
    if as_json:
        echo_json(view)
    else:
        shown = {name: when(value) if name in TIMES else value for name, value in view.items()}
        echo_record(shown, color=scope.invocation.color)


@example("mail-proxy myserver tenants add beta --name 'Beta Ltd' --base-url https://beta.example")
@tenants.command("add")
@click.argument("tenant_id", metavar="[ID]", required=False)
@click.option("--id", "id_option", metavar="ID", help="The id, in place of the argument.")
@configuration
@pass_scope
def add_tenant(scope: Scope, /, tenant_id: str | None, id_option: str | None, **options: object) -> None:
    """Add a tenant, and print its API key.

    The key is shown this once. Without any option, on a terminal, a dialogue asks for what is needed.
    """
    name = one_id(tenant_id, id_option)
    values = settings_of(options)
    with faults_as_options(OPTION_OF_FIELD):
        fields = _fields_of_new(scope, name, values, may_ask=id_option is None)
        tenant, key = run(scope, lambda runtime: runtime.services.tenants.create(fields))
    click.echo(f"added tenant '{tenant.id}'; its API key, shown this once:", err=True)
    click.echo(key)
    next_steps.after_tenant(scope, tenant.id)


def _fields_of_new(
    scope: Scope, name: str | None, values: Mapping[str, object], *, may_ask: bool
) -> dict[str, object]:
    """The fields of a new tenant: from the options, or asked for."""
    if not values and may_ask and may_prompt():
        from mail_proxy_cli.wizards.tenants import ask

        return ask(scope, name)
    if name is None:
        raise click.UsageError("which id? mail-proxy … tenants add ID")
    refuse_reserved("tenant", name)
    return {"id": name, **new_fields(values)}


@example("mail-proxy myserver tenants update acme --rate-limit-hourly 500")
@tenants.command("update")
@click.argument("tenant_id", metavar="ID", shell_complete=complete_tenants)
@configuration
@pass_scope
def update_tenant(scope: Scope, /, tenant_id: str, **options: object) -> None:
    """Change what the options name, and nothing else."""
    values = settings_of(options)
    if not values:
        raise click.UsageError("nothing to change: name at least one option")
    with faults_as_options(OPTION_OF_FIELD):
        run(known(scope, tenant_id), lambda runtime: _update(runtime.services.tenants, tenant_id, values))
    click.echo(f"changed tenant '{tenant_id}'")


@example("mail-proxy myserver tenants delete acme --force")
@tenants.command("delete")
@click.argument("tenant_id", metavar="ID", shell_complete=complete_tenants)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def delete_tenant(scope: Scope, tenant_id: str, *, force: bool) -> None:
    """Delete a tenant with its accounts, messages and events."""
    target = known(scope, tenant_id)
    check_tenant(target)
    confirm(f"Delete tenant '{tenant_id}' with its accounts and messages?", force=force)
    with progress("deleting") as advance:
        run(target, lambda runtime: runtime.services.tenants.delete(tenant_id, told=advance))
    click.echo(f"deleted tenant '{tenant_id}'")


@example("mail-proxy myserver tenants api-key acme --expires-at +90d")
@tenants.command("api-key")
@click.argument("tenant_id", metavar="TENANT", shell_complete=complete_tenants)
@click.option("--revoke", is_flag=True, help="Make no new one.")
@click.option(
    "--expires-at", metavar="TS", callback=moment, help="When the new one ends: +90d, a time, Unix seconds."
)
@pass_scope
def api_key(scope: Scope, tenant_id: str, *, revoke: bool, expires_at: float | None) -> None:
    """Make a new API key; the old one is dead at once."""
    target = known(scope, tenant_id)
    if revoke and expires_at is not None:
        raise click.UsageError("--revoke makes no key that could expire")
    if expires_at is not None and expires_at <= time.time():
        raise click.UsageError("--expires-at: that is over already; to make no new key, give --revoke")
    if revoke:
        run(target, lambda runtime: runtime.services.tenants.revoke_api_key(tenant_id))
        click.echo(f"tenant '{tenant_id}' has no API key any more")
    else:
        key = run(target, lambda runtime: runtime.services.tenants.new_api_key(tenant_id, expires_at))
        click.echo(f"the new API key of tenant '{tenant_id}', shown this once:", err=True)
        click.echo(key)


def known(scope: Scope, tenant_id: str) -> Scope:
    """The scope of a tenant named as an argument: an unknown one is told with its like."""
    return scope.at(scope.instance, tenant_id)


def settings_of(options: Mapping[str, object]) -> dict[str, object]:
    """Return what the options give; the secret of the reports comes in one of its ways, None for no more."""
    values = given(options)
    is_piped, is_dropped = values.pop("webhook_secret_stdin", False), values.pop("no_webhook_secret", False)
    if sum(map(bool, (is_piped, is_dropped, "webhook_secret" in values))) > 1:
        raise click.UsageError(
            "--webhook-secret, --webhook-secret-stdin and --no-webhook-secret contradict each other"
        )
    if is_piped:
        values["webhook_secret"] = read_secret_line("webhook secret")
    elif is_dropped:
        values["webhook_secret"] = None
    return values


async def _update(service: TenantsService, tenant_id: str, values: Mapping[str, object]) -> None:
    await service.update(tenant_id, changed_fields(values, await service.get(tenant_id)))
