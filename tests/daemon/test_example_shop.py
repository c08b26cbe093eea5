"""The example application of ``examples/shop``, as a process beside a real server and a real mail server.

Whatever of the three is away, dies or answers late: each mail arrives once, and the shop learns how it ended.
"""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.application import Answer, Application, Post
from tests.support.nodes import call, until
from tests.support.relay import Relay
from tests.support.server import Client, Server
from tests.support.shop import (
    EXAMPLE,
    SYNC_TOKEN,
    WEBHOOK_SECRET,
    Shop,
    bearer,
    entry,
    introduce,
    open_account,
    report_body,
    signature,
    sync_status,
)
from tests.support.smtp_server import SmtpServer, Stage

OTHER_SECRET = "whsec_" + "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI="
NOBODY_HOME = "http://127.0.0.1:1"


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A mail-proxy that is not running yet."""
    return Server(tmp_path / "home")


@pytest.fixture
async def shop(tmp_path: Path, server: Server, mail: SmtpServer) -> AsyncIterator[Shop]:
    """The shop, open, and a server that knows it; stopped like any service at the end."""
    await asyncio.to_thread(server.start)
    server.settings["GMP_PORT"] = str(server.port)  # in its next lives, too
    made = Shop(tmp_path, server.url, await open_account(server, mail))
    try:
        await made.start()
        await introduce(server, made)
        yield made
        assert await made.end(signal.SIGTERM) in (0, -signal.SIGTERM)
        assert "Traceback" not in made.log
    finally:
        await made.close()
        await asyncio.to_thread(server.kill)


@pytest.fixture
async def lonely(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop whose mail-proxy is never there."""
    made = Shop(tmp_path, NOBODY_HOME, "key")
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def arrived(mail: SmtpServer) -> Counter[str]:
    """How often each customer got mail."""
    return Counter(address.partition("@")[0] for each in mail.received for address in each.rcpt_tos)


async def asked(client: Client, command: str) -> int:
    """How often the shop has given this command."""
    log = await call(client, "/command-log?tenant_id=acme&limit=1000")
    return sum(each["endpoint"].endswith(command) for each in log["commands"])


async def test_orders_placed_while_mail_proxy_is_down_arrive_once_it_is_up(
    shop: Shop, server: Server, mail: SmtpServer
) -> None:
    """More than one batch of them, each mail once; placing an order never failed."""
    await asyncio.to_thread(server.stop)
    names = [f"customer{number}" for number in range(120)]
    await shop.order(*(f"{name}@example.test" for name in names))
    assert {each["status"] for each in await shop.mails()} == {"waiting"}
    await until(lambda: shop.log, lambda log: "mails wait" in log)

    await asyncio.to_thread(server.start)
    await mail.wait_for(len(names))
    await shop.told(**dict.fromkeys(names[20:], "sent"))  # the page shows the newest hundred
    assert arrived(mail) == dict.fromkeys(names, 1)


async def test_the_shop_learns_how_each_mail_ended(shop: Shop, mail: SmtpServer) -> None:
    """What the mail servers said, and what mail-proxy itself would not take."""
    await shop.order("nobody")
    assert (await shop.told(nobody="rejected"))["nobody"]

    await shop.order("somebody", "ann@example.test", "nouser@example.test", "grey@example.test")
    reasons = await shop.told(somebody="rejected", ann="sent", nouser="error", grey="deferred")
    assert reasons["ann"] is None
    assert "no such user" in str(reasons["nouser"])
    assert "greylisted" in str(reasons["grey"])
    assert arrived(mail) == {"ann": 1}


async def test_reports_wait_for_a_shop_that_is_closed(shop: Shop, server: Server, mail: SmtpServer) -> None:
    """Killed before its mails were delivered, it asks how they ended when it is open again."""
    held = asyncio.Event()
    mail.at = {Stage.DOT: held}
    await shop.order("ann@example.test", "nouser@example.test")
    await shop.told(ann="queued")
    await shop.end(signal.SIGKILL)
    held.set()
    await mail.wait_for(1)
    client = server.client()
    await until(lambda: sync_status(client), lambda status: bool(status["consecutive_failures"]))

    before = await asked(client, "run-now")
    await shop.start()
    reasons = await shop.told(ann="sent", nouser="error")
    assert await asked(client, "run-now") == before + 1
    assert "no such user" in str(reasons["nouser"])
    assert arrived(mail) == {"ann": 1}


