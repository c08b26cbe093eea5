"""Who serves an instance: one process at most, found whatever a crash left behind, and ended in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mail_proxy.daemon.process import (
    ServerInfo,
    SignalBell,
    hold,
    is_locked,
    keep_stopped,
    last_port,
    running,
    stop,
)
from mail_proxy.errors import AlreadyRunning, InstanceError, NotRunning
from mail_proxy.instance import Instance
from tests.support.held_instance import PORT

ROOT = Path(__file__).parents[2]

Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance("a", tmp_path / "a")
    made.create()
    return made


@contextmanager
def _served(instance: Instance, manner: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.held_instance", str(instance.directory), manner]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert _line(process) == "held"
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def serve(instance: Instance) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda manner="graceful": stack.enter_context(_served(instance, manner))


def test_nothing_runs_in_a_new_instance(instance: Instance) -> None:
    """Asking about an instance that was never served leaves its directory as it is."""
    before = sorted(instance.directory.iterdir())
    assert running(instance) is None
    assert not is_locked(instance)
    assert sorted(instance.directory.iterdir()) == before


def test_a_running_server_is_found(instance: Instance, serve: Serve) -> None:
    """The pid file names the process and where it is reached from this machine."""
    process = serve()
    info = running(instance)
    assert info is not None
    assert (info.pid, info.host, info.port) == (process.pid, "0.0.0.0", PORT)
    assert info.url == f"http://127.0.0.1:{PORT}"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("mail.test", "http://mail.test:80"),
    ],
)
def test_the_url_is_one_that_can_be_opened(host: str, url: str) -> None:
    """Who listens on every address is reached on loopback."""
    assert ServerInfo(pid=1, start_time=0, host=host, port=80, started_at=0).url == url


def test_two_servers_on_one_instance_are_impossible(instance: Instance, serve: Serve) -> None:
    """The second one is told who was first."""
    first = serve()
    with pytest.raises(AlreadyRunning, match=rf"pid {first.pid}"), hold(instance):
        pass


def test_a_link_laid_where_the_pid_file_is_prepared_leads_nowhere(instance: Instance, tmp_path: Path) -> None:
    """In a directory that was open to others, it would let them choose a file to be overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    instance.pid_file.with_name("pid.new").symlink_to(precious)
    instance.pid_file.symlink_to(precious)
    with hold(instance) as lock:
        lock.announce("127.0.0.1", PORT)
        assert not instance.pid_file.is_symlink()
    assert precious.read_text() == "as it was"


def test_the_pid_file_is_private_and_gone_at_the_end(instance: Instance) -> None:
    """It is there, mode 0600, from the announcement to the end of the block."""
    with hold(instance) as lock:
        assert not instance.pid_file.exists()
        lock.announce("127.0.0.1", 8000)
        assert instance.pid_file.stat().st_mode & 0o777 == 0o600
        assert json.loads(instance.pid_file.read_text())["pid"] == os.getpid()
    assert not instance.pid_file.exists()


def test_a_server_that_is_still_starting_holds_the_instance(instance: Instance) -> None:
    """It counts as locked, and not yet as running."""
    with hold(instance):
        assert is_locked(instance)
        assert running(instance) is None


def test_announcing_wakes_whoever_waits(instance: Instance) -> None:
    """The pipe given to the server carries one line, then closes."""
    reader, writer = os.pipe()
    with hold(instance, writer) as lock:
        lock.announce("127.0.0.1", 8000)
        assert os.read(reader, 64) == b"ready\n"
        assert os.read(reader, 64) == b""
    os.close(reader)


def test_after_a_crash_the_instance_is_free(instance: Instance, serve: Serve) -> None:
    """A pid file is left by kill -9; it is recognised as stale and removed."""
    process = serve()
    process.kill()
    process.wait()
    assert instance.pid_file.exists()
    assert running(instance) is None
    assert not instance.pid_file.exists()


