"""Postfix's own sink, where it is installed: a yardstick that is not ours and costs next to nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.children import tethered

BACKLOG = 1024
STOP_TIMEOUT = 10.0
START_TIMEOUT = 10.0
_COUNT = re.compile(rb"mesg=(\d+)")


def find(name: str) -> str | None:
    """The path of smtp-sink or smtp-source, which lie where only root's PATH leads."""
    return shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    )


class SmtpSink:
    """``with SmtpSink(program, directory) as sink: sink.port, sink.messages()``."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._counters = directory / "smtp-sink"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [self._program, "-c", *user, f"127.0.0.1:{self.port}", str(BACKLOG)]
        with self._counters.open("wb") as counters:
            self._process = subprocess.Popen(tethered(command), stdout=counters)
        self._wait_until_it_listens()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)

    def messages(self) -> int:
        """How many messages it has taken so far."""
        with self._counters.open("rb") as counters:
            counters.seek(max(0, self._counters.stat().st_size - 200))
            counts = _COUNT.findall(counters.read())
        return int(counts[-1]) if counts else 0

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
