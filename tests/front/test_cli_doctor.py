"""``doctor``: what is wrong is told, with what to do about it; never a traceback, and nothing is changed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.encryption import KEY_VARIABLE, generate_key
from tests.support.cli import Cli, Json, QuickCli, Result
from tests.support.dns_server import HOST, DnsServer
from tests.support.everything import PAGE
from tests.support.smtp_server import SmtpServer
from tests.support.terminal import Terminal

OFFLINE = ("--no-logins", "--no-dns")
RANKS = ("ok", "note", "warning", "failure")
KEYS = {"instance", "topic", "check", "subject", "level", "found", "advice"}


@pytest.fixture
def a(quick: QuickCli) -> QuickCli:
    """A stopped instance 'a', with a database, and tenant acme."""
    quick.instance("a").config_file.chmod(0o600)
    (quick.home / "a" / "config.toml").write_text("port = 0\n")
    quick.ok("a", "tenants", "add", "acme")
    return quick


def findings(done: Result) -> list[Json]:
    """All that was found; the exit code says whether there is a failure."""
    assert done.err == ""
    told = json.loads(done.out)
    found: list[Json] = told["findings"]
    assert all(each.keys() == KEYS for each in found)
    assert told["level"] == max((each["level"] for each in found), key=RANKS.index)
    assert done.code == int(told["level"] == "failure")
    return found


def look(cli: Cli, *words: str | Path) -> dict[str, list[tuple[str, str]]]:
    """Level and text of each finding of instance 'a', by what was checked."""
    found: dict[str, list[tuple[str, str]]] = {}
    for each in findings(cli("doctor", "a", *OFFLINE, "--json", *words)):
        if each["instance"] == "a":
            found.setdefault(each["check"], []).append((each["level"], each["found"]))
    return found


def files(directory: Path) -> dict[str, tuple[int, bytes]]:
    """What lies there: modes and contents."""
    return {
        str(path): (path.stat().st_mode, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def execute(cli: Cli, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(cli.home / "a" / "mail_service.db")) as raw, raw:
        return raw.execute(sql).fetchall()


def test_a_sound_instance(a: QuickCli) -> None:
    """Each thing that was looked at is told, and nothing is changed."""
    before = files(a.home)
    found = look(a)
    assert {name: {level for level, _ in each} for name, each in found.items()} == {
        "permissions": {"ok"},
        "config": {"ok"},
        "token": {"ok"},
        "disk": {"ok"},
        "process": {"note"},
        "port": {"ok"},
        "database": {"ok"},
        "key": {"ok"},
        "secrets": {"ok"},
        "queue": {"ok"},
        "reports": {"ok"},
    }
    assert found["process"] == [("note", "it is stopped")]
    assert files(a.home) == before


def test_an_empty_home(quick: QuickCli) -> None:
    """There is nothing wrong with a new installation."""
    [home] = [each for each in findings(quick("doctor", "--json")) if each["check"] == "home"]
    assert (home["level"], home["found"]) == ("note", f"{quick.home} is not there yet")
    assert not quick.home.exists()


def test_plain_text(a: QuickCli) -> None:
    """In a pipe: groups, a level in letters, what to do on the line below, and a sum; no escape codes."""
    done = a("doctor", "a", *OFFLINE)
    assert done.code == 0
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    assert lines[0] == "installation"
    at = lines.index("a: server")
    assert lines[at + 1 : at + 3] == [
        "  note    it is stopped",
        "          to do: mail-proxy start a",
    ]
    assert re.fullmatch(r"\d notes?", lines[-1])


def test_which_instances(a: QuickCli) -> None:
    """The one named, else the context's, else all; --all whatever the context is; unknown ones are told."""
    a.instance("b")

    def checked(*words: str) -> set[str | None]:
        return {each["instance"] for each in findings(a("doctor", *OFFLINE, "--json", *words))}

    assert checked() == {None, "a", "b"}
    assert checked("b") == {None, "b"}
    a.environ["MAIL_PROXY_INSTANCE"] = "a"
    assert checked() == {None, "a"}
    assert checked("b") == {None, "b"}
    assert checked("--all") == {None, "a", "b"}
    done = a("doctor", "bb")
    assert (done.code, done.err) == (2, "Error: no instance 'bb'; did you mean 'b'?\n")
    a.environ["MAIL_PROXY_INSTANCE"] = "gone"
    [context] = [each for each in findings(a("doctor", "--json")) if each["check"] == "context"]
    assert (context["level"], context["found"]) == (
        "warning",
        "there is no instance 'gone', which the environment has chosen",
    )


