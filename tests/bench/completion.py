"""Completion: how long a shell waits after Tab, among 50 instances and 10,000 messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from mail_proxy.config import save_settings
from mail_proxy.instance import Instance
from tests.bench.fill import Past, fill
from tests.bench.report import Report, percentile
from tests.bench.rig import ACCOUNT, TENANT
from tests.bench.startup import program
from tests.support.postgres import MISSING, find_postgres
from tests.support.server import REPOSITORY

INSTANCES, MESSAGES = 50, 10_000
RUNS = 20
SLOWEST_MS = 200.0
BUSY = "instance-07"

KINDS = {
    "commands and instances": ("",),
    "commands that begin so": ("st",),
    "an instance after a command": ("stop", ""),
    "commands and tenants of an instance": (BUSY, ""),
    "commands of a tenant": (BUSY, TENANT, ""),
    "subcommands": (BUSY, TENANT, "messages", ""),
    "tenant ids": (BUSY, "tenants", "show", ""),
    "an instance and a tenant": ("use", f"{BUSY}/"),
    "account ids": (BUSY, TENANT, "accounts", "show", ""),
    "message ids": (BUSY, TENANT, "messages", "show", ""),
    "message ids that begin so": (BUSY, TENANT, "messages", "show", "old-99"),
    "message ids that nothing is": (BUSY, TENANT, "messages", "show", "zzz"),
    "batch codes": (BUSY, TENANT, "messages", "list", "--batch", ""),
    "option names": (BUSY, TENANT, "messages", "list", "--"),
    "option values": (BUSY, TENANT, "messages", "list", "--status", ""),
    "file names": (BUSY, TENANT, "send", ""),
}
PAST = Past(batch="'batch-' || (i % 40)")


def measure(database: str, count: int = RUNS) -> Report:
    """Ask for each kind as bash does; the median and the slowest of some runs after one that fills caches."""
    report = Report(f"completion ({database})")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mail-proxy-bench-")))
        url = None
        if database == "postgres":
            postgres = find_postgres(durable=True)
            if postgres is None:
                raise RuntimeError(MISSING)
            url = asyncio.run(stack.enter_context(postgres).create_database())
        environment = _environment(home)
        _prepare(home, url, environment)
        for name, words in KINDS.items():
            times = sorted(_ask(words, environment) for _ in range(count + 1))[:-1]
            report.figure(f"{name}, median", percentile(times, 0.5), "ms")
            report.at_most(f"{name}, slowest", times[-1], SLOWEST_MS, "ms")
    return report


def _environment(home: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GMP_", "MAIL_PROXY_"))}
    path = os.pathsep.join(str(REPOSITORY / part) for part in ("", "cli", "repl"))
    state = str(home / "state")
    return own | {"PYTHONPATH": path, "MAIL_PROXY_HOME": str(home), "XDG_STATE_HOME": state}


def _prepare(home: Path, url: str | None, environment: Mapping[str, str]) -> None:
    for number in range(INSTANCES):
        Instance.at(home, f"instance-{number:02}").create()
    busy = Instance(BUSY, home / BUSY)
    if url is not None:
        save_settings(busy.config_file, {"database_url": url})
    for words in (("tenants", "add", TENANT), (TENANT, "accounts", "add", ACCOUNT, "--host", "sandbox")):
        subprocess.run([*program(), BUSY, *words], env=environment, check=True, capture_output=True)
    fill(url or busy.database, MESSAGES, PAST)


def _ask(words: tuple[str, ...], environment: Mapping[str, str]) -> float:
    """Ask once; milliseconds."""
    asked = {"_MAIL_PROXY_COMPLETE": "bash", "COMP_LINE": " ".join(["mail-proxy", *words])}
    begun = time.perf_counter()
    done = subprocess.run(
        program(), env={**environment, **asked}, capture_output=True, timeout=30, check=False
    )
    took = (time.perf_counter() - begun) * 1000
    if done.returncode != 0 or done.stderr:
        raise RuntimeError(f"{words}: exit {done.returncode}: {done.stderr.decode()[-500:]}")
    if not done.stdout and words[-1] != "zzz":
        raise RuntimeError(f"{words}: nothing is offered")
    return took
