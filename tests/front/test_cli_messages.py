"""``messages list|show|events``, and the counts of ``stats`` and ``info``."""

from __future__ import annotations

import csv
import io
import re

import pytest

from tests.support.cli import QuickCli

EML = "From: a@b.test\nTo: Bób <bob@there.test>, eve@there.test\nSubject: s\n\nbody\n"


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> QuickCli:
    """Three messages of tenant 'acme': m1 by 'main', m2 by 'other' in batch 'spring', m3 scheduled."""
    cli = QuickCli(tmp_path_factory.mktemp("messages"))
    cli.instance("a")
    cli.ok("a", "tenants", "add", "acme", "--name", "Acme")
    cli.environ |= {"MAIL_PROXY_INSTANCE": "a", "MAIL_PROXY_TENANT": "acme"}
    for account in ("main", "other"):
        cli.ok("accounts", "add", account, "--host", "sandbox")
    cli.ok("send", "-", "--id", "m1", "--account", "main", stdin=EML)
    cli.ok("send", "-", "--id", "m2", "--account", "other", "--batch", "spring", stdin=EML)
    cli.ok("send", "-", "--id", "m3", "--account", "main", "--at", "+1d", stdin=EML)
    return cli


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["m3", "m2", "m1"]),
        (("--status", "pending"), ["m2", "m1"]),
        (("--status", "deferred"), ["m3"]),
        (("--status", "sent"), []),
        (("--account", "main"), ["m3", "m1"]),
        (("--batch", "spring"), ["m2"]),
        (("--limit", "1"), ["m3"]),
        (("--since", "-1h"), ["m3", "m2", "m1"]),
        (("--since", "+1h"), []),
        (("--until", "-1h"), []),
        (("--until", "+1h", "--status", "pending", "--account", "main"), ["m1"]),
    ],
)
def test_filters(acme: QuickCli, options: tuple[str, ...], ids: list[str]) -> None:
    """The newest first, and only those asked for."""
    assert [row["id"] for row in acme("messages", "list", *options, "--json").json()] == ids


def test_json_has_the_names_of_the_api(acme: QuickCli) -> None:
    """The record of the contract (messages.md, Lifecycle)."""
    row = acme("messages", "list", "--json").json()[0]
    assert set(row) >= {
        "pk", "id", "tenant_id", "tenant_name", "account_id", "status", "priority", "batch_code",
        "created_at", "updated_at", "deferred_ts", "sent_ts", "error_ts", "error", "retry_count",
        "reported_ts", "bounce_type", "bounce_code", "bounce_reason", "bounce_ts", "is_pec", "message_id",
        "recipients", "last_error",
    }  # fmt: skip
    assert row["tenant_name"] == "Acme"


def test_csv(acme: QuickCli) -> None:
    """A line of headings, the same names as in JSON, and a line for each message."""
    rows = list(csv.DictReader(io.StringIO(acme.ok("messages", "list", "--csv"))))
    assert [row["id"] for row in rows] == ["m3", "m2", "m1"]
    assert rows[1]["batch_code"] == "spring"
    assert rows[0]["recipients"] == "bob@there.test, eve@there.test"
    empty = acme.ok("messages", "list", "--csv", "--status", "sent")
    assert empty.splitlines() == [",".join(rows[0])]


def test_a_list_for_people(acme: QuickCli) -> None:
    """Aligned columns without any decoration, when it goes into a pipe."""
    lines = acme.ok("messages", "list").splitlines()
    assert lines[0].split()[:4] == ["id", "status", "account", "priority"]
    assert len({line.index("main") for line in lines if "main" in line}) == 1
    assert all(line.isascii() for line in lines)


def test_an_empty_list(acme: QuickCli) -> None:
    """Nothing on standard output, a word on standard error."""
    done = acme("messages", "list", "--status", "error")
    assert (done.code, done.out, done.err) == (0, "", "no messages\n")


def test_show(acme: QuickCli) -> None:
    """One message with its recipients one by one, and what it carries."""
    view = acme("messages", "show", "m1", "--json").json()
    assert view["recipients"][0] == {
        "address": "bob@there.test",
        "status": "pending",
        "code": None,
        "reply": None,
    }
    assert view["message"] == {"raw": True, "size": len(EML.encode())}
    text = acme.ok("messages", "show", "m1")
    assert "message.size" in text
    assert "eve@there.test  pending" in text


def test_events(acme: QuickCli) -> None:
    """What happened, in order."""
    [event] = acme("messages", "events", "m1", "--json").json()
    assert event["event_type"] == "queued"
    assert "queued" in acme.ok("messages", "events", "m1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "nope"), "no message 'nope'"),
        (("events", "nope"), "no message 'nope'"),
        (("list", "--account", "mian"), "no account 'mian'; did you mean 'main'?"),
        (("list", "--json", "--csv"), "--json or --csv, not both"),
        (("list", "--status", "lost"), "'lost' is not one of"),
        (("list", "--since", "soon"), "'soon' is no time"),
        (("list", "--limit", "0"), "--limit"),
    ],
)
def test_what_is_refused(acme: QuickCli, words: tuple[str, ...], said: str) -> None:
    """One line and exit code 2."""
    done = acme("messages", *words)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err


def test_stats(acme: QuickCli) -> None:
    """How many messages are in which state, and what waits where."""
    counts = acme("a", "stats", "--json").json()
    assert counts["messages"] == {
        "pending": 2, "deferred": 1, "sending": 0, "sent": 0, "error": 0, "bounced": 0
    }  # fmt: skip
    assert {(row["account_id"], row["status"], row["count"]) for row in counts["waiting"]} == {
        ("main", "pending", 1),
        ("main", "deferred", 1),
        ("other", "pending", 1),
    }
    assert "other" in acme.ok("a", "stats")


def test_info_of_the_instance(acme: QuickCli) -> None:
    """Where it is and what it holds."""
    view = acme("a", "info", "--json").json()
    assert (view["name"], view["tenants"], view["accounts"], view["pending_messages"]) == ("a", 2, 2, 3)
    assert (view["state"], view["directory"]) == ("stopped", str(acme.home / "a"))


def test_status_of_a_stopped_instance(acme: QuickCli) -> None:
    """The queue is told without a server."""
    view = acme("status", "a", "--json").json()
    assert (view["running"], view["queue"], view["pending_messages"]) == (
        False,
        {"pending": 2, "deferred": 1},
        3,
    )


def test_status_of_a_suspended_instance(acme: QuickCli) -> None:
    """Why nothing leaves is told with what ends that."""
    acme.ok("a", "suspend")
    assert re.search(r"^sending +suspended: mail-proxy a activate$", acme.ok("status", "a"), re.MULTILINE)
    acme.ok("a", "activate")
    assert "suspended" not in acme.ok("status", "a")
