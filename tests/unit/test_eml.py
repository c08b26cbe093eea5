"""Messages given as text: what is read from them, and that the rest stays as it is."""

from __future__ import annotations

import re
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_proxy.errors import InvalidInput
from mail_proxy.smtp.eml import MAX_HEADER, RawMessage, Ready, parse, prepare

SIMPLE = b"From: Shop <shop@example.com>\r\nTo: mario@example.it\r\nSubject: Hello\r\n\r\nHi\r\n"
ADDED = (
    b"X-Genro-Mail-ID: t-1\r\n"
    b"Message-ID: <new@example.com>\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
)  # fmt: skip


def prepared(raw: bytes) -> bytes:
    return ready(raw).content


def ready(raw: bytes) -> Ready:
    return prepare(raw, tracking_id="t-1", message_id="<new@example.com>", date=1_700_000_000.0)


def with_header(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines) + SIMPLE


def crlf(data: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)


class TestParse:
    def test_what_the_envelope_needs_is_read(self) -> None:
        assert parse(SIMPLE) == RawMessage(
            sender="shop@example.com",
            recipients=("mario@example.it",),
            faults=(),
            message_id=None,
        )

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_any_line_ends_are_read(self, end: bytes) -> None:
        assert parse(SIMPLE.replace(b"\r\n", end)) == parse(SIMPLE)

    @pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"From shop@example.com Tue Nov 14 22:13:20 2023\n"])
    def test_a_byte_order_mark_and_an_mbox_line_do_not_matter(self, before: bytes) -> None:
        assert parse(before + SIMPLE) == parse(SIMPLE)

    def test_recipients_are_those_of_to_cc_and_bcc_once_each_in_order(self) -> None:
        raw = with_header(
            b"bCC: b1@x.it,",
            b"\tB2 <b2@x.it>",
            b'CC : "Rossi, M" <c@x.it>, friends: f1@x.it, f2@x.it;',
            b"To: mario@EXAMPLE.it, Mario@example.it",
        )
        expected = (
            "b1@x.it",
            "b2@x.it",
            "c@x.it",
            "f1@x.it",
            "f2@x.it",
            "mario@EXAMPLE.it",
            "Mario@example.it",
        )
        assert parse(raw).recipients == parse(raw).addressed() == expected

    def test_recipients_of_an_earlier_sending_are_not_meant(self) -> None:
        assert parse(with_header(b"Resent-To: r@x.it", b"Resent-Bcc: s@x.it")).recipients == (
            "mario@example.it",
        )

    @pytest.mark.parametrize(
        "raw",
        [
            b"From: a@x.it\n\nHi",
            b"From: a@x.it\nTo:\nCc: undisclosed-recipients:;\n\nTo: body@x.it\n",
        ],
    )
    def test_a_message_without_recipients_is_told_when_they_are_asked_for(self, raw: bytes) -> None:
        with pytest.raises(InvalidInput, match="no recipients"):
            parse(raw).addressed()

    def test_a_recipient_that_cannot_be_read_is_not_passed_over(self) -> None:
        message = parse(with_header(b"Cc: fine@x.it, broken"))
        assert message.recipients == ("mario@example.it",)
        with pytest.raises(InvalidInput, match=r"^Cc: 'broken' is not an e-mail address$"):
            message.addressed()

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"<a@x.it>", "<a@x.it>"),
            (b"\r\n <a@x.it>", "<a@x.it>"),
            (b"<a@x.it> (added by relay)", "<a@x.it>"),
            (b"a@x.it", "a@x.it"),
            (b"", None),
            (b" \r\n\t", None),
            (b"<a\xff@x.it>", "<a @x.it>"),
        ],
    )
    def test_message_id_is_read(self, value: bytes, expected: str | None) -> None:
        assert parse(with_header(b"Message-Id: " + value)).message_id == expected

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b"", "the message is empty"),
            (b" \r\n\r\n", "the message is empty"),
            (b"\r\n" + SIMPLE, "not an e-mail message: it begins with an empty line, so it has no header"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not an e-mail message: line 1 is not a header field"),
            (b"Dear Mario,\n\nHi\n", "not an e-mail message: line 1 is not a header field"),
            (b" folded: x\n" + SIMPLE, "not an e-mail message: line 1 is not a header field"),
            (b"A: b\r\n c\r\nwhat?\r\n" + SIMPLE, "not an e-mail message: line 3 is not a header field"),
            (SIMPLE.decode().encode("utf-16"), "not an e-mail message: line 1 is not a header field"),
            (b"x" * (MAX_HEADER + 1), "not an e-mail message: line 1 is not a header field"),
            (SIMPLE + b"a\0b", "the message holds a NUL byte, which SMTP cannot carry"),
            (b"To: a@x.it\n\nHi", "the message has no From field"),
            (b"From:\nTo: a@x.it\n\nHi", "the message has no From field"),
            (b"From: nobody:;\nTo: a@x.it\n\nHi", "the From field has no address"),
            (b"From: me\nTo: a@x.it\n\nHi", "From: 'me' is not an e-mail address"),
            (b"From: m\xe8@x.it\n\n", r"From: 'm\udce8@x.it' is not an e-mail address"),
            (
                b"A: b\r\n" * 200_000,
                f"the header of the message is over {MAX_HEADER} bytes: no empty line ends it",
            ),
        ],
    )
    def test_what_cannot_be_sent_is_refused_in_one_clear_line(self, raw: bytes, reason: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse(raw)
        assert str(caught.value) == reason

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    @pytest.mark.parametrize("more", [*range(-4, 5), 64 * 1024])
    def test_a_long_header_before_a_large_body_is_read_whole(self, end: bytes, more: int) -> None:
        """Wherever what is looked at first may end: that is 64 KiB, here about the empty line."""
        last = end + b"From: shop@x.it" + end + b"To: last@x.it" + end + end
        first = b"Subject: "
        header = first + b"x" * (64 * 1024 + more - len(first + last)) + last
        message = parse(header + (b"line" + end) * 30_000)
        assert (message.sender, message.recipients) == ("shop@x.it", ("last@x.it",))

    @given(
        st.binary(max_size=200) | st.lists(st.sampled_from(SIMPLE.splitlines(keepends=True))).map(b"".join)
    )
    @settings(deadline=None)
    def test_any_bytes_are_read_or_refused(self, raw: bytes) -> None:
        try:
            message = parse(raw)
        except InvalidInput:
            return
        assert message.sender


class TestPrepare:
    def test_fields_are_added_at_the_top_and_the_rest_is_the_same(self) -> None:
        assert prepared(SIMPLE) == ADDED + SIMPLE

    def test_a_message_with_all_fields_only_gets_the_tracking_id(self) -> None:
        raw = with_header(b"message-ID:\r\n <a@x.it>", b"DATE: whenever")
        assert prepared(raw) == b"X-Genro-Mail-ID: t-1\r\n" + raw

    def test_preparing_again_changes_nothing(self) -> None:
        assert prepared(prepared(SIMPLE)) == prepared(SIMPLE)

    @pytest.mark.parametrize(
        "line",
        [
            *(
                b"Bcc: b@x.it",
                b"BCC:b@x.it",
                b"bcc : b@x.it",
                b"Bcc\t:\t b@x.it",
                b"Bcc: a@x.it,\r\n b@x.it,\r\n\tc@x.it",
            ),
            *(
                b"Bcc:\r\n  \r\n b@x.it",
                b"Bcc: b\xe8@x.it",
                b"Resent-Bcc: b@x.it",
                b"Bcc: a@x.it\r\nBCC: b@x.it",
            ),
            *(b"X-Genro-Mail-ID: other", b"x-genro-mail-id:\r\n other", b"Message-ID:", b"Date: \r\n "),
        ],
    )
    def test_these_fields_do_not_go_on(self, line: bytes) -> None:
        assert prepared(with_header(line)) == ADDED + SIMPLE
        assert prepared(SIMPLE.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")) == ADDED + SIMPLE

    @pytest.mark.parametrize(
        "line",
        [
            *(
                b"X-Odd :   much   space  ",
                b"X-Folded: a\r\n\tb\r\n   c",
                b"X-8bit: \xe8 \xff",
                "X-Utf8: è".encode(),
            ),
            *(b"X-Empty:", b"Subject: =?utf-8?q?=3D?=", b"X-Bcc: stays@x.it", b"Return-Path: <r@x.it>"),
            *(b"X-Long: " + b"y" * 2000, b"DKIM-Signature: v=1;\r\n b=abc\r\n def"),
        ],
    )
    def test_other_fields_stay_as_they_are(self, line: bytes) -> None:
        raw = with_header(line)
        assert prepared(raw) == ADDED + raw

    @pytest.mark.parametrize(
        "body",
        [
            *(
                b"",
                b"\r\n",
                b"no newline at the end",
                b"Bcc: b@x.it\r\n\r\nBcc: c@x.it\r\n",
                b".\r\n..\r\n",
                b"\xff\xfe",
            ),
            *(b"--b\r\n\r\nx\r\n--b--\r\nepilogue\r\n\r\n", b"From here\r\n", b"x" * 5000),
        ],
    )
    def test_the_body_stays_as_it_is(self, body: bytes) -> None:
        head = SIMPLE.partition(b"\r\n\r\n")[0]
        assert prepared(head + b"\r\n\r\n" + body) == ADDED + head + b"\r\n\r\n" + body

    @pytest.mark.parametrize("end", [b"\n", b"\r"])
    def test_line_ends_become_those_of_smtp(self, end: bytes) -> None:
        assert prepared(SIMPLE.replace(b"\r\n", end)) == ADDED + SIMPLE
        assert prepared(SIMPLE.replace(b"\r\n", end, 1)) == ADDED + SIMPLE

    def test_a_field_named_from_with_space_before_the_colon_is_no_mbox_line(self) -> None:
        raw = b"From : a@x.it\r\n\r\nHi\r\n"
        assert prepared(raw) == ADDED + raw

    @pytest.mark.parametrize(
        "before", [b"\xef\xbb\xbf", b"From a@x.it Tue Nov 14\r\n", b"From a\n", b"\xef\xbb\xbfFrom a\r"]
    )
    def test_what_stands_before_the_message_goes(self, before: bytes) -> None:
        assert prepared(before + SIMPLE) == ADDED + SIMPLE

    @pytest.mark.parametrize("end", [b"", b"\r\n"])
    def test_a_header_without_a_body_stays_one(self, end: bytes) -> None:
        raw = b"Bcc: b@x.it\r\nFrom: a@x.it\r\nTo: b@x.it" + end
        assert prepared(raw) == ADDED + raw.partition(b"\r\n")[2]

    @pytest.mark.parametrize("raw", [b"\x89PNG", b"\n", b"A: b\nnothing\n\n"])
    def test_what_is_no_message_is_refused(self, raw: bytes) -> None:
        with pytest.raises(InvalidInput):
            prepared(raw)

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("Cc: josé@x.it", True),
            ("Reply-To: a@münchen.de", True),
            ("Sender: josé@x.it", True),
            ("Cc: José <jose@x.it>", False),
            ("Bcc: josé@x.it", False),
            ("Subject: è", False),
            ("Reply-To: è, broken", False),
        ],
    )
    def test_an_address_that_is_transmitted_beyond_ascii_needs_smtputf8(
        self, line: str, expected: bool
    ) -> None:
        assert ready(with_header(line.encode())).needs_smtputf8 is expected

    @pytest.mark.parametrize("bad", ["", "a b", "a\r\nBcc: x@y.z", "é"])
    def test_nothing_can_be_injected(self, bad: str) -> None:
        with pytest.raises(InvalidInput):
            prepare(SIMPLE, tracking_id=bad, message_id="<a@x>", date=0)
        with pytest.raises(InvalidInput):
            prepare(SIMPLE, tracking_id="t", message_id=f"<{bad}" if bad else "<", date=0)


