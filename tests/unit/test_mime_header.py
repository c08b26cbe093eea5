"""The header that `build` writes is read back by the standard library, whatever the fields hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.header import decode_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_proxy.errors import InvalidInput
from mail_proxy.model.messages import Attachment
from mail_proxy.smtp.mime import Built
from tests.support.written_mail import any_text, build_one, header_of, names_in, read

INJECTIONS: dict[str, Callable[[str], Built]] = {
    "sender": lambda bad: build_one(sender=f'"A{bad}" <a@x.it>'),
    "to": lambda bad: build_one(to=(f"A <a{bad}@x.it>",)),
    "cc": lambda bad: build_one(cc=(f"a@x.it{bad}",)),
    "reply_to": lambda bad: build_one(reply_to=f"(A{bad}) a@x.it"),
    "subject": lambda bad: build_one(subject=f"A{bad}"),
    "headers": lambda bad: build_one(headers={"X-A": f"A{bad}"}),
    "filename": lambda bad: build_one(attachments=(Attachment(filename=f"a{bad}.txt"),)),
    "content_id": lambda bad: build_one(attachments=(Attachment(filename="a", content_id=f"a{bad}b"),)),
    "message_id": lambda bad: build_one(message_id=f"<a{bad}@x>"),
    "tracking_id": lambda bad: build_one(tracking_id=f"t{bad}"),
}


def names_of(built: Built, field: str) -> list[str]:
    return names_in(built.content, field)


def test_plain_message_is_written_like_this() -> None:
    assert build_one(sender="Shop <shop@example.com>").content == (
        b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
        b"From: Shop <shop@example.com>\r\n"
        b"To: mario@example.it\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <m1@example.com>\r\n"
        b"X-Genro-Mail-ID: t-1\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hi\r\n"
    )


@given(any_text)
@settings(deadline=None)
def test_any_subject_comes_back(subject: str) -> None:
    built = build_one(subject=subject)
    assert read(built)["Subject"] == subject
    assert built.content.isascii()


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("", "Subject:"),
        ("Perché no", "Subject: =?utf-8?q?Perch=C3=A9?= no"),
        ("東京", "Subject: =?utf-8?b?5p2x5Lqs?="),
        ("=?utf-8?q?a?=", "Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?="),
        ("why =? that", "Subject: why =? that"),
        ("tab\there", "Subject: tab here"),
    ],
)
def test_subject_is_encoded_only_as_far_as_needed(subject: str, written: str) -> None:
    assert written in header_of(build_one(subject=subject))


def test_lines_of_a_long_subject_are_folded_at_76_and_split_no_character() -> None:
    built = build_one(subject="日本語の件名😀 " * 20 + "and plain words at the end " * 6)
    assert max(map(len, header_of(built))) <= 76
    for word in re.findall(rb"=\?utf-8\?[qb]\?[^?]*\?=", built.content):
        assert len(word) <= 75
        ((data, _),) = decode_header(word.decode())
        assert data.decode()


@given(st.lists(any_text.map(str.strip), min_size=1, max_size=4))
@settings(deadline=None)
def test_any_display_names_come_back(names: list[str]) -> None:
    quoted = [name.replace("\\", "\\\\").replace('"', '\\"') for name in names]
    built = build_one(to=tuple(f'"{name}" <a{i}@b.example>' for i, name in enumerate(quoted)))
    assert names_of(built, "To") == names
    addresses = [address.addr_spec for address in read(built)["To"].addresses]
    assert addresses == [f"a{i}@b.example" for i in range(len(names))]


@pytest.mark.parametrize(
    ("given_form", "written"),
    [
        ("mario@x.it", "mario@x.it"),
        ("<mario@x.it>", "mario@x.it"),
        ("Mario Rossi <mario@x.it>", "Mario Rossi <mario@x.it>"),
        ("Rossi, Mario <mario@x.it>", '"Rossi, Mario" <mario@x.it>'),
        ('"Rossi, \\"M\\"" <mario@x.it>', '"Rossi, \\"M\\"" <mario@x.it>'),
        ("Mario R. Rossi <mario@x.it>", '"Mario R. Rossi" <mario@x.it>'),
        ("mario@x.it (Mario)", "Mario <mario@x.it>"),
        ("Màrio <mario@x.it>", "=?utf-8?q?M=C3=A0rio?= <mario@x.it>"),
        ("info@münchen.de", "info@xn--mnchen-3ya.de"),
    ],
)
def test_an_address_is_written_like_this(given_form: str, written: str) -> None:
    assert f"From: {written}" in header_of(build_one(sender=given_form))
    assert f"To: {written}" in header_of(build_one(to=(given_form,)))


def test_fields_of_addresses_are_folded_between_them() -> None:
    built = build_one(to=tuple(f"Recipient Number {i} <r{i}@example.com>" for i in range(300)))
    assert max(map(len, header_of(built))) <= 76
    assert len(read(built)["To"].addresses) == 300


@pytest.mark.parametrize("field", ["To", "Cc", "Reply-To"])
def test_an_address_that_is_none_is_refused_naming_its_field(field: str) -> None:
    reply_to = "broken" if field == "Reply-To" else None
    to, cc = (("broken",) if field == name else () for name in ("To", "Cc"))
    with pytest.raises(InvalidInput, match=f"^{field}: 'broken' is not an e-mail address$"):
        build_one(to=to, cc=cc, reply_to=reply_to)


def test_a_sender_field_that_is_no_address_is_text() -> None:
    assert "Sender: somebody" in header_of(build_one(headers={"Sender": "somebody"}))


def test_a_list_in_one_string_is_several_addresses() -> None:
    assert "Cc: a@x.it, B <b@x.it>" in header_of(build_one(cc=("a@x.it, B <b@x.it>",)))


def test_reply_to_is_a_field_of_addresses() -> None:
    assert "Reply-To: =?utf-8?q?No=C3=AB?= <e@x.it>" in header_of(build_one(reply_to="Noë <e@x.it>"))


def test_a_message_to_blind_recipients_only_says_so() -> None:
    assert "To: undisclosed-recipients:;" in header_of(build_one(to=()))


def test_a_local_part_beyond_ascii_is_raw_and_needs_smtputf8() -> None:
    built = build_one(to=("José <josé@münchen.de>",))
    assert built.needs_smtputf8
    assert "To: =?utf-8?q?Jos=C3=A9?= <josé@münchen.de>" in header_of(built)


def test_an_international_domain_alone_does_not_need_smtputf8() -> None:
    assert not build_one(sender="Ü <a@ü.example>").needs_smtputf8


def test_message_id_gets_the_angle_brackets_it_lacks() -> None:
    assert "Message-ID: <id-1@x>" in header_of(build_one(message_id="id-1@x"))


@given(any_text.map(str.strip), st.from_regex(r"X-[A-Za-z0-9-]{1,30}", fullmatch=True))
@settings(deadline=None)
def test_any_header_of_the_application_comes_back(value: str, name: str) -> None:
    assert read(build_one(headers={name: value}))[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Unsubscribe", "<https://x.example/?a=?b&c=" + "d" * 600 + ">"),
        ("References", "<a@x.example> <b@x.example>"),
        ("X-Spaced", "a  b"),
    ],
)
def test_structured_headers_of_the_application_stay_as_they_are(name: str, value: str) -> None:
    assert f"{name}: {value}" in header_of(build_one(headers={name: value}))


def test_names_in_the_sender_field_are_encoded_apart_from_the_address() -> None:
    assert "Sender: =?utf-8?q?Jos=C3=A9=2C_x?= <a@x.it>" in header_of(
        build_one(headers={"Sender": '"José, x" <a@x.it>'})
    )


def test_each_field_stands_once() -> None:
    built = build_one(
        reply_to="r@x.it",
        headers={
            "Date": "Mon, 01 Jan 2024 00:00:00 +0000",
            "message-id": "<other@x>",
            "reply-to": "o@x.it",
        },
    )
    names = [line.partition(":")[0].lower() for line in header_of(built)]
    assert sorted(names) == [
        *("content-transfer-encoding", "content-type", "date", "from", "message-id", "mime-version"),
        *("reply-to", "subject", "to", "x-genro-mail-id"),
    ]
    assert "Date: Mon, 01 Jan 2024 00:00:00 +0000" in header_of(built)


def test_a_header_reply_to_serves_where_the_field_is_absent() -> None:
    assert "Reply-To: o@x.it" in header_of(build_one(headers={"Reply-To": "o@x.it"}))


@pytest.mark.parametrize(
    "name",
    [
        *("From", "TO", "cc", "Bcc", "Subject", "Content-Type", "content-x", "MIME-Version", "Received"),
        *("Return-Path", "X-Genro-Mail-ID", "Resent-Bcc", "", "X Y", "X:Y", "X\r\nBcc", "Xé", "X" * 1000),
    ],
)
def test_headers_that_are_not_free_or_none_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        build_one(headers={name: "x"})


@pytest.mark.parametrize("bad", ["\r\nBcc: x@y.z", "\n", "\r", "\0", "\x7f", "\x85", "\ud800"])
@pytest.mark.parametrize("field", INJECTIONS)
def test_nothing_can_be_injected(field: str, bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        INJECTIONS[field](bad)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "address", ["", "x", "a@b@c", "a@", "@b", "a b@c", "a@b, c@d", "<a@b> <c@d>", "a@b."]
)
def test_a_sender_that_is_not_one_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"^From: .* is not an e-mail address$"):
        build_one(sender=address)
