"""The least that sending can cost: prepared bytes over kept connections. Limits for dispatch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import aiosmtplib

SENDER, RECIPIENT = "sender@bench.test", "recipient@bench.test"
COMMANDS = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()


def message(number: int, size: int) -> bytes:
    """An RFC 5322 message of about `size` bytes."""
    head = (
        f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: bench\r\n"
        f"Date: Fri, 21 Nov 2025 10:00:00 +0000\r\nMessage-ID: <bare-{number}@bench.test>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    ).encode()
    line = b"x" * 70 + b"\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


async def aiosmtplib_rate(port: int, messages: list[bytes], connections: int) -> float:
    """Messages a second by aiosmtplib's own sendmail."""
    clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False) for _ in range(connections)]
    for client in clients:
        await client.connect(timeout=10)
    queue = iter(messages)

    async def work(client: aiosmtplib.SMTP) -> None:
        for content in queue:
            await client.sendmail(SENDER, [RECIPIENT], content)

    begun = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    seconds = time.perf_counter() - begun
    for client in clients:
        await client.quit()
    return len(messages) / seconds


async def pipelined_rate(port: int, messages: list[bytes], connections: int) -> float:
    """Messages a second with a transaction's commands in one packet, and only reply codes checked."""
    queue = iter(messages)
    begun = time.perf_counter()
    await asyncio.gather(*(_pipeline(port, queue) for _ in range(connections)))
    return len(messages) / (time.perf_counter() - begun)


async def _pipeline(port: int, queue: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await _expect(reader, b"220")
    writer.write(b"EHLO bench.test\r\n")
    await reader.readuntil(b"250 ")
    await reader.readline()
    for content in queue:
        writer.write(COMMANDS)
        for code in (b"250", b"250", b"354"):
            await _expect(reader, code)
        writer.write(content + b".\r\n")
        await _expect(reader, b"250")
    writer.close()
    await writer.wait_closed()


async def _expect(reader: asyncio.StreamReader, code: bytes) -> None:
    line = await reader.readline()
    if not line.startswith(code):
        raise RuntimeError(f"expected {code.decode()}, the server said {line!r}")
