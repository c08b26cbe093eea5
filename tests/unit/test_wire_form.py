"""Content in the form in which it goes over the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.smtp.transport import wire_form


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
