"""``send``: files and standard input into the queue, and waiting for what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.cli import PROGRAM, TIMEOUT, Cli, Json, QuickCli
from tests.support.smtp_server import SmtpServer

HELLO = b"From: Ann <ann@acme.test>\r\nTo: bob@there.test\r\nSubject: hello\r\n\r\nHello, Bob.\r\n"
Program = TypeVar("Program", bound=Cli)

WAITS = "in the queue only, for 'a' is not running: mail-proxy start a"


@pytest.fixture
def acme(quick: QuickCli) -> QuickCli:
    """A program whose context is a tenant 'acme' with a sandbox account; and a file hello.eml."""
    return prepared(quick)


def prepared(cli: Program) -> Program:
    cli.instance("a")
    cli.ok("a", "tenants", "add", "acme")
    cli.ok("a", "acme", "accounts", "add", "main", "--host", "sandbox")
    cli.environ |= {"MAIL_PROXY_INSTANCE": "a", "MAIL_PROXY_TENANT": "acme"}
    (cli.root / "hello.eml").write_bytes(HELLO)
    return cli


def shown(cli: Cli, message_id: str) -> Json:
    return cli("messages", "show", message_id, "--json").json()


def test_it_prints_the_id(acme: QuickCli) -> None:
    """Standard output holds the id and nothing else; the message is in the queue."""
    message_id = acme.ok("send", "hello.eml").strip()
    message = shown(acme, message_id)
    assert (message["id"], message["status"], message["account_id"]) == (message_id, "pending", "main")
    assert [each["address"] for each in message["recipients"]] == ["bob@there.test"]


def test_the_id_may_be_chosen(acme: QuickCli) -> None:
    """--id names the message."""
    assert acme.ok("send", "hello.eml", "--id", "MSG-1") == "MSG-1\n"


def test_standard_input(acme: QuickCli) -> None:
    """A dash is what comes through the pipe."""
    message_id = acme.ok("send", "-", stdin=HELLO).strip()
    assert shown(acme, message_id)["message"] == {"raw": True, "size": len(HELLO)}


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (("--priority", "high"), {"priority": 1}),
        (("--priority", "0"), {"priority": 0}),
        (("--batch", "spring"), {"batch_code": "spring"}),
        (("--at", "2035-01-01T00:00:00Z"), {"status": "deferred", "deferred_ts": 2051222400}),
        (("--at", "2051222400"), {"status": "deferred", "deferred_ts": 2051222400}),
        (("--account", "main"), {"account_id": "main"}),
    ],
)
def test_options_become_fields(acme: QuickCli, options: tuple[str, ...], fields: dict[str, object]) -> None:
    """What was given shows under the API's names."""
    message = shown(acme, acme.ok("send", "hello.eml", *options).strip())
    assert {name: message[name] for name in fields} == fields


@pytest.mark.parametrize(("at", "seconds"), [("+2h", 7200), ("+30m", 1800), ("+1d", 86400), ("+1h30m", 5400)])
def test_relative_times(acme: QuickCli, at: str, seconds: int) -> None:
    """Counted from now."""
    before = time.time()
    message = shown(acme, acme.ok("send", "hello.eml", "--at", at).strip())
    assert before + seconds - 1 <= message["deferred_ts"] <= time.time() + seconds


def test_recipients_in_place_of_those_written(acme: QuickCli) -> None:
    """--to overrides the envelope, as often as it is given."""
    message_id = acme.ok("send", "hello.eml", "--to", "eve@x.test", "--to", "dan@y.test,joe@z.test").strip()
    addresses = [each["address"] for each in shown(acme, message_id)["recipients"]]
    assert addresses == ["eve@x.test", "dan@y.test", "joe@z.test"]