@pytest.mark.parametrize("stage", ["in the queue", "under way", "sent"])
async def test_a_shop_killed_before_it_could_mark_its_mails_submits_them_again(
    shop: Shop, server: Server, mail: SmtpServer, stage: str
) -> None:
    """Whatever has become of them meanwhile, each arrives once."""
    client = server.client()
    held = asyncio.Event()
    if stage == "under way":
        mail.at = {Stage.DOT: held}
    if stage == "in the queue":
        await asyncio.to_thread(client.post, "/commands/suspend?tenant_id=acme")

    async with Relay(server.port) as relay:
        await shop.end(signal.SIGTERM)
        shop.proxy, direct = relay.url, shop.proxy
        await shop.start()
        relay.hold(b"/commands/add-messages")
        await shop.order("ann@example.test", "bob@example.test")
        await relay.held.wait()
        await shop.end(signal.SIGKILL)
    if stage == "under way":
        await mail.wait_at(Stage.DOT)
    if stage == "sent":
        await mail.wait_for(1)
    with closing(sqlite3.connect(shop.database)) as database:
        assert ("waiting", 2) in database.execute("SELECT status, count(*) FROM outbox GROUP BY 1").fetchall()

    shop.proxy = direct
    before = await asked(client, "add-messages")
    await shop.start()
    if stage != "sent":  # whose reports may be faster
        await shop.told(ann="queued", bob="queued")
        assert await asked(client, "add-messages") > before
    await asyncio.to_thread(client.post, "/commands/activate?tenant_id=acme")
    held.set()
    await shop.told(ann="sent", bob="sent")
    assert arrived(mail) == {"ann": 1, "bob": 1}


async def test_a_report_may_be_faster_than_the_answer(shop: Shop, server: Server) -> None:
    """That a mail is queued is no news any more when it is known to be sent."""
    async with Relay(server.port) as relay:
        await shop.end(signal.SIGTERM)
        shop.proxy = relay.url
        await shop.start()
        relay.hold(b"/commands/add-messages")
        await shop.order("ann@example.test")
        await relay.held.wait()
        await shop.told(ann="sent")
        relay.released.set()
        await shop.order("bob@example.test")
        await shop.told(ann="sent", bob="sent")
        await shop.end(signal.SIGTERM)


async def test_a_mail_that_cannot_be_taken_holds_up_no_other(
    shop: Shop, server: Server, mail: SmtpServer
) -> None:
    """A batch that is refused as a whole is halved until each mail has its own answer."""
    await asyncio.to_thread(server.stop)
    server.settings |= {"GMP_MAX_ENQUEUE_BATCH": "3", "GMP_MAX_BODY_MB": "1"}
    names = [f"customer{number}" for number in range(9)]
    await shop.order(*(f"{name}@example.test" for name in names[:5]))
    await shop.order("greedy@example.test", item="teapot " * 200_000)
    await shop.order(*(f"{name}@example.test" for name in names[5:]))
    await asyncio.to_thread(server.start)

    reasons = await shop.told(greedy="rejected", **dict.fromkeys(names, "sent"))
    assert reasons["greedy"]
    assert arrived(mail) == dict.fromkeys(names, 1)


async def test_what_was_refused_can_be_let_go_again(shop: Shop, server: Server, mail: SmtpServer) -> None:
    """Once the cause is mended, with the statement that the README shows."""
    client = server.client()
    inactive = {"active": False}
    await asyncio.to_thread(client.call, "PUT", "/tenant/acme", inactive)
    await shop.order("ann@example.test")
    await shop.told(ann="rejected")
    await asyncio.to_thread(client.call, "PUT", "/tenant/acme", {"active": True})

    with closing(sqlite3.connect(shop.database)) as database, database:
        database.execute("UPDATE outbox SET status = 'waiting' WHERE status = 'rejected'")
    await shop.order("bob@example.test")  # so that the test need not wait for the next look
    await shop.told(ann="sent", bob="sent")
    assert arrived(mail) == {"ann": 1, "bob": 1}


DISK_FULL = Answer(
    status=503, body={"ok": False, "error": "the disk is full"}, headers={"Retry-After": "3600"}
)


