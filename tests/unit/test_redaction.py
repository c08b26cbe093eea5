"""What the command log keeps of a body: no secret and no content, whatever the body is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.services.redaction import (
    MAX_PAYLOAD,
    REFUSED_PAYLOAD,
    is_secret,
    payload_of,
    submission_payload,
)

Json = dict[str, Any]  # what was kept: the tests look into it, and find out

WHOLE: Json = {
    "id": "m1",
    "tenant_id": "acme",
    "account_id": "main",
    "from": "shop@example.org",
    "to": ["ann@example.net"],
    "cc": "bob@example.net",
    "bcc_addr": ["cyd@example.net"],
    "subject": "Your order",
    "reply_to": "help@example.org",
    "return_path": "bounces@example.org",
    "message_id": "<1@example.org>",
    "priority": "high",
    "send_after": "2030-01-01",
    "batch_code": "news",
}
CONTENT: Json = {
    "body": "secret-1",
    "body_html": "secret-2",
    "raw": "secret-3",
    "headers": {"X-Key": "secret-4"},
    "custom_headers": {"X-Key": "secret-5"},
    "metadata": {"card": "secret-6"},
    "envelope": {"from": "secret-7"},
    "unheard_of": "secret-8",
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
FIELDS = st.sampled_from([*WHOLE, *CONTENT, "attachments", "messages", "ids", "password", "config", "auth"])


def kept(body: Json, *, is_one_tenants: bool = True) -> Json:
    found: Json = json.loads(payload_of(body, is_one_tenants=is_one_tenants))
    return found


def test_a_message_is_kept_by_who_writes_to_whom_about_what() -> None:
    attachments = [{"filename": "a.pdf", "storage_path": "secret-9", "auth": {"token": "secret-10"}}]
    text = submission_payload([WHOLE | CONTENT | {"attachments": attachments}], 1)

    assert json.loads(text) == {"messages": [WHOLE | {"attachments": ["a.pdf"]}], "default_priority": 1}


def test_of_messages_of_several_tenants_only_ids_and_the_like_are_kept() -> None:
    """When one of them is deleted, nothing of its data is left in a command that is nobody's."""
    text = submission_payload([WHOLE | {"attachments": [{"filename": "a.pdf"}]}], is_one_tenants=False)

    names = ("id", "tenant_id", "account_id", "priority", "send_after", "batch_code")
    assert json.loads(text) == {"messages": [{name: WHOLE[name] for name in names}]}


@pytest.mark.parametrize("value", [{"x": "secret"}, [{"x": "secret"}], [["secret"]]])
def test_a_field_of_a_message_that_is_no_such_thing_is_hidden(value: object) -> None:
    for name in WHOLE:
        assert "secret" not in submission_payload([{name: value}])
    assert "secret" not in submission_payload([{"attachments": value}])
    assert "secret" not in submission_payload([{"attachments": [{"filename": value}]}])
    assert "secret" not in submission_payload([value])


