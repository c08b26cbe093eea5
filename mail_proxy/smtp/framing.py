"""Content in the form in which it goes over the wire (RFC 5321, 2.3.8 and 4.5.2)."""

from __future__ import annotations

from collections.abc import Iterator

from mail_proxy.smtp.parts import with_crlf

PIECE = 64 * 1024
LAST = 8 * 1024
"""Octets of the last piece at most, so that the system takes the final dot at once or not yet."""


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
            piece += b".\r\n" if begins_line else b"\r\n.\r\n"
            if len(piece) > LAST:
                yield piece[:-LAST]
            yield piece[-LAST:]
            return
        yield piece


def _end_of_piece(content: bytes, start: int) -> int:
    """Find where a piece ends: never between a CR and its LF."""
    end = start + PIECE
    return end + 1 if content[end - 1 : end + 1] == b"\r\n" else end
