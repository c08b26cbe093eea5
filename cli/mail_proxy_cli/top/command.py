"""``mail-proxy <instance> top``: its options, and one picture for a pipe."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from mail_proxy_cli.complete import tenants as complete_tenants
from mail_proxy_cli.errors import OK
from mail_proxy_cli.instances import describe
from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import echo_json
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

MOST = 1000
"""Accounts in JSON."""

MOST_PRINTED = 100


@command("top")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Look again after so many seconds.",
)
@click.option(
    "--tenant", metavar="ID", shell_complete=complete_tenants, help="Only this tenant; by default, all."
)
@click.option("--once", is_flag=True, help="Print one picture, plain; also what a pipe gets.")
@click.option("--json", "as_json", is_flag=True, help="Print what is seen once, as JSON.")
@pass_scope
def top(scope: Scope, *, interval: float, tenant: str | None, once: bool, as_json: bool) -> int:
    """Watch the queue, the rates, the accounts and the newest errors.

    It reads the database, so it works without a running server. An account's numbers of sent and failed
    messages, as the rates, are those of the last 15 minutes; of a busy server, of the newest 50,000 events.
    A circuit that is open lets an account rest after failures.

    Keys: q quits, p pauses, s changes what accounts are sorted by.
    """
    if tenant is not None:
        scope = scope.at(scope.instance, tenant)
    if as_json:
        run(scope, partial(_print_json, scope))
        return OK
    if once or not sys.stdout.isatty():
        run(scope, partial(_print, scope))
        return OK
    from mail_proxy_cli.top.watching import watch

    return run(scope, partial(watch, scope, interval))


async def _print_json(scope: Scope, runtime: Runtime) -> None:
    from mail_proxy.services.views import activity_view

    activity = await runtime.services.activity.watch(scope.named_tenant).look(most=MOST)
    server = describe(scope, scope.instance)
    echo_json({**server, "tenant_id": scope.named_tenant, **activity_view(activity)})


async def _print(scope: Scope, runtime: Runtime) -> None:
    from mail_proxy_cli.top.picture import Scene, picture
    from mail_proxy_cli.top.screen import echo_plain

    activity = await runtime.services.activity.watch(scope.named_tenant).look(most=MOST_PRINTED)
    server = describe(scope, scope.instance)
    echo_plain(partial(picture, Scene(server, scope.named_tenant, activity)))
