"""A backlog: how much memory a server needs while it works off a long queue."""

from __future__ import annotations

from tests.bench import smtp_sink
from tests.bench.dispatch import ASLEEP, start_with_a_queue
from tests.bench.report import Report
from tests.bench.rig import Rig, wait_for

MESSAGES, RESIDENT_MB = 100_000, 150.0


def measure(database: str, count: int = MESSAGES) -> Report:
    """100,000 queued messages of 1 KiB to a sink of no latency; resident memory looked at all the time."""
    report = Report(f"backlog ({database})")
    program = smtp_sink.find("smtp-sink")
    if program is None:
        raise SystemExit("smtp-sink is not installed: it comes with Postfix")
    resident: list[float] = []
    with Rig(database, settings=ASLEEP) as rig, smtp_sink.SmtpSink(program, rig.directory) as sink:
        server = start_with_a_queue(rig, count, port=sink.port)

        def is_empty() -> bool:
            resident.append(server.resident_mb())
            return sink.messages() >= count

        begun = wait_for(lambda: sink.messages() > 0, poll=0.001)
        ended = wait_for(is_empty, poll=0.05)
    report.figure("dispatch", count / (ended - begun), "messages/s")
    report.at_most("resident memory, most", max(resident), RESIDENT_MB, "MiB")
    return report
