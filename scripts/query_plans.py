"""``python -m scripts.query_plans``: measure both databases with a past, and write docs/query-plans.md.

Takes some minutes and a gigabyte or two of disk, and needs a PostgreSQL server (tests/support/postgres.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mail_proxy.store.queries import load
from tests.bench import history
from tests.bench.plans import HOT
from tests.bench.report import Bound, Report, machine

PAGE = Path(__file__).resolve().parents[1] / "docs" / "query-plans.md"
ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}

INTRODUCTION = """\
# Query plans

Queueing and sending a message costs the same with a million sent ones in the database as with none, because
every statement on its way reaches its rows by a key, or by an index that does not grow with the history
([decision 0006](adr/0006-lanes.md)). This page is written by `python -m scripts.query_plans`: it measures,
and asks both databases how they would run each of these statements. `tests/contract/test_query_plans.py`
fails when a plan of SQLite's reads through the history.

In SQLite's plans `SEARCH` goes straight to rows through an index or a key, and `SCAN` reads all of
something. What is scanned here are lists given as a parameter, the recursion's own rows, the ids of the
tenants, and the indexes `messages_ready`, `messages_held`, `messages_deferred`, `messages_leased`,
`events_due` and `events_refused`, which hold only what waits. PostgreSQL chooses by its statistics: on a
small table `Seq Scan` is right, on those of the history there must be none.

A page of a list costs its own length, and a step for each account with messages in the states that the list
may show: of one tenant these are few, of all tenants as many as the instance has accounts. Only an account's
messages within a batch are found by reading through the batch. The bench `listing` measures pages of a
thousand messages and of a million.
"""


def main() -> int:
    """Write the page; 1 if a bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m scripts.query_plans", description=__doc__)
    parser.add_argument("--count", type=int, default=history.SENT, help="sent messages in the database")
    count = parser.parse_args().count
    reports = {engine: history.measure(engine, count) for engine in ENGINES}
    PAGE.write_text(f"{INTRODUCTION}\n" + "\n\n".join(sections(reports, count)) + "\n", encoding="utf-8")
    for report in reports.values():
        print(report.as_text())
    return 0 if all(report.holds for report in reports.values()) else 1


def sections(reports: Mapping[str, Report], count: int) -> Iterator[str]:
    """The measurement, then every statement with its plans."""
    yield f"## With {count:,} sent messages"
    yield "\n".join(table(reports))
    facts = machine()
    yield (
        "Medians of single messages; the ratio is what is promised. Measured on "
        f"{facts['cores']} shared cores, {facts['system']}, Python {facts['python']}, that also ran the "
        "client, the SMTP sink and the database."
    )
    plans = {engine: dict(report.texts) for engine, report in reports.items()}
    for purpose, (stem, names) in HOT.items():
        yield f"## {purpose.capitalize()}"
        for name in names:
            doc = load(stem)[name].doc
            yield f"### {name}\n\n{doc[:1].upper()}{doc[1:]}."
            for engine, title in ENGINES.items():
                yield f"```text\n{title}\n{_indented(plans[engine][f'{purpose}: {name}'])}\n```"


def table(reports: Mapping[str, Report]) -> Iterator[str]:
    """One row for each figure and bound, one column for each engine."""
    yield f"| | {' | '.join(ENGINES.values())} |"
    yield "|---|" + "---:|" * len(ENGINES)
    for row in zip(*(report.figures for report in reports.values()), strict=True):
        if row[0].unit == "ms":
            yield f"| {row[0].name} | {' | '.join(f'{each.value:.1f} {each.unit}' for each in row)} |"
    for bounds in zip(*(report.bounds for report in reports.values()), strict=True):
        yield f"| {bounds[0].name} | {' | '.join(map(_bound, bounds))} |"


def _bound(bound: Bound) -> str:
    relation = "at most" if bound.relation == "<=" else "at least"
    return f"{bound.value:.3g} ({relation} {bound.limit:g})"


def _indented(plan: str) -> str:
    return "\n".join(f"  {line}" for line in plan.splitlines())


if __name__ == "__main__":
    sys.exit(main())
