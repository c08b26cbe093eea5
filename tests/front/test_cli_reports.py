"""``reports list|replay``: what a person sees of what applications were not told, and does about it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator

import pytest

from mail_proxy.store.database import Call, Work
from mail_proxy_cli.nodes import Command
from mail_proxy_cli.output import when
from mail_proxy_cli.reports import reports
from tests.support.application import Answer, Application
from tests.support.cli import Cli, QuickCli
from tests.support.python_client import until
from tests.support.stores import open_store, statement

EML = "From: shop@example.org\nTo: ann@example.net\nSubject: s\n\nbody\n"
LONG_AGO = 1_600_000_000
STOPPED = "but not yet, for 'myserver' is not running: mail-proxy start myserver\n"


@pytest.fixture
def shop(quick: QuickCli, database_url: str) -> QuickCli:
    """Instance 'myserver' on either engine; acme and beta have a failed message, due to be told of."""
    if "://" in database_url:
        quick.environ["GMP_DATABASE_URL"] = database_url
    quick.instance("myserver")
    for tenant_id in ("acme", "beta"):
        quick.ok("myserver", "tenants", "add", tenant_id, "--base-url", "https://app.example.org")
        queue(quick, tenant_id, "order-1")
    return quick


def queue(cli: Cli, tenant_id: str, *ids: str) -> None:
    """Let messages fail without a server: by losing their account."""
    cli.ok("myserver", tenant_id, "accounts", "add", "main", "--host", "sandbox")
    for each in ids:
        cli.ok("myserver", tenant_id, "send", "-", "--id", each, stdin=EML)
    cli.ok("myserver", tenant_id, "accounts", "delete", "main", "--force")


def change(cli: Cli, sql: str) -> None:
    """Change the tables behind the store's back."""

    def work() -> Work[None]:
        yield Call(statement(sql), {})

    async def run() -> None:
        url = cli.environ.get("GMP_DATABASE_URL") or str(cli.home / "myserver" / "mail_service.db")
        async with open_store(url) as store:
            await store.database.write(work)

    asyncio.run(run())


def give_up(cli: Cli, tenant_id: str) -> None:
    change(cli, f"UPDATE events SET is_due = -1 WHERE is_due = 1 AND tenant_id = '{tenant_id}'")


def rows(cli: Cli, *words: str) -> list[tuple[str, str, str]]:
    listed = cli("myserver", "reports", "list", "--json", *words).json()
    return [(row["tenant_id"], row["id"], row["state"]) for row in listed]


def test_what_was_not_told_is_shown(shop: QuickCli) -> None:
    """Aligned, with times to be read, and why it failed."""
    change(shop, f"UPDATE events SET event_ts = {LONG_AGO}")
    change(
        shop,
        f"UPDATE sync_state SET failures = 1, last_error = 'answered 500', next_try_ts = {LONG_AGO + 9} "
        "WHERE tenant_id = 'acme'",
    )
    happened, again = when(LONG_AGO), when(LONG_AGO + 9)
    assert shop.ok("myserver", "reports", "list").splitlines() == [
        "tenant  message  event  time                 state       not before           what went wrong",
        f"acme    order-1  error  {happened}  failing     {again}  answered 500",
        f"beta    order-1  error  {happened}  unreported  -                    -",
    ]


def test_the_list_as_json(shop: QuickCli) -> None:
    """With the API's names."""
    [entry] = shop("myserver", "reports", "list", "--tenant", "acme", "--json").json()
    assert isinstance(entry.pop("event_id"), int)
    assert isinstance(entry.pop("event_ts"), int)
    message = shop("myserver", "acme", "messages", "show", "order-1", "--json").json()
    assert entry == {
        "tenant_id": "acme",
        "id": "order-1",
        "pk": message["pk"],
        "account_id": "main",
        "event": "error",
        "state": "unreported",
        "refusals": 0,
        "again_ts": None,
        "last_error": None,
    }


def test_what_failed_alone(shop: QuickCli) -> None:
    give_up(shop, "beta")
    assert rows(shop, "--failed") == [("beta", "order-1", "given_up")]
    change(shop, "UPDATE sync_state SET failures = 1 WHERE tenant_id = 'acme'")
    assert rows(shop, "--failed") == [("acme", "order-1", "failing"), ("beta", "order-1", "given_up")]


def test_a_long_list_is_cut_where_it_was_asked(shop: QuickCli) -> None:
    queue(shop, "acme", "order-2", "order-3")
    assert [name for _, name, _ in rows(shop, "--limit", "2")] == ["order-1", "order-2"]
    assert len(rows(shop)) == 4


def test_an_empty_list_is_said_in_words(shop: QuickCli) -> None:
    done = shop("myserver", "reports", "list", "--failed")
    assert (done.code, done.out, done.err) == (0, "", "nothing has failed\n")
    change(shop, "UPDATE events SET is_due = 0")
    assert shop("myserver", "reports", "list").err == "nothing is left to tell\n"


