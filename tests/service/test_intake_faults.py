"""What is refused in a message: every fault at once, each naming its field, nothing of it queued."""

from __future__ import annotations

import base64

import pytest

from tests.support.services import Desk, message

TOO_LONG = "x" * 256


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def named(desk: Desk, entry: object) -> set[str]:
    """The fields that the refusal of an entry names."""
    refusal = await desk.refusal(entry)
    assert refusal.is_invalid
    return {".".join(str(part) for part in fault.loc) for fault in refusal.errors}


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"id": None}, {"id"}),
        ({"id": ""}, {"id"}),
        ({"id": TOO_LONG}, {"id"}),
        ({"id": 7}, {"id"}),
        ({"id": "a\nb"}, {"id"}),
        ({"from": None}, {"from"}),
        ({"from": "nobody"}, {"from"}),
        ({"from": ["a@b.it"]}, {"from"}),
        ({"to": None}, {"to"}),
        ({"to": []}, {"to"}),
        ({"to": " , "}, {"to"}),
        ({"to": ["a@b.it", "nobody", 7]}, {"to.1", "to.2"}),
        ({"to": "a@b.it, nobody"}, {"to.1"}),
        ({"to": {"a": "b"}}, {"to"}),
        ({"cc": ["nobody"]}, {"cc.0"}),
        ({"cc_addr": ["nobody"]}, {"cc_addr.0"}),
        ({"bcc": 7}, {"bcc"}),
        ({"to": ["a@b.it"] * 1001}, {"to"}),
        ({"to": ["nobody"] * 1001}, {"to"}),
        ({"bcc": "nobody," * 1001}, {"bcc"}),
        ({"headers": {f"X {n}": "\n" for n in range(201)}}, {"headers"}),
        ({"attachments": [{}] * 101}, {"attachments"}),
        ({"subject": None}, {"subject"}),
        ({"subject": 7}, {"subject"}),
        ({"subject": "x" * 4001}, {"subject"}),
        ({"body": None}, {"body"}),
        ({"body": ["x"]}, {"body"}),
        ({"body": "\ud800"}, {"body"}),
        ({"body_html": "\udfff"}, {"body_html"}),
        ({"content_type": "text/html"}, {"content_type"}),
        ({"content_type": "html", "body_html": "<p>"}, {"body_html"}),
        ({"headers": {"X-A": "1", "x-a": "2"}}, {"headers.x-a"}),
        ({"headers": {"Reply-To": "a@b.it"}, "reply_to": "c@b.it"}, {"headers.Reply-To"}),
        ({"headers": {"Message-ID": "a@b.it"}, "message_id": "<c@b.it>"}, {"headers.Message-ID"}),
        ({"reply_to": "nobody"}, {"reply_to"}),
        ({"return_path": "nobody"}, {"return_path"}),
        ({"message_id": "no id"}, {"message_id"}),
        ({"message_id": "<a@b> <c@d>"}, {"message_id"}),
        ({"message_id": "<ä@b>"}, {"message_id"}),
        ({"headers": ["X"]}, {"headers"}),
        ({"headers": {"X-A": 7}}, {"headers.X-A"}),
        ({"headers": {"X A": "1", "X:B": "2", "X-Ok": "4"}}, {"headers.X A", "headers.X:B"}),
        ({"headers": {"": "1"}}, {"headers."}),
        ({"headers": {f"X-{i}": "1" for i in range(201)}}, {"headers"}),
        ({"headers": {"X-Long": "x" * 10_001}}, {"headers.X-Long"}),
        ({"headers": {"Reply-To": "nobody"}}, {"headers"}),
        ({"headers": {"Message-ID": "no id"}}, {"headers"}),
        ({"attachments": {}}, {"attachments"}),
        ({"attachments": [{}]}, {"attachments.0.filename", "attachments.0.storage_path"}),
        ({"attachments": ["a"]}, {"attachments.0"}),
        ({"priority": 4}, {"priority"}),
        ({"priority": -1}, {"priority"}),
        ({"priority": 1.5}, {"priority"}),
        ({"priority": True}, {"priority"}),
        ({"priority": "urgent"}, {"priority"}),
        ({"deferred_ts": "tomorrow"}, {"deferred_ts"}),
        ({"deferred_ts": -1}, {"deferred_ts"}),
        ({"deferred_ts": 1e300}, {"deferred_ts"}),
        ({"deferred_ts": float("nan")}, {"deferred_ts"}),
        ({"deferred_ts": True}, {"deferred_ts"}),
        ({"send_after": []}, {"send_after"}),
        ({"batch_code": ""}, {"batch_code"}),
        ({"batch_code": "x" * 65}, {"batch_code"}),
        ({"metadata": []}, {"metadata"}),
        ({"metadata": {"a": {}}}, {"metadata"}),
        ({"metadata": {"a": [1]}}, {"metadata"}),
        ({"metadata": {"a": "x" * 4090}}, {"metadata"}),
        ({"metadata": {"a": float("nan")}}, {"metadata"}),
        ({"metadata": {"a": "\ud800"}}, {"metadata"}),
        ({"metadata": {"\ud800": 1}}, {"metadata"}),
        ({"account_id": "nobody"}, {"account_id"}),
        ({"account_id": 7}, {"account_id"}),
        ({"account_id": "no id at all"}, {"account_id"}),
        ({"tenant_id": "beta"}, {"tenant_id"}),
        ({"tenant_id": 7}, {"tenant_id"}),
        ({"raw": "no base64!"}, {"raw"}),
        ({"raw": 7}, {"raw"}),
        ({"raw": ""}, {"raw"}),
    ],
)  # fmt: skip
async def test_a_fault_names_its_field(desk: Desk, fields: dict[str, object], faulty: set[str]) -> None:
    """Missing, of a wrong type, out of range or unreadable; nothing is queued."""
    assert faulty <= await named(desk, message(**fields))
    assert (await desk.services.instance.stats())["waiting"] == []