def test_permissions_are_told_and_repaired_on_demand(a: QuickCli) -> None:
    """Of the home, the directory and the files in it."""
    directory, token = a.home / "a", a.home / "a" / "token"
    for path, mode in ((a.home, 0o755), (directory, 0o750), (token, 0o644)):
        path.chmod(mode)
    found = look(a)["permissions"]
    assert found == [
        ("warning", f"{directory} is open to others (mode 0750)"),
        ("warning", f"{token} is open to others (mode 0644)"),
    ]
    assert token.stat().st_mode & 0o777 == 0o644
    assert look(a, "--fix")["permissions"] == [
        ("ok", f"{directory} was open to others (mode 0750); it is now 0700"),
        ("ok", f"{token} was open to others (mode 0644); it is now 0600"),
    ]
    assert [path.stat().st_mode & 0o777 for path in (a.home, directory, token)] == [0o700, 0o700, 0o600]
    assert look(a)["permissions"] == [("ok", f"{directory} is yours alone")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "token is empty"),
        (None, "No such file or directory"),
        ("short", "fewer than 32 characters"),
    ],
)
def test_the_token(a: QuickCli, text: str | None, said: str) -> None:
    """One that is not there is a failure, one that can be guessed a warning."""
    (a.home / "a" / "token").unlink()
    if text is not None:
        (a.home / "a" / "token").write_text(text)
    [(level, found)] = look(a)["token"]
    assert level == ("warning" if text == "short" else "failure")
    assert said in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1\nmax_retries = -1\n", ["did you mean port", "is not allowed"]),
        ("port = \n", ["is not valid TOML"]),
        ("\xff", ["is not valid TOML"]),
    ],
)
def test_a_configuration_that_is_refused(a: QuickCli, text: str, said: list[str]) -> None:
    """Each fault is told; the database is not looked for, the rest is."""
    (a.home / "a" / "config.toml").write_text(text)
    found = look(a)
    assert [level for level, _ in found["config"]] == ["failure"] * len(said)
    assert [each for each in said if not any(each in text for _, text in found["config"])] == []
    assert found["database"][0][0] == "note"
    assert found["process"] == [("note", "it is stopped")]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key: key.unlink(), "there is no key"),
        (lambda key: key.write_text(generate_key()), "is not the one that database"),
        (lambda key: key.write_text("rubbish"), "an encryption key has 32 bytes"),
    ],
)
def test_a_key_that_is_not_the_databases(a: QuickCli, spoil: Callable[[Path], object], said: str) -> None:
    """It is named; what it would open is not told, and none is made in its place."""
    key = a.home / "a" / "encryption.key"
    spoil(key)
    before = files(a.home)
    found = look(a)
    [(level, text)] = found["key"]
    assert level == "failure"
    assert said in text
    assert "secrets" not in found
    assert files(a.home) == before


def test_a_database_that_is_not_there_yet(quick: QuickCli) -> None:
    """It is not made."""
    quick.instance("a")
    found = look(quick)
    assert [level for level, _ in found["database"]] == ["note"]
    assert found["key"] == [("ok", "there is no key yet: the first start makes one")]
    assert not (quick.home / "a" / "mail_service.db").exists()


def test_an_older_database_is_not_migrated(a: QuickCli) -> None:
    """It is told which version it has; what is in it is not looked at."""
    [(newest,)] = execute(a, "SELECT MAX(version) FROM schema_version")
    assert isinstance(newest, int)
    execute(a, f"DELETE FROM schema_version WHERE version = {newest}")
    found = look(a)
    [(level, text)] = found["version"]
    assert level == "warning"
    assert text.endswith(f"has schema version {newest - 1}, this mail-proxy works with {newest}")
    assert found["key"][0][0] == "note"
    assert "queue" not in found
    assert execute(a, "SELECT MAX(version) FROM schema_version") == [(newest - 1,)]


