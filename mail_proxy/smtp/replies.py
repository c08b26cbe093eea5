"""A server's replies, read from its bytes (RFC 5321, 4.2): pure, and bounded whatever the server sends."""

from __future__ import annotations

from mail_proxy.smtp.verdict import Reply

MAX_LINE = 8192
MAX_REPLY = 32 * 1024
"""Octets of a line and of a whole reply; RFC 5321 asks for 512 a line, and an EHLO reply has a few KB."""

_FIRST_DIGITS = b"2345"
_MARKS = b" -\r"
_SHOWN = 80


class Garbled(Exception):
    """What came is no reply, or one without end; the message says what, for people."""


class ReplyReader:
    """Takes bytes as they come, gives whole replies. Lines may end in a bare LF. Useless once it raised."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._code = b""
        self._size = 0

    @property
    def is_amid(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes, replies: list[Reply]) -> None:
        """Add to `replies` those that `data` completes, as far as it can be read. Raises Garbled."""
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            if self._take(line):
                text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
                replies.append(Reply(int(self._code), text))
                self._lines.clear()
                self._size = 0
        self._bound(self._rest)

    def _take(self, line: bytes) -> bool:
        """Read one line; tell whether it is the last of its reply."""
        self._bound(line)
        code, mark = line[:3], line[3:4]
        if len(code) < 3 or not code.isdigit() or code[0] not in _FIRST_DIGITS or mark not in _MARKS:
            raise Garbled(line[:_SHOWN].decode("utf-8", "replace"))
        if not self._lines:
            self._code = code
        elif code != self._code:
            raise Garbled(f"{self._code.decode()} and {code.decode()} in one reply")
        self._lines.append(line[4:].strip(b" \t\r"))
        self._size += len(line) + 1
        return mark != b"-"

    def _bound(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            raise Garbled("a line without end")
        if self._size + len(line) > MAX_REPLY:
            raise Garbled("a reply without end")