@pytest.mark.parametrize("entry", [None, 7, "text", [], [["id", "m"]], True])
async def test_what_is_no_message_at_all(desk: Desk, entry: object) -> None:
    """Said of the entry as a whole."""
    refusal = await desk.refusal(entry)

    assert (refusal.id, refusal.reason) == (None, "must be an object")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"attachments": "x"}, "attachments: must be a list"),
        ({"metadata": []}, "metadata: must be an object"),
        ({"attachments": [7]}, "attachments.0: must be an object"),
    ],
)
async def test_what_was_expected_is_told_in_words_of_json(
    desk: Desk, fields: dict[str, object], text: str
) -> None:
    assert (await desk.refusal(message(**fields))).reason == text


async def test_an_empty_message_is_told_all_that_it_needs(desk: Desk) -> None:
    """At once."""
    assert await named(desk, {"id": "m"}) == {"from", "to", "subject", "body"}


async def test_all_faults_are_told_at_once(desk: Desk) -> None:
    """Those of types, those of what is missing, those of tenant and account, together."""
    entry = {
        "id": TOO_LONG, "cc": ["nobody", "a@b.it"], "priority": 9, "account_id": "none",
        "headers": {"Bcc": "x@y.it", "X-A": "1\r\n2"}, "attachments": [{"filename": "a\n"}],
        "send_after": "never", "deferred_ts": 5,
    }  # fmt: skip

    assert await named(desk, entry) == {
        "id", "cc.0", "priority", "account_id", "headers.Bcc", "headers.X-A", "attachments.0.filename",
        "attachments.0.storage_path", "subject", "body", "send_after",
    }  # fmt: skip


async def test_the_senders_fault_is_told_beside_others(desk: Desk) -> None:
    """Whether or not the account has an address is known, whatever else is wrong."""
    assert await named(desk, {"id": "m", "to": ["nobody"], "subject": "a\nb", "body": ""}) == {
        "from", "to.0", "subject",
    }  # fmt: skip
    await desk.services.accounts.update("acme", "main", {"from_address": "info@acme.example"})
    assert await named(desk, {"id": "m", "to": ["nobody"], "subject": "a\nb", "body": ""}) == {
        "to.0", "subject",
    }  # fmt: skip


async def test_missing_recipients_are_told_beside_others(desk: Desk) -> None:
    """And an unreadable recipient is not called a missing one."""
    assert await named(desk, message(to=None, priority=9)) == {"to", "priority"}
    assert await named(desk, message(to=None, cc=["nobody"])) == {"cc.0"}


CONTROLS = [
    "\r\nBcc: victim@example.net",
    "\n",
    "\r",
    "\0",
    "\t",
    "\x0b",
    "\x1f",
    "\x7f",
    "\x85",
    "\u2028",
    "\ud800",
]


@pytest.mark.parametrize("evil", CONTROLS)
@pytest.mark.parametrize(
    "field",
    ["id", "from", "to", "cc", "bcc", "subject", "reply_to", "return_path", "message_id", "batch_code"],
)
async def test_no_field_can_hold_another_header(desk: Desk, field: str, evil: str) -> None:
    """Line breaks of every kind and control characters are refused wherever a header is made."""
    value = f"<a{evil}@b.it>" if field == "message_id" else f"An{evil}n <a@b.it>"
    given: object = [value] if field in ("to", "cc", "bcc") else value

    assert {name.partition(".")[0] for name in await named(desk, message(**{field: given}))} == {field}


@pytest.mark.parametrize("evil", CONTROLS)
async def test_no_given_header_can_hold_another(desk: Desk, evil: str) -> None:
    """Neither in its value nor in its name; nor a file name, a type or a content id."""
    spec = {
        "filename": f"a{evil}",
        "storage_path": "base64:",
        "mime_type": f"a/b{evil}",
        "content_id": f"c{evil}",
    }
    headers = {"X-A": f"a{evil}b", f"X{evil}": "1"}
    faulty = await named(desk, message(headers=headers, attachments=[spec]))

    assert faulty >= {
        "headers.X-A", "attachments.0.filename", "attachments.0.mime_type", "attachments.0.content_id",
    }  # fmt: skip
    assert len(faulty) == 5


