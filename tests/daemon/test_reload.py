"""``start --reload`` and ``serve --reload``: a server that starts anew when its files change."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mail_proxy.daemon.watching import Watch, changed, program
from tests.support.cli import PROGRAM, REPOSITORY, TIMEOUT, Cli
from tests.support.waiting import until

PACKAGES = ("mail_proxy", "cli/mail_proxy_cli", "repl/mail_proxy_repl")
VERSION = "mail_proxy/__init__.py"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the program, to be changed."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / "source" / Path(package).name)
    return tmp_path / "source"


@pytest.fixture
def cli(tmp_path: Path, source: Path) -> Iterator[Cli]:
    """The program of that copy."""
    made = Cli(tmp_path, {"PYTHONPATH": str(source)})
    yield made
    made.end_servers()


def version_at(port: int) -> str | None:
    """Which version answers there; None when nobody does."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", "/health")
            return str(json.loads(connection.getresponse().read())["version"])
        except (OSError, http.client.HTTPException):
            return None


def set_version(source: Path, version: str) -> None:
    (source / VERSION).write_text(f'"""The program."""\n\n__version__ = "{version}"\n')


def is_alive(pid: int) -> bool:
    """Whether a process is more than its remains."""
    return Path(f"/proc/{pid}/exe").exists()


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def test_the_server_starts_anew_at_each_change(cli: Cli, source: Path) -> None:
    """Of the source or the configuration; a broken file is waited out; to all others it is one server."""
    cli.ok("start", "a", "--reload")
    before = cli("status", "a", "--json").json()
    log = cli.home / "a" / "server.log"

    set_version(source, "9.9.1")
    until(lambda: version_at(before["port"]) == "9.9.1", "the changed program")

    (source / VERSION).write_text("broken(\n")
    until(lambda: "a change will start it again" in log.read_text(), "word of the broken file")
    assert "SyntaxError" in log.read_text()
    set_version(source, "9.9.2")
    until(lambda: version_at(before["port"]) == "9.9.2", "the mended program")

    (cli.home / "a" / "config.toml").write_text('log_format = "json"\n')
    until(lambda: '"event": "mail-proxy 9.9.2 answers' in log.read_text(), "the changed configuration")
    assert "config.toml changed: a new server starts" in log.read_text()

    until(lambda: version_at(before["port"]), "the last server")
    assert "dispatches and reports now" in cli.ok("a", "run-now")
    now = cli("status", "a", "--json").json()
    assert {name: now[name] for name in ("pid", "url", "state")} == {
        name: before[name] for name in ("pid", "url", "state")
    }
    assert log.read_text().count("stopped") == 3  # each of them in order
    servers = children(before["pid"])
    assert cli.ok("stop", "a") == "'a' has stopped\n"
    assert [pid for pid in (before["pid"], *servers) if is_alive(pid)] == []


def test_who_starts_it_is_told_that_it_does_not_start(cli: Cli, source: Path) -> None:
    """Nobody is left behind to wait for a change."""
    (source / "mail_proxy" / "daemon" / "dispatcher.py").write_text("broken(\n")
    done = cli("start", "a", "--reload")
    assert done.code == 1
    assert "did not start: unexpected: SyntaxError" in done.err
    assert cli("status", "a", "--json").json()["state"] == "stopped"


def test_killed_it_takes_its_server_with_it(cli: Cli) -> None:
    """When 'stop --force' returns, nobody serves the instance any more."""
    cli.ok("start", "a", "--reload")
    [server] = children(cli("status", "a", "--json").json()["pid"])
    assert cli.ok("stop", "a", "--force") == "'a' was killed\n"
    assert not is_alive(server)
    assert cli("status", "a", "--json").json()["state"] == "stopped"


def test_in_the_foreground_a_broken_start_is_waited_out(cli: Cli, source: Path) -> None:
    """The port stays the same, though any would do; SIGHUP reaches the server; SIGINT ends both."""
    broken = source / "mail_proxy" / "daemon" / "dispatcher.py"
    sound = broken.read_text()
    broken.write_text("broken(\n")
    pid_file = cli.home / "a" / "pid"
    command = [*PROGRAM, "serve", "a", "--port", "0", "--reload"]
    with subprocess.Popen(
        command, env=cli.environ, cwd=cli.root, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any("a change will start it again" in line for line in lines)
            broken.write_text(sound)
            until(pid_file.exists, "the server")
            port = json.loads(pid_file.read_text())["port"]
            set_version(source, "9.9.3")
            until(lambda: version_at(port) == "9.9.3", "the same port")
            os.kill(process.pid, signal.SIGHUP)
            assert any("configuration read anew" in line for line in lines)
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
    assert not pid_file.exists()


def test_a_change_is_a_file_written_made_or_removed(tmp_path: Path) -> None:
    """Of source files alone; what Python makes of them is none."""
    made, removed, written = (tmp_path / name for name in ("made.py", "removed.sql", "written.py"))
    removed.touch()
    written.touch()
    config = tmp_path / "elsewhere" / "config.toml"
    watch = Watch([tmp_path], [config])
    before = watch.look()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "other.py").touch()
    (tmp_path / ".written.py.swp").touch()
    assert changed(before, watch.look()) == []
    made.touch()
    removed.unlink()
    written.write_text("x = 1\n")
    config.parent.mkdir()
    config.touch()
    assert changed(before, watch.look()) == sorted([config, made, removed, written])


def test_the_programs_own_source_is_watched() -> None:
    """All three packages."""
    assert {path.name for path in program()} == {"mail_proxy", "mail_proxy_cli", "mail_proxy_repl"}
    names = {path.name for path in Watch(program(), []).look()}
    assert names >= {"reloading.py", "serving.py", "0001_foundation.sql"}
