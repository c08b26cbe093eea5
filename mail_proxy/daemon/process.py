"""The server as a process: one per instance directory, found, started, signalled and stopped.

The lock decides whether a server runs: it is held for life on the file ``lock`` of the directory, and
the kernel lets go of it however the process ends. The file ``pid`` only says who holds it and where it
listens; it is believed when the process it names began when it says (a pid alone may have been reused).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

from mail_proxy.errors import AlreadyRunning, InstanceError, NotRunning
from mail_proxy.files import read_small, write_private
from mail_proxy.instance import Instance

LOCK_FILE = "lock"

# A process's start time is reckoned from the machine's boot time, which a correction of the clock moves.
START_TIME_TOLERANCE = 2.0

# Whoever asks whether a server runs holds the lock, shared, for a moment; a starting server waits that out.
LOCK_PATIENCE = 2.0

KILL_WAIT = 10.0
POLL = 0.05

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """A running server, as its pid file tells. Times are Unix seconds; `host` is what it was bound to."""

    pid: int
    start_time: float
    host: str
    port: int
    started_at: float

    @property
    def connect_host(self) -> str:
        """The address under which this machine reaches the server."""
        return EVERY_ADDRESS.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = self.connect_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Announcer(Protocol):
    """Whom a server tells where it listens, once it answers."""

    def announce(self, host: str, port: int) -> None: ...


class ServerLock:
    """The right to serve an instance; `announce` tells the world where, once the server answers."""

    def __init__(self, instance: Instance, descriptor: int, ready_fd: int | None) -> None:
        self.instance = instance
        self._descriptor = descriptor
        self._ready_fd = ready_fd

    @property
    def descriptor(self) -> int:
        """Of the file that is locked: a process that is given it holds the lock, too."""
        return self._descriptor

    def announce(self, host: str, port: int) -> None:
        """Write the pid file and wake whoever started this process and waits."""
        info = ServerInfo(
            pid=os.getpid(),
            start_time=_start_time(os.getpid()) or 0.0,
            host=host,
            port=port,
            started_at=time.time(),
        )
        _write_pid_file(self.instance.pid_file, info)
        _remember_port(self._descriptor, port)
        if self._ready_fd is not None:
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(self._ready_fd, b"ready\n")
            os.close(self._ready_fd)
            self._ready_fd = None

    def release(self) -> None:
        """Remove the pid file and let go of the lock."""
        self.instance.pid_file.unlink(missing_ok=True)
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None
        os.close(self._descriptor)


@contextlib.contextmanager
def hold(instance: Instance, ready_fd: int | None = None) -> Iterator[ServerLock]:
    """Be the server of `instance` for the length of the block; raises AlreadyRunning.

    `ready_fd` is the writing end of a pipe to the process that waits for this one.
    """
    # From the pid file on, a command may send the wake-up signal, whose default is to kill.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    descriptor = _lock(instance, fcntl.LOCK_EX)
    if descriptor is None:
        info = _read_pid_file(instance.pid_file)
        where = f" (pid {info.pid}, {info.url})" if info else ""
        raise AlreadyRunning(f"instance '{instance.name}' is already being served{where}")
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)
    lock = ServerLock(instance, descriptor, ready_fd)
    try:
        yield lock
    finally:
        lock.release()


def running(instance: Instance) -> ServerInfo | None:
    """Find the server of `instance`; a pid file left behind by a crash is removed on the way.

    A server that has not announced itself yet does not count. Raises InstanceError when one holds the
    lock that cannot be seen from here.
    """
    if not is_locked(instance):
        return None
    info = _read_pid_file(instance.pid_file)
    if info is not None and not _is_alive(info):
        raise InstanceError(
            f"instance '{instance.name}' is served by a process that cannot be seen from here "
            f"(pid {info.pid} there): use the machine or container it runs in"
        )
    return info


def is_locked(instance: Instance) -> bool:
    """Tell whether a server holds the instance, be it still starting; removes a pid file left behind."""
    if not (instance.directory / LOCK_FILE).exists() and not instance.pid_file.exists():
        return False  # never served: leave the directory as it is
    descriptor = _lock(instance, fcntl.LOCK_SH)
    if descriptor is None:
        return True
    # With the lock in hand no server can be writing the file: what lies there is stale.
    instance.pid_file.unlink(missing_ok=True)
    os.close(descriptor)
    return False


@contextlib.contextmanager
def keep_stopped(instance: Instance) -> Iterator[None]:
    """Bar any server from `instance` for the length of the block; raises AlreadyRunning."""
    descriptor = _lock(instance, fcntl.LOCK_EX)
    if descriptor is None:
        raise AlreadyRunning(f"instance '{instance.name}' is running: mail-proxy stop {instance.name}")
    try:
        yield
    finally:
        os.close(descriptor)


def last_port(instance: Instance) -> int | None:
    """Tell where the instance was served last, so that a restart finds its clients again."""
    try:
        return int(read_small(instance.directory / LOCK_FILE))
    except (OSError, ValueError):
        return None


def stop(
    instance: Instance,
    *,
    timeout: float = 30.0,
    force: bool = False,
    warn: Callable[[str], None] = lambda _line: None,
) -> bool:
    """End the server of `instance`; False says that it had to be killed. Raises NotRunning.

    SIGTERM lets it drain for `timeout` seconds; then `warn` says that it is about to be killed.
    `force` kills at once.
    """
    info = running(instance)
    if info is None:
        raise NotRunning(f"instance '{instance.name}' is not running")
    with _Process(instance, info) as process:
        if not force:
            process.send(signal.SIGTERM)
            if process.wait(timeout):
                return True
            warn(
                f"'{instance.name}' (pid {info.pid}) has not finished within {timeout:g} s: ending it with "
                "SIGKILL; what is in its final SMTP step may be sent again"
            )
        process.send(signal.SIGKILL)
        if not process.wait(KILL_WAIT):
            raise InstanceError(f"'{instance.name}' (pid {info.pid}) does not end, not even by SIGKILL")
        end = time.monotonic() + KILL_WAIT
        while is_locked(instance) and time.monotonic() < end:  # a server with a supervisor ends after that
            time.sleep(POLL)
    running(instance)  # removes the pid file that a killed server leaves
    return False


def notify(instance: Instance, number: signal.Signals) -> bool:
    """Send a signal to the running server of `instance`; False if there is none."""
    try:
        info = running(instance)
        if info is None:
            return False
        with _Process(instance, info) as process:
            process.send(number)
    except InstanceError:
        return False
    return True


class SignalBell:
    """Wakes the dispatcher of the instance's server, if one runs here: a hint, never needed for truth."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    async def ring(self, *, run_now: bool = False) -> None:  # noqa: ARG002 - a signal says only "look"
        notify(self._instance, signal.SIGUSR1)


