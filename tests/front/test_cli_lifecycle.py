"""Starting, finding, stopping and deleting instances, with the real program and real servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.cli import PROGRAM, TIMEOUT, Cli, Json


def status(cli: Cli, name: str = "a") -> Json:
    return cli("status", name, "--json").json()


def health(port: int) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status


@contextmanager
def taken_port(port: int = 0) -> Iterator[int]:
    """Listen on a port, so that nobody else can."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", port))
            other.listen()
        except OSError:  # somebody else has it: just as well
            yield port
        else:
            yield int(other.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An instance 'a' that runs; these tests leave it running."""
    cli = Cli(tmp_path_factory.mktemp("served"))
    cli.ok("start", "a")
    yield cli
    cli.end_servers()


def test_start_makes_an_instance_and_waits_until_it_answers(cli: Cli) -> None:
    """One command, and there is a server at the address it prints."""
    out = cli.ok("start", "a")
    found = status(cli)
    assert found["running"]
    assert f"made instance 'a' in {cli.home / 'a'}" in out
    assert f"'a' is running: {found['url']} (pid {found['pid']})" in out
    assert health(found["port"]) == 200
    assert (cli.home / "a").stat().st_mode & 0o777 == 0o700
    files = [path for path in (cli.home / "a").iterdir() if path.is_file()]
    assert {path.name for path in files} >= {
        "config.toml",
        "token",
        "encryption.key",
        "mail_service.db",
        "pid",
    }
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_the_server_is_detached(served: Cli) -> None:
    """It leads a session of its own, in the root directory, and its secrets are on no command line."""
    pid = status(served)["pid"]
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert (served.home / "a" / "token").read_text() not in Path(f"/proc/{pid}/cmdline").read_text()


def test_starting_what_runs_says_so(served: Cli) -> None:
    """It is no failure, and no second server."""
    before = status(served)
    done = served("start", "a")
    assert done.code == 0
    assert f"'a' is already running: {before['url']} (pid {before['pid']})" in done.out
    assert status(served)["pid"] == before["pid"]


def test_a_second_server_is_refused(served: Cli) -> None:
    """Two servers on one directory are impossible."""
    done = served("serve", "a")
    assert done.code == 1
    assert done.err.startswith(f"Error: instance 'a' is already being served (pid {status(served)['pid']}, ")
    assert len(done.err.splitlines()) == 1


def test_list_shows_what_runs(served: Cli) -> None:
    """A line for each instance, the same names in JSON."""
    served.instance("b")
    rows = served("list", "--json").json()
    assert [(row["name"], row["state"], row["database"]) for row in rows] == [
        ("a", "running", "sqlite"),
        ("b", "stopped", "sqlite"),
    ]
    assert rows[0]["pid"] == status(served)["pid"]
    assert rows[1]["pid"] is None
    lines = served.ok("ls").splitlines()
    assert lines[0].split() == ["name", "state", "host", "port", "pid", "uptime", "database"]
    assert lines[1].split()[:3] == ["a", "running", "127.0.0.1"]


def test_a_running_instance_is_not_deleted(served: Cli) -> None:
    """Not even by force."""
    done = served("delete", "a", "--force")
    assert (done.code, done.err) == (1, "Error: instance 'a' is running: mail-proxy stop a\n")


def test_run_now_reaches_the_server(served: Cli) -> None:
    """Over its API, with the instance's token."""
    assert "dispatches and reports now" in served.ok("a", "run-now")


def test_a_foreign_token_is_told(served: Cli) -> None:
    """The server's refusal is put into words that help."""
    done = served("a", "run-now", env={"GMP_API_TOKEN": "another"})
    assert done.code == 1
    assert "was it started with another GMP_API_TOKEN?" in done.err


def test_stop_and_what_is_said_of_the_stopped(cli: Cli) -> None:
    """Stopping ends the process in order; doing it again is no failure."""
    cli.ok("start", "a")
    pid = status(cli)["pid"]
    assert cli.ok("stop", "a") == "'a' has stopped\n"
    assert not Path(f"/proc/{pid}/exe").exists()
    assert not (cli.home / "a" / "pid").exists()
    assert cli.ok("stop", "a") == "'a' is not running\n"
    assert status(cli)["state"] == "stopped"
    done = cli("a", "run-now")
    assert (done.code, done.err) == (1, "Error: instance 'a' is not running: mail-proxy start a\n")


def test_restart_serves_at_the_same_place(cli: Cli) -> None:
    """A new process where clients know the old one to be."""
    cli.ok("start", "a")
    before = status(cli)
    cli.ok("restart", "a")
    after = status(cli)
    assert after["url"] == before["url"]
    assert after["pid"] != before["pid"]


@pytest.mark.parametrize("fault", ["configuration", "key"])
def test_restart_does_not_stop_what_could_not_start_again(cli: Cli, fault: str) -> None:
    """A mistake that waits for the next start does not end the server that still works."""
    cli.ok("start", "a")
    before = status(cli)["pid"]
    if fault == "configuration":
        config = cli.home / "a" / "config.toml"
        config.write_text(config.read_text() + "prot = 1\n")
    else:
        (cli.home / "a" / "encryption.key").write_text(cli.ok("generate-key"))
    done = cli("restart", "a")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: 'a' is left running, since it could not start again: ")
    assert len(done.err.splitlines()) == 1
    assert Path(f"/proc/{before}/exe").exists()


def test_after_a_crash_it_starts_where_it_was(cli: Cli) -> None:
    """What kill -9 leaves behind is recognised, and the port stays the same though it was nobody's wish."""
    with taken_port(8000):
        cli.ok("start", "a")
    before = status(cli)
    os.kill(before["pid"], signal.SIGKILL)
    while Path(f"/proc/{before['pid']}/exe").exists():
        pass
    assert status(cli)["state"] == "stopped"
    cli.ok("start", "a")
    assert status(cli)["port"] == before["port"]


def test_the_next_free_port(cli: Cli) -> None:
    """The default port, when it is taken, is not insisted on."""
    with taken_port(8000):
        cli.ok("start", "a")
    assert status(cli)["port"] > 8000


def test_a_port_asked_for_is_kept(cli: Cli) -> None:
    """It lands in config.toml, and counts the next time."""
    with taken_port() as port:
        pass
    cli.ok("start", "a", "--port", str(port))
    assert status(cli)["port"] == port
    assert (cli.home / "a" / "config.toml").read_text() == f"port = {port}\n"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_taken_port_asked_for_is_refused(cli: Cli, how: str) -> None:
    """One line says so, and nothing is left behind."""
    with taken_port() as port:
        if how == "option":
            done = cli("start", "a", "--port", str(port))
        else:
            done = cli("start", "a", env={"GMP_PORT": str(port)})
    assert done.code == 1
    assert done.err.startswith(f"Error: port {port} on 127.0.0.1 is taken")
    assert len(done.err.splitlines()) == 1
    assert not (cli.home / "a").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--database-url", "postgresql://u:secret@h/d"), 2, "give it as GMP_DATABASE_URL, "),
        (("--database-url", "mysql://u@h/d"), 2, "postgresql://user@host"),
        (("--port", "70000"), 2, "70000"),
        (("--host", "no.such.host.invalid"), 1, "no.such.host.invalid"),
        (("--host", "192.0.2.1"), 1, "cannot listen on 192.0.2.1"),
        (("--api-token", ""), 2, "at least one character"),
    ],
)
def test_options_that_cannot_be(cli: Cli, options: tuple[str, ...], code: int, said: str) -> None:
    """They are refused in one line before anything is made, and no password is repeated."""
    done = cli("start", "a", *options)
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert said in done.err
    assert "secret@" not in done.err
    assert not (cli.home / "a").exists()


