"""Reading replies: what is one, what is not, and that none of any length fills the memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.smtp.replies import MAX_LINE, MAX_REPLY, Garbled, ReplyReader
from mail_proxy.smtp.verdict import Reply


def read(*pieces: bytes) -> tuple[list[Reply], ReplyReader]:
    """Read what comes in these pieces."""
    reader, replies = ReplyReader(), list[Reply]()
    for piece in pieces:
        reader.feed(piece, replies)
    return replies, reader


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0 Ok")),
        (b"250\r\n", Reply(250, "")),
        (b"250 \r\n", Reply(250, "")),
        (b"250\n", Reply(250, "")),
        (b"354 go on\n", Reply(354, "go on")),
        (b"250-first\r\n250-\r\n250 last\r\n", Reply(250, "first\n\nlast")),
        (b"250-first\n250 last\n", Reply(250, "first\nlast")),
        (b"250-first\r\n250\r\n", Reply(250, "first\n")),
        (b"550 \xc3\xa8 finita\r\n", Reply(550, "è finita")),
        (b"550 \xff\r\n", Reply(550, "\udcff")),
        (b"550   room   \t\r\n", Reply(550, "room")),
    ],
)
def test_a_reply_is_its_code_and_its_lines(data: bytes, reply: Reply) -> None:
    replies, reader = read(data)
    assert replies == [reply]
    assert not reader.is_amid


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"25",
        b"hello",
        b"099 low",
        b"150 preliminary",
        b"600 high",
        b"2500 long",
        b"250ok",
        b"250\tok",
        b" 250 ok",
        b"-250 ok",
        "\u0662\u0665\u0660 digits elsewhere".encode(),
        b"\x00\x01\x02",
    ],
)
def test_what_is_no_reply_is_told_after_those_before_it(line: bytes) -> None:
    replies = list[Reply]()
    with pytest.raises(Garbled):
        ReplyReader().feed(b"250 ok\r\n" + line + b"\r\n250 ok\r\n", replies)
    assert replies == [Reply(250, "ok")]


def test_one_reply_has_one_code() -> None:
    with pytest.raises(Garbled, match="250 and 550 in one reply"):
        read(b"250-yes\r\n550 no\r\n")


@given(st.data())
def test_it_does_not_matter_in_which_pieces_replies_come(data: st.DataObject) -> None:
    stream = b"250-mx.test\r\n250 SIZE\r\n354 go\n550 5.1.1 no such user\r\n250-a\r\n250\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1))))
    replies, reader = read(*(stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])))
    assert [reply.code for reply in replies] == [250, 354, 550, 250]
    assert not reader.is_amid


@pytest.mark.parametrize("data", [b"2", b"250", b"250 ok", b"250 ok\r", b"250-and\r\n", b"250-and\r\n2"])
def test_a_reply_that_has_not_ended_is_known_to_be_under_way(data: bytes) -> None:
    replies, reader = read(data)
    assert (replies, reader.is_amid) == ([], True)


@pytest.mark.parametrize(
    ("piece", "limit", "words"),
    [
        (b"250 " + b"x" * 1000, MAX_LINE, "a line without end"),
        (b"x", MAX_LINE, "a line without end"),
        (b"250-and\r\n", MAX_REPLY, "a reply without end"),
        (b"250-\n", MAX_REPLY, "a reply without end"),
    ],
)
def test_what_never_ends_is_cut_off(piece: bytes, limit: int, words: str) -> None:
    reader, replies, taken = ReplyReader(), list[Reply](), 0

    def swallow_it_all() -> None:
        nonlocal taken
        while taken < 10 * limit:
            reader.feed(piece, replies)
            taken += len(piece)

    with pytest.raises(Garbled, match=words):
        swallow_it_all()
    assert taken <= limit
    assert replies == []


def test_many_replies_of_the_largest_length_are_no_reply_without_end() -> None:
    line = b"250-" + b"x" * 1000 + b"\r\n"
    large = line * (MAX_REPLY // len(line) - 1) + b"250 ok\r\n"
    replies, _ = read(large, large, large)
    assert [reply.code for reply in replies] == [250, 250, 250]
