"""Dispatch: how fast a queue empties into a sink, beside bare loops that send prepared bytes."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench import bare_smtp, smtp_sink
from tests.bench.load import run
from tests.bench.report import Report
from tests.bench.rig import Rig, queue, wait_for
from tests.support.children import tethered
from tests.support.server import Server
from tests.support.sink import Knobs, Tally
from tests.support.sink_process import SinkProcess

MESSAGES, SIZE = 5_000, 1024
CONNECTIONS = (10, 50)
"""The default of an account, and what a provider may allow for one that sends in bulk."""

SHARE, AIM = 0.6, 5_000
ASLEEP = {"GMP_SCHEDULER_ACTIVE": "false"}
SLOW_MESSAGES, ROUND_TRIP, SLOW_RATE = 1_000, 0.05, 90


def measure(database: str, count: int = MESSAGES) -> Report:
    """5,000 queued messages of 1 KiB, one recipient each, to a sink of no latency and to one of 50 ms."""
    report = Report(f"dispatch ({database})")
    messages = [bare_smtp.message(number, SIZE) for number in range(count)]
    if program := smtp_sink.find("smtp-sink"):
        for connections in CONNECTIONS:
            name = f"smtp-sink, {connections} connections"
            with tempfile.TemporaryDirectory() as place, smtp_sink.SmtpSink(program, Path(place)) as sink:
                bare = _limits(report, name, sink.port, messages, connections)
            _compare(report, name, _rate_to_smtp_sink(program, database, count, connections), bare)
    with SinkProcess() as own_sink:
        bare = _limits(report, "our sink", own_sink.port, messages, CONNECTIONS[0])
    with Rig(database, settings=ASLEEP) as rig:
        tally, resident = _empty_the_queue(rig, count)
    _compare(report, "our sink", _rate(tally), bare)
    report.figure("connections used", tally.connections, "")
    report.figure("memory", resident, "MiB")
    report.at_least("arrived, distinct", tally.distinct, count)
    report.at_most("arrived", tally.messages, count)
    with Rig(database, settings=ASLEEP, knobs=Knobs(delay=ROUND_TRIP)) as rig:
        tally, _ = _empty_the_queue(rig, min(count, SLOW_MESSAGES))
    report.at_least("dispatch at a round trip of 50 ms", _rate(tally), SLOW_RATE, "messages/s")
    return report


def _limits(report: Report, sink: str, port: int, messages: list[bytes], connections: int) -> float:
    """What sending the same to the same sink costs at least; returns the rate of a bare aiosmtplib."""
    bare = run(bare_smtp.aiosmtplib_rate(port, messages, connections))
    report.figure(f"{sink}: bare aiosmtplib", bare, "messages/s")
    piped = run(bare_smtp.pipelined_rate(port, messages, connections))
    report.figure(f"{sink}: bare pipelining", piped, "messages/s")
    if source := smtp_sink.find("smtp-source"):
        fed = _smtp_source_rate(source, port, len(messages), connections)
        report.figure(f"{sink}: smtp-source", fed, "messages/s")
    return bare


def _compare(report: Report, sink: str, rate: float, bare: float) -> None:
    report.figure(f"{sink}: dispatch", rate, "messages/s")
    report.at_least(f"{sink}: dispatch / bare aiosmtplib", rate / bare, SHARE)
    report.figure(f"{sink}: share of the aim of 5,000/s", rate / AIM, "")


def _smtp_source_rate(source: str, port: int, count: int, connections: int) -> float:
    """Postfix's own load generator, reusing its sessions."""
    command = [source, "-d", "-s", str(connections), "-m", str(count), "-l", str(SIZE)]
    begun = time.perf_counter()
    subprocess.run(
        tethered([*command, f"inet:127.0.0.1:{port}"]), check=True, timeout=120, stdout=subprocess.DEVNULL
    )
    return count / (time.perf_counter() - begun)


def _empty_the_queue(rig: Rig, count: int) -> tuple[Tally, float]:
    """What the sink saw while the queue emptied, and the memory used."""
    server = start_with_a_queue(rig, count)
    rig.wait_until_sent(server.client(), poll=0.1)
    resident = server.resident_mb()
    return rig.wait_for_sink(lambda tally: tally.distinct >= count), resident


def _rate_to_smtp_sink(program: str, database: str, count: int, connections: int) -> float:
    """The same to Postfix's sink, which tells only how many it has taken."""
    with Rig(database, settings=ASLEEP) as rig, smtp_sink.SmtpSink(program, rig.directory) as sink:
        start_with_a_queue(rig, count, port=sink.port, max_concurrent=connections)
        first = wait_for(lambda: sink.messages() > 0, poll=0.001)
        last = wait_for(lambda: sink.messages() >= count, poll=0.001)
    return count / (last - first)


def start_with_a_queue(rig: Rig, count: int, **account: object) -> Server:
    """Queue with dispatch at rest, then start anew with dispatch on."""
    server = rig.start(**account)
    queue(server.client(), [f"dispatch-{number}" for number in range(count)], SIZE)
    server.stop()
    server.settings["GMP_SCHEDULER_ACTIVE"] = "true"
    return server.start()


def _rate(tally: Tally) -> float:
    """Messages a second between the first MAIL command and the last final dot."""
    return tally.messages / (tally.last - tally.first)