@pytest.mark.parametrize(
    "words",
    [
        ("myserver", "reports", "list", "--tenant", "acme"),
        ("myserver", "--tenant", "acme", "reports", "list"),
        ("--tenant", "acme", "myserver", "reports", "list"),
        ("--tenant", "acme", "reports", "list"),
        ("reports", "list", "--tenant", "acme"),
        ("--tenant", "beta", "reports", "list", "--tenant", "acme"),
    ],
)
def test_a_tenant_is_named_before_or_after(shop: QuickCli, words: tuple[str, ...]) -> None:
    shop.environ["MAIL_PROXY_INSTANCE"] = "myserver"
    assert [row["tenant_id"] for row in shop(*words, "--json").json()] == ["acme"]


@pytest.mark.parametrize("words", [("list",), ("replay",)])
def test_an_unknown_tenant(shop: QuickCli, words: tuple[str, ...]) -> None:
    done = shop("myserver", "reports", *words, "--tenant", "acne")
    assert (done.code, done.err) == (2, "Error: no tenant 'acne'; did you mean 'acme'?\n")


def test_replay_of_what_failed(shop: QuickCli) -> None:
    """It says how many there were, and that somebody has to be there to tell them."""
    queue(shop, "acme", "order-2")
    give_up(shop, "acme")
    give_up(shop, "beta")
    done = shop("myserver", "reports", "replay", "--tenant", "acme")
    assert (done.code, done.out, done.err) == (0, "2 events will be told again\n", STOPPED)
    assert rows(shop, "--failed") == [("beta", "order-1", "given_up")]
    assert shop.ok("myserver", "reports", "replay") == "1 event will be told again\n"
    assert rows(shop, "--failed") == []
    done = shop("myserver", "reports", "replay")
    assert (done.code, done.out, done.err) == (0, "0 events will be told again\n", "")


def test_replay_since_a_time(shop: QuickCli) -> None:
    change(shop, f"UPDATE events SET is_due = 0, reported_ts = {LONG_AGO} WHERE is_due = 1")
    replay = ("myserver", "reports", "replay", "--tenant", "acme", "--since")
    assert shop.ok(*replay, "+1h") == "0 events will be told again\n"
    assert shop.ok(*replay, "-1h") == "1 event will be told again\n"
    assert rows(shop) == [("acme", "order-1", "unreported")]


def test_all_tenants_since_a_time_asks_first(shop: QuickCli) -> None:
    """It is much that would be told twice."""
    change(shop, f"UPDATE events SET is_due = 0, reported_ts = {LONG_AGO} WHERE is_due = 1")
    done = shop("myserver", "reports", "replay", "--since", "-1h")
    assert (done.code, done.out) == (2, "")
    assert "There is no terminal to ask on: give --force" in done.err
    assert rows(shop) == []
    assert shop.ok("myserver", "reports", "replay", "--since", "-1h", "--force") == (
        "2 events will be told again\n"
    )


@pytest.mark.parametrize(
    "words", [("list", "--limit", "0"), ("replay", "--since", "yesterday"), ("list", "x"), ("replay", "x")]
)
def test_wrong_usage(shop: QuickCli, words: tuple[str, ...]) -> None:
    done = shop("myserver", "reports", *words)
    assert (done.code, len(done.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("name", ["list", "replay"])
def test_the_example_of_the_help_does_what_it_shows(shop: QuickCli, name: str) -> None:
    command = reports.commands[name]
    assert isinstance(command, Command)
    assert command.example is not None
    program, *words = shlex.split(command.example)
    assert program == "mail-proxy"
    assert command.example in shop.ok("myserver", "reports", name, "--help")
    assert shop(*words).code == 0


@pytest.fixture
async def failing() -> AsyncIterator[Application]:
    async with Application(Answer(status=500)) as application:
        yield application


async def test_a_running_server_tells_at_once_what_its_application_did_not_take(
    cli: Cli, failing: Application
) -> None:
    """However long it would have waited after so many failures."""

    async def ok(*words: str) -> str:
        return await asyncio.to_thread(cli.ok, *words)

    cli.instance("myserver")
    await ok("myserver", "tenants", "add", "acme", "--base-url", failing.url)
    await ok("start", "myserver", "--port", "0")
    await asyncio.to_thread(queue, cli, "acme", "order-1")
    await failing.wait_for(lambda posts: any(post.entries for post in posts))
    is_failing = [("acme", "order-1", "failing")]
    await until(lambda: asyncio.to_thread(rows, cli, "--failed"), lambda found: found == is_failing)

    failing.answer = Answer()
    told = await ok("myserver", "reports", "replay", "--tenant", "acme")
    assert told.splitlines() == ["0 events will be told again", "applications that failed are tried now"]
    await until(lambda: asyncio.to_thread(rows, cli), lambda found: found == [])
    assert {entry["id"] for entry in failing.entries} == {"order-1"}
