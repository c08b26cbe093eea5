"""The services of an instance on this machine, whether or not its server runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from mail_proxy import __version__
from mail_proxy.daemon.process import ServerInfo, running
from mail_proxy.errors import InstanceError, InvalidInput
from mail_proxy.instance import Instance
from mail_proxy.model.commands import CommandFilter
from mail_proxy.model.messages import END_OF_TIME, Message, MessageFilter, Status
from mail_proxy.services import views
from mail_proxy_repl.server import Fields, View, Wanted

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime
    from mail_proxy.services.services import Services

T = TypeVar("T")

PAGE = 1000


class Opened(Protocol):
    """Services that are open, and the loop they live in."""

    def run(self, work: Callable[[Runtime], Awaitable[T]]) -> T: ...


class LocalServer:
    """`Server` over open services; `run_now` tells the running server, which alone can be told."""

    def __init__(self, opened: Opened, instance: Instance, run_now: Callable[[str | None], object]) -> None:
        self._opened = opened
        self._instance = instance
        self._run_now = run_now

    def status(self) -> View:
        return self._opened.run(lambda runtime: status(runtime, self._instance))

    def stats(self, tenant_id: str | None) -> View:
        return self._ask(lambda services: _stats(services, tenant_id))

    def run_now(self, tenant_id: str | None) -> None:
        self._run_now(tenant_id)

    def suspend(self, tenant_id: str | None, batch_code: str | None) -> View:
        return self._ask(lambda services: _suspend(services, tenant_id, batch_code))

    def activate(self, tenant_id: str | None, batch_code: str | None) -> View:
        return self._ask(lambda services: _activate(services, tenant_id, batch_code))

    def tenants(self, *, active_only: bool) -> Iterable[View]:
        found = self._ask(lambda services: services.tenants.list(active_only=active_only))
        return [views.tenant_view(each) for each in found]

    def tenant(self, tenant_id: str) -> View:
        return views.tenant_view(self._ask(lambda services: services.tenants.get(tenant_id)))

    def add_tenant(self, fields: Fields) -> str:
        _tenant, key = self._ask(lambda services: services.tenants.create(fields))
        return key

    def update_tenant(self, tenant_id: str, changes: Fields) -> View:
        return views.tenant_view(self._ask(lambda services: services.tenants.update(tenant_id, changes)))

    def delete_tenant(self, tenant_id: str) -> None:
        self._ask(lambda services: services.tenants.delete(tenant_id))

    def new_api_key(self, tenant_id: str, expires_at: float | None) -> str:
        return self._ask(lambda services: services.tenants.new_api_key(tenant_id, expires_at))

    def revoke_api_key(self, tenant_id: str) -> None:
        self._ask(lambda services: services.tenants.revoke_api_key(tenant_id))

    def accounts(self, tenant_id: str | None) -> Iterable[View]:
        found = self._ask(lambda services: services.accounts.list(tenant_id))
        return [views.account_view(each) for each in found]

    def account(self, account_id: str, tenant_id: str | None) -> View:
        return views.account_view(self._ask(lambda services: services.accounts.find(account_id, tenant_id)))

    def add_account(self, tenant_id: str, fields: Fields) -> View:
        return views.account_view(self._ask(lambda services: services.accounts.create(tenant_id, fields)))

    def update_account(self, account_id: str, tenant_id: str | None, changes: Fields) -> View:
        return self._ask(lambda services: _update_account(services, account_id, tenant_id, changes))

    def delete_account(self, account_id: str, tenant_id: str | None, *, force: bool) -> None:
        self._ask(lambda services: _delete_account(services, account_id, tenant_id, force=force))

    def check_account(self, account_id: str, tenant_id: str | None) -> View:
        return self._ask(lambda services: _check_account(services, account_id, tenant_id))

    def storages(self, tenant_id: str | None) -> Iterable[View]:
        found = self._ask(lambda services: services.storages.list(tenant_id))
        return [views.storage_view(each) for each in found]

    def put_storage(self, tenant_id: str, fields: Fields) -> None:
        self._ask(lambda services: services.storages.replace(tenant_id, fields))

    def delete_storage(self, tenant_id: str, name: str) -> None:
        self._ask(lambda services: services.storages.delete(tenant_id, name))

    def messages(self, wanted: Wanted) -> Iterable[View]:
        return self._ask(lambda services: _messages(services, _filter(wanted)))

    def message(self, message_id: str, tenant_id: str | None) -> View:
        return self._ask(lambda services: _message(services, message_id, tenant_id))

    def events(self, message_id: str, tenant_id: str | None) -> Iterable[View]:
        return self._ask(lambda services: _events(services, message_id, tenant_id))

    def add_messages(self, tenant_id: str | None, messages: Sequence[Fields]) -> View:
        return self._ask(lambda services: _add_messages(services, tenant_id, messages))

    def retry(self, message_id: str, tenant_id: str | None, at: float | None) -> View:
        return self._ask(lambda services: _retry(services, message_id, tenant_id, at))

    def delete_messages(self, ids: Sequence[str], tenant_id: str | None, *, force: bool) -> View:
        return self._ask(lambda services: _delete_messages(services, ids, tenant_id, force=force))

    def cleanup(self, tenant_id: str | None, older_than_seconds: float | None) -> int:
        return self._ask(lambda services: _cleanup(services, tenant_id, older_than_seconds))

    def settings(self) -> View:
        return views.instance_view(self._ask(lambda services: services.instance_settings.get()))

    def update_settings(self, changes: Fields) -> View:
        return views.instance_view(self._ask(lambda services: services.instance_settings.change(changes)))

    def commands(
        self,
        tenant_id: str | None,
        endpoint: str | None,
        since: float | None,
        until: float | None,
        limit: int,
        offset: int,
    ) -> Iterable[View]:
        from mail_proxy.services.command_log import endpoints_named

        which = CommandFilter(
            tenant_id=tenant_id,
            endpoints=() if endpoint is None else endpoints_named(endpoint),
            since=since or 0.0,
            until=END_OF_TIME if until is None else until,
        )
        return self._ask(lambda services: _commands(services, which, limit, offset))

    def _ask(self, work: Callable[[Services], Awaitable[T]]) -> T:
        return self._opened.run(lambda runtime: work(runtime.services))


async def status(runtime: Runtime, instance: Instance) -> View:
    """What the API's status says, of an instance that need not be served."""
    info = server_of(instance)
    services = runtime.services
    is_active = await services.instance.is_active()
    return {
        "running": info is not None,
        "url": info.url if info else None,
        "active": is_active,
        "scheduler_active": info is not None and is_active and not runtime.config.test_mode,
        "pending_messages": await services.instance.pending_messages(),
        "uptime_seconds": max(0, int(time.time() - info.started_at)) if info else None,
        "version": __version__,
        "nodes": [views.node_view(node) for node in await services.instance.nodes()],
    }


