"""Starting a server that outlives the terminal, and waiting until it answers."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mail_proxy.daemon.process import ServerInfo, running
from mail_proxy.errors import InstanceError, StartFailed
from mail_proxy.instance import Instance

PORTS_TRIED = 200

HEALTH_TIMEOUT = 5.0
END_TIMEOUT = 5.0
LOG_TAIL_BYTES = 8192
LOG_TAIL_LINES = 20

ERROR_LINE = "Error: "


def start_detached(
    instance: Instance,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    timeout: float = 30.0,
) -> ServerInfo:
    """Run ``mail-proxy serve <instance> <arguments>`` in its own session; wait until it is healthy.

    Raises StartFailed, with the last lines of the log, when it ends or does not answer in `timeout` seconds.
    """
    end = time.monotonic() + timeout
    log = _open_log(instance.log_file)
    log_start = os.fstat(log).st_size
    reader, writer = os.pipe()
    process = None
    try:
        try:
            with _interrupts_held_back():  # amid a spawn they would leave a process that nobody knows
                process = _spawn(instance, [*arguments, "--ready-fd", str(writer)], environ, writer, log)
        finally:
            os.close(writer)
            os.close(log)
        ready = _wait_ready(reader, end)
        info = running(instance) if ready else None
        if info is None or info.pid != process.pid or not _is_healthy(info, end):
            raise _failure(instance, process, timeout, log_start)
    except KeyboardInterrupt:
        if process is not None:
            _end(process)  # a start that was called off leaves nothing behind
        raise
    finally:
        os.close(reader)
    process.returncode = 0  # it outlives us on purpose: keep Popen from warning about that
    return info


def choose_free_port(host: str, preferred: int) -> int:
    """Find a port that can be bound on `host`: the preferred one, else the next free above it."""
    for port in range(preferred, min(preferred + PORTS_TRIED, 65536)):
        if is_free(host, port):
            return port
    raise InstanceError(f"no free port on {host} from {preferred} up: give one with --port")


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now. Raises InstanceError for a host that is not ours."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror as error:
        raise InstanceError(f"host '{host}': {error.strerror}") from error
    except OSError as error:
        return _judge_bind_error(host, port, error)
    return True


def _judge_bind_error(host: str, port: int, error: OSError) -> bool:

    if error.errno == errno.EADDRINUSE:
        return False
    if error.errno in (errno.EACCES, errno.EPERM):
        raise InstanceError(f"port {port} needs privileges: choose one above 1023 with --port") from error
    raise InstanceError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _spawn(
    instance: Instance, arguments: Sequence[str], environ: Mapping[str, str], ready_fd: int, log: int
) -> subprocess.Popen[bytes]:
    # -P: with "/" as working directory, nothing lying there may be imported.
    command = [sys.executable, "-P", "-m", "mail_proxy_cli", "serve", instance.name, *arguments]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=(ready_fd,),
        cwd="/",
        env=absolute_paths(environ, home=instance.directory.parent),
    )


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let an interrupt come at the end of the block; only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def absolute_paths(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Copy the environment so that it means the same in another working directory."""
    env = dict(environ)
    for key, value in environ.items():
        is_path = key == "GMP_DB_PATH" or (key.startswith(("GMP_", "MAIL_PROXY_")) and key.endswith("_FILE"))
        if is_path and value and "://" not in value:
            env[key] = str(Path(value).expanduser().absolute())
    env["MAIL_PROXY_HOME"] = str(home.absolute())
    if "PYTHONPATH" in environ:
        parts = environ["PYTHONPATH"].split(os.pathsep)
        env["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts)
    return env


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _wait_ready(reader: int, end: float) -> bool:
    """Wait for the server's word through the pipe; False when it ended without one, or in time said none."""
    left = max(0.0, end - time.monotonic())
    return bool(select.select([reader], [], [], left)[0]) and os.read(reader, 64) != b""


def _is_healthy(info: ServerInfo, end: float) -> bool:
    left = max(1.0, min(HEALTH_TIMEOUT, end - time.monotonic()))
    connection = http.client.HTTPConnection(info.connect_host, info.port, timeout=left)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _failure(
    instance: Instance, process: subprocess.Popen[bytes], timeout: float, log_start: int
) -> StartFailed:
    """Leave nothing half alive behind, and say what is known."""
    code = process.poll()
    if code is None:
        # The pipe closes a moment before the process is gone.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.5)
    if code is None:
        _end(process)
        why = f"it did not answer within {timeout:g} s"
    elif code < 0:
        why = f"it was ended by signal {-code}"
    else:
        why = f"it ended with exit code {code}"
    lines = _log_tail(instance.log_file, log_start)
    if lines and lines[-1].startswith(ERROR_LINE):  # the program's own word on why
        why = lines.pop().removeprefix(ERROR_LINE)
    return StartFailed(f"instance '{instance.name}' did not start: {why}", "\n".join(lines))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log_tail(path: Path, start: int) -> list[str]:
    """The last lines that were written to the log since it was `start` bytes long."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start if start <= size else 0, size - LOG_TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-LOG_TAIL_LINES:]