def test_a_reused_pid_is_not_taken_for_the_server(instance: Instance) -> None:
    """A pid file naming a living process that does not hold the lock is stale."""
    instance.pid_file.write_text(
        json.dumps({"pid": os.getppid(), "start_time": 1.0, "host": "h", "port": 1, "started_at": 1.0})
    )
    assert running(instance) is None
    assert not instance.pid_file.exists()


def test_a_server_out_of_sight_is_not_signalled(instance: Instance) -> None:
    """When the lock is held but the pid is another process here, nobody is hurt."""
    with hold(instance) as lock:
        lock.announce("127.0.0.1", 8000)
        told = json.loads(instance.pid_file.read_text())
        instance.pid_file.write_text(json.dumps({**told, "start_time": told["start_time"] - 3600}))
        with pytest.raises(InstanceError, match="cannot be seen from here"):
            stop(instance)


@pytest.mark.parametrize("content", ["", "{", "[]", "1234\n", '{"pid": "x"}'])
def test_a_damaged_pid_file_is_no_server(instance: Instance, content: str) -> None:
    """Whatever lies in the file, the lock decides."""
    instance.pid_file.write_text(content)
    assert running(instance) is None


def test_stop_lets_the_server_end_by_itself(instance: Instance, serve: Serve) -> None:
    """SIGTERM is enough for one that drains, and nothing is said."""
    process = serve()
    said: list[str] = []
    assert stop(instance, timeout=30, warn=said.append)
    assert process.wait() == 0
    assert said == []
    assert running(instance) is None


def test_stop_says_what_it_will_do_before_it_kills(instance: Instance, serve: Serve) -> None:
    """A server that does not end in time is killed, after a warning that names it."""
    process = serve("stubborn")
    said: list[str] = []
    assert not stop(instance, timeout=0.1, warn=said.append)
    assert process.wait() == -signal.SIGKILL
    assert len(said) == 1
    assert f"pid {process.pid}" in said[0]
    assert "SIGKILL" in said[0]
    assert not instance.pid_file.exists()


def test_stop_by_force_kills_at_once(instance: Instance, serve: Serve) -> None:
    """--force asks for no drain and gives no warning."""
    process = serve()
    said: list[str] = []
    assert not stop(instance, force=True, warn=said.append)
    assert process.wait() == -signal.SIGKILL
    assert said == []


def test_stopping_what_does_not_run_is_refused(instance: Instance) -> None:
    """There is nothing to stop in a stopped instance."""
    with pytest.raises(NotRunning, match="'a' is not running"):
        stop(instance)


async def test_the_bell_reaches_the_running_server(instance: Instance, serve: Serve) -> None:
    """Ringing is one signal to the validated process."""
    process = serve()
    await SignalBell(instance).ring()
    assert _line(process) == "rung"


async def test_the_bell_is_silent_without_a_server(instance: Instance) -> None:
    """Ringing is a hint: where nobody listens nothing happens, and nothing is left behind."""
    before = sorted(instance.directory.iterdir())
    await SignalBell(instance).ring()
    assert sorted(instance.directory.iterdir()) == before


def test_the_port_is_remembered(instance: Instance, serve: Serve) -> None:
    """After a stop, or a crash, it is known where clients will look again."""
    assert last_port(instance) is None
    serve().kill()
    assert last_port(instance) == PORT


def test_a_running_instance_cannot_be_kept_stopped(instance: Instance, serve: Serve) -> None:
    """What needs a stopped instance is refused while it runs."""
    serve()
    with pytest.raises(AlreadyRunning, match="mail-proxy stop a"), keep_stopped(instance):
        pass


def test_no_server_starts_in_an_instance_kept_stopped(instance: Instance) -> None:
    """The one who deletes a directory does not meet a server in it."""
    with keep_stopped(instance), pytest.raises(AlreadyRunning), hold(instance):
        pass
