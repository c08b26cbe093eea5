"""Start-up: how long a person waits for the command line, beside an interpreter that does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench.report import Report, percentile
from tests.support.server import REPOSITORY

RUNS = 20
HELP_MS, LIST_MS = 200.0, 400.0


def measure(_database: str, count: int = RUNS) -> Report:
    """Help, completion and listing; median and slowest."""
    report = Report("startup")
    home = Path(tempfile.mkdtemp(prefix="mail-proxy-bench-"))
    try:
        command = program()
        _time(report, "python -c pass", [sys.executable, "-c", "pass"], home=home, count=count)
        _time(
            report, "python -c 'import click'", [sys.executable, "-c", "import click"], home=home, count=count
        )
        for name in ("first", "second", "third"):
            _make_instance(home, name)
        median = _time(report, "mail-proxy --help", [*command, "--help"], home=home, count=count)
        report.at_most("mail-proxy --help, median", median, HELP_MS, "ms")
        asked = {"_MAIL_PROXY_COMPLETE": "bash", "COMP_LINE": "mail-proxy "}
        median = _time(report, "completion", command, home=home, count=count, more=asked)
        report.at_most("completion, median", median, HELP_MS, "ms")
        median = _time(report, "mail-proxy list", [*command, "list"], home=home, count=count)
        report.at_most("mail-proxy list, median", median, LIST_MS, "ms")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return report


def program() -> list[str]:
    """The installed command if there is one beside this interpreter, else the module."""
    installed = Path(sys.executable).with_name("mail-proxy")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "mail_proxy_cli"]


def _make_instance(home: Path, name: str) -> None:
    from mail_proxy.instance import Instance

    Instance.at(home, name).create()


def _time(
    report: Report,
    name: str,
    command: list[str],
    *,
    home: Path,
    count: int,
    more: Mapping[str, str] | None = None,
) -> float:
    """Run `count` times after one that fills the caches; return the median in milliseconds."""
    environment = {**os.environ, "MAIL_PROXY_HOME": str(home), **(more or {})}
    environment["PYTHONPATH"] = os.pathsep.join(str(REPOSITORY / part) for part in ("", "cli", "repl"))
    times = []
    for _ in range(count + 1):
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)
        times.append((time.perf_counter() - begun) * 1000)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: exit {done.returncode}: {done.stderr.decode()[-500:]}")
    times = times[1:]
    report.figure(f"{name}, median", percentile(times, 0.5), "ms")
    report.figure(f"{name}, slowest", max(times), "ms")
    return percentile(times, 0.5)