class _Process:
    """A handle on a server's process that cannot come to mean another one."""

    def __init__(self, instance: Instance, info: ServerInfo) -> None:
        self._info = info
        self._handle: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._handle = os.pidfd_open(info.pid)
            except ProcessLookupError:
                raise NotRunning(f"instance '{instance.name}' is not running") from None
            except OSError:  # a kernel, or a sandbox, without it
                self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def send(self, number: signal.Signals) -> None:
        if not _is_alive(self._info):  # looked at after the handle was taken: no other can slip in between
            return
        try:
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, number)
            else:
                os.kill(self._info.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise InstanceError(
                f"pid {self._info.pid} belongs to another user: run the command as that user"
            ) from None

    def wait(self, timeout: float) -> bool:
        """Wait until the process has ended, at most `timeout` seconds."""
        if self._handle is not None:
            return bool(select.select([self._handle], [], [], timeout)[0])
        end = time.monotonic() + timeout
        while _is_alive(self._info):
            if time.monotonic() >= end:
                return False
            time.sleep(POLL)
        return True


def _lock(instance: Instance, kind: int) -> int | None:
    """Take the instance's lock; None when a server (for LOCK_EX: or a persistent asker) has it."""
    path = instance.directory / LOCK_FILE
    end = time.monotonic() + LOCK_PATIENCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _try_flock(descriptor, kind):
                if _is_file(path, descriptor):
                    return descriptor
            elif (
                kind == fcntl.LOCK_SH or not _try_flock(descriptor, fcntl.LOCK_SH) or time.monotonic() >= end
            ):
                os.close(descriptor)
                return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(POLL / 5)


def _try_flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(path: Path, descriptor: int) -> bool:
    """Tell whether `path` still is the opened file, and not another since the directory was deleted."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remember_port(descriptor: int, port: int) -> None:
    text = str(port).encode("ascii")
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _write_pid_file(path: Path, info: ServerInfo) -> None:
    # In one step, so that no reader meets half of it, and by a name that nobody can have laid a link under.
    write_private(path, json.dumps(asdict(info)) + "\n")


def _read_pid_file(path: Path) -> ServerInfo | None:
    try:
        data = json.loads(read_small(path))
        return ServerInfo(
            pid=int(data["pid"]),
            start_time=float(data["start_time"]),
            host=str(data["host"]),
            port=int(data["port"]),
            started_at=float(data["started_at"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _start_time(pid: int) -> float | None:
    """When the process began, in Unix seconds; None if there is none, or only its remains."""
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _is_alive(info: ServerInfo) -> bool:
    began = _start_time(info.pid)
    return began is not None and abs(began - info.start_time) <= START_TIME_TOLERANCE