def test_a_newer_database_is_left_alone(a: QuickCli) -> None:
    execute(a, "INSERT INTO schema_version VALUES (9999, 'later', 'x', 0)")
    [(level, text)] = look(a)["version"]
    assert level == "failure"
    assert "has schema version 9999, this mail-proxy knows up to" in text


def _rubbish(path: Path) -> None:
    path.write_bytes(b"rubbish" * 1000)


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE TABLE songs (title TEXT)")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [_rubbish, _foreign, _directory])
def test_what_is_no_database_of_ours(a: QuickCli, spoil: Callable[[Path], None]) -> None:
    spoil(a.home / "a" / "mail_service.db")
    found = look(a)
    assert [level for level, _ in found["database"]] == ["failure"]
    assert "queue" not in found


def test_a_damaged_database(a: QuickCli) -> None:
    """It is read to its end."""
    path = a.home / "a" / "mail_service.db"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // PAGE * PAGE)
        file.write(b"\xff" * 8 * PAGE)
    found = look(a)
    assert {level for level, _ in found["integrity"]} == {"failure"}
    assert "damaged" in found["integrity"][0][1]


def test_a_port_that_is_taken(a: QuickCli) -> None:
    """One that was asked for is missed; else there is another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (a.home / "a" / "lock").write_text(str(port))
        (a.home / "a" / "config.toml").write_text("")
        said = f"port {port} on 127.0.0.1 is taken by another program"
        assert look(a)["port"] == [("note", f"{said}: the server will take the next free one")]
        (a.home / "a" / "config.toml").write_text(f"port = {port}\n")
        assert look(a)["port"] == [("failure", said)]
    (a.home / "a" / "config.toml").write_text('host = "192.0.2.1"\n')
    assert look(a)["port"][0][0] == "failure"


def test_a_running_server_and_one_that_was_killed(cli: Cli) -> None:
    """That it answers is asked of itself; what a crash leaves behind is told."""
    cli.ok("start", "a")
    info = cli("status", "a", "--json").json()
    found = look(cli)
    assert found["process"][0][0] == "ok"
    assert found["process"][0][1].startswith(f"it runs as pid {info['pid']}, for ")
    assert found["health"] == [("ok", f"{info['url']} answers")]
    assert "port" not in found
    os.kill(info["pid"], signal.SIGKILL)
    while Path(f"/proc/{info['pid']}/exe").exists():
        pass
    assert look(cli)["process"] == [
        ("note", "the last server ended without a word; its pid file is removed"),
        ("note", "it is stopped"),
    ]


def test_on_postgresql(quick: QuickCli, postgres_url: str) -> None:
    """As elsewhere, and the clocks are compared; without a key none is made, with another it is told."""
    quick.instance("a")
    (quick.home / "a" / "config.toml").write_text(f'database_url = "{postgres_url}"\n')
    assert look(quick)["key"][0][0] == "note"
    quick.environ[KEY_VARIABLE] = generate_key()
    quick.ok("a", "tenants", "add", "acme")
    found = look(quick)
    assert [name for name in ("database", "key", "clock", "queue") if found[name][0][0] != "ok"] == []
    quick.environ[KEY_VARIABLE] = generate_key()
    assert look(quick)["key"][0][0] == "failure"
    assert not (quick.home / "a" / "encryption.key").exists()


def test_a_postgresql_that_does_not_answer(quick: QuickCli) -> None:
    quick.instance("a")
    (quick.home / "a" / "config.toml").write_text('database_url = "postgresql://u@127.0.0.1:1/d"\n')
    found = look(quick)
    assert [level for level, _ in found["database"]] == ["failure"]
    assert "127.0.0.1:1" in found["database"][0][1]


@pytest.mark.parametrize("name", ["config.toml", "token", "pid", "lock", "mail_service.db", "encryption.key"])
def test_a_directory_in_a_files_place(a: QuickCli, name: str) -> None:
    """Whatever lies there, the rest is checked, and there is no traceback."""
    path = a.home / "a" / name
    path.unlink(missing_ok=True)
    path.mkdir()
    found = look(a)
    assert {"permissions", "process"} <= found.keys() or name == "config.toml"
    assert not any("unexpected" in text for each in found.values() for _, text in each)
    assert any(level == "failure" for each in found.values() for level, _ in each)


async def test_logins_and_senders(a: QuickCli) -> None:
    """Each account's server is asked, and DNS for the domain it sends from, at the server that is named."""
    mail, names = SmtpServer(users={"ann": "right"}), DnsServer({"acme.test": ["v=spf1 -all"]})
    async with mail.running(), names.running():
        words = ["--host", mail.host, "--port", str(mail.port), "--tls", "none", "--user", "ann"]
        words += ["--from-address", "bot@acme.test", "--password", "wrong"]
        await asyncio.to_thread(a.ok, "a", "acme", "accounts", "add", "main", *words)
        dns = ["--dns", f"{HOST}:{names.port}", "--selector", "own", "--json"]
        done = await asyncio.to_thread(a, "doctor", "a", *dns)
        logins = mail.logins
        offline = await asyncio.to_thread(a, "doctor", "a", *OFFLINE, "--json")
    found = {(each["check"], each["subject"]): each for each in findings(done)}
    login = found["login", "acme/main"]
    assert login["level"] == "failure"
    assert "535" in login["found"]
    assert "wrong" not in done.out
    assert found["spf", "acme.test"]["level"] == "ok"
    assert found["dkim", "acme.test"]["found"] == "DKIM: no key at own._domainkey.acme.test"
    assert found["dmarc", "acme.test"]["level"] == "warning"
    assert mail.logins == logins == 1
    assert {each["topic"] for each in findings(offline)} & {"accounts", "domains"} == set()


