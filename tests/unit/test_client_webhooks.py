"""Delivery reports as the Python client reads them for an application."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.callbacks.answer import PostResult, parse_answer
from mail_proxy.callbacks.report import entry
from mail_proxy.client import InvalidPost, InvalidSignature, ReportEntry, webhooks
from mail_proxy.model.messages import EventType
from mail_proxy.signing import signed_headers
from tests.support.arbitrary import json_values
from tests.support.told import RETURNS, STATES, event

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ENTRY = {
    "id": "città",
    "tenant_id": "acme",
    "pk": "01a1fdc0",
    "account_id": "main",
    "priority": 2,
    "event": "sent",
    "event_id": 8123,
}


def body(*entries: object) -> bytes:
    return json.dumps({"delivery_report": entries}).encode()


def signed(content: bytes, *, secret: str = SECRET, ago: float = 0) -> dict[str, str]:
    return signed_headers(secret, "batch_1", time.time() - ago, content)


class TestEntries:
    @pytest.mark.parametrize("report_nulls", [True, False])
    @pytest.mark.parametrize(("kind", "data"), [row[:2] for row in STATES + RETURNS])
    def test_whatever_is_told_is_read(
        self, kind: EventType, data: Mapping[str, object], *, report_nulls: bool
    ) -> None:
        """Every field of every kind of event; what is null or not there is None, or empty."""
        told = entry(event(kind, data, '{"order": 42}'), report_nulls=report_nulls)
        (read,) = webhooks.receive(None, {}, body(told))
        found = json.loads(json.dumps(dataclasses.asdict(read)))
        assert {name: found[name] for name in told} == told
        others = {name: value for name, value in found.items() if name not in told}
        assert not any(others.values())

    def test_in_the_order_of_the_report(self) -> None:
        read = webhooks.receive(None, {}, body(*(ENTRY | {"event_id": number} for number in range(500))))
        assert [each.event_id for each in read] == list(range(500))

    def test_a_heartbeat_has_none(self) -> None:
        assert webhooks.receive(None, {}, body()) == ()

    def test_what_a_newer_server_adds_is_passed_over(self) -> None:
        added = {**ENTRY, "weather": "fine", "recipients": [{"address": "a@b.it", "status": "sent", "x": 1}]}
        (read,) = webhooks.receive(None, {}, body(added))
        assert (read.id, read.event, read.recipients[0].address) == ("città", "sent", "a@b.it")

    def test_they_cannot_be_changed(self) -> None:
        (read,) = webhooks.receive(None, {}, body(ENTRY))
        with pytest.raises(dataclasses.FrozenInstanceError):
            read.event = "error"  # type: ignore[misc]  # what is to be refused

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "not JSON"),
            (b"\xff", "not JSON"),
            (b"{", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"1" * 5000, "not JSON"),
            (b"null", "no list 'delivery_report'"),
            (b"[]", "no list 'delivery_report'"),
            (b"{}", "no list 'delivery_report'"),
            (b'{"delivery_report": {}}', "no list 'delivery_report'"),
            (body(7), "not an object"),
            (body(ENTRY, {}), "has no 'id'"),
            (body({name: value for name, value in ENTRY.items() if name != "event_id"}), "has no 'event_id'"),
            (body(ENTRY | {"id": 7}), "'id' of an entry"),
            (body(ENTRY | {"id": None}), "'id' of an entry"),
            (body(ENTRY | {"event_id": "8123"}), "'event_id' of an entry"),
            (body(ENTRY | {"event_id": True}), "'event_id' of an entry"),
            (body(ENTRY | {"event_id": 1.5}), "'event_id' of an entry"),
            (body(ENTRY | {"sent_ts": "now"}), "'sent_ts' of an entry"),
            (body(ENTRY | {"possible_duplicate": 1}), "'possible_duplicate' of an entry"),
            (body(ENTRY | {"metadata": []}), "'metadata' of an entry"),
            (body(ENTRY | {"recipients": None}), "'recipients' of an entry"),
            (body(ENTRY | {"recipients": "a@b.it"}), "'recipients' of an entry"),
            (body(ENTRY | {"recipients": ["a@b.it"]}), "not an object"),
            (body(ENTRY | {"recipients": [{"address": "a@b.it"}]}), "has no 'status'"),
            (body(ENTRY | {"recipients": [{"address": 7, "status": "sent"}]}), "'address' of an entry"),
        ],
    )
    def test_what_is_no_report_is_refused(self, content: bytes, said: str) -> None:
        with pytest.raises(InvalidPost, match=said):
            webhooks.receive(None, {}, content)

    @given(st.binary() | json_values.map(body))
    def test_garbage_is_refused_in_no_other_way(self, content: bytes) -> None:
        with pytest.raises(InvalidPost):
            webhooks.receive(None, {}, content)


class TestSignatures:
    @pytest.mark.parametrize("secret", [SECRET, "an own one, è"])
    def test_a_post_that_was_signed_with_the_secret(self, secret: str) -> None:
        content = body(ENTRY)
        (read,) = webhooks.receive(secret, signed(content, secret=secret), content)
        assert read == ReportEntry(**ENTRY)  # type: ignore[arg-type]  # of the kinds of its fields

    def test_headers_as_the_standard_library_reads_them(self) -> None:
        content, headers = body(), Message()
        for name, value in signed(content).items():
            headers[name.title()] = value
        assert webhooks.receive(SECRET, headers, content) == ()

    @pytest.mark.parametrize(
        "change",
        [
            lambda headers, content: (headers, content.replace(b"sent", b"Sent")),
            lambda headers, content: (headers | {"webhook-id": "batch_2"}, content),
            lambda _headers, content: (signed(content, secret="another"), content),
            lambda _headers, content: (signed(content, ago=310), content),
            lambda _headers, content: (signed(content, ago=-310), content),
            lambda _headers, content: ({}, content),
            lambda _headers, _content: ({}, b"garbage"),
        ],
        ids=["body", "header", "secret", "old", "early", "unsigned", "garbage"],
    )
    def test_another_is_refused(
        self, change: Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]
    ) -> None:
        content = body(ENTRY)
        headers, changed = change(signed(content), content)
        with pytest.raises(InvalidSignature):
            webhooks.receive(SECRET, headers, changed)

    def test_how_old_a_post_may_be(self) -> None:
        content = body()
        headers = signed(content, ago=310)
        assert webhooks.receive(SECRET, headers, content, tolerance=600) == ()
        with pytest.raises(InvalidSignature, match="s ago"):
            webhooks.receive(SECRET, headers, content)

    def test_what_was_signed_and_is_no_report(self) -> None:
        with pytest.raises(InvalidPost) as caught:
            webhooks.receive(SECRET, signed(b"{}"), b"{}")
        assert not isinstance(caught.value, InvalidSignature)

    @pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short"])
    def test_a_setting_that_is_no_secret_is_not_taken_for_none(self, secret: str) -> None:
        """An empty environment variable, for one: every post would be believed."""
        with pytest.raises(ValueError, match="must"):
            webhooks.receive(secret, {}, body(ENTRY))

    def test_the_secret_is_not_told(self) -> None:
        with pytest.raises(InvalidSignature) as caught:
            webhooks.receive(SECRET, signed(b"{}", secret="another"), b"{}")
        assert SECRET not in str(caught.value)


class TestAnswer:
    """What it builds is what mail-proxy reads."""

    @pytest.mark.parametrize(
        ("answer", "read"),
        [
            (webhooks.answer(), PostResult()),
            (webhooks.answer(error=["a", "b"]), PostResult(error_ids=frozenset({"a", "b"}))),
            (webhooks.answer(error="ab"), PostResult(error_ids=frozenset({"ab"}))),
            (webhooks.answer(not_found={"c"}), PostResult(not_found_ids=frozenset({"c"}))),
            (webhooks.answer(queued=3), PostResult(queued=3)),
            (webhooks.answer(next_sync_after=1735689600), PostResult(next_sync_after=1735689600)),
            (
                webhooks.answer(next_sync_after=datetime(2025, 1, 1, tzinfo=UTC)),
                PostResult(next_sync_after=1735689600),
            ),
        ],
    )
    def test_it_says_what_was_given(self, answer: dict[str, object], read: PostResult) -> None:
        assert parse_answer(200, json.dumps(answer).encode()) == read

    def test_nothing_to_say_is_ok(self) -> None:
        assert webhooks.answer() == {"ok": True}