def server_of(instance: Instance) -> ServerInfo | None:
    """The server on this machine; None also for one that cannot be seen from here."""
    with suppress(InstanceError, OSError):
        return running(instance)
    return None


async def _stats(services: Services, tenant_id: str | None) -> View:
    if tenant_id is not None:
        await services.tenants.get(tenant_id)
    return await services.instance.stats(tenant_id)


async def _suspend(services: Services, tenant_id: str | None, batch_code: str | None) -> View:
    if tenant_id is None:
        await services.instance.set_active(False)
        return {"active": False}
    return views.suspension_view(await services.suspensions.suspend(tenant_id, batch_code))


async def _activate(services: Services, tenant_id: str | None, batch_code: str | None) -> View:
    if tenant_id is None:
        await services.instance.set_active(True)
        return {"active": True}
    return views.suspension_view(await services.suspensions.activate(tenant_id, batch_code))


async def _update_account(
    services: Services, account_id: str, tenant_id: str | None, changes: Fields
) -> View:
    account = await services.accounts.find(account_id, tenant_id)
    return views.account_view(await services.accounts.update(account.tenant_id, account.id, changes))


async def _delete_account(services: Services, account_id: str, tenant_id: str | None, *, force: bool) -> None:
    account = await services.accounts.find(account_id, tenant_id)
    await services.accounts.delete(account.tenant_id, account.id, force=force)