async def test_a_pause_is_ended_by_a_post_and_not_by_an_order(tmp_path: Path) -> None:
    """Told to come again in an hour, the shop leaves mail-proxy alone, until that calls."""
    async with Application(DISK_FULL) as proxy:
        shop = Shop(tmp_path, proxy.url, "key")
        try:
            await shop.start()
            await until(lambda: shop.log, lambda log: "next try in 3600 s: the disk is full" in log)
            await shop.order(*(f"customer{number}@example.test" for number in range(20)))
            assert len(proxy.posts) == 1
            proxy.answer = Answer(body={"ok": True, "queued": 20, "rejected": []})

            assert (await shop.report())["queued"] == 20
            await proxy.wait_for(lambda posts: "add-messages" in posts[-1].target)
            await shop.told(customer0="queued", customer19="queued")
            assert len(messages_in(proxy.posts)) == 20
            assert "queued" not in await shop.report()
        finally:
            await shop.close()


async def test_a_heartbeat_fetches_what_waits(shop: Shop, server: Server, mail: SmtpServer) -> None:
    """Also when the shop would leave mail-proxy alone for an hour yet."""
    await shop.end(signal.SIGTERM)
    async with Application(DISK_FULL) as proxy:
        real, shop.proxy = shop.proxy, proxy.url
        await shop.start()
        await until(lambda: shop.log, lambda log: "next try in 3600 s" in log)
        await shop.order("ann@example.test")
        await asyncio.to_thread(server.stop)
        server.settings |= {"GMP_PORT": str(proxy.port), "GMP_SYNC_INTERVAL": "0.2"}
    assert [each["status"] for each in await shop.mails()] == ["waiting"]

    await asyncio.to_thread(server.start)
    await shop.told(ann="sent")
    assert server.url != real
    assert arrived(mail) == {"ann": 1}


def messages_in(posts: Sequence[Post]) -> list[object]:
    submitted = [post.json["messages"] for post in posts if "add-messages" in post.target]
    assert all(isinstance(each, list) for each in submitted)
    return [message for each in submitted if isinstance(each, list) for message in each]


FORGED = {
    "from a stranger": ({}, {}),
    "with another's token": (bearer("guessed"), {}),
    "with a signature and no token": ({}, {"secret": WEBHOOK_SECRET}),
    "with a token and no signature": (bearer(), None),
    "signed by another": (bearer(), {"secret": OTHER_SECRET}),
    "signed an hour ago": (bearer(), {"age": 3600.0}),
}


@pytest.mark.parametrize("forgery", FORGED)
async def test_a_forged_report_is_refused_and_changes_nothing(lonely: Shop, forgery: str) -> None:
    login, signing = FORGED[forgery]
    await lonely.order("ann@example.test")
    [ann] = await lonely.mails()
    body = report_body(entry(ann, "sent", 1, sent_ts=1735689600))
    headers = {} if signing is None else signature(body, **signing)
    answer = await lonely.post(body, {**login, **headers})
    assert (answer.status_code, answer.json()["ok"]) == (401, False)
    assert await lonely.mails() == [ann]


async def test_a_report_changed_on_its_way_is_refused(lonely: Shop) -> None:
    await lonely.order("ann@example.test")
    [ann] = await lonely.mails()
    body = report_body(entry(ann, "deferred", 1, deferred_reason="451 later"))
    headers = {**bearer(), **signature(body)}
    answer = await lonely.post(body.replace(b"451", b"452"), headers)
    assert answer.status_code == 401
    assert await lonely.mails() == [ann]
    answer = await lonely.post(body, headers)
    assert answer.status_code == 200
    assert (await lonely.mails())[0]["reason"] == "451 later"


async def test_what_is_told_twice_counts_once(lonely: Shop) -> None:
    """An event that comes again after a later one changes nothing."""
    await lonely.order("ann@example.test")
    [ann] = await lonely.mails()
    deferred = entry(ann, "deferred", 7, deferred_reason="451 later")
    sent = entry(ann, "sent", 8, sent_ts=1735689600)
    for entries in ([deferred], [deferred, sent], [sent], [deferred]):
        answer = await lonely.report(*entries)
        assert answer["ok"]
        assert not answer.keys() & {"error", "not_found"}
    [ann] = await lonely.mails()
    assert (ann["status"], ann["reason"]) == ("sent", None)


