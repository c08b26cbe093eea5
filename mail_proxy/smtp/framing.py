"""Content in the form in which it goes over the wire (RFC 5321, 2.3.8 and 4.5.2)."""

from __future__ import annotations

from collections.abc import Iterator

from mail_proxy.smtp.parts import with_crlf

PIECE = 64 * 1024


def wire_form(content: bytes) -> bytes:
    """Make content fit to be sent: lines end in CRLF and nothing else, leading dots are doubled.

    A bare CR or LF would let content be read by some servers as ending early, and as commands after that.
    """
    content = with_crlf(content)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..")


def pieces(content: bytes) -> Iterator[bytes]:
    """Cut what is to be sent into pieces, the final dot with the last of them."""
    last = max(len(content) - 1, 0) // PIECE * PIECE
    for start in range(0, last, PIECE):
        yield content[start : start + PIECE]
    yield content[last:] + b".\r\n"