async def test_domains_of_no_instance(quick: QuickCli) -> None:
    """They can be asked about, too; DNS that does not answer is no failure."""
    names = DnsServer({"acme.test": ["v=spf1 -all", "v=spf1 ~all"]}, refused=["other.test"])
    async with names.running():
        words = ["--domain", "acme.test", "--domain", "_spf.other.test", "--dns", f"[{HOST}]:{names.port}"]
        done = await asyncio.to_thread(quick, "doctor", "--json", *words)
        names.refused = "*"
        refused = await asyncio.to_thread(quick, "doctor", "--json", *words)
    assert ("spf", "failure") in {(each["check"], each["level"]) for each in findings(done)}
    domains = [each for each in findings(refused) if each["topic"] == "domains"]
    assert [(each["check"], each["level"]) for each in domains] == [("dns", "note"), ("dns", "note")]
    assert "no DNS answer: not checked" in domains[0]["found"]
    assert refused.code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--dns", "dns.acme.test"),
        ("--dns", "127.0.0.1:x"),
        ("--dns", "127.0.0.1:70000"),
        ("--dns", "[::1]"),
        ("--no-dns", "--domain", "acme.test"),
    ],
)
def test_wrong_usage(quick: QuickCli, words: tuple[str, ...]) -> None:
    done = quick("doctor", *words)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1


def test_on_a_terminal(a: QuickCli) -> None:
    """Symbols, colours, and lines that are broken between words; colours only where they are wanted."""
    shown = {}
    for no_color in ("", "1"):
        with Terminal(Cli(a.root), "doctor", "a", *OFFLINE, columns=60, NO_COLOR=no_color) as terminal:
            assert terminal.end() == 0
            shown[no_color] = terminal.output
            lines = terminal.lines
        assert any(line.startswith("  ✓ ") for line in lines)
        at = lines.index("  • it is stopped")
        assert lines[at + 1] == "    → mail-proxy start a"
        assert max(len(line) for line in lines) <= 60
        assert re.search(r"\n    \S", "\n".join(lines))
    assert "\x1b[32m" in shown[""]
    assert "\x1b[32m" not in shown["1"]


def test_an_instance_that_cannot_be_looked_at_hides_no_other(a: QuickCli) -> None:
    """It is told, and the others are checked."""
    (a.home / "loop").symlink_to(a.home / "loop")
    found = findings(a("doctor", *OFFLINE, "--json"))
    levels = {name: {each["level"] for each in found if each["instance"] == name} for name in ("a", "loop")}
    assert "failure" in levels["loop"]
    assert "failure" not in levels["a"]
    assert len([each for each in found if each["instance"] == "a"]) >= 11