@pytest.mark.parametrize(
    "name",
    [
        "password", "imap_password", "bounce_imap_password", "token", "api_key", "webhook_secret", "apiKey",
        "API-KEY", "access_token", "client_secret", "aws_access_key", "pwd", "passphrase", "credentials",
        "private_key", "Authorization", "cookie", "connection_string", "sas", "signature", "config", "key",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["s3cret", 8_315_720, ["s3cret"], {"a": {"b": "s3cret"}}, True])
def test_what_is_named_like_a_secret_is_hidden_wherever_it_is(name: str, value: object) -> None:
    assert is_secret(name)
    assert kept({name: value, "a": {name: value, "b": [{name: value}]}}) == {
        name: "***",
        "a": {name: "***", "b": [{name: "***"}]},
    }


@pytest.mark.parametrize(
    "name",
    ["id", "tenant_id", "host", "port", "user", "name", "tls", "ttl", "ids", "older_than_seconds", "at"],
)
def test_what_is_not_is_kept(name: str) -> None:
    assert kept({name: "value"}) == {name: "value"}


def test_that_a_secret_was_taken_away_is_told() -> None:
    assert kept({"password": None, "webhook_secret": None}) == {"password": None, "webhook_secret": None}


@pytest.mark.parametrize("name", ["auth", "client_auth"])
def test_of_a_login_its_method_and_its_user_are_kept(name: str) -> None:
    given = {"method": "basic", "user": "ann", "password": "s3cret", "odd": "s3cret"}
    assert kept({name: given}) == {name: given | {"password": "***", "odd": "***"}}
    assert kept({name: {"method": {"x": "s3cret"}}}) == {name: {"method": "***"}}
    assert kept({name: "Bearer s3cret"}) == {name: "***"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ann:s3cret@host.example/in", "https://***@host.example/in"),
        ("https://s3cret@host.example", "https://***@host.example"),
        ("https://ann:s3/cr?e@t@host.example", "https://***@host.example"),
        ("ann:s3cret@smtp.example.org", "***@smtp.example.org"),
        ("//ann:s3cret@host", "***@host"),
        ("see https://host.example/f?sig=s3cret and go", "see https://host.example/f?*** and go"),
        ("(https://host.example/f?sig=s3cret)", "(https://host.example/f?***"),
        ("https://ann:s3cret@host/f?sig=s3cret", "https://***@host/f?***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIs3cret", "***"),
        ("Ann <ann@example.net>, bob@example.net", "Ann <ann@example.net>, bob@example.net"),
        ("https://host.example/in", "https://host.example/in"),
        ("what now?", "what now?"),
    ],
)
def test_texts_are_kept_without_the_secrets_in_them(text: str, expected: str) -> None:
    assert kept({"note": [text]}) == {"note": [expected]}
    if "://" in text:
        assert json.loads(submission_payload([{"subject": text, "to": [text]}])) == {
            "messages": [{"subject": expected, "to": [expected]}]
        }


def test_messages_that_came_to_another_endpoint_are_hidden_as_well() -> None:
    assert kept({"messages": [WHOLE | CONTENT]}) == {"messages": [WHOLE]}
    assert kept({"messages": "secret"}) == {"messages": "***"}
    assert kept(WHOLE | CONTENT) == WHOLE | {"envelope": {"from": "secret-7"}, "unheard_of": "secret-8"}


def test_a_large_payload_becomes_a_summary() -> None:
    messages = [WHOLE | {"id": f"m{i}", "subject": "é" * 500} for i in range(1000)]
    assert json.loads(submission_payload(messages)) == {
        "messages": 1000,
        "truncated": True,
        "ids": [f"m{i}" for i in range(100)],
    }
    assert kept({"ids": ["x" * 300] * 9000}) == {"truncated": True, "ids": ["x" * 255] * 100}
    assert kept({f"n{i}": "x" * 2000 for i in range(200)}) == {
        "truncated": True,
        "fields": [f"n{i}" for i in range(100)],
    }


@pytest.mark.parametrize("body", [{"ids": ["é\0" * 200] * 9000}, {"é" * 300_000: 1}, {"ids": [1] * 200_000}])
def test_a_summary_is_never_large(body: Json) -> None:
    assert len(payload_of(body)) <= MAX_PAYLOAD
    assert len(payload_of(body, most=REFUSED_PAYLOAD)) <= REFUSED_PAYLOAD
    assert len(submission_payload([{"id": value} for value in body.get("ids", ())])) <= MAX_PAYLOAD


@given(st.dictionaries(FIELDS | st.text(), ANYTHING), st.booleans())
def test_any_body_can_be_kept(body: Json, is_one_tenants: bool) -> None:
    assert isinstance(kept(body, is_one_tenants=is_one_tenants), dict)


@given(st.lists(st.dictionaries(FIELDS, ANYTHING) | ANYTHING), st.booleans())
def test_any_messages_can_be_kept(entries: list[object], is_one_tenants: bool) -> None:
    found = json.loads(submission_payload(entries, is_one_tenants=is_one_tenants))
    assert len(found["messages"]) == len(entries)
