"""``run-now``: the running server dispatches and reports at once."""

from __future__ import annotations

import click

from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import check_tenant
from mail_proxy_cli.scope import Scope, pass_scope


@command("run-now")
@pass_scope
def instance_run_now(scope: Scope) -> None:
    """Make the running server dispatch and report now."""
    from mail_proxy_cli.loopback import post

    post(scope, "/commands/run-now", {})
    click.echo(f"'{scope.instance.name}' dispatches and reports now")


@command("run-now")
@pass_scope
def tenant_run_now(scope: Scope) -> None:
    """Make the running server dispatch and report for this tenant now.

    Its application is posted to even if there is nothing to report, unless it has asked not to be disturbed.
    """
    from mail_proxy_cli.loopback import post

    check_tenant(scope)
    post(scope, "/commands/run-now", {"tenant_id": scope.tenant})
    click.echo(f"'{scope.instance.name}' dispatches and reports for tenant '{scope.tenant}' now")
