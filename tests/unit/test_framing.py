"""What goes over the wire after DATA."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.smtp.framing import LAST, PIECE, wire_pieces

FRAGMENTS = [b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"x", b"\xff"]
FILLING = [b"y" * (PIECE - 2), b"y" * (PIECE - 1), b"y" * PIECE]


def received(content: bytes) -> bytes:
    """What a server makes of it: the lines up to the first that is a dot, leading dots taken off."""
    sent = b"".join(wire_pieces(content))
    assert sent.count(b"\r") == sent.count(b"\n") == sent.count(b"\r\n")
    *lines, dot, rest = sent.split(b"\r\n")
    assert (dot, rest) == (b".", b"")
    assert b"." not in lines
    assert all(line.startswith(b"..") for line in lines if line.startswith(b"."))
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


def as_lines(content: bytes) -> bytes:
    """The same content with CRLF at the end of each line."""
    plain = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    return plain.replace(b"\n", b"\r\n") + b"\r\n"


@given(st.lists(st.sampled_from(FRAGMENTS)).map(b"".join))
def test_nothing_in_it_ends_it_and_a_server_reads_the_lines_that_were_given(content: bytes) -> None:
    assert received(content) == as_lines(content)


@given(st.lists(st.sampled_from(FRAGMENTS + FILLING), max_size=8).map(b"".join))
def test_that_it_goes_in_pieces_shows_nowhere(content: bytes) -> None:
    """Neither a CRLF nor a dot at the beginning of a line is lost between two of them."""
    assert received(content) == as_lines(content)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7])
def test_pieces_are_small_and_the_final_dot_comes_with_the_last(size: int) -> None:
    """So a server never waits between the content and its end for another packet."""
    cut = list(wire_pieces(b"x" * size))
    assert b"".join(cut) == b"x" * size + b"\r\n.\r\n"
    assert cut[-1].endswith(b"\r\n.\r\n")
    assert all(len(piece) <= PIECE for piece in cut)
    assert len(cut[-1]) <= LAST
