"""Messages given as RFC 5322 text: read what the envelope needs, and send the rest as it is.

Only the header section is looked at, in one linear pass; the body is never parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mail_proxy.errors import InvalidInput
from mail_proxy.smtp import headers
from mail_proxy.smtp.addresses import Mailbox, parse_list
from mail_proxy.smtp.parts import with_crlf

MAX_HEADER = 1024 * 1024  # octets; a list of ten thousand recipients has room in it
_FIRST_LOOK = 64 * 1024  # octets in which nearly every header ends

_BOM = b"\xef\xbb\xbf"

# A field's name in lower case, and the match, whose group 2 is the value with its line ends.
_Field = tuple[bytes, re.Match[bytes]]

# One field with its continuation lines. `.` is anything but LF, and every CR has its LF by now.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*(?:\r\n|\Z)(?:[ \t].*(?:\r\n|\Z))*)")
_MBOX_LINE = re.compile(rb"From (?![ \t]*:)[^\r\n]*(?:\r\n|\r|\n)?")
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")

_RECIPIENTS = (b"to", b"cc", b"bcc")
_VISIBLE_ADDRESSES = (b"from", b"sender", b"reply-to", b"to", b"cc")
_DROPPED = frozenset({b"bcc", b"resent-bcc", headers.TRACKING_FIELD.lower().encode("ascii")})
_ADDED = frozenset({b"message-id", b"date"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMessage:
    """What the header of a message tells.

    `sender` is the address in From; `recipients` those in To, Cc and Bcc, once each, as written there;
    `faults` what in these fields could not be read. `message_id` has angle brackets if it is written with
    them.
    """

    sender: str
    recipients: tuple[str, ...]
    faults: tuple[str, ...]
    message_id: str | None

    def addressed(self) -> tuple[str, ...]:
        """Give the recipients; raise InvalidInput if there are none, or any that cannot be read."""
        if self.faults:
            raise InvalidInput("; ".join(self.faults))
        if not self.recipients:
            raise InvalidInput("the message has no recipients: no address in To, Cc or Bcc")
        return self.recipients


@dataclass(frozen=True, slots=True)
class Ready:
    """A message with CRLF line ends, not dot-stuffed.

    `needs_smtputf8` speaks of the addresses in its header; those of the envelope are the sender's to check.
    """

    content: bytes
    needs_smtputf8: bool


def parse(raw: bytes) -> RawMessage:
    """Read the header of a message; raise InvalidInput if it is none, or none that could be sent."""
    if not raw or raw.isspace():
        raise InvalidInput("the message is empty")
    raw = _without_envelope(raw)
    fields = list(_fields(_head_alone(raw)))
    if b"\0" in raw:
        raise InvalidInput("the message holds a NUL byte, which SMTP cannot carry")
    boxes, faults = _recipients(fields)
    return RawMessage(
        sender=_sender(fields).address,
        recipients=_unique(boxes),
        faults=tuple(faults),
        message_id=_message_id(_first(fields, b"message-id")),
    )


def prepare(raw: bytes, *, tracking_id: str, message_id: str, date: float) -> Ready:
    """Make a message ready for SMTP: byte for byte the same, but for what must differ.

    Line ends become CRLF; a byte order mark and the ``From `` line of an mbox go, and so do Bcc and
    Resent-Bcc; X-Genro-Mail-ID is set; `message_id` and `date` (Unix seconds) are added where the message
    has none, or an empty field. Fields are added at the top. A missing line end at the very end stays
    missing: SMTP ends the last line itself. Raise InvalidInput for a broken header section.
    """
    content = with_crlf(_without_envelope(raw))
    head = _head(content)
    kept: list[bytes] = []
    missing = set(_ADDED)
    is_ascii, needs_smtputf8 = head.isascii(), False
    for name, match in _fields(head):
        if name in _DROPPED:
            continue
        if name in _ADDED:
            if not match[2].strip():
                continue
            missing.discard(name)
        if not is_ascii:
            needs_smtputf8 = needs_smtputf8 or _has_unicode_address(name, match[2])
        kept.append(match[0])
    added = headers.tracking_id(tracking_id)
    added += headers.message_id(message_id) if b"message-id" in missing else ""
    added += headers.date(date) if b"date" in missing else ""
    body = memoryview(content)[len(head) :]
    return Ready(b"".join([added.encode("ascii"), *kept, body]), needs_smtputf8)


def _without_envelope(raw: bytes) -> bytes:
    """Drop what programs put before a message: a byte order mark, the separator line of an mbox."""
    start = len(_BOM) if raw.startswith(_BOM) else 0
    line = _MBOX_LINE.match(raw, start)
    return raw[line.end() if line else start :]


def _head_alone(raw: bytes) -> bytes:
    """Give the header section with CRLF line ends; a large body behind it is not touched."""
    if len(raw) > _FIRST_LOOK:
        start = with_crlf(raw[:_FIRST_LOOK])
        if b"\r\n\r\n" in start:
            return _head(start)
    return _head(with_crlf(raw[: 2 * MAX_HEADER]))


def _head(content: bytes) -> bytes:
    """Cut the header section off, up to and including the line end before the empty line."""
    if content.startswith(b"\r\n"):
        raise InvalidInput("not an e-mail message: it begins with an empty line, so it has no header")
    blank = content.find(b"\r\n\r\n", 0, MAX_HEADER + 4)
    if blank >= 0:
        return content[: blank + 2]
    if len(content) > MAX_HEADER:
        _next_field(content[:MAX_HEADER], 0)  # not a message at all is the better thing to say
        raise InvalidInput(f"the header of the message is over {MAX_HEADER} bytes: no empty line ends it")
    return content


def _fields(head: bytes) -> Iterator[_Field]:
    position = 0
    while position < len(head):
        match = _next_field(head, position)
        yield match[1].lower(), match
        position = match.end()


def _next_field(head: bytes, position: int) -> re.Match[bytes]:
    match = _FIELD.match(head, position)
    if match is None:
        line = head.count(b"\n", 0, position) + 1
        raise InvalidInput(f"not an e-mail message: line {line} is not a header field")
    return match


def _text(value: bytes) -> str:
    """Unfold a value. Bytes that are not UTF-8 become surrogates, which no address has."""
    return value.replace(b"\r\n", b"").decode("utf-8", "surrogateescape").strip()


def _first(fields: list[_Field], name: bytes) -> str:
    return next((text for each, match in fields if each == name and (text := _text(match[2]))), "")


def _sender(fields: list[_Field]) -> Mailbox:
    text = _first(fields, b"from")
    if not text:
        raise InvalidInput("the message has no From field")
    try:
        boxes = parse_list(text)
    except InvalidInput as error:
        raise InvalidInput(f"From: {error}") from None
    if not boxes:
        raise InvalidInput("the From field has no address")
    return boxes[0]


def _recipients(fields: list[_Field]) -> tuple[list[Mailbox], list[str]]:
    boxes: list[Mailbox] = []
    faults: list[str] = []
    for name, match in fields:
        if name in _RECIPIENTS:
            try:
                boxes += parse_list(_text(match[2]))
            except InvalidInput as error:
                faults.append(f"{name.decode('ascii').capitalize()}: {error}")
    return boxes, faults


def _unique(boxes: list[Mailbox]) -> tuple[str, ...]:
    """Give each address once; whether case matters in a local part is for its own server to judge."""
    first: dict[tuple[str, str], str] = {}
    for box in boxes:
        first.setdefault((box.local, box.domain.lower()), box.address)
    return tuple(first.values())


def _has_unicode_address(name: bytes, value: bytes) -> bool:
    if value.isascii() or name not in _VISIBLE_ADDRESSES:
        return False
    try:
        return not all(box.address.isascii() for box in parse_list(_text(value)))
    except InvalidInput:
        return False


def _message_id(text: str) -> str | None:
    """Give the id, with what stands around it left out; None if there is none."""
    match = _MESSAGE_ID.search(text)
    return _CONTROL.sub(" ", match[0] if match else text) or None
