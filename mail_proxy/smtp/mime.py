"""Building a message from its fields (RFC 5322, 2045 to 2049).

The standard library's ``EmailMessage`` takes over a millisecond to write a small message; here it is strings
joined once. What comes out is 7-bit, whatever goes in, but for internationalised addresses (RFC 6532).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from mail_proxy.errors import InvalidInput
from mail_proxy.model.messages import Draft
from mail_proxy.smtp import addresses, headers, parts
from mail_proxy.smtp.addresses import Mailbox
from mail_proxy.smtp.parts import Part

_REFUSED = frozenset(
    {
        *("from", "to", "cc", "bcc", "resent-bcc", "subject", "received", "return-path"),
        headers.TRACKING_FIELD.lower(),
    }
)
_REFUSED_PREFIXES = ("content-", "mime-")
_NOBODY = "To: undisclosed-recipients:;\r\n"  # some servers mistrust a message without To
_ADDRESS_FIELDS = frozenset({"sender", "errors-to", "disposition-notification-to", "return-receipt-to"})


@dataclass(slots=True)  # one is made for each message, and a frozen one takes twice as long
class Built:
    """A message with CRLF line ends, the last line ended, not dot-stuffed.

    `needs_smtputf8` speaks of the addresses in the header; those of the envelope are the sender's to check.
    """

    content: bytes
    needs_smtputf8: bool


def build(draft: Draft, *, message_id: str, date: float, tracking_id: str) -> Built:
    """Write the message that `draft` describes; `date` is Unix seconds.

    Raise InvalidInput for what cannot stand in a message. Of `draft.headers`, a Date takes the place of ours,
    and Message-ID and Reply-To yield to `message_id` and `draft.reply_to`.
    """
    content = _content(draft)
    given = draft.headers or {}
    custom = {name.lower() for name in given}
    fields = [
        "" if "date" in custom else headers.date(date),
        headers.plain_mailboxes("From", [draft.sender])
        or headers.mailboxes("From", [_mailbox("From", draft.sender)]),
        (_addresses("To", draft.to) + _addresses("Cc", draft.cc)) or _NOBODY,
        _addresses("Reply-To", [draft.reply_to]) if draft.reply_to else "",
        headers.unstructured("Subject", draft.subject, prose=True),
        headers.message_id(message_id),
        headers.tracking_id(tracking_id),
        *_custom(given, has_reply_to=bool(draft.reply_to)),
        "MIME-Version: 1.0\r\n",
        content.header,
        "\r\n",
    ]
    header = "".join(fields)
    written = BytesIO()
    written.write(header.encode())
    written.writelines(content.body)
    return Built(written.getvalue(), needs_smtputf8=not header.isascii())


def _content(draft: Draft) -> Part:
    """Nest the parts: mixed(alternative(plain, related(html, inline files)), files), as far as there are.

    The last line is ended.
    """
    if draft.content_type not in ("plain", "html"):
        raise InvalidInput(f"content_type is 'plain' or 'html', not {draft.content_type!r}")
    if not draft.body_html and not draft.attachments:
        return parts.text(draft.content_type, draft.body, ends_line=True)
    token = os.urandom(12).hex()
    subtype = "html" if draft.body_html else draft.content_type
    part = parts.text(subtype, draft.body_html or draft.body)
    inline = [parts.attached(file) for file in draft.attachments if parts.is_inline(file)]
    files = [parts.attached(file) for file in draft.attachments if not parts.is_inline(file)]
    if inline:
        part = parts.multipart("related", [part, *inline], token, f'type="text/{subtype}"')
    if draft.body_html:
        part = parts.multipart("alternative", [parts.text("plain", draft.body), part], token)
    return parts.multipart("mixed", [part, *files], token) if files else part


def _mailbox(field: str, text: str) -> Mailbox:
    try:
        return addresses.parse_one(headers.checked(field, text))
    except InvalidInput as error:
        raise InvalidInput(f"{field}: {error}") from None


def _addresses(field: str, texts: Sequence[str]) -> str:
    """Write an address field; nothing if there is no address for it."""
    if not texts:
        return ""
    if plain := headers.plain_mailboxes(field, texts):
        return plain
    boxes = [box for text in texts for box in _mailboxes(field, text)]
    return headers.mailboxes(field, boxes) if boxes else ""


def _mailboxes(field: str, text: str) -> tuple[Mailbox, ...]:
    """Read one mailbox, whose name may hold what separates others, or a list."""
    headers.checked(field, text)
    with contextlib.suppress(InvalidInput):
        return (addresses.parse_one(text),)
    with contextlib.suppress(InvalidInput):
        return addresses.parse_list(text)
    return (_mailbox(field, text),)


def _custom(given: Mapping[str, str], *, has_reply_to: bool) -> Iterable[str]:
    for name, value in given.items():
        key = _custom_key(name)
        if key == "message-id" or (key == "reply-to" and has_reply_to):
            continue
        yield _address_field(name, value) if key in _ADDRESS_FIELDS else headers.unstructured(name, value)


@lru_cache(maxsize=256)  # applications use a few names again and again
def _custom_key(name: str) -> str:
    """Give the name of a field that is free to be set in lower case; raise InvalidInput for others."""
    key = headers.checked_name(name).lower()
    if key in _REFUSED or key.startswith(_REFUSED_PREFIXES):
        raise InvalidInput(f"the header field {name} is not free to be set")
    return key


def _address_field(name: str, value: str) -> str:
    """Write a field that usually holds addresses, whose names then are encoded apart from them."""
    headers.checked(name, value)
    with contextlib.suppress(InvalidInput):
        if boxes := _mailboxes(name, value):
            return headers.mailboxes(name, boxes)
    return headers.unstructured(name, value)
