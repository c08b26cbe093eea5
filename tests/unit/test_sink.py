"""The sink that benches and chaos tests rely on: what it takes, refuses and writes down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.sink import Arrival, Knobs, Sink, read_record
from tests.support.sink_process import SinkProcess

TRANSACTION = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
MESSAGE = b"X-Test-ID: one\r\nMessage-ID:\r\n <1@x.test>\r\nX-Genro-Mail-ID: abc\r\n\r\n..dot\r\n.\r\n"


async def _talk(port: int, *parts: bytes, answers: int) -> list[bytes]:
    """Send each part when the answers to the one before have begun; the codes of all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    codes = [(await reader.readline())[:3]]
    for part in parts:
        writer.write(part)
        codes.append((await reader.readline())[:3])
    while len(codes) < answers:
        codes.append((await reader.readline())[:3])
    writer.close()
    await writer.wait_closed()
    return codes


async def test_commands_that_come_together_are_answered_in_order() -> None:
    """Pipelining (RFC 2920): a whole transaction in one packet, the content in the next."""
    async with Sink(Knobs(keep_content=True)) as sink:
        codes = await _talk(sink.port, TRANSACTION, MESSAGE + b"QUIT\r\n", answers=6)

        assert codes == [b"220", b"250", b"250", b"354", b"250", b"221"]
        [arrival] = sink.arrivals
        assert (arrival.test_id, arrival.message_id, arrival.mail_id) == ("one", "<1@x.test>", "abc")
        assert (arrival.sender, arrival.recipients) == ("a@x.test", ["b@x.test"])
        assert arrival.content.endswith(b"\r\n\r\n.dot\r\n")
        assert arrival.begun <= arrival.dot
        assert arrival.answered


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("mail", [b"220", b"451", b"503", b"503"]),
        ("rcpt", [b"220", b"250", b"451", b"503"]),
        ("dot", [b"220", b"250", b"250", b"354", b"451"]),
    ],
)
async def test_every_nth_message_is_refused_where_asked(stage: str, expected: list[bytes]) -> None:
    """The knobs `fail_every` and `fail_at`."""
    async with Sink(Knobs(fail_every=1, fail_at=stage)) as sink:
        parts = [TRANSACTION, MESSAGE] if stage == "dot" else [TRANSACTION]

        assert await _talk(sink.port, *parts, answers=len(expected)) == expected


async def test_a_process_writes_down_a_message_before_it_answers(tmp_path: Path) -> None:
    """When the 250 is here, the line is in the file; the tally counts it."""
    record = tmp_path / "record"
    with SinkProcess(record=record) as sink:
        await _talk(sink.port, TRANSACTION, MESSAGE, answers=5)
        arrivals: list[Arrival] = read_record(record)

        assert [(arrival.test_id, arrival.is_accepted) for arrival in arrivals] == [("one", True)]
        assert sink.tally().distinct == 1
