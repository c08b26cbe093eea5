"""Opening the services for one command, and closing them whatever happens.

What is imported late here keeps help and completion quick: every module of commands imports this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from mail_proxy.errors import NotFound
from mail_proxy.instance import list_instances
from mail_proxy_cli import registry
from mail_proxy_cli.nodes import UnknownName, near
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

T = TypeVar("T")


def run(scope: Scope, work: Callable[[Runtime], Awaitable[T]]) -> T:
    """Open the instance's services, check that the tenant exists, do the work, close.

    Those of an interactive session's instance are open, and stay so.
    """
    held = scope.invocation.held
    if held is not None and held.scope.instance == scope.instance:
        return held.run(lambda runtime: _work(scope, runtime, work))
    return wait_for(_run(scope, work))


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Do what opens for itself what it needs."""
    try:
        import asyncio

        return asyncio.run(work)
    finally:
        work.close()  # Ctrl+C may come before it has begun


def check_tenant(scope: Scope) -> None:
    """Raise UnknownName unless the tenant that the words name exists."""
    run(scope, _nothing)


def check_database(scope: Scope) -> None:
    """Raise MailProxyError unless configuration, key and database of the instance are in order."""
    run(scope, _nothing)


async def is_served(scope: Scope, runtime: Runtime) -> bool:
    """Tell whether a server is there to send: the instance's, or another on the same PostgreSQL."""
    from mail_proxy.daemon.process import is_locked

    if is_locked(scope.instance):
        return True
    return runtime.config.uses_postgres and bool(await runtime.services.instance.nodes())


def unserved(scope: Scope, so_far: str) -> str:
    """Say how it stands while no server is there to go on, and how to get one."""
    name = scope.instance.name
    return f"{so_far}, for '{name}' is not running: mail-proxy start {name}"


async def _nothing(_runtime: Runtime) -> None:
    return


async def _run(scope: Scope, work: Callable[[Runtime], Awaitable[T]]) -> T:
    from mail_proxy.daemon.process import SignalBell
    from mail_proxy.runtime import open_services

    instance = scope.instance
    config = scope.load_config()
    async with open_services(config, instance, bell=SignalBell(instance), environ=scope.environ) as runtime:
        return await _work(scope, runtime, work)


async def _work(scope: Scope, runtime: Runtime, work: Callable[[Runtime], Awaitable[T]]) -> T:
    if scope.named_tenant is not None:
        await _check_tenant(scope, runtime)
    return await work(runtime)


async def _check_tenant(scope: Scope, runtime: Runtime) -> None:
    word = scope.tenant
    try:
        await runtime.services.tenants.get(word)
    except NotFound:
        tenants = [tenant.id for tenant in await runtime.services.tenants.list()]
    else:
        return
    meant = dict.fromkeys((entry.name for entry in (*registry.INSTANCE, *registry.TENANT)), "command")
    if scope.implied:  # then the word came first, and may have been meant for what comes first
        meant |= dict.fromkeys((entry.name for entry in registry.GLOBAL), "command")
        meant |= dict.fromkeys((instance.name for instance in list_instances(scope.home)), "instance")
    meant |= dict.fromkeys(tenants, "tenant")
    found = near(word, meant)
    kinds = {meant[name] for name in found}
    kind = kinds.pop() if len(kinds) == 1 else "tenant"
    hint = f" in instance '{scope.instance.name}': 'mail-proxy {scope.instance.name} tenants list' shows all"
    raise UnknownName(kind, word, found, hint=hint)
