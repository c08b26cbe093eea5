"""``python -m tests.bench NAME [--database sqlite|postgres] [--json|--markdown]``: measure, here and now.

Limits are measured in the same run, so that figures of different machines can be compared as ratios.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.bench.report import Report
from tests.support.children import clean_up_when_terminated

MEASURES = (
    "intake",
    "memory",
    "prepare",
    "dispatch",
    "backlog",
    "latency",
    "reports",
    "history",
    "listing",
    "startup",
    "completion",
    "plans",
)


def main() -> int:
    """Run the measures named; 1 with --check if a bound is missed."""
    clean_up_when_terminated()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="+", choices=(*MEASURES, "all"), metavar="NAME", help=" ".join(MEASURES)
    )
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument(
        "--count", type=int, help="how many messages or runs, instead of the measure's own number"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const=Report.as_json)
    form.add_argument("--markdown", dest="form", action="store_const", const=Report.as_markdown)
    parser.set_defaults(form=Report.as_text)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bound is missed")
    given = parser.parse_args()
    names = MEASURES if "all" in given.names else given.names
    holds = True
    for name in names:
        measure = importlib.import_module(f"tests.bench.{name}").measure
        report = measure(given.database, given.count) if given.count else measure(given.database)
        print(given.form(report), flush=True)
        holds = holds and report.holds
    return 0 if holds or not given.check else 1


if __name__ == "__main__":
    sys.exit(main())
