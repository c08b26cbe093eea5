"""Files into the queue, a handful at a time, and waiting for what becomes of them."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mail_proxy.model.messages import Message, RecipientStatus, Status
from mail_proxy_cli.output import one_line

if TYPE_CHECKING:
    from mail_proxy.services.judging import Rejection
    from mail_proxy.services.services import Services

STDIN = "-"

QUEUED = "queued"
FAILED = "failed"

HANDFUL = 50
HANDFUL_BYTES = 8 * 1024 * 1024
MB = 1024 * 1024

LOOK_EVERY = 1.0
"""Seconds between looks at whether a message that is waited for has met a new obstacle."""

OPTION_OF_FIELD = {
    "id": "--id",
    "account_id": "--account",
    "priority": "--priority",
    "deferred_ts": "--at",
    "batch_code": "--batch",
    "envelope": "--to",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: `status` is ``queued``, ``failed``, or the message's after waiting for it."""

    file: str
    id: str | None
    status: str
    error: str | None = None

    @property
    def is_good(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    content: bytes = b""
    error: str | None = None


async def queue_files(
    services: Services,
    tenant_id: str,
    files: Sequence[str],
    fields: Mapping[str, object],
    *,
    limit_mb: int,
    at_once: int,
) -> AsyncIterator[Outcome]:
    """Queue each file as a message of its own; yield its outcome once that is durable.

    `fields` are what all messages share. A file that cannot be read or sent does not stop the others.
    """
    from mail_proxy.services.identifiers import new_pk

    for some in _handfuls(files, limit_mb, min(at_once, HANDFUL)):
        ids = [str(fields.get("id") or new_pk()) for _ in some]
        entries = [
            {**fields, "id": name, "raw": file.content}
            for file, name in zip(some, ids, strict=True)
            if file.error is None
        ]
        submission = await services.intake.submit(entries, tenant_id=tenant_id)
        reasons = {str(each.id): _reason(each) for each in submission.rejected}
        for file, name in zip(some, ids, strict=True):
            error = file.error or reasons.get(name)
            yield (
                Outcome(file.name, name, QUEUED) if error is None else Outcome(file.name, None, FAILED, error)
            )


async def await_outcome(
    services: Services,
    tenant_id: str,
    queued: Outcome,
    timeout: float | None,
    notice: Callable[[str], None],
) -> Outcome:
    """Wait until the message is delivered or has failed, at most `timeout` seconds.

    `notice` hears of each obstacle that it meets on the way.
    """
    end = None if timeout is None else time.monotonic() + timeout
    obstacle: str | None = None
    while True:
        left = LOOK_EVERY if end is None else min(LOOK_EVERY, max(0.0, end - time.monotonic()))
        message = await services.messages.wait(tenant_id, queued.id or "", left)
        if not message.status.is_waiting:
            return replace(queued, status=message.status.value, error=_failure(message))
        if end is not None and time.monotonic() >= end:
            late = f"still {message.status.value} after {timeout:g} s; it stays in the queue"
            return replace(queued, status=message.status.value, error=late)
        if message.last_error not in (None, obstacle):
            obstacle = message.last_error
            notice(f"{queued.id}: {message.status.value}: {obstacle}")


def _handfuls(files: Sequence[str], limit_mb: int, most: int) -> Iterator[list[_File]]:
    """Read the files, a few at a time, so that any number of them fits into memory."""
    some: list[_File] = []
    for name in files:
        some.append(_read(name, limit_mb))
        if len(some) >= most or sum(len(file.content) for file in some) >= HANDFUL_BYTES:
            yield some
            some = []
    if some:
        yield some


def _read(name: str, limit_mb: int) -> _File:
    limit = limit_mb * MB
    try:
        with _interruptible():
            if name == STDIN:
                content = sys.stdin.buffer.read(limit + 1)
            else:
                with Path(name).open("rb") as file:
                    content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return _File(name, error=getattr(error, "strerror", None) or str(error))
    if len(content) > limit:
        return _File(name, error=f"larger than {limit_mb} MB, the limit (GMP_MAX_BODY_MB)")
    return _File(name, content)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl+C end a read that waits for somebody: asyncio would have it wait for the read."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reason(rejection: Rejection) -> str:
    """Why a message was refused, in terms of the file and of the options."""
    said = []
    for fault in rejection.errors:
        field = str(fault.loc[0]) if fault.loc else ""
        option = OPTION_OF_FIELD.get(field)
        said.append(f"{option}: {fault.msg}" if option else fault.msg if field == "raw" else str(fault))
    return one_line("; ".join(said) or rejection.reason)


def _failure(message: Message) -> str | None:
    """What went wrong with a message that is done; None if every recipient has it."""
    refused = [
        f"{each.address}: {each.reply or each.status.value}"
        for each in message.recipients
        if each.status in (RecipientStatus.ERROR, RecipientStatus.BOUNCED)
    ]
    if message.status is Status.SENT and not refused:
        return None
    return one_line(message.error or "; ".join(refused) or message.last_error or message.status.value)
