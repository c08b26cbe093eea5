"""Latency: from POST to the first byte at the server, on an instance with nothing else to do."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tests.bench.report import Report, percentile
from tests.bench.rig import Rig, fields, wait_for
from tests.support.server import Client
from tests.support.sink import read_record

MESSAGES = 300
WARM_UP = 20
MEDIAN_MS, P99_MS = 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Milliseconds from each POST to its answer, to the MAIL command at the sink, to the final dot there."""

    answers: list[float]
    begun: list[float]
    dots: list[float]


def measure(database: str, count: int = MESSAGES) -> Report:
    """One message at a time, at random moments."""
    report = Report(f"latency ({database})")
    with Rig(database, record=True) as rig:
        client = rig.start().client()
        sample(rig, client, "warm", WARM_UP)
        measured = sample(rig, client, "latency", count)
    report.figure("POST to its answer, median", percentile(measured.answers, 0.5), "ms")
    report.figure("POST to its answer, p99", percentile(measured.answers, 0.99), "ms")
    report.figure("POST to the final dot, median", percentile(measured.dots, 0.5), "ms")
    report.figure("POST to the first byte, slowest", max(measured.begun), "ms")
    report.at_most("POST to the first byte, median", percentile(measured.begun, 0.5), MEDIAN_MS, "ms")
    report.at_most("POST to the first byte, p99", percentile(measured.begun, 0.99), P99_MS, "ms")
    return report


def sample(rig: Rig, client: Client, prefix: str, count: int) -> Sample:
    """Send so many messages one by one; the rig's sink must keep a record."""
    posted: dict[str, float] = {}
    before = rig.sink.tally().distinct
    answers = [_post_one(client, f"{prefix}-{number}", posted) for number in range(count)]
    wait_for(lambda: rig.sink.tally().distinct >= before + count, poll=0.02)
    arrivals = [arrival for arrival in read_record(rig.record) if arrival.test_id in posted]
    return Sample(
        answers=answers,
        begun=[(arrival.begun - posted[arrival.test_id]) * 1000 for arrival in arrivals],
        dots=[(arrival.dot - posted[arrival.test_id]) * 1000 for arrival in arrivals],
    )


def _post_one(client: Client, name: str, posted: dict[str, float]) -> float:
    """Post, note when, and return after how many milliseconds the answer came; then let all be idle."""
    posted[name] = time.time()
    client.post("/commands/add-messages", {"messages": [fields(name)]})
    answer = (time.time() - posted[name]) * 1000
    time.sleep(random.uniform(0.02, 0.06))
    return answer
