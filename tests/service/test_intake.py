"""What a message may say, by fields or as a whole (messages.md, Fields)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from mail_proxy.model.messages import Draft, Payload, PayloadKind
from mail_proxy.services.intake import FEW
from mail_proxy.services.payloads import draft_of
from tests.support.services import NOW, Desk, message


def draft(stored: object) -> Draft:
    assert isinstance(stored, dict)
    return draft_of(Payload(kind=PayloadKind.FIELDS, content=stored["content"]))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_a_plain_message_is_taken(desk: Desk) -> None:
    """With what it did not say filled in."""
    done = await desk.submit(message())

    assert (done.queued, done.rejected, done.warnings) == (1, (), ())
    stored = await desk.stored()
    assert (stored["account_id"], stored["priority"], stored["status"], stored["batch_code"]) == (
        "main", 2, "pending", None,
    )  # fmt: skip
    assert (stored["envelope_from"], stored["metadata"]) == ("shop@example.org", None)
    assert draft(stored) == Draft(
        sender="shop@example.org", to=("ann@example.net",), subject="Your order", body="It is on its way."
    )


async def test_every_field_is_kept(desk: Desk) -> None:
    """As it was given, in the message or in its content."""
    entry = message(
        **{"from": "Shop <shop@example.org>"},
        to=["Ann <ann@example.net>"],
        cc="bob@example.net, Cyd <cyd@example.net>",
        bcc=["dan@example.net"],
        content_type="plain",
        body_html="<p>It is.</p>",
        reply_to="help@example.org",
        return_path="bounces@example.org",
        message_id="<own@example.org>",
        headers={"X-Order": "7"},
        priority="high",
        deferred_ts=NOW + 60,
        batch_code="spring",
        metadata={"order": 7, "name": "Ünï", "paid": True, "note": None},
    )

    assert (await desk.submit(entry)).queued == 1

    stored = await desk.stored()
    assert (stored["priority"], stored["deferred_ts"], stored["batch_code"], stored["status"]) == (
        1, NOW + 60, "spring", "deferred",
    )  # fmt: skip
    assert (stored["envelope_from"], stored["message_id"]) == ("bounces@example.org", "<own@example.org>")
    assert json.loads(str(stored["metadata"])) == entry["metadata"]
    assert [each.address for each in stored["recipients"]] == [  # type: ignore[attr-defined]  # recipients
        "ann@example.net", "bob@example.net", "cyd@example.net", "dan@example.net",
    ]  # fmt: skip
    assert draft(stored) == Draft(
        sender="Shop <shop@example.org>",
        to=("Ann <ann@example.net>",),
        cc=("bob@example.net", "Cyd <cyd@example.net>"),
        subject="Your order",
        body="It is on its way.",
        body_html="<p>It is.</p>",
        reply_to="help@example.org",
        headers={"X-Order": "7"},
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"to": "ann@example.net, bob@example.net"}, ["ann@example.net", "bob@example.net"]),
        ({"to": None, "cc_addr": "cc@example.net"}, ["cc@example.net"]),
        ({"to": None, "bcc_addr": ["b@example.net"]}, ["b@example.net"]),
        ({"to": [], "cc": ["cc@example.net"], "bcc": []}, ["cc@example.net"]),
        ({"to": ["A <a@x.it>", "a@x.it", "a@X.IT"], "cc": "a@x.it"}, ["a@x.it"]),
        ({"to": ["a@x.it", "A@x.it"]}, ["a@x.it", "A@x.it"]),
        ({"to": ["jörg@exämple.net"]}, ["jörg@exämple.net"]),
        ({"to": '"Rossi, Ann" <ann@example.net>'}, ["ann@example.net"]),
    ],
)
async def test_recipients(desk: Desk, fields: dict[str, object], expected: list[str]) -> None:
    """Lists or comma-separated text, under either name, each address once."""
    entry = message(**fields)

    assert (await desk.submit(entry)).queued == 1
    recipients = (await desk.services.messages.get("acme", "m")).recipients
    assert [each.address for each in recipients] == expected


async def test_null_is_as_if_it_were_not_there(desk: Desk) -> None:
    """Programs write null for what they do not have."""
    names = (
        "cc", "bcc", "reply_to", "return_path", "message_id", "headers", "attachments", "priority",
        "deferred_ts", "batch_code", "metadata", "body_html", "raw", "envelope", "account_id", "tenant_id",
    )  # fmt: skip
    done = await desk.submit(message() | dict.fromkeys(names))

    assert (done.queued, done.warnings) == (1, ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0, 0), (3, 3), (1.0, 1), ("immediate", 0), ("HIGH", 1), ("medium", 2), ("low", 3)],
)
async def test_priorities(desk: Desk, given: object, expected: int) -> None:
    """By number or by name."""
    await desk.submit(message(priority=given))

    assert (await desk.services.messages.get("acme", "m")).priority == expected


async def test_the_default_priority_is_the_batchs_then_the_instances(desk: Desk) -> None:
    """And a message's own before both."""
    await desk.submit(message("a"), message("b", priority=3), default_priority=0)
    await desk.submit(message("c"))

    found = [(await desk.services.messages.get("acme", each)).priority for each in "abc"]
    assert found == [0, 3, 2]


