"""Dispatch: how fast a queue empties into a sink, beside bare loops that send prepared bytes."""

from __future__ import annotations

import subprocess
import time

from tests.bench import bare_smtp, smtp_sink
from tests.bench.load import run
from tests.bench.report import Report
from tests.bench.rig import Rig, queue, wait_for
from tests.support.children import tethered
from tests.support.server import Server
from tests.support.sink import Knobs, Tally
from tests.support.sink_process import SinkProcess

MESSAGES, SIZE = 5_000, 1024
CONNECTIONS = 10
SHARE, AIM = 0.6, 5_000
SLOW_MESSAGES, ROUND_TRIP, SLOW_RATE = 1_000, 0.05, 90


def measure(database: str, count: int = MESSAGES) -> Report:
    """5,000 queued messages of 1 KiB, one recipient each, to a sink of no latency and to one of 50 ms."""
    report = Report(f"dispatch ({database})")
    _limits(report, count)
    with Rig(database, settings={"GMP_SCHEDULER_ACTIVE": "false"}) as rig:
        tally, resident = _empty_the_queue(rig, count)
        rate = _rate(tally)
        report.figure("dispatch", rate, "messages/s")
        report.figure("connections used", tally.connections, "")
        report.figure("memory", resident, "MiB")
        report.at_least("arrived, distinct", tally.distinct, count)
        report.at_most("arrived", tally.messages, count)
    bare = next(figure.value for figure in report.figures if figure.name == "bare aiosmtplib")
    report.at_least("dispatch / bare aiosmtplib", rate / bare, SHARE)
    report.figure("share of the aim of 5,000/s", rate / AIM, "")
    if program := smtp_sink.find("smtp-sink"):
        _to_smtp_sink(report, program, database, count)
    slow = {"GMP_SCHEDULER_ACTIVE": "false"}
    with Rig(database, settings=slow, knobs=Knobs(delay=ROUND_TRIP)) as rig:
        tally, _ = _empty_the_queue(rig, min(count, SLOW_MESSAGES))
        report.at_least("dispatch at a round trip of 50 ms", _rate(tally), SLOW_RATE, "messages/s")
    return report


def _limits(report: Report, count: int) -> None:
    messages = [bare_smtp.message(number, SIZE) for number in range(count)]
    with SinkProcess() as sink:
        rate = run(bare_smtp.aiosmtplib_rate(sink.port, messages, CONNECTIONS))
        report.figure("bare aiosmtplib", rate, "messages/s")
        rate = run(bare_smtp.pipelined_rate(sink.port, messages, CONNECTIONS))
        report.figure("bare pipelining", rate, "messages/s")
        if source := smtp_sink.find("smtp-source"):
            report.figure("smtp-source", _smtp_source_rate(source, sink.port, count), "messages/s")


def _smtp_source_rate(source: str, port: int, count: int) -> float:
    """Postfix's own load generator, reusing its sessions."""
    command = [
        source,
        "-d",
        "-s",
        str(CONNECTIONS),
        "-m",
        str(count),
        "-l",
        str(SIZE),
        f"inet:127.0.0.1:{port}",
    ]
    begun = time.perf_counter()
    subprocess.run(tethered(command), check=True, timeout=120, stdout=subprocess.DEVNULL)
    return count / (time.perf_counter() - begun)


def _empty_the_queue(rig: Rig, count: int) -> tuple[Tally, float]:
    """What the sink saw while the queue emptied, and the memory used."""
    server = _start_with_a_queue(rig, count)
    rig.wait_until_sent(server.client(), poll=0.1)
    resident = server.resident_mb()
    return rig.wait_for_sink(lambda tally: tally.distinct >= count), resident


def _to_smtp_sink(report: Report, program: str, database: str, count: int) -> None:
    """The same to Postfix's sink, which tells only how many it has taken."""
    with (
        Rig(database, settings={"GMP_SCHEDULER_ACTIVE": "false"}) as rig,
        smtp_sink.SmtpSink(program, rig.directory) as sink,
    ):
        _start_with_a_queue(rig, count, port=sink.port)
        first = wait_for(lambda: sink.messages() > 0, poll=0.001)
        last = wait_for(lambda: sink.messages() >= count, poll=0.001)
        report.figure("dispatch to smtp-sink", count / (last - first), "messages/s")


def _start_with_a_queue(rig: Rig, count: int, **account: object) -> Server:
    """Queue with dispatch at rest, then start anew with dispatch on."""
    server = rig.start(**account)
    queue(server.client(), [f"dispatch-{number}" for number in range(count)], SIZE)
    server.stop()
    server.settings["GMP_SCHEDULER_ACTIVE"] = "true"
    return server.start()


def _rate(tally: Tally) -> float:
    """Messages a second between the first MAIL command and the last final dot."""
    return tally.messages / (tally.last - tally.first)