async def test_another_mail_proxy_counts_its_events_anew(lonely: Shop) -> None:
    """As one does that was made anew: what has a number that was seen is no repetition then."""
    await lonely.order("ann@example.test", "bob@example.test")
    bob, ann = await lonely.mails()
    await lonely.report(entry(ann, "sent", 1))
    await lonely.report(entry(bob, "sent", 1))
    assert [each["status"] for each in await lonely.mails()] == ["sent", "sent"]


async def test_a_hard_bounce_ends_a_mail_that_was_sent(lonely: Shop) -> None:
    """A soft one, and kinds of events that the shop does not know, are kept and change nothing."""
    await lonely.order("ann@example.test")
    [ann] = await lonely.mails()
    await lonely.report(
        entry(ann, "sent", 1),
        entry(ann, "bounce", 2, bounce_type="soft", bounce_reason="mailbox full"),
        entry(ann, "pec_acceptance", 3),
    )
    assert [each["status"] for each in await lonely.mails()] == ["sent"]
    await lonely.report(entry(ann, "bounce", 4, bounce_type="hard", bounce_reason="no such user"))
    assert [(each["status"], each["reason"]) for each in await lonely.mails()] == [
        ("bounced", "no such user")
    ]


async def test_the_answer_tells_what_is_unknown_and_what_could_not_be_applied(lonely: Shop) -> None:
    """And nothing of a mail overtakes what could not be applied."""
    await lonely.order("ann@example.test", "bob@example.test")
    bob, ann = await lonely.mails()
    reports = [
        entry(ann, "deferred", 1, deferred_reason="451 later"),
        entry(ann, "sent", 2),
        entry({"id": "of another database"}, "sent", 3),
        entry(bob, "sent", 4),
    ]
    with closing(sqlite3.connect(lonely.database)) as database:
        database.execute(
            "CREATE TRIGGER fault BEFORE UPDATE ON outbox WHEN NEW.reason = '451 later' "
            "BEGIN SELECT RAISE(ABORT, 'a fault of the shop'); END"
        )
        answer = await lonely.report(*reports)
        database.execute("DROP TRIGGER fault")
    assert answer == {"ok": True, "error": [ann["id"]], "not_found": ["of another database"], "queued": 1}
    assert [each["status"] for each in await lonely.mails()] == ["sent", "waiting"]

    await lonely.report(*reports[:2])
    assert [each["status"] for each in await lonely.mails()] == ["sent", "sent"]


async def test_what_is_signed_and_no_report_is_refused(lonely: Shop) -> None:
    body = b'{"delivery_report": [{"id": "order"}]}'
    answer = await lonely.post(body, {**bearer(), **signature(body)})
    assert (answer.status_code, answer.json()["ok"]) == (400, False)


async def test_an_answer_follows_the_commit(lonely: Shop) -> None:
    """A database that cannot be written makes it a failure, so that the report comes again."""
    await lonely.order("ann@example.test")
    [ann] = await lonely.mails()
    body = report_body(entry(ann, "sent", 1))
    with closing(sqlite3.connect(lonely.database)) as database:
        database.execute("ALTER TABLE reports RENAME TO gone")
        answer = await lonely.post(body, {**bearer(), **signature(body)})
        assert answer.status_code == 500
        assert await lonely.mails() == [ann]
        database.execute("ALTER TABLE gone RENAME TO reports")
    await lonely.report(entry(ann, "sent", 1))
    assert (await lonely.mails())[0]["status"] == "sent"


async def test_the_page_shows_what_customers_write_as_text(lonely: Shop) -> None:
    await lonely.order("ann@example.test", item="<script>alert(1)</script>")
    page = await lonely.page()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_of_the_project_it_imports_the_client_alone() -> None:
    """So it can be copied into any application."""
    imported = {
        name
        for path in EXAMPLE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in _imported(node)
    }
    ours = [name for name in imported if name.partition(".")[0].startswith("mail_proxy")]
    assert ours
    assert all(name.startswith("mail_proxy.client") for name in ours)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_without_its_secrets_it_does_not_start(tmp_path: Path) -> None:
    """It names what is missing, in one line."""
    environment = {"PATH": os.environ["PATH"], "SHOP_API_KEY": "key", "SHOP_SYNC_TOKEN": SYNC_TOKEN}
    run = subprocess.run(
        [sys.executable, str(EXAMPLE / "app.py")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].endswith("SHOP_WEBHOOK_SECRET is not set; README.md says what it is")
    assert not list(tmp_path.iterdir())