@pytest.mark.parametrize(
    "field",
    [
        {"deferred_ts": NOW + 3600},
        {"send_after": NOW + 3600},
        {"send_after": int(NOW + 3600)},
        {"deferred_ts": "2023-11-14T23:13:20Z"},
        {"send_after": "2023-11-14T23:13:20"},
        {"send_after": "2023-11-15T01:13:20+02:00"},
    ],
)
async def test_schedules(desk: Desk, field: dict[str, object]) -> None:
    """Unix seconds or ISO 8601, which is UTC without a zone."""
    await desk.submit(message(**field))

    assert (await desk.services.messages.get("acme", "m")).deferred_ts == NOW + 3600


async def test_reply_to_and_message_id_among_the_headers(desk: Desk) -> None:
    """They set the fields of that name; the others stay headers."""
    headers = {"reply-to": "Help <help@example.org>", "MESSAGE-ID": "own@example.org", "X-Other": "1"}
    await desk.submit(message(custom_headers=headers))

    stored = await desk.stored()
    assert stored["message_id"] == "<own@example.org>"
    assert (draft(stored).reply_to, draft(stored).headers) == ("Help <help@example.org>", {"X-Other": "1"})


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("shop@example.org", "example.org"),
        ("Shop <shop@Bücher.example>", "xn--bcher-kva.example"),
        ("shop@faß.example", "xn--fa-hia.example"),
        ("jörg@bücher.example", "xn--bcher-kva.example"),
        ("a@[192.0.2.1]", "[192.0.2.1]"),
    ],
)
async def test_a_message_id_is_made_of_its_key_and_the_senders_domain(
    desk: Desk, sender: str, domain: str
) -> None:
    """In ASCII, and only this instance can make it."""
    assert (await desk.submit(message(**{"from": sender}))).rejected == ()

    stored = await desk.services.messages.get("acme", "m")
    assert stored.message_id == f"<{desk.runtime.tracking.id_for(stored.pk)}@{domain}>"


async def test_the_accounts_address_is_the_sender_of_messages_without_one(desk: Desk) -> None:
    """And a message's own before it."""
    await desk.services.accounts.update("acme", "main", {"from_address": "Acme <info@acme.example>"})
    await desk.submit(message("a", **{"from": None}), message("b"))

    assert draft(await desk.stored("a")).sender == "Acme <info@acme.example>"
    assert (await desk.stored("a"))["envelope_from"] == "info@acme.example"
    assert draft(await desk.stored("b")).sender == "shop@example.org"


@pytest.mark.parametrize(
    "spec",
    [
        {"filename": "a.txt", "storage_path": "base64:" + b64(b"hello")},
        {"filename": "a.txt", "storage_path": b64(b"hello"), "fetch_mode": "base64"},
        {
            "filename": "a.txt",
            "storage_path": "base64:" + b64(b"hello"),
            "content_md5": "5D41402ABC4B2A76B9719D911017C592",
        },
    ],
)
async def test_attachments_come_with_the_message(desk: Desk, spec: dict[str, object]) -> None:
    """In base64, marked or by mode; the MD5 is checked whatever its case."""
    assert (await desk.submit(message(attachments=[spec]))).rejected == ()

    [attachment] = draft(await desk.stored()).attachments
    assert (attachment.filename, attachment.content, attachment.inline) == ("a.txt", b"hello", False)


async def test_an_inline_attachment(desk: Desk) -> None:
    """With its type and id."""
    spec = {
        "filename": "logo.png", "storage_path": "base64:", "mime_type": "image/png",
        "content_id": "logo", "inline": True,
    }  # fmt: skip
    assert (await desk.submit(message(attachments=[spec]))).rejected == ()

    [attachment] = draft(await desk.stored()).attachments
    assert (attachment.mime_type, attachment.content_id, attachment.inline, attachment.content) == (
        "image/png", "logo", True, b"",
    )  # fmt: skip


# Given raw

RAW = b"""From: Shop <shop@example.org>
To: Ann <ann@example.net>, bob@example.net
Cc: ann@example.net
Bcc: secret@example.net
Subject: hello

Good day.
"""


