"""Header fields on the wire: encoded words (RFC 2047), parameters (RFC 2231), folding (RFC 5322).

Each function takes text and gives whole lines with their CRLF, ASCII but for internationalised addresses
(RFC 6532). None of them lets a control character or a lone surrogate through: a header cannot be injected.
"""

from __future__ import annotations

import math
import re
import time
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from urllib.parse import quote

from mail_proxy.errors import InvalidInput
from mail_proxy.smtp.addresses import Mailbox, is_plain

TRACKING_FIELD = "X-Genro-Mail-ID"
CRLF = "\r\n"
MAX_LINE = 998  # octets without CRLF (RFC 5322, section 2.1.1)
_WIDTH = 76  # of a line with encoded words (RFC 2047, section 2)
_MAX_WORD = 75
_FRAME = len("=?utf-8?q??=")
_SEGMENT = 50  # characters of a piece of a continued parameter
_LONGEST = 900  # characters of a word, a name or an id that may stand unbroken on a line

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_FIELD_NAME = re.compile(rf"[!-9;-~]{{1,{_LONGEST}}}")
_OPAQUE = re.compile(rf"[!-~]{{1,{_LONGEST}}}")
_MESSAGE_ID = re.compile(rf"<[!-;=?-~]{{1,{_LONGEST}}}>")
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTABLE = re.compile(r"[ -~]*")
_PLAIN_PARAMETER = re.compile(r"[\w!#$&'()+,.;=@^`{}~-]+(?: [\w!#$&'()+,.;=@^`{}~-]+)*", re.ASCII)

# What may stand for itself in a Q-encoded word even within a display name (RFC 2047, section 5).
_Q_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/ "
_Q = tuple("_" if byte == 32 else chr(byte) if byte in _Q_SAFE else f"={byte:02X}" for byte in range(256))

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def checked(field: str, value: str) -> str:
    """Give the value with tabs as spaces; raise InvalidInput if it cannot stand in a header."""
    if value.isascii() and value.isprintable():
        return value
    if _FORBIDDEN.search(value):
        raise InvalidInput(f"{field} holds a line break, another control character or a lone surrogate")
    return value.replace("\t", " ")


def checked_name(name: str) -> str:
    """Give the name of a field back; raise InvalidInput if it is not one (RFC 5322, section 3.6.8)."""
    if not _FIELD_NAME.fullmatch(name):
        raise InvalidInput(f"{name[:80]!r} is not the name of a header field")
    return name


def message_id(value: str) -> str:
    """Write the Message-ID field, with the angle brackets that the value may lack; raise InvalidInput."""
    bracketed = value if value.startswith("<") else f"<{value}>"
    if not _MESSAGE_ID.fullmatch(bracketed):
        raise InvalidInput(
            f"{value[:80]!r} is not a Message-ID: it must be ASCII without spaces, as <id@domain>"
        )
    return f"Message-ID: {bracketed}{CRLF}"


def tracking_id(value: str) -> str:
    """Write the field by which bounces and receipts are matched to what was sent; raise InvalidInput."""
    if not _OPAQUE.fullmatch(value):
        raise InvalidInput(f"{TRACKING_FIELD} must be one word of ASCII characters: {value[:80]!r} is not")
    return f"{TRACKING_FIELD}: {value}{CRLF}"


def date(timestamp: float) -> str:
    """Write the Date field for Unix seconds, in UTC (RFC 5322, section 3.3)."""
    return _date(math.floor(timestamp))


@lru_cache(maxsize=64)  # what is sent at about the same time was mostly queued at about the same time
def _date(timestamp: int) -> str:
    t = time.gmtime(timestamp)
    day = f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d}"
    return f"Date: {day} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000{CRLF}"


def unstructured(name: str, value: str, *, prose: bool = False) -> str:
    """Write a field of free text; words that need it become encoded words.

    With `prose`, all from the first to the last of these is encoded together, which is shorter; without,
    what stands between them stays as it is, for it may be an address or a URL.
    """
    value = checked(name, value)
    trimmed = value.strip(" ")
    if not prose:
        value = trimmed
    plain = value.isascii() and "=?" not in value and value == trimmed
    if plain and len(name) + 2 + len(value) <= _WIDTH:
        return f"{name}: {value}{CRLF}" if value else f"{name}:{CRLF}"
    words = _spaced_words(value) if value == trimmed else [value]
    ambiguous = "=?" in value and "?=" in value
    flags = [
        not word.isascii() or len(word) > _LONGEST or (ambiguous and "=?" in word) or value != trimmed
        for word in words
    ]
    if prose and True in flags:
        first, last = flags.index(True), len(flags) - flags[::-1].index(True)
        flags[first:last] = [True] * (last - first)
    return _fold(name, _encode_runs(words, flags, _WIDTH - len(name) - 2))


