"""``accounts list|show|add|update|delete``."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import trustme

from tests.support.cli import Cli, QuickCli

SANDBOX = ("--host", "sandbox")


@pytest.fixture
def a(quick: QuickCli) -> QuickCli:
    """A program whose context is the tenant 'default' of an instance 'a'."""
    quick.instance("a")
    quick.environ |= {"MAIL_PROXY_INSTANCE": "a", "MAIL_PROXY_TENANT": "default"}
    return quick


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ((), {"port": 587, "tls": "starttls", "ttl": 300, "limit_behavior": "defer"}),
        (("--port", "465"), {"tls": "ssl"}),
        (("--port", "25"), {"tls": "none"}),
        (("--port", "25", "--use-tls"), {"tls": "starttls", "use_tls": True}),
        (("--port", "2525", "--use-ssl"), {"tls": "ssl"}),
        (("--use-ssl",), {"tls": "ssl", "port": 465}),
        (("--tls", "none"), {"tls": "none"}),
        (("--username", "bot"), {"user": "bot"}),
        (("--from-address", "Bot <bot@acme.test>"), {"from_address": "Bot <bot@acme.test>"}),
        (("--limit-minute", "1", "--hourly-limit", "2", "--daily-limit", "3"),
         {"limit_per_minute": 1, "limit_per_hour": 2, "limit_per_day": 3}),
        (("--limit-hour", "4", "--limit-day", "5", "--limit-behavior", "reject"),
         {"limit_per_hour": 4, "limit_per_day": 5, "limit_behavior": "reject"}),
        (("--batch-size", "7", "--ttl", "60", "--max-concurrent", "2", "--on-unknown", "hold"),
         {"batch_size": 7, "ttl": 60, "max_concurrent": 2, "on_unknown": "hold"}),
        (("--no-tls-verify",), {"tls_verify": False}),
        (("--pec", "--imap-host", "imap.test", "--imap-port", "994", "--imap-user", "u"),
         {"is_pec_account": True, "imap_host": "imap.test", "imap_port": 994, "imap_user": "u"}),
    ],
)  # fmt: skip
def test_options_become_fields(a: QuickCli, options: tuple[str, ...], fields: dict[str, object]) -> None:
    """What was given shows under the API's names."""
    a.ok("accounts", "add", "main", "--host", "smtp.acme.test", *options)
    shown = a("accounts", "show", "main", "--json").json()
    assert {name: shown[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("options", "stdin"),
    [
        (("--password", "hunter2"), ""),
        (("--password-stdin",), "hunter2\n"),
        (("--password-stdin",), "hunter2"),
    ],
)
def test_a_password_is_stored_and_never_shown(a: QuickCli, options: tuple[str, ...], stdin: str) -> None:
    """It is encrypted in the database, and no command prints it."""
    a.ok("accounts", "add", "main", "--host", "smtp.acme.test", "--user", "bot", *options, stdin=stdin)
    shown = a.ok("accounts", "show", "main") + a.ok("accounts", "show", "main", "--json")
    assert "hunter2" not in shown + a.ok("accounts", "list", "--json")
    stored = b"".join(path.read_bytes() for path in (a.home / "a").glob("mail_service.db*"))
    assert b"ENC:" in stored
    assert b"hunter2" not in stored


def test_certificates_are_counted_for_people(a: QuickCli, tmp_path: Path) -> None:
    """A page of base64 in the middle of the fields helps nobody; JSON has it."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    a.ok("accounts", "add", "main", "--host", "smtp.acme.test", "--tls-ca", file)
    assert re.search(
        r"^tls_ca +1 certificate \(--json shows all\)$", a.ok("accounts", "show", "main"), re.MULTILINE
    )
    assert a("accounts", "show", "main", "--json").json()["tls_ca"] == file.read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add",), 2, "which id?"),
        (("add", "main"), 2, "--host: is required"),
        (("add", "main", "--port", "25"), 2, "--host: is required"),
        (("add", "-x"), 2, "no option '-x' (help: mail-proxy accounts add --help)"),
        (("add", "a b", *SANDBOX), 2, "ID: must be 1 to 128"),
        (("add", "main", "--host", "a b"), 2, "--host: must be a host name"),
        (("add", "main", *SANDBOX, "--port", "0"), 2, "--port"),
        (("add", "main", *SANDBOX, "--tls", "maybe"), 2, "--tls"),
        (("add", "main", *SANDBOX, "--tls", "none", "--use-ssl"), 2, "contradict each other"),
        (("add", "main", *SANDBOX, "--from-address", "nobody"), 2, "--from-address"),
        (("add", "main", *SANDBOX, "--password-stdin"), 2, "standard input holds no password"),
        (("add", "main", *SANDBOX, "--tls-ca", "no-such-file"), 1, "no-such-file: No such file or directory"),
        (("show", "mian"), 2, "no account 'mian'"),
        (("update", "mian", "--port", "25"), 2, "no account 'mian'"),
        (("delete", "mian", "--force"), 2, "no account 'mian'"),
    ],
)
def test_what_is_refused(a: QuickCli, words: tuple[str, ...], code: int, said: str) -> None:
    """One line in terms of the options, and the right exit code."""
    done = a("accounts", *words)
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert said in done.err


def test_times_are_local_for_people(a: QuickCli) -> None:
    """As those of tenants and messages; in JSON they are the API's."""
    a.ok("accounts", "add", "main", *SANDBOX)
    created = datetime.fromisoformat(a("accounts", "show", "main", "--json").json()["created_at"])
    there = {"TZ": "Asia/Tokyo"}
    shown = Cli(a.root, a.environ)("accounts", "show", "main", env=there).out
    assert f"{created.astimezone(ZoneInfo(there['TZ'])):%Y-%m-%d %H:%M:%S}" in shown


def test_an_unknown_account_is_told_with_its_like(a: QuickCli) -> None:
    """The nearest name is offered."""
    a.ok("accounts", "add", "main", *SANDBOX)
    assert "did you mean 'main'?" in a("accounts", "show", "mian").err


def test_an_id_is_used_once(a: QuickCli) -> None:
    """Adding is not replacing."""
    a.ok("accounts", "add", "main", *SANDBOX)
    done = a("accounts", "add", "main", *SANDBOX)
    assert (done.code, done.err) == (1, "Error: tenant 'default' has an account 'main' already\n")


def test_update_changes_only_what_it_names(a: QuickCli) -> None:
    """The rest stays, the password too."""
    a.ok(
        "accounts",
        "add",
        "main",
        "--host",
        "smtp.acme.test",
        "--user",
        "bot",
        "--password",
        "p",
        "--ttl",
        "9",
    )
    a.ok("accounts", "update", "main", "--limit-hour", "10")
    shown = a("accounts", "show", "main", "--json").json()
    assert (shown["user"], shown["ttl"], shown["limit_per_hour"]) == ("bot", 9, 10)


def test_a_password_does_not_follow_to_another_server(a: QuickCli) -> None:
    """A new host needs the password again."""
    a.ok("accounts", "add", "main", "--host", "smtp.acme.test", "--user", "bot", "--password", "p")
    done = a("accounts", "update", "main", "--host", "elsewhere.test")
    assert done.code == 2
    assert "--password: must be given again when host changes" in done.err
    a.ok("accounts", "update", "main", "--host", "elsewhere.test", "--password", "p")


def test_list(a: QuickCli) -> None:
    """A line for each; without any, a hint."""
    assert "accounts add" in a("accounts", "list").err
    a.ok("accounts", "add", "main", *SANDBOX)
    assert a.ok("accounts", "list").splitlines()[1].split() == [
        "main",
        "sandbox",
        "587",
        "starttls",
        "-",
        "-",
        "-",
    ]
    assert [row["id"] for row in a("accounts", "list", "--json").json()] == ["main"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(900, r"open, rests until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), (-1, "open, to be probed")],
)
def test_an_account_that_rests_says_until_when_and_why(a: QuickCli, seconds: float, told: str) -> None:
    """In its own record, and in the instance's status."""
    a.ok("accounts", "add", "main", *SANDBOX)
    with closing(sqlite3.connect(a.home / "a" / "mail_service.db")) as database:
        rest = {"rest": 1_000, "until": time.time() + seconds}
        database.execute(
            "UPDATE accounts SET rest = :rest, resting_until = :until, last_error = '535 no'", rest
        )
        database.commit()
    shown = a.ok("accounts", "show", "main")
    assert re.search(rf"^circuit +{told}$", shown, re.MULTILINE)
    assert re.search(r"^last_error +535 no$", shown, re.MULTILINE)
    assert a("accounts", "show", "main", "--json").json()["circuit"] == "open"
    assert "default/main rests: 535 no" in a.ok("status", "a")


def test_delete_does_not_lose_mail_by_itself(a: QuickCli, tmp_path: Path) -> None:
    """With messages queued it takes --force, and they become errors."""
    (tmp_path / "m.eml").write_text("From: a@b.test\nTo: c@d.test\nSubject: s\n\nbody\n")
    a.ok("accounts", "add", "main", *SANDBOX)
    a.ok("send", tmp_path / "m.eml", "--id", "m1")
    assert a("accounts", "delete", "main").code == 2
    assert "; 1 queued message failed" in a.ok("accounts", "delete", "main", "--force")
    shown = a("messages", "show", "m1", "--json").json()
    assert (shown["status"], shown["error"]) == ("error", "account deleted")