async def test_a_raw_message_is_kept_byte_for_byte(desk: Desk) -> None:
    """Its own header says from whom, to whom and under which id it goes."""
    content = RAW.replace(b"Subject", b"Message-ID: <own@example.org>\nSubject")
    assert (await desk.submit({"id": "m", "raw": b64(content)})).rejected == ()

    stored = await desk.stored()
    recipients = (await desk.services.messages.get("acme", "m")).recipients
    assert stored["content"] == content
    assert (stored["envelope_from"], stored["message_id"]) == ("shop@example.org", "<own@example.org>")
    assert [each.address for each in recipients] == [
        "ann@example.net",
        "bob@example.net",
        "secret@example.net",
    ]


async def test_an_envelope_overrides_the_header(desk: Desk) -> None:
    """Both ways, and so does a return path."""
    envelope = {"from": "bounces@example.org", "to": "dan@example.net"}
    await desk.submit(
        {"id": "a", "raw": "base64:" + b64(RAW), "envelope": envelope, "priority": 1, "batch_code": "b"},
        {"id": "b", "raw": b64(RAW), "return_path": "Bounces <back@example.org>"},
    )

    a, b = [await desk.services.messages.get("acme", each) for each in "ab"]
    assert ([each.address for each in a.recipients], a.envelope_from) == (
        ["dan@example.net"], "bounces@example.org",
    )  # fmt: skip
    assert (a.priority, a.batch_code) == (1, "b")
    assert (len(b.recipients), b.envelope_from) == (3, "back@example.org")


async def test_a_raw_message_without_an_id_gets_one(desk: Desk) -> None:
    """As one by fields does."""
    await desk.submit({"id": "m", "raw": b64(RAW)})

    stored = await desk.services.messages.get("acme", "m")
    assert stored.message_id == f"<{desk.runtime.tracking.id_for(stored.pk)}@example.org>"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the message is empty"),
        (b"no header at all", "not an e-mail message"),
        (b"To: a@b.it\n\nx", "the message has no From field"),
        (b"From: nobody\nTo: a@b.it\n\nx", "From: "),
        (b"From: a@b.it\n\nx", "no recipients"),
        (b"From: a@b.it\nTo: nobody\n\nx", "To: "),
        (b'From: a@b.it\nTo: "x y"@-.it\n\nx', "address"),
        (b"From: a@b..it\nTo: a@b.it\n\nx", "address"),
        (b"From: a@b.it\nTo: a@b.it\n\nx\0", "NUL"),
    ],
)
async def test_raw_messages_that_cannot_be_sent(desk: Desk, content: bytes, words: str) -> None:
    """Said of `raw`, also beside other faults."""
    refusal = await desk.refusal({"id": "m", "raw": b64(content), "account_id": "none"})

    assert {fault.loc for fault in refusal.errors} == {("raw",), ("account_id",)}
    assert words in refusal.reason


async def test_fields_beside_a_raw_message_are_named(desk: Desk) -> None:
    """They are not looked at, and whoever gave them should know."""
    done = await desk.submit(
        {"id": "m", "raw": b64(RAW), "to": ["x@y.it"], "subject": "s", "cc": [], "odd": 1}
    )

    assert done.queued == 1
    assert done.warnings == (
        "m: ignored unknown field odd",
        "m: ignored subject, to: the raw message says it itself",
    )


class _Watched(list[object]):
    """Entries that note, whenever they are gone through, how often somebody else had a turn by then."""

    def __init__(self, entries: Sequence[object]) -> None:
        super().__init__(entries)
        self.turns = 0
        self.seen: list[list[int]] = []

    def __iter__(self) -> Iterator[object]:
        self.seen.append(noted := [])
        for entry in super().__iter__():
            noted.append(self.turns)
            yield entry


@pytest.mark.parametrize("count", [5, FEW + 5])
async def test_others_have_their_turn_while_a_batch_is_judged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Of however many messages: a few can be of many megabytes."""
    monkeypatch.setattr("mail_proxy.services.intake.LONGEST_TURN", -1.0)
    entries = _Watched([{}] * count)

    async def others() -> None:
        while True:
            entries.turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await desk.services.intake.submit(entries, tenant_id="acme")
    task.cancel()
    assert any(noted == sorted(set(noted)) for noted in entries.seen)


async def test_batches_that_come_together_are_judged_one_after_the_other(desk: Desk) -> None:
    """However many there are, others wait no longer for all of them than for one."""
    await desk.submit(message())
    batches = [_Watched([{"id": f"m{n}"} for n in range(100)]) for _ in range(40)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            for each in batches:
                each.turns = turns
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await asyncio.gather(*(desk.services.intake.submit(each, tenant_id="acme") for each in batches))
    task.cancel()
    judged = Counter(turn for each in batches for turn in each.seen[0])
    assert max(judged.values()) <= len(batches[0])
