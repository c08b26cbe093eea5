"""``mail-proxy <instance> reports …``: what applications were not told, and telling them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from mail_proxy.model.reports import ReportState, Untold
from mail_proxy_cli.complete import tenants as complete_tenants
from mail_proxy_cli.moments import moment
from mail_proxy_cli.nodes import Group, example
from mail_proxy_cli.opening import is_served, run, unserved
from mail_proxy_cli.output import Column, confirm, echo_json, echo_table, when
from mail_proxy_cli.paging import tell_more, up_to
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

F = TypeVar("F", bound=Callable[..., object])

LIMIT = 100

FAILED = frozenset({ReportState.FAILING, ReportState.GIVEN_UP})

COLUMNS = (
    Column("tenant", lambda row: row["tenant_id"]),
    Column("message", lambda row: row["id"], whole=True),
    Column("event"),
    Column("time", lambda row: when(row["event_ts"]), spare=1),
    Column("state"),
    Column("not before", lambda row: when(row["again_ts"]), spare=2),
    Column("what went wrong", lambda row: row["last_error"]),
)


@click.group(cls=Group)
def reports() -> None:
    """Show what applications were not told, and tell them again."""


def _tenant_option(function: F) -> F:
    return click.option(
        "--tenant", metavar="ID", shell_complete=complete_tenants, help="Only this tenant; by default, all."
    )(function)


@example("mail-proxy myserver reports list --failed")
@reports.command("list")
@_tenant_option
@click.option("--failed", is_flag=True, help="Only what applications do not take, and what was given up.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def list_reports(scope: Scope, *, tenant: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """List events that applications were not told of, tenant by tenant, the oldest first.

    The state is 'failing' while the application does not take the event, or any post; 'given_up' after 30
    days, when nobody tries any more; else 'unreported'.
    """
    from mail_proxy.services.views import untold_view

    scope = _narrowed(scope, tenant)
    states = FAILED if failed else None
    found, is_cut = run(scope, lambda runtime: _list(runtime, scope.named_tenant, states, limit))
    rows = [untold_view(each) for each in found]
    if as_json:
        echo_json(rows)
    else:
        empty = "nothing has failed" if failed else "nothing is left to tell"
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty=empty)
    if is_cut:
        tell_more(limit)


@example("mail-proxy myserver reports replay --tenant acme --since -2d")
@reports.command("replay")
@_tenant_option
@click.option(
    "--since",
    metavar="WHEN",
    callback=moment,
    help="Also what was told, of events then or later: -2d, a time.",
)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def replay_reports(scope: Scope, *, tenant: str | None, since: float | None, force: bool) -> None:
    """Tell applications again what they refused and what was given up.

    With --since, all that happened since then, also what they were told already: for an application that has
    lost its data. They know repeated events by their event_id. No application that failed is waited for.
    """
    scope = _narrowed(scope, tenant)
    if since is not None and scope.named_tenant is None:
        confirm(f"Tell all tenants again what happened since {when(since)}?", force=force)
    count, served = run(scope, lambda runtime: _replay(scope, runtime, since))
    click.echo("1 event will be told again" if count == 1 else f"{count} events will be told again")
    if count and not served:
        click.echo(unserved(scope, "but not yet"), err=True)
    elif served and since is None:
        click.echo("applications that failed are tried now")


def _narrowed(scope: Scope, tenant: str | None) -> Scope:
    """The scope of the tenant that the option names, if it does."""
    return scope if tenant is None else scope.at(scope.instance, tenant)


async def _list(
    runtime: Runtime, tenant_id: str | None, states: frozenset[ReportState] | None, limit: int
) -> tuple[list[Untold], bool]:
    """Return as many as are wanted, and whether there are more."""

    async def pages(size: int, cursor: str | None) -> tuple[Sequence[Untold], str | None]:
        page = await runtime.services.reports.untold(tenant_id, states=states, limit=size, cursor=cursor)
        return page.events, page.next_cursor

    return await up_to(limit, pages)


async def _replay(scope: Scope, runtime: Runtime, since: float | None) -> tuple[int, bool]:
    """Return how many events that are, and whether a server is there to tell them."""
    count = await runtime.services.reports.replay(scope.named_tenant, since)
    return count, await is_served(scope, runtime)