def test_an_api_token_given_is_the_instances(cli: Cli) -> None:
    """It is kept in the 0600 file, so that commands know it."""
    cli.ok("start", "a", "--api-token", "sesame")
    assert cli.ok("a", "token") == "sesame\n"
    cli.ok("a", "run-now")
    assert "sesame" not in (cli.home / "a" / "config.toml").read_text()


def test_a_start_that_fails_says_why(cli: Cli) -> None:
    """What the server gave as its reason is the one line that is shown."""
    instance = cli.instance("a")
    instance.database.write_bytes(b"this is not a database" * 100)
    instance.database.chmod(0o600)
    done = cli("start", "a")
    said = f"Error: instance 'a' did not start: database {instance.database} is not a SQLite database\n"
    assert (done.code, done.err) == (1, said)
    assert status(cli)["state"] == "stopped"


def test_a_start_that_fails_shows_the_end_of_the_log(cli: Cli) -> None:
    """What the server said besides, before it ended, is shown as well."""
    instance = cli.instance("a")
    instance.token_file.chmod(0o644)
    instance.database.mkdir()
    done = cli("start", "a")
    lines = done.err.splitlines()
    assert done.code == 1
    assert lines[0].startswith("Error: instance 'a' did not start: ")
    assert any("WARNING" in line and "was open to others" in line for line in lines[1:])
    assert "Traceback" not in done.err


