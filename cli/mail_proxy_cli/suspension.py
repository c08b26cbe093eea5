"""``suspend`` and ``activate``: of the whole instance, of a tenant, of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from mail_proxy.model.standing import EVERYTHING
from mail_proxy.model.suspensions import Suspension
from mail_proxy_cli.complete import batches as complete_batches
from mail_proxy_cli.fields import faults_as_options
from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import is_served, run, unserved
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mail_proxy.model.tenants import Tenant
    from mail_proxy.runtime import Runtime

OPTION_OF_FIELD = {"batch_code": "--batch"}


class _Instance(NamedTuple):
    """What there is of an instance once its dispatch was stopped or started."""

    waiting: int
    tenants: Sequence[Tenant]
    is_served: bool


class _Tenant(NamedTuple):
    """What is suspended of a tenant, and what else could keep its mail from leaving."""

    found: Suspension
    is_active: bool
    is_served: bool


@command("suspend")
@pass_scope
def suspend_instance(scope: Scope) -> None:
    """Stop sending for all tenants, until 'activate'.

    Messages are still taken in, and what is being sent is finished. It outlasts a restart.
    """
    done = run(scope, lambda runtime: _switch(scope, runtime, active=False))
    click.echo(f"'{scope.instance.name}' sends nothing until it is activated; {_waiting(done.waiting)}")


@command("activate")
@pass_scope
def activate_instance(scope: Scope) -> None:
    """Send again for all tenants.

    Tenants and batches that are suspended for themselves stay so.
    """
    done = run(scope, lambda runtime: _switch(scope, runtime, active=True))
    click.echo(f"'{scope.instance.name}' sends what is due; {_waiting(done.waiting)}")
    for tenant in done.tenants:
        if tenant.suspended_batches:
            what = _held(tenant.suspended_batches)
            click.echo(f"tenant '{tenant.id}' stays suspended: {what}", err=True)
    if not done.is_served:
        click.echo(unserved(scope, "but not yet"), err=True)


@command("suspend")
@click.option("--batch", metavar="CODE", shell_complete=complete_batches, help="Only this batch.")
@pass_scope
def suspend_tenant(scope: Scope, batch: str | None) -> None:
    """Hold back what the tenant, or one batch of it, has not sent yet, until 'activate'.

    Messages are still taken in, and held. What is being sent is finished.
    """
    with faults_as_options(OPTION_OF_FIELD):
        done = run(scope, lambda runtime: _suspend(scope, runtime, batch))
    click.echo(f"{_name(scope, batch)} is suspended; {_waiting(done.found.pending_messages)}")
    if batch is not None and EVERYTHING in done.found.suspended_batches:
        click.echo("as before, for all of the tenant is suspended", err=True)


@command("activate")
@click.option("--batch", metavar="CODE", shell_complete=complete_batches, help="Only this batch.")
@pass_scope
def activate_tenant(scope: Scope, batch: str | None) -> None:
    """Let the tenant's messages go on, those of suspended batches too, or only one batch."""
    with faults_as_options(OPTION_OF_FIELD):
        done = run(scope, lambda runtime: _activate(scope, runtime, batch))
    click.echo(f"{_name(scope, batch)} is no longer suspended; {_waiting(done.found.pending_messages)}")
    if done.found.suspended_batches:
        click.echo(f"still suspended: {_held(done.found.suspended_batches)}", err=True)
    name = scope.instance.name
    if not done.is_active:
        click.echo(f"but '{name}' sends nothing for anybody: mail-proxy {name} activate", err=True)
    if not done.is_served:
        click.echo(unserved(scope, "but not yet"), err=True)


async def _switch(scope: Scope, runtime: Runtime, *, active: bool) -> _Instance:
    services = runtime.services
    await services.instance.set_active(active)
    return _Instance(
        await services.instance.pending_messages(),
        await services.tenants.list(),
        await is_served(scope, runtime),
    )


async def _suspend(scope: Scope, runtime: Runtime, batch: str | None) -> _Tenant:
    return await _seen(scope, runtime, await runtime.services.suspensions.suspend(scope.tenant, batch))


async def _activate(scope: Scope, runtime: Runtime, batch: str | None) -> _Tenant:
    return await _seen(scope, runtime, await runtime.services.suspensions.activate(scope.tenant, batch))


async def _seen(scope: Scope, runtime: Runtime, found: Suspension) -> _Tenant:
    return _Tenant(found, await runtime.services.instance.is_active(), await is_served(scope, runtime))


def _name(scope: Scope, batch: str | None) -> str:
    tenant = f"tenant '{scope.tenant}'"
    return tenant if batch is None else f"batch '{batch}' of {tenant}"


def _held(batches: Sequence[str]) -> str:
    if EVERYTHING in batches:
        return "all of it"
    return f"batch{'es' if len(batches) > 1 else ''} {', '.join(batches)}"


def _waiting(count: int) -> str:
    return "1 message waits" if count == 1 else f"{count} messages wait"
