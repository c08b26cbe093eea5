"""Preparing: what it costs to make a claimed message ready for the wire, in time and, if large, in memory."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import time
import timeit
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

from mail_proxy.clock import SystemClock
from mail_proxy.config import load_config
from mail_proxy.daemon.preparation import Preparer
from mail_proxy.encryption import KEY_VARIABLE, generate_key
from mail_proxy.model.accounts import SANDBOX_HOST, Account
from mail_proxy.model.messages import Payload
from mail_proxy.model.queue import Claimed
from mail_proxy.model.tenants import Tenant
from mail_proxy.runtime import Runtime, open_services
from mail_proxy.services.payloads import draft_of
from mail_proxy.smtp import framing, mime
from mail_proxy.store import rows
from tests.bench.report import Report
from tests.bench.rig import ACCOUNT, RECIPIENT, SENDER, TENANT, fields

MESSAGES = 5_000
ROUNDS = 9
PREPARED_US = 30.0

LARGE = 10 * 1024 * 1024
LARGE_ROUNDS = 3
PEAK = 3.5
"""How many times its size a large message may take while it is prepared, its stored form included."""


def measure(_database: str, count: int = MESSAGES) -> Report:
    """Each step for a message of 1 KiB, the best of some rounds; then all of it for large ones."""
    report = Report("prepare")
    asyncio.run(_measure(report, count))
    return report


async def _measure(report: Report, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mail-proxy-bench-") as place:
        config = load_config(None, {"GMP_DB_PATH": str(Path(place) / "bench.db")})
        environ = {KEY_VARIABLE: generate_key()}
        async with open_services(config, None, clock=SystemClock(), environ=environ) as runtime:
            now = time.time()
            await runtime.store.tenants.add(Tenant(id=TENANT), None, now)
            account = Account(tenant_id=TENANT, id=ACCOUNT, host=SANDBOX_HOST)
            lane = (await runtime.store.accounts.add(account, now)).lane
            plain, raw, attached, whole = await _claimed(runtime, lane)
            preparer = Preparer(runtime.store, runtime.tracking)
            _measure_steps(report, runtime, plain, count)
            await _measure_small(report, preparer, plain, raw, count)
            await _measure_large(report, preparer, "10 MiB of attachment", attached)
            await _measure_large(report, preparer, "10 MiB of raw message", whole)


async def _claimed(runtime: Runtime, lane: int) -> list[Claimed]:
    """Take in a plain message, the like as raw, and a large one of each kind, and claim them."""
    head = (
        f"From: Bench <{SENDER}>\r\nTo: {RECIPIENT}\r\nSubject: bench\r\nMIME-Version: 1.0\r\n\r\n".encode()
    )
    line = b"x" * 70 + b"\r\n"
    common = {"tenant_id": TENANT, "account_id": ACCOUNT}
    attachment = {"filename": "a.bin", "fetch_mode": "base64", "storage_path": _base64(os.urandom(LARGE))}
    entries = [
        fields("plain"),
        {**common, "id": "raw", "raw": _base64(head + line * 12)},
        {**fields("attached"), "attachments": [attachment]},
        {**common, "id": "whole", "raw": _base64(head + line * (LARGE // len(line)))},
    ]
    for entry in entries:
        submission = await runtime.services.intake.submit([entry])
        if submission.queued != 1:
            raise RuntimeError(f"not taken in: {submission.rejected}")
    now = time.time()
    return list((await runtime.store.queue.claim(lane, len(entries), "bench", now, now + 600)).messages)


def _measure_steps(report: Report, runtime: Runtime, claimed: Claimed, count: int) -> None:
    payload = _payload(claimed)
    draft, tracking_id = draft_of(payload), runtime.tracking.id_for(claimed.pk)
    row = _row(claimed)

    def write() -> bytes:
        built = mime.build(
            draft, message_id=claimed.message_id, date=claimed.created_at, tracking_id=tracking_id
        )
        return built.content

    content = write()
    steps: dict[str, Callable[[], object]] = {
        "row to message": lambda: rows.claimed_of(row, claimed.lane),
        "stored fields to draft": lambda: draft_of(payload),
        "tracking id": lambda: runtime.tracking.id_for(claimed.pk),
        "draft to MIME": write,
        "form on the wire": lambda: list(framing.wire_pieces(content)),
    }
    for name, step in steps.items():
        report.figure(name, min(timeit.repeat(step, number=count, repeat=ROUNDS)) / count * 1e6, "µs")


async def _measure_small(
    report: Report, preparer: Preparer, plain: Claimed, raw: Claimed, count: int
) -> None:
    row = _row(plain)

    async def prepare() -> object:
        return await preparer.prepare(rows.claimed_of(row, plain.lane))

    raw_time = await _best(lambda: preparer.prepare(raw), count, ROUNDS)
    report.figure("1 KiB of raw message, in all", raw_time * 1e6, "µs")
    plain_time = await _best(prepare, count, ROUNDS)
    report.at_most("1 KiB of fields, in all", plain_time * 1e6, PREPARED_US, "µs")


async def _measure_large(report: Report, preparer: Preparer, name: str, claimed: Claimed) -> None:
    """Once more with an account of each allocation, which takes its own time."""
    seconds = await _best(lambda: preparer.prepare(claimed), 1, LARGE_ROUNDS)
    report.figure(f"{name}, read and prepared", seconds * 1000, "ms")
    tracemalloc.start()
    try:
        await preparer.prepare(claimed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    report.at_most(f"{name}, memory at most", peak / claimed.size, PEAK, "times its size")


async def _best(call: Callable[[], Awaitable[object]], count: int, rounds: int) -> float:
    """Seconds for one call, in the round that was disturbed least."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(count):
            await call()
        times.append((time.perf_counter() - begun) / count)
    return min(times)


def _row(claimed: Claimed) -> list[object]:
    """The columns that it was made of, with its content."""
    return [
        claimed.seq,
        claimed.pk,
        claimed.tenant_id,
        claimed.id,
        claimed.account_id,
        claimed.priority,
        rows.recipients_text(claimed.recipients),
        claimed.envelope_from,
        claimed.message_id,
        claimed.retry_count,
        claimed.size,
        claimed.created_at,
        int(claimed.is_unknown),
        claimed.parked_for,
        claimed.parked_since,
        _payload(claimed).content.decode(),
    ]


def _payload(claimed: Claimed) -> Payload:
    if claimed.payload is None:
        raise RuntimeError("a small message is read along with its claim")
    return claimed.payload


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
