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


def wire_pieces(content: bytes) -> Iterator[bytes]:
    """Give content in the form in which it is sent, a piece at a time, the final dot with the last of them.

    All lines end in CRLF, leading dots are doubled. A bare CR or LF would let content be read by some servers
    as ending early, and as commands after that.
    """
    end, begins_line = 0, True
    while True:
        start, end = end, _end_of_piece(content, end)
        piece = with_crlf(content[start:end])
        if begins_line and piece.startswith(b"."):
            piece = b"." + piece
        piece = piece.replace(b"\r\n.", b"\r\n..")
        begins_line = piece.endswith(b"\r\n")
        if end >= len(content):
            yield piece + (b".\r\n" if begins_line else b"\r\n.\r\n")
            return
        yield piece


def _end_of_piece(content: bytes, start: int) -> int:
    """Find where a piece ends: never between a CR and its LF."""
    end = start + PIECE
    return end + 1 if content[end - 1 : end + 1] == b"\r\n" else end
