"""``messages cleanup|receipts``, and what listings say when they are cut."""

from __future__ import annotations

import pytest

from mail_proxy_cli.moments import parse_duration
from mail_proxy_cli.paging import up_to
from tests.support.cli import Cli, QuickCli
from tests.support.terminal import Terminal

EML = "From: shop@example.org\nTo: ann@example.net\nSubject: s\n\nbody\n"


@pytest.fixture
def acme(quick: QuickCli, database_url: str) -> QuickCli:
    """A program whose context is tenant acme, on either engine: order-1 and order-2 have failed."""
    if "://" in database_url:
        quick.environ["GMP_DATABASE_URL"] = database_url
    quick.instance("myserver")
    quick.ok("myserver", "tenants", "add", "acme")
    quick.environ |= {"MAIL_PROXY_INSTANCE": "myserver", "MAIL_PROXY_TENANT": "acme"}
    fail(quick, "order-1", "order-2")
    return quick


def fail(cli: QuickCli, *ids: str) -> None:
    """Let messages fail without a server: by losing their account."""
    cli.ok("accounts", "add", "main", "--host", "sandbox")
    for each in ids:
        cli.ok("send", "-", "--id", each, stdin=EML)
    cli.ok("accounts", "delete", "main", "--force")


def ids(cli: QuickCli) -> list[str]:
    return [row["id"] for row in cli("messages", "list", "--json").json()]


def test_cleanup_of_what_is_old_enough(acme: QuickCli) -> None:
    """By default after the retention; what still waits stays, however old."""
    assert acme.ok("messages", "cleanup", "--force") == "0 messages were deleted\n"
    assert acme.ok("messages", "cleanup", "--older-than", "1h", "-f") == "0 messages were deleted\n"
    acme.ok("accounts", "add", "main", "--host", "sandbox")
    acme.ok("send", "-", "--id", "order-3", stdin=EML)
    assert acme.ok("messages", "cleanup", "--older-than", "0", "-f") == "2 messages were deleted\n"
    assert ids(acme) == ["order-3"]


def test_cleanup_leaves_what_somebody_is_to_be_told_of(acme: QuickCli) -> None:
    acme.ok("tenants", "update", "acme", "--base-url", "https://app.example.org")
    fail(acme, "order-3")
    acme.ok("messages", "cleanup", "--older-than", "0", "-f")
    assert "order-3" in ids(acme)


def test_cleanup_leaves_other_tenants_alone(acme: QuickCli) -> None:
    acme.ok("tenants", "add", "beta")
    assert acme.ok("myserver", "beta", "messages", "cleanup", "--older-than", "0", "-f") == (
        "0 messages were deleted\n"
    )
    assert ids(acme) == ["order-2", "order-1"]


def test_cleanup_asks_and_without_a_terminal_refuses(acme: QuickCli) -> None:
    """It says how old, by default as configured."""
    acme.environ["GMP_DELIVERY_REPORT_RETENTION_SECONDS"] = "5400"
    for words, age in (((), "1h 30m"), (("--older-than", "30d"), "30d 0h")):
        done = acme("messages", "cleanup", *words)
        assert (done.code, done.out) == (2, "")
        asked = f"Delete what tenant 'acme' was told of more than {age} ago?"
        assert f"{asked} There is no terminal to ask on: give --force" in done.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("1d12h", 129_600), ("90s", 90), ("2w", 1_209_600), ("0", 0), ("1.5", 1.5)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1", "+1h", "1h ago", "1e9", "nan", "999999999w", "१"])
def test_what_is_no_length_of_time(quick: QuickCli, text: str) -> None:
    quick.instance("myserver")
    done = quick("myserver", "acme", "messages", "cleanup", "--older-than", text)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"'{text}' is no time: use 30d, 12h or seconds" in done.err


def test_receipts(acme: QuickCli) -> None:
    """None are collected; as in the API, that is an empty list, and of a message that there is."""
    done = acme("messages", "receipts", "order-1")
    assert (done.code, done.out) == (0, "")
    assert done.err == "no receipt has arrived: PEC receipts are not collected yet\n"
    assert acme("messages", "receipts", "order-1", "--json").json() == []
    done = acme("messages", "receipts", "nope")
    assert (done.code, done.out, done.err) == (2, "", "Error: no message 'nope'\n")


def test_a_listing_that_was_cut_says_so(acme: QuickCli) -> None:
    """In whatever form; and not when it ends right at its limit."""
    acme.ok("tenants", "update", "acme", "--base-url", "https://app.example.org")
    fail(acme, "order-3", "order-4")
    listings = ((("messages", "list"), "newest"), (("--tenant", "acme", "reports", "list"), "first"))
    for words, first in listings:
        whole = acme(*words, "--json")
        assert whole.err == ""
        count = len(whole.json())
        assert acme(*words, "--limit", str(count)).err == ""
        for form in ((), ("--json",)):
            done = acme(*words, "--limit", str(count - 1), *form)
            said = f"these are the {first} {count - 1}, there are more: --limit N shows as many\n"
            assert (done.code, done.err) == (0, said)
        assert acme(*words, "--limit", "1", "--json").json() == whole.json()[:1]


@pytest.mark.parametrize(
    ("count", "limit", "shown", "is_cut"),
    [
        (0, 1, 0, False),
        (1, 1, 1, False),
        (2, 1, 1, True),
        (2500, 2500, 2500, False),
        (2500, 2000, 2000, True),
    ],
)
async def test_a_listing_of_several_pages(count: int, limit: int, shown: int, is_cut: bool) -> None:
    """Only as much is read as is needed to know whether there is more."""
    sizes: list[int] = []

    async def pages(size: int, cursor: str | None) -> tuple[list[int], str | None]:
        start = int(cursor or 0)
        sizes.append(size)
        some = list(range(start, min(start + size, count)))
        return some, str(start + size) if len(some) == size else None

    assert await up_to(limit, pages) == (list(range(shown)), is_cut)
    assert max(sizes) <= 1000
    assert sum(sizes) <= limit + 1


def test_on_a_terminal_it_asks_and_shows_how_far_it_is(cli: Cli) -> None:
    """Without colours, if there are to be none."""
    cli.instance("myserver")
    quick = QuickCli(cli.root, {"MAIL_PROXY_INSTANCE": "myserver", "MAIL_PROXY_TENANT": "acme"})
    quick.ok("myserver", "tenants", "add", "acme")
    fail(quick, "order-1", "order-2")
    words = ("myserver", "acme", "messages", "cleanup", "--older-than", "0")
    with Terminal(cli, *words, "--no-color") as terminal:
        terminal.answer("Delete what tenant 'acme' was told of more than 0s ago? [y/N]:", "y")
        assert terminal.end() == 0
        assert terminal.lines[-1] == "2 messages were deleted"
        assert "deleting" in terminal.output
        assert "\x1b[3" not in terminal.output