def plain_mailboxes(name: str, texts: Sequence[str]) -> str | None:
    """Write what `mailboxes` would of these texts, for less; None unless it has each as it is."""
    for text in texts:
        if not is_plain(text) or "=?" in text:
            return None
    value = ", ".join(texts)
    if len(name) + 2 + len(value) <= _WIDTH:
        return f"{name}: {value}{CRLF}"
    return _fold(name, value.split(" "))


def mailboxes(name: str, boxes: Sequence[Mailbox]) -> str:
    """Write an address field; names are quoted or encoded as they need it."""
    words: list[str] = []
    for box in boxes:
        address = box.wire_address
        shown = checked(name, box.name)
        room = _MAX_WORD if words else _WIDTH - len(name) - 2
        words += [*_phrase(shown, room), f"<{address}>"] if shown else [address]
        words[-1] += ","
    if words:
        words[-1] = words[-1][:-1]
    return _fold(name, words)


def with_parameters(name: str, value: str, parameters: Iterable[str]) -> str:
    """Write a field of the form ``value; parameter; ...`` (RFC 2045, section 5.1)."""
    *but_last, last = [value, *parameters]
    return _fold(name, [*(f"{word};" for word in but_last), last])


def parameter(name: str, value: str) -> list[str]:
    """Give a parameter: quoted if it is short plain ASCII, else in the extended form, in pieces if long."""
    value = checked(name, value)
    if len(value) <= _SEGMENT and _PLAIN_PARAMETER.fullmatch(value):
        return [f'{name}="{value}"']
    pieces = [""]
    for char in value:
        encoded = quote(char, safe="")
        if len(pieces[-1]) + len(encoded) > _SEGMENT:
            pieces.append("")
        pieces[-1] += encoded
    pieces[0] = "UTF-8''" + pieces[0]
    if len(pieces) == 1:
        return [f"{name}*={pieces[0]}"]
    return [f"{name}*{number}*={piece}" for number, piece in enumerate(pieces)]


def _fold(name: str, words: Iterable[str]) -> str:
    """Join words with spaces, breaking lines before them; never before the first (old readers keep it)."""
    lines: list[str] = []
    line = f"{name}:"
    bare = True
    for word in words:
        length = len(line) + 1 + len(word)
        if length > _WIDTH and (not bare or length > MAX_LINE):
            lines.append(line)
            line = ""
        line = f"{line} {word}"
        bare = False
    return CRLF.join([*lines, line]) + CRLF


def _spaced_words(value: str) -> list[str]:
    """Split at single spaces; further spaces stay at the front of the word that follows them."""
    words: list[str] = []
    spaces = ""
    for word in value.split(" "):
        if word:
            words.append(spaces + word)
        spaces = "" if word else spaces + " "
    return words


def _encode_runs(words: Sequence[str], flags: Sequence[bool], room: int) -> list[str]:
    result: list[str] = []
    for encode, run in groupby(zip(words, flags, strict=True), key=lambda pair: pair[1]):
        texts = [word for word, _ in run]
        if encode:
            # Space between two encoded words is not shown, so theirs is inside; the first fits its line.
            result += _encoded_words(" ".join(texts), _MAX_WORD if result else room)
        else:
            result += texts
    return result


def _phrase(name: str, room: int) -> list[str]:
    """Give a display name as atoms, one quoted string, or encoded words."""
    if "=?" not in name and len(name) < _WIDTH - 10:
        if _PLAIN_PHRASE.fullmatch(name):
            return name.split(" ")
        if _QUOTABLE.fullmatch(name):
            return ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"']
    return _encoded_words(name, room)


def _encoded_words(text: str, room: int) -> list[str]:
    """Encode text, the first word in at most `room` characters (or 30), no character ever split."""
    data = text.encode()
    escaped = len(data.translate(None, _Q_SAFE))
    room = max(room, 30) - _FRAME
    if escaped * 2 <= len(data):  # people can nearly read it; base64 would be shorter from a sixth on
        return [f"=?utf-8?q?{piece}?=" for piece in _q_pieces(text, room)]
    return [f"=?utf-8?b?{b64encode(piece).decode('ascii')}?=" for piece in _b_pieces(data, room)]


def _q_pieces(text: str, room: int) -> list[str]:
    pieces = [""]
    for char in text:
        encoded = "".join([_Q[byte] for byte in char.encode()])
        if len(pieces[-1]) + len(encoded) > room:
            pieces.append("")
            room = _MAX_WORD - _FRAME
        pieces[-1] += encoded
    return pieces


def _b_pieces(data: bytes, room: int) -> list[bytes]:
    pieces = []
    start = 0
    while start < len(data):
        end = start + room // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        pieces.append(data[start:end])
        start = end
        room = _MAX_WORD - _FRAME
    return pieces
