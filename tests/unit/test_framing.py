"""Content in the form in which it goes over the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.smtp.framing import PIECE, pieces, wire_form


@given(st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"x", b"\xff"])).map(b"".join))
def test_nothing_in_it_ends_it_and_undoing_the_dots_gives_the_lines_back(content: bytes) -> None:
    sent = wire_form(content)
    assert sent.endswith(b"\r\n")
    assert sent.count(b"\r") == sent.count(b"\n") == sent.count(b"\r\n")
    lines = sent.split(b"\r\n")[:-1]
    assert b"." not in lines
    assert all(line.startswith(b"..") for line in lines if line.startswith(b"."))
    undone = b"\r\n".join(line.removeprefix(b".") for line in lines)
    given_lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    assert undone == given_lines.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7])
def test_pieces_together_are_the_content_and_the_dot_which_comes_with_the_last(size: int) -> None:
    content = bytes(size)
    cut = list(pieces(content))
    assert b"".join(cut) == content + b".\r\n"
    assert cut[-1].endswith(b".\r\n")
    assert len(cut) == max(1, -(-size // PIECE))
