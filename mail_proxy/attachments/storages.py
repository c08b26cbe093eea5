"""Opening a storage, from the loop: what it does is blocking, and each call has a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

from mail_proxy.addresses import AddressPolicy
from mail_proxy.attachments.failure import StorageFailed, StorageUnclear
from mail_proxy.attachments.gate import Gate
from mail_proxy.model.storages import Storage, StorageProtocol
from mail_proxy.net import Resolver, resolve_by_system
from mail_proxy.threads import in_own_thread

T = TypeVar("T")

MAX_ANSWER = 1024 * 1024
"""Bytes that a server may say beside the file itself."""

GRACE = 1.0
"""Seconds in which a call whose connection was broken off comes to its end."""


BACKSTOP = 5.0
"""Seconds after which the library would give up by itself, later than it is told to."""


class Files(Protocol):
    """What every protocol can do; raises `StorageFailed`. Paths are relative, their parts apart by ``/``."""

    def put(self, path: str, content: bytes) -> None: ...
    def get(self, path: str, limit: int) -> bytes: ...
    def delete(self, path: str) -> None: ...


class OpenStorage:
    """Every call raises `StorageFailed`: after `wait` seconds at most, as `StorageUnclear`."""

    def __init__(self, files: Files, wait: float, gate: Gate | None) -> None:
        self._files = files
        self._wait = wait
        self._gate = gate
        self._calls: set[asyncio.Future[Any]] = set()

    async def put(self, path: str, content: bytes) -> None:
        await self._done(lambda: self._files.put(path, content))

    async def get(self, path: str, limit: int) -> bytes:
        return await self._done(lambda: self._files.get(path, limit))

    async def delete(self, path: str) -> None:
        await self._done(lambda: self._files.delete(path))

    async def settle(self) -> None:
        """Wait a moment for what was given up.

        A thread that comes back from the library while the interpreter ends would take the process with it.
        """
        if self._calls:
            await asyncio.wait(self._calls, timeout=GRACE)

    async def _done(self, work: Callable[[], T]) -> T:
        if self._gate is not None:
            self._gate.fault = None
        call = asyncio.ensure_future(in_own_thread(work, "storage"))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(self._wait):
                return await asyncio.shield(call)
        except TimeoutError:
            raise self._given_up() from None
        except StorageFailed as failed:
            if self._gate is not None and self._gate.fault is not None:
                raise StorageFailed(self._gate.fault) from failed
            raise

    def _forget(self, call: asyncio.Future[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # who asked for it may have gone

    def _given_up(self) -> StorageFailed:
        """Break off what is under way; tell how far it came."""
        if self._gate is not None:
            dialing = self._gate.dialing
            self._gate.break_off()
            if dialing is not None:
                return StorageFailed(f"cannot connect to {dialing} within {self._wait:g} s")
        return StorageUnclear(f"timed out: no answer within {self._wait:g} s")


@contextlib.asynccontextmanager
async def open_storage(
    storage: Storage,
    *,
    policy: AddressPolicy,
    wait: float,
    largest: int,
    resolve: Resolver = resolve_by_system,
) -> AsyncIterator[OpenStorage]:
    """Open a storage for files of at most `largest` bytes; raise `StorageFailed`.

    What a tenant gave leads only to addresses that the policy admits, what the admin gave anywhere.
    """
    if storage.protocol is StorageProtocol.LOCAL:
        from mail_proxy.attachments.local import LocalFiles

        yield OpenStorage(LocalFiles(storage.config["base_path"]), wait, None)
        return
    gate = Gate(policy if storage.by_tenant else None, resolve, largest + MAX_ANSWER)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(gate.opened())
        files = await in_own_thread(lambda: _cloud(storage, gate.url, wait + BACKSTOP), "storage")
        opened = OpenStorage(files, wait, gate)
        stack.push_async_callback(opened.settle)
        stack.callback(gate.break_off)
        yield opened


def _cloud(storage: Storage, proxy: str, wait: float) -> Files:
    # Late: the library takes its time to load, which neither the loop nor other commands can spare.
    from mail_proxy.attachments.cloud import CloudFiles

    return CloudFiles(storage, proxy, wait)