field_names = st.sampled_from(["Bcc", "BCC", "bcc ", "X-A", "Subject", "Received", "X-Bcc", "To"]).map(
    str.encode
)
field_values = st.lists(
    st.binary(max_size=20).map(lambda value: re.sub(rb"[\r\n]", b".", value)), min_size=1, max_size=3
)
line_ends = st.sampled_from([b"\r\n", b"\n", b"\r"])


@given(
    st.lists(st.tuples(field_names, field_values, line_ends), max_size=8),
    st.binary(max_size=200),
    st.booleans(),
)
@settings(deadline=None)
def test_whatever_the_message_only_blind_copies_are_lost(
    fields: list[tuple[bytes, list[bytes], bytes]], body: bytes, with_body: bool
) -> None:
    lines = [
        (name.strip().lower(), name + b": " + (end + b" ").join(values) + end) for name, values, end in fields
    ]
    rest = b"\r\n" + body if with_body else b""
    raw = b"From: a@x.it\r\n" + b"".join(line for _, line in lines) + rest
    kept = b"".join(line for name, line in lines if name != b"bcc")
    assert prepared(raw) == ADDED + crlf(b"From: a@x.it\r\n" + kept + rest)


@pytest.mark.parametrize(
    "raw",
    [
        SIMPLE + b"text of a line\n" * 3_500_000,
        SIMPLE + b"\r" * 5_000_000 + b"\n" * 5_000_000,
        b"Subject: " + b"=?a?q?" * 150_000 + b"\r\n" + SIMPLE,
        b"To: " + b'"' * 500_000 + b"\r\n" + SIMPLE,
        b"To: " + b"a@x.it, " * 50_000 + b"\r\n" + SIMPLE,
        b"Message-ID: " + b"<" * 900_000 + b"\r\n" + SIMPLE,
        b"A:\r\n" + b" \r\n" * 300_000 + SIMPLE,
        b"A: b\r\n" * 150_000 + SIMPLE,
    ],
    ids=["50 MB", "line ends", "encoded words", "quotes", "recipients", "ids", "folds", "fields"],
)
def test_large_and_hostile_messages_take_linear_time(raw: bytes) -> None:
    begin = perf_counter()
    parse(raw)
    prepared(raw)
    assert perf_counter() - begin < 20
