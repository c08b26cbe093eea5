"""Building a message in a test, and reading it back with the standard library."""

from __future__ import annotations

import email
import re
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses

from hypothesis import strategies as st

from mail_proxy.model.messages import Attachment, Draft
from mail_proxy.smtp.mime import Built, build

header_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200)
tricky_text = st.lists(
    st.sampled_from(
        ["=?", "?=", "=?utf-8?q?=41?=", "è", "a", " ", "  ", '"', "\\", ",", "<", "x" * 80, "東京"]
    ),
    max_size=12,
).map("".join)
any_text = header_text | tricky_text


def build_one(
    sender: str = "shop@example.com",
    to: tuple[str, ...] = ("mario@example.it",),
    *,
    cc: tuple[str, ...] = (),
    subject: str = "Hello",
    body: str = "Hi\n",
    content_type: str = "plain",
    body_html: str | None = None,
    reply_to: str | None = None,
    headers: dict[str, str] | None = None,
    attachments: tuple[Attachment, ...] = (),
    message_id: str = "<m1@example.com>",
    tracking_id: str = "t-1",
) -> Built:
    draft = Draft(
        sender=sender,
        to=to,
        cc=cc,
        subject=subject,
        body=body,
        content_type=content_type,
        body_html=body_html,
        reply_to=reply_to,
        headers=headers,
        attachments=attachments,
    )
    return build(draft, message_id=message_id, date=1_700_000_000.0, tracking_id=tracking_id)


def read(built: Built) -> EmailMessage:
    assert_fit_for_smtp(built.content)
    message = email.message_from_bytes(built.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not any(part.defects for part in message.walk())
    return message


def assert_fit_for_smtp(content: bytes) -> None:
    assert content.endswith(b"\r\n")
    assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 998


def header_of(built: Built) -> list[str]:
    return built.content.partition(b"\r\n\r\n")[0].decode().split("\r\n")


def names_in(content: bytes, field: str) -> list[str]:
    """Display names by the legacy reader: the modern one of Python 3.11 keeps space between encoded words."""
    parsed = email.message_from_string(content.decode(), policy=policy.compat32)
    unfolded = [re.sub(r"\r?\n", "", str(value)) for value in parsed.get_all(field, [])]
    return [str(make_header(decode_header(name))) if name else "" for name, _ in getaddresses(unfolded)]


def payload(part: EmailMessage) -> bytes:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


def text_of(part: EmailMessage) -> str:
    return payload(part).decode()


def filename_of(part: EmailMessage) -> str:
    """The parameter itself: `get_filename` takes quotes and angle brackets off what it has decoded."""
    return str(part["Content-Disposition"].params["filename"])


def parts_of(message: EmailMessage) -> list[EmailMessage]:
    return [part for part in message.walk() if not part.is_multipart()]