@pytest.mark.parametrize(
    "name",
    [
        "From", "to", "CC", "Bcc", "Subject", "Content-Type", "content-transfer-encoding", "Content-Anything",
        "MIME-Version", "mime-x", "Received", "Return-Path", "Resent-Bcc", "X-Genro-Mail-ID",
        "x-genro-mail-id",
    ],
)  # fmt: skip
async def test_headers_that_are_not_the_applications(desk: Desk, name: str) -> None:
    """They would contradict the message or the envelope."""
    refusal = await desk.refusal(message(headers={name: "1"}))

    assert refusal.reason == f"headers.{name}: cannot be set here"


@pytest.mark.parametrize(
    ("spec", "faulty", "words"),
    [
        ({"storage_path": "a.txt"}, "storage_path", "must begin with 'base64:'"),
        ({"storage_path": "https://x.example/a"}, "storage_path", "must begin with 'base64:'"),
        ({"storage_path": "base64:no base64"}, "storage_path", "is not valid base64"),
        ({"storage_path": 7}, "storage_path", "must be base64 text"),
        ({"fetch_mode": "http_url"}, "fetch_mode", "'base64'"),
        ({"content_md5": "0" * 32}, "content_md5", "is not the MD5 of the content"),
        ({"content_md5": "xyz"}, "content_md5", "pattern"),
        ({"mime_type": "text"}, "mime_type", "must be type/subtype"),
        ({"filename": ""}, "filename", "at least 1"),
        ({"filename": TOO_LONG}, "filename", "at most 255"),
        ({"inline": "yes"}, "inline", "must be true or false"),
    ],
)
async def test_attachments_that_are_refused(
    desk: Desk, spec: dict[str, object], faulty: str, words: str
) -> None:
    """Saying which and why."""
    whole = {"filename": "a.txt", "storage_path": "base64:" + b64(b"hello"), **spec}
    refusal = await desk.refusal(message(attachments=[whole]))

    [fault] = refusal.errors
    assert fault.loc == ("attachments", 0, faulty)
    assert words in fault.msg


async def test_recipients_in_one_string_that_is_endless(desk: Desk) -> None:
    """It is not gone through to find what is wrong with it."""
    refusal = await desk.refusal(message(to="(" * 1_000_001))
    assert [str(fault) for fault in refusal.errors] == ["to: must have at most 1000000 characters"]


async def test_too_many_attachments(desk: Desk) -> None:
    """More than any mail has."""
    spec = {"filename": "a", "storage_path": "base64:"}

    assert await named(desk, message(attachments=[spec] * 101)) == {"attachments"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"cc": ["a@b.it"]}, {"cc_addr": ["c@d.it"]}),
        ({"bcc": ["a@b.it"]}, {"bcc_addr": ["c@d.it"]}),
        ({"headers": {"X-A": "1"}}, {"custom_headers": {"X-B": "1"}}),
        ({"deferred_ts": 5}, {"send_after": 6}),
    ],
)
async def test_a_field_under_two_names_is_refused(
    desk: Desk, one: dict[str, object], other: dict[str, object]
) -> None:
    """Rather than lose one of them."""
    [alias] = other

    assert await named(desk, message(**one, **other)) == {alias}


async def test_bcc_of_a_pec_account(desk: Desk) -> None:
    """Certified mail has no hidden recipients."""
    await desk.services.accounts.update("acme", "main", {"is_pec_account": True})

    assert await named(desk, message(bcc=["a@b.it"])) == {"bcc"}
    assert (await desk.submit(message())).queued == 1
    assert (await desk.services.messages.get("acme", "m")).is_pec


async def test_unknown_fields_are_named(desk: Desk) -> None:
    """They are ignored, and the answer says so, message by message."""
    done = await desk.submit(message("a", subjct="x", to_addr="y"), message("b", from_="z"), message("c"))

    assert done.queued == 3
    assert done.warnings == (
        "a: ignored unknown fields subjct, to_addr",
        "b: ignored unknown field from_",
    )


async def test_a_rejected_message_does_not_repeat_what_was_given(desk: Desk) -> None:
    """A reason may end in a log, and the message holds people's data."""
    refusal = await desk.refusal(
        message(priority="s3cret", metadata={"a": ["s3cret"]}, content_type="s3cret")
    )

    assert "s3cret" not in refusal.reason
    assert not any("s3cret" in fault.msg for fault in refusal.errors)


async def test_of_very_many_faults_the_first_are_told_and_how_many_there_are(desk: Desk) -> None:
    """The answer does not grow to many times the request."""
    refusal = await desk.refusal(message(to=["nobody"] * 150))
    assert len(refusal.errors) == 101
    assert str(refusal.errors[-1]) == "and 50 more faults"
    assert refusal.reason.endswith("; and 50 more faults")


async def test_a_raw_message_has_no_more_than_ten_thousand_recipients(desk: Desk) -> None:
    """Its header has room for many times as many."""
    to = b",\r\n ".join(b"%d@b.it" % n for n in range(10_001))
    raw = b64(b"From: a@b.it\r\nTo: " + to + b"\r\n\r\n")
    refusal = await desk.refusal({"id": "m", "raw": raw})
    assert refusal.reason == "raw: the message has 10001 recipients: at most 10000"