def test_a_wrong_key_is_told(cli: Cli) -> None:
    """A server that could not read its secrets does not start."""
    cli.instance("a")
    cli.ok("a", "info")
    key = cli.ok("generate-key").strip()
    done = cli("start", "a", env={"MAIL_PROXY_ENCRYPTION_KEY": key})
    assert done.code == 1
    assert "MAIL_PROXY_ENCRYPTION_KEY" in done.err
    assert "is not the one that database" in done.err


def test_two_starts_at_once_make_one_server(cli: Cli) -> None:
    """Both succeed, and both tell of the same process."""
    commands = [
        subprocess.Popen(
            [*PROGRAM, "start", "a"],
            env=cli.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [command.communicate(timeout=TIMEOUT) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], said
    assert all(f"(pid {status(cli)['pid']})" in out for out, _err in said)


def test_instances_that_start_at_once_do_not_share_a_port(cli: Cli) -> None:
    """Each gets one of its own, though all have looked at the same moment."""
    commands = [
        subprocess.Popen([*PROGRAM, "start", name], env=cli.environ, stdout=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    assert [(command.communicate(timeout=TIMEOUT), command.returncode)[1] for command in commands] == [
        0,
        0,
        0,
    ]
    assert len({row["port"] for row in cli("list", "--json").json() if row["state"] == "running"}) == 3


@pytest.mark.parametrize("moments", [0, 1, 2, 4, 8, 16, 32])
def test_a_start_that_is_called_off(cli: Cli, moments: int) -> None:
    """Ctrl+C while waiting leaves no server behind, not even one that was about to be spawned."""
    with subprocess.Popen([*PROGRAM, "start", "a"], env=cli.environ, stderr=subprocess.PIPE) as command:
        log = cli.home / "a" / "server.log"
        while not log.exists():
            assert command.poll() is None
        time.sleep(moments / 1000)
        command.send_signal(signal.SIGINT)
        assert command.wait(TIMEOUT) == 130
    assert processes_at(cli.home) == []
    assert status(cli)["state"] == "stopped"


def processes_at(home: Path) -> list[list[str]]:
    """The command lines of all that run in this home."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is not ours
            if process.environ().get("MAIL_PROXY_HOME") == str(home):
                found.append(process.cmdline())
    return found


def test_a_relative_home(cli: Cli) -> None:
    """The detached server works in another directory, and still in the same home."""
    cli.environ["MAIL_PROXY_HOME"] = "home"
    assert cli("start", "a").code == 0
    assert status(cli)["running"]
    assert (cli.root / "home" / "a" / "pid").exists()


def test_all_are_stopped(cli: Cli) -> None:
    """Those that run, and no word of the others."""
    cli.ok("start", "a")
    cli.ok("start", "b")
    cli.instance("c")
    assert sorted(cli.ok("stop", "--all").splitlines()) == ["'a' has stopped", "'b' has stopped"]
    assert cli.ok("stop", "--all") == cli.ok("restart", "--all") == "no instance is running\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", [("start", "a", "--foreground"), ("serve", "a"), ("serve",)])
def test_in_the_foreground(cli: Cli, words: tuple[str, ...], number: signal.Signals) -> None:
    """The server stays in its terminal until it is told to stop, and ends well."""
    environ = cli.environ | {"GMP_INSTANCE_NAME": "a", "GMP_PORT": "0"}
    with subprocess.Popen([*PROGRAM, *words], env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("answers on 127.0.0.1 port" in line for line in lines)
        assert status(cli)["pid"] == process.pid
        process.send_signal(number)
        process.stderr.read()
        assert process.wait(TIMEOUT) == 0
    assert not (cli.home / "a" / "pid").exists()


def test_delete_asks(cli: Cli) -> None:
    """Without a terminal and without --force nothing is deleted."""
    cli.instance("a")
    done = cli("delete", "a")
    assert done.code == 2
    assert "--force" in done.err
    assert (cli.home / "a").exists()
    assert cli.ok("delete", "a", "--force") == "deleted 'a'\n"
    assert not (cli.home / "a").exists()
    assert cli("list", "--json").json() == []


def test_a_damaged_instance_does_not_hide_the_others(cli: Cli) -> None:
    """The list shows them all, and status tells what is wrong."""
    cli.instance("a").config_file.write_text("port = [")
    cli.instance("b")
    rows = cli("list", "--json").json()
    assert [(row["name"], row["database"]) for row in rows] == [("a", "?"), ("b", "sqlite")]
    assert "config.toml" in rows[0]["error"]
    assert "config.toml" in cli.ok("status", "a")


def test_an_empty_home(cli: Cli) -> None:
    """The list says how to begin."""
    done = cli("list")
    assert (done.code, done.out) == (0, "")
    assert "mail-proxy start" in done.err
    assert json.loads(cli.ok("list", "--json")) == []
