"""Trying a storage: an object is written, read back and deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable

from mail_proxy.addresses import AddressPolicy
from mail_proxy.attachments.failure import StorageFailed, StorageUnclear
from mail_proxy.attachments.storages import OpenStorage, open_storage
from mail_proxy.model.storages import Storage, StorageTrial, TrialStep
from mail_proxy.net import Resolver, resolve_by_system

PROBE = ".mail-proxy-probe-"
"""How the name of the object begins; the rest nobody can guess."""

LARGEST = 1024


async def try_storage(
    storage: Storage,
    *,
    policy: AddressPolicy,
    step_wait: float,
    resolve: Resolver = resolve_by_system,
) -> StorageTrial:
    """Write, read and delete an object of an unguessable name, each within `step_wait` seconds."""
    steps: list[TrialStep] = []
    left = None
    begun = asyncio.get_running_loop().time()
    try:
        async with open_storage(
            storage, policy=policy, wait=step_wait, largest=LARGEST, resolve=resolve
        ) as opened:
            left = await _walk(opened, steps)
    except StorageFailed as failed:  # the steps tell theirs themselves
        steps.append(_step("open", failed, begun))
    return StorageTrial(steps=tuple(steps), left=left)


async def _walk(opened: OpenStorage, steps: list[TrialStep]) -> str | None:
    """Take the steps; return the name of what may be left of them."""
    name, content = f"{PROBE}{secrets.token_hex(16)}", secrets.token_hex(16).encode()
    fault = await _taken("write", opened.put(name, content), steps)
    if fault is not None:
        return name if isinstance(fault, StorageUnclear) else None
    await _taken("read", _read_back(opened, name, content), steps)
    fault = await _taken("delete", opened.delete(name), steps)
    return name if fault is not None else None


async def _read_back(opened: OpenStorage, name: str, content: bytes) -> None:
    if await opened.get(name, LARGEST) != content:
        raise StorageFailed("what was read is not what was written")


async def _taken(name: str, work: Awaitable[None], steps: list[TrialStep]) -> StorageFailed | None:
    begun = asyncio.get_running_loop().time()
    fault: StorageFailed | None = None
    try:
        await work
    except StorageFailed as failed:
        fault = failed
    steps.append(_step(name, fault, begun))
    return fault


def _step(name: str, fault: StorageFailed | None, begun: float) -> TrialStep:
    seconds = asyncio.get_running_loop().time() - begun
    return TrialStep(name=name, error=None if fault is None else str(fault), seconds=seconds)
