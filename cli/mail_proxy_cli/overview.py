"""``info``, ``stats`` and ``token``."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from mail_proxy.config import SETTINGS
from mail_proxy.daemon.process import notify
from mail_proxy_cli.instances import describe
from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import Column, confirm, echo_json, echo_record, echo_table, when
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.tenants import TIMES

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

View = dict[str, object]

WAITING_COLUMNS = (
    Column("tenant", lambda row: row["tenant_id"]),
    Column("account", lambda row: row["account_id"]),
    Column("status"),
    Column("count", right=True),
)


@command("info")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def instance_info(scope: Scope, *, as_json: bool) -> None:
    """Show an instance: where it is, what it holds, its settings."""
    config = scope.load_config()
    outside = describe(scope, scope.instance)
    kind = outside.pop("database")
    view: View = {**run(scope, lambda runtime: runtime.services.instance.info()), **outside}
    view |= {"directory": str(scope.instance.directory), "database_kind": kind}
    settings = {key: config.shown(key) for key in SETTINGS if config.source(key) != "default"}
    if as_json:
        echo_json({**view, "settings": settings})
    else:
        shown = {name: value for name, value in view.items() if name not in ("started_at", "uptime_seconds")}
        echo_record(
            shown | {f"setting {key}": value for key, value in settings.items()}, color=scope.invocation.color
        )


@command("info")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def tenant_info(scope: Scope, *, as_json: bool) -> None:
    """Show a tenant and what it has in the queue."""
    view = run(scope, lambda runtime: _tenant_info(runtime, scope.tenant))
    if as_json:
        echo_json(view)
    else:
        shown = {name: when(value) if name in TIMES else value for name, value in view.items()}
        echo_record(shown, color=scope.invocation.color)


@command("stats")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def stats(scope: Scope, *, as_json: bool) -> None:
    """Count messages by state."""
    counts = run(scope, lambda runtime: runtime.services.instance.stats())
    if as_json:
        echo_json(counts)
        return
    echo_stats(counts, color=scope.invocation.color)


def echo_stats(counts: Mapping[str, object], *, color: bool) -> None:
    """Print how many messages there are, by state, and how many wait for which account."""
    totals, waiting = counts["messages"], counts["waiting"]
    echo_record(totals if isinstance(totals, Mapping) else {}, color=color)
    if isinstance(waiting, list) and waiting:
        click.echo()
        echo_table(waiting, WAITING_COLUMNS, color=color, empty="")


@command("token")
@click.option("--regenerate", is_flag=True, help="Make a new one; the old one is dead.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def token(scope: Scope, *, regenerate: bool, force: bool) -> None:
    """Print the instance's admin token, or make a new one."""
    instance = scope.instance
    config = scope.load_config()
    if not regenerate:
        click.echo(config.admin_token(instance))
        return
    confirm(
        f"Replace the admin token of '{instance.name}'? Whoever uses the old one is locked out.", force=force
    )
    click.echo(instance.regenerate_token())
    if config.api_token:
        click.echo("note: GMP_API_TOKEN is set and counts instead", err=True)
    elif notify(instance, signal.SIGHUP):
        click.echo("the running server takes it from now on", err=True)


async def _tenant_info(runtime: Runtime, tenant_id: str) -> View:
    from mail_proxy.services.views import tenant_view

    view = tenant_view(await runtime.services.tenants.get(tenant_id))
    view["accounts"] = [account.id for account in await runtime.services.accounts.list(tenant_id)]
    counts = await runtime.services.instance.stats(tenant_id)
    view["messages"] = counts["messages"]
    view["pending_messages"] = await runtime.services.instance.pending_messages(tenant_id)
    return view