async def _check_account(services: Services, account_id: str, tenant_id: str | None) -> View:
    account = await services.accounts.find(account_id, tenant_id)
    return views.check_view(await services.account_check.check(account))


def _filter(wanted: Wanted) -> MessageFilter:
    known = [status.value for status in Status]
    if wanted.status is not None and wanted.status not in known:
        raise InvalidInput(f"status: one of {', '.join(known)}, not '{wanted.status}'")
    return MessageFilter(
        tenant_id=wanted.tenant_id,
        status=None if wanted.status is None else Status(wanted.status),
        account_id=wanted.account_id,
        batch_code=wanted.batch_code,
        since=wanted.since or 0.0,
        until=END_OF_TIME if wanted.until is None else wanted.until,
        active_only=wanted.active_only,
        limit=wanted.limit,
    )


async def _messages(services: Services, which: MessageFilter) -> list[View]:
    found = [message async for message in _pages(services, which)]
    names = await services.messages.tenant_names(found)
    return [views.message_view(each, tenant_name=names.get(each.tenant_id)) for each in found]


async def _pages(services: Services, which: MessageFilter) -> AsyncIterator[Message]:
    cursor, left = None, which.limit
    while left > 0:
        page = await services.messages.list(replace(which, limit=min(PAGE, left)), cursor)
        for message in page.messages:
            yield message
        cursor, left = page.next_cursor, left - len(page.messages)
        if cursor is None:
            return


async def _message(services: Services, message_id: str, tenant_id: str | None) -> View:
    message = await services.messages.find(message_id, tenant_id)
    payload = await services.messages.payload(message)
    names = await services.messages.tenant_names([message])
    return views.message_view(message, payload, names.get(message.tenant_id))


async def _events(services: Services, message_id: str, tenant_id: str | None) -> list[View]:
    message = await services.messages.find(message_id, tenant_id)
    return [views.event_view(event) for event in await services.messages.events(message)]


async def _add_messages(services: Services, tenant_id: str | None, messages: Sequence[Fields]) -> View:
    done = await services.intake.submit(messages, tenant_id=tenant_id)
    return {
        "queued": done.queued,
        "rejected": [views.rejection_view(each.id, each.reason, each.errors) for each in done.rejected],
        "warnings": list(done.warnings),
    }


async def _retry(services: Services, message_id: str, tenant_id: str | None, at: float | None) -> View:
    message = await services.messages.find(message_id, tenant_id)
    await services.rescheduling.retry(message.tenant_id, message.id, at)
    return await _message(services, message.id, message.tenant_id)


async def _delete_messages(
    services: Services, ids: Sequence[str], tenant_id: str | None, *, force: bool
) -> View:
    if tenant_id is not None:
        await services.tenants.get(tenant_id)
    removal = await services.removal.delete(ids, tenant_id, force=force, tells_foreign=True)
    return views.removal_view(removal)


async def _cleanup(services: Services, tenant_id: str | None, older_than_seconds: float | None) -> int:
    if tenant_id is not None:
        await services.tenants.get(tenant_id)
    return await services.removal.cleanup(tenant_id, older_than_seconds)


async def _commands(services: Services, which: CommandFilter, limit: int, offset: int) -> list[View]:
    return [
        views.command_view(command)
        async for some in services.command_log.newest(which, limit, offset)
        for command in some
    ]
