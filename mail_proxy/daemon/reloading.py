"""A server that starts anew when a file changes: for those who work on it (``--reload``).

This process holds the instance's lock and is the one that the pid file names. The server is its child, which
loads the source afresh; signals pass through to it. One that a broken file keeps from starting is started
again at the next change.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from mail_proxy.daemon.process import ServerLock
from mail_proxy.daemon.watching import Seen, Watch, changed

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the files."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1)

_SHOWN = 3


class Tether:
    """A server's line to the process that supervises it: tells it where it listens, and ends with it."""

    def __init__(self, descriptor: int) -> None:
        self._line = socket.socket(fileno=descriptor)
        self._line.set_inheritable(False)

    def __enter__(self) -> Self:
        # From now on a command may send the wake-up signal, whose default is to kill.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        threading.Thread(target=self._end_with_it, name="tether", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The process ends now, and the line with it."""

    def announce(self, host: str, port: int) -> None:
        self._line.sendall(json.dumps({"host": host, "port": port}).encode() + b"\n")

    def _end_with_it(self) -> None:
        """Wait for the end of the line: whoever holds the lock is gone, and killed rather than stopped."""
        with contextlib.suppress(OSError):
            self._line.recv(1)
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Supervisor:
    """Keeps a server running: ``mail-proxy serve <instance> <arguments>``.

    `keeps_port`: the first server takes any free port, those after it the same. `is_awaited`: somebody waits
    for the first server, and is told when it does not start. `reopen_log` is called before something is
    written to the log.
    """

    lock: ServerLock
    arguments: Sequence[str]
    environ: Mapping[str, str]
    watch: Watch
    keeps_port: bool
    is_awaited: bool
    reopen_log: Callable[[], None]
    _port: int | None = None
    _stops: int = 0

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code is that of the last server."""
        with _Heard() as heard:
            while True:
                seen = self.watch.look()  # before the start: what changes meanwhile is new to it
                with self._started() as server:
                    news = self._attend(server, heard, seen)
                    code = self._end(server, heard)
                if self._stops or (code == 0 and not news):
                    return code
                if self.is_awaited and self._port is None:
                    return code
                if not news:
                    self._say("the server ended with exit code %d: a change will start it again", code)
                    news = self._await_change(heard, seen)
                    if not news:
                        return 0
                self._say("%s: a new server starts", _told(news))

    def _attend(self, server: _Server, heard: _Heard, seen: Seen) -> list[Path]:
        """Watch over a server until a file changes; of none when it has ended, or is to stop."""
        while server.is_running:
            for number in heard.wait(INTERVAL, server.line):
                self._hear(number, server)
            if self._stops:
                return []
            if (place := server.announced()) is not None:
                self._port = place[1]
                self.lock.announce(*place)
            if news := changed(seen, self.watch.look()):
                return news
        return []

    def _await_change(self, heard: _Heard, seen: Seen) -> list[Path]:
        """Without a server, wait until a file changes; none says that it is to stop."""
        while not self._stops:
            for number in heard.wait(INTERVAL):
                self._hear(number, None)
            if news := changed(seen, self.watch.look()):
                return news
        return []

    def _end(self, server: _Server, heard: _Heard) -> int:
        """Let it finish what it is sending, however long that takes; a further signal ends it at once."""
        server.stop()
        while server.is_running:
            for number in heard.wait(INTERVAL):
                self._hear(number, server)
        return server.exit_code

    def _hear(self, number: signal.Signals, server: _Server | None) -> None:
        if number in STOP_SIGNALS:
            self._stops += 1
            if server is not None:
                if self._stops > 1:
                    server.send(number)
                else:
                    server.stop()
        elif number in PASSED_ON and server is not None:
            server.pass_on(number)

    @contextlib.contextmanager
    def _started(self) -> Iterator[_Server]:
        ours, theirs = socket.socketpair()
        arguments = list(self.arguments)
        if self.keeps_port and self._port is not None:
            arguments += ["--port", str(self._port)]
        self.reopen_log()
        name = self.lock.instance.name
        with theirs:
            # -P: nothing lying in the working directory may be imported.
            command = [sys.executable, "-P", "-m", "mail_proxy_cli", "serve", name, *arguments]
            process = subprocess.Popen(
                [*command, "--supervisor-fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=dict(self.environ),
                # With the lock in its hands nobody else serves until it, too, is gone.
                pass_fds=(theirs.fileno(), self.lock.descriptor),
                process_group=0,  # Ctrl+C comes to this process, which passes it on
            )
        try:
            yield _Server(process, ours)
        finally:
            ours.close()  # the end of one that still runs
            process.wait()

    def _say(self, text: str, *values: object) -> None:
        self.reopen_log()
        log.warning(text, *values)


class _Server:
    """The child."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self._process = process
        self._received = b""
        self._is_told = False
        self._is_up = False
        self._held: set[signal.Signals] = set()
        self.line: socket.socket | None = line
        line.setblocking(False)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int:
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def announced(self) -> tuple[str, int] | None:
        """Where it listens, once, when it has said so."""
        if self.line is None:
            return None
        try:
            came = self.line.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            came = b""
        if not came:
            self.line = None  # it is about to end
            return None
        self._received += came
        if not self._received.endswith(b"\n"):
            return None
        place = json.loads(self._received)
        self._received = b""
        self._is_up = True
        for number in self._held:
            self.send(number)
        return str(place["host"]), int(place["port"])

    def stop(self) -> None:
        """Tell it once to stop."""
        if not self._is_told:
            self._is_told = True
            self.send(signal.SIGTERM)

    def pass_on(self, number: signal.Signals) -> None:
        """Send it a signal, as soon as it would not die of it."""
        if self._is_up:
            self.send(number)
        else:
            self._held.add(number)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


class _Heard:
    """Collects the signals that come to this process, for the length of a block."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, *PASSED_ON, signal.SIGCHLD):
            signal.signal(number, _only_wake)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (*STOP_SIGNALS, *PASSED_ON):
            signal.signal(number, signal.SIG_IGN)  # this process is about to end
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(self._before)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float, line: socket.socket | None = None) -> list[signal.Signals]:
        """Wait for signals, or for something on the line."""
        awaited = [self._reader] if line is None else [self._reader, line]
        select.select(awaited, [], [], seconds)
        try:
            return [signal.Signals(number) for number in self._reader.recv(4096)]
        except BlockingIOError:
            return []


def _only_wake(_number: int, _frame: FrameType | None) -> None:
    """Python writes the number to the wake-up descriptor."""


def _told(news: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in news[:_SHOWN])
    more = f" and {len(news) - _SHOWN} more" if len(news) > _SHOWN else ""
    return f"{names}{more} changed"