def test_one_bad_file_does_not_stop_the_others(acme: QuickCli) -> None:
    """The good are queued, each bad one is told with its reason, and the exit code is 1."""
    (acme.root / "empty.eml").touch()
    (acme.root / "nobody.eml").write_text("From: a@b.test\nSubject: to nobody\n\nbody\n")
    (acme.root / "folder.eml").mkdir()
    done = acme("send", "hello.eml", "missing.eml", "empty.eml", "nobody.eml", "folder.eml", "hello.eml")
    assert done.code == 1
    assert len(done.out.split()) == 2
    assert done.err.splitlines() == [
        "Error: missing.eml: No such file or directory",
        "Error: empty.eml: the message is empty",
        "Error: nobody.eml: the message has no recipients: no address in To, Cc or Bcc",
        "Error: folder.eml: Is a directory",
        WAITS,
        "2 queued, 4 failed",
    ]
    assert len(acme("messages", "list", "--json").json()) == 2


def test_an_unreadable_file(acme: QuickCli) -> None:
    """The system's own word is passed on."""
    done = acme("send", "/proc/self/mem")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: /proc/self/mem: Input/output error\n"


def test_many_files(acme: QuickCli) -> None:
    """More than one handful are queued in their order."""
    names = [f"{number:03}.eml" for number in range(120)]
    for name in names:
        (acme.root / name).write_bytes(HELLO.replace(b"hello\r", name.encode() + b"\r"))
    done = acme("send", *names)
    assert (done.code, done.err) == (0, f"{WAITS}\n120 queued, 0 failed\n")
    listed = [row["id"] for row in acme("messages", "list", "--limit", "200", "--json").json()]
    assert done.out.split() == listed[::-1]


def test_as_json(acme: QuickCli) -> None:
    """One object for each file, in order."""
    done = acme("send", "hello.eml", "missing.eml", "--json")
    rows = json.loads(done.out)
    assert [(row["file"], row["status"], row["error"]) for row in rows] == [
        ("hello.eml", "queued", None),
        ("missing.eml", "failed", "No such file or directory"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Missing argument 'FILE.eml"),
        (("hello.eml", "hello.eml", "--id", "x"), 2, "--id names one message"),
        (("-", "-"), 2, "standard input can be read once"),
        (("hello.eml", "--timeout", "5"), 2, "--timeout goes with --wait"),
        (("hello.eml", "--priority", "9"), 2, "'9' is not one of"),
        (("hello.eml", "--at", "tomorrow"), 2, "'tomorrow' is no time"),
        (("hello.eml", "--at", "-99999999d"), 2, "is no time"),
        (("hello.eml", "--account", "mian"), 2, "no account 'mian'; did you mean 'main'?"),
        (("hello.eml", "hello.eml", "--to", "nobody"), 2, "--to: "),
        (("hello.eml", "--id", "x" * 256), 2, "--id: "),
        (("hello.eml", "--batch", "x" * 65), 2, "--batch: "),
        (("hello.eml", "--wait"), 1, "instance 'a' is not running"),
    ],
)
def test_what_is_refused(acme: QuickCli, words: tuple[str, ...], code: int, said: str) -> None:
    """One line, the right exit code, and nothing in the queue."""
    done = acme("send", *words)
    assert (done.code, len(done.err.splitlines()), done.out) == (code, 1, "")
    assert said in done.err
    assert acme("messages", "list", "--json").json() == []


def test_without_a_server_it_says_that_the_message_waits(acme: QuickCli) -> None:
    """The id stays alone on standard output, for scripts; nobody thinks that the mail is gone."""
    done = acme("send", "hello.eml", "--id", "x")
    assert (done.code, done.out) == (0, "x\n")
    assert done.err == f"{WAITS}\n"


def test_an_id_that_was_used(acme: QuickCli) -> None:
    """What waits is replaced, which makes repeating a command harmless."""
    acme.ok("send", "hello.eml", "--id", "x")
    acme.ok("send", "hello.eml", "--id", "x", "--priority", "high")
    assert [(row["id"], row["priority"]) for row in acme("messages", "list", "--json").json()] == [("x", 1)]


