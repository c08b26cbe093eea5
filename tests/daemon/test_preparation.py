"""From a claimed message to its envelope and bytes, whatever the store holds."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes
from email.policy import SMTP

import pytest

from mail_proxy.daemon.preparation import LARGE, Prepared, Preparer
from mail_proxy.model.messages import RecipientStatus
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Bounced, Scope
from tests.support.dispatching import OWNER, Dispatching, dispatching


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(database_url) as made:
        await made.add_account()
        yield made


@pytest.fixture
def preparer(rig: Dispatching) -> Preparer:
    return Preparer(rig.store, rig.runtime.tracking)


async def claim(rig: Dispatching, **fields: object) -> Claimed:
    """Queue a message and claim it."""
    await rig.queue("m1", **fields)
    lane = (await rig.store.accounts.get("acme", "main")).lane
    now = rig.clock.now()
    (claimed,) = (await rig.store.queue.claim(lane, 1, OWNER, now, now + 30)).messages
    return claimed


async def prepared(preparer: Preparer, claimed: Claimed) -> Prepared:
    result = await preparer.prepare(claimed)
    assert isinstance(result, Prepared)
    return result


async def test_fields_become_mime_with_a_date_and_ids_that_stay(rig: Dispatching, preparer: Preparer) -> None:
    """Written twice it is the same: a retry is recognised as the same message."""
    claimed = await claim(rig)
    once, again = await prepared(preparer, claimed), await prepared(preparer, claimed)
    mail = message_from_bytes(once.content, policy=SMTP)
    assert mail["Message-ID"] == claimed.message_id
    assert mail["Date"].datetime.timestamp() == rig.clock.now()
    assert mail["X-Genro-Mail-ID"] == rig.runtime.tracking.id_for(claimed.pk)
    assert once == again


async def test_a_large_content_is_read_again_for_each_attempt(rig: Dispatching, preparer: Preparer) -> None:
    """It is let go of as soon as it has been read, and not by mistake for ever."""
    body = "line\r\n" * (LARGE // 6 + 1)
    claimed = await claim(rig, body=body)
    assert claimed.payload is None
    once, again = await prepared(preparer, claimed), await prepared(preparer, claimed)
    assert once.content.endswith(body.encode())
    assert once == again


async def test_only_open_recipients_are_in_the_envelope(rig: Dispatching, preparer: Preparer) -> None:
    """Who took it, or refused it for good, is not asked again."""
    claimed = await claim(rig, to=["ann@b.test", "bob@b.test", "cyd@b.test"], bcc=["dan@b.test"])
    fates = (
        RecipientStatus.SENT,
        RecipientStatus.DEFERRED,
        RecipientStatus.ERROR,
        RecipientStatus.PENDING,
    )
    fared = tuple(replace(each, status=fate) for each, fate in zip(claimed.recipients, fates, strict=True))
    envelope = (await prepared(preparer, replace(claimed, recipients=fared))).envelope
    assert envelope.sender == "shop@example.org"
    assert envelope.recipients == ("bob@b.test", "dan@b.test")


@pytest.mark.parametrize("extra", [0, LARGE], ids=["read along", "read apart"])
async def test_raw_bytes_stay_as_they_are(rig: Dispatching, preparer: Preparer, extra: int) -> None:
    """Small ones come with the claim, large ones are read when their turn has come."""
    body = b"\r\n".join([b"x" * 70] * (extra // 70 + 1)) + b"\r\n"
    head = (
        b"From: a@b.test\r\nTo: ann@b.test\r\nMessage-ID: <1@b.test>\r\nDate: Fri, 21 Nov 2025 10:00:00 +0000"
    )
    raw = head + b"\r\n\r\n" + body
    claimed = await claim(rig, raw=base64.b64encode(raw).decode())
    assert (claimed.payload is None) is bool(extra)
    assert (await prepared(preparer, claimed)).content.endswith(raw)


async def test_internationalised_headers_ask_for_smtputf8(rig: Dispatching, preparer: Preparer) -> None:
    raw = "From: zoë@b.test\r\nTo: ann@b.test\r\n\r\nHi\r\n".encode()
    claimed = await claim(rig, raw=base64.b64encode(raw).decode())
    assert (await prepared(preparer, claimed)).envelope.needs_smtputf8 is True


async def test_a_content_that_is_gone_is_refused_for_good(rig: Dispatching, preparer: Preparer) -> None:
    """As when its tenant was deleted while it was being sent."""
    claimed = replace(await claim(rig), payload=None)
    await rig.execute("DELETE FROM payloads")
    result = await preparer.prepare(claimed)
    assert isinstance(result, Bounced)
    assert result.scope is Scope.MESSAGE
    assert result.reply.startswith("the message cannot be written: no message content")


@pytest.mark.parametrize("content", [b'{"from": "a@b.test", "subj', b"\xff", b"[]", b"{}"])
async def test_a_content_that_is_damaged_is_refused_for_good(
    rig: Dispatching, preparer: Preparer, content: bytes
) -> None:
    """It must not end the server, which would meet it again at each start."""
    claimed = await claim(rig)
    assert claimed.payload is not None
    damaged = replace(claimed, payload=replace(claimed.payload, content=content))
    assert isinstance(await preparer.prepare(damaged), Bounced)