def test_without_an_account(quick: QuickCli) -> None:
    """A tenant that has none is told so."""
    quick.instance("a")
    (quick.root / "hello.eml").write_bytes(HELLO)
    done = quick("a", "default", "send", "hello.eml")
    assert (done.code, done.err) == (1, "Error: hello.eml: --account: the tenant has no account\n")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The same with a running server, which looks by itself every ten minutes alone."""
    cli = prepared(QuickCli(tmp_path_factory.mktemp("served")))
    cli.environ["GMP_SEND_LOOP_INTERVAL"] = "600"
    real = Cli(cli.root, cli.environ)
    real.ok("start", "a")
    yield real
    real.end_servers()


@pytest.fixture
async def mailbox() -> AsyncIterator[SmtpServer]:
    """A real SMTP server."""
    async with SmtpServer().running() as server:
        yield server


async def called(cli: Cli, *words: str | Path) -> tuple[int, str, str]:
    """Run the program while this loop goes on serving mail."""
    done = await asyncio.to_thread(cli, *words)
    return done.code, done.out, done.err


async def test_wait_until_delivered(served: Cli, mailbox: SmtpServer) -> None:
    """Exit code 0 once the server has it, byte for byte but for what was added."""
    account = f"to{mailbox.port}"
    port = ("--port", str(mailbox.port), "--tls", "none")
    assert (await called(served, "accounts", "add", account, "--host", "127.0.0.1", *port))[0] == 0
    code, out, err = await called(
        served, "send", "hello.eml", "--account", account, "--wait", "--timeout", "30"
    )
    assert (code, err) == (0, f"{out.strip()}: sent\n")
    [mail] = mailbox.received
    assert mail.rcpt_tos == ("bob@there.test",)
    head, body = mail.content.split(b"\r\n\r\n", 1)
    assert body.rstrip(b"\r\n") == b"Hello, Bob."
    added = set(head.split(b"\r\n")) - set(HELLO.split(b"\r\n"))
    assert {line.split(b":")[0] for line in added} == {b"Message-ID", b"Date", b"X-Genro-Mail-ID"}


def test_wait_until_refused(served: Cli) -> None:
    """Exit code 1, with the server's own words."""
    done = served(
        "send", "hello.eml", "--account", "main", "--to", "reject@sandbox", "--wait", "--timeout", "30"
    )
    assert done.code == 1
    assert done.err.startswith("Error: hello.eml: ")
    assert "550" in done.err


def test_wait_when_one_of_two_is_refused(served: Cli) -> None:
    """What did not reach everybody has failed, and it says for whom."""
    to = ("--to", "bob@there.test", "--to", "reject@sandbox")
    done = served("send", "hello.eml", "--account", "main", *to, "--wait", "--timeout", "30")
    assert done.code == 1
    assert "reject@sandbox" in done.err


def test_wait_no_longer_than_asked(served: Cli) -> None:
    """What is deferred stays in the queue, and the command ends."""
    wait = ("--wait", "--timeout", "0.5")
    done = served("send", "hello.eml", "--account", "main", "--to", "defer@sandbox", *wait)
    assert done.code == 1
    assert "Error: hello.eml: still deferred after 0.5 s; it stays in the queue" in done.err


def test_queueing_wakes_the_server(served: Cli) -> None:
    """Without --wait too, the message leaves long before the next poll."""
    served.environ["MAIL_PROXY_TENANT"] = "acme"
    began = time.monotonic()
    message_id = served.ok("send", "hello.eml", "--account", "main").strip()
    while shown(served, message_id)["status"] != "sent":
        assert time.monotonic() - began < 60
    events = served("messages", "events", message_id, "--json").json()
    assert [event["event_type"] for event in events] == ["queued", "sending", "sent"]


def test_ctrl_c_ends_the_wait_for_a_file(cli: Cli) -> None:
    """Somebody types it, or a program is to write it: the first Ctrl+C is enough, and nothing is sent."""
    acme = prepared(cli)
    written = cli.root / "pipe.eml"
    os.mkfifo(written)
    command, quiet = [*PROGRAM, "send", str(written)], subprocess.PIPE
    sending = subprocess.Popen(command, env=acme.environ, stdout=quiet, stderr=quiet, text=True)
    with written.open("wb"):  # which waits until it is opened to be read
        sending.send_signal(signal.SIGINT)
        out, err = sending.communicate(timeout=TIMEOUT)
    assert (sending.returncode, out, err.strip()) == (130, "", "interrupted")
    assert acme("messages", "list", "--json").json() == []
