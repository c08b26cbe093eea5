"""What a message carries, between its validated input, its stored form and its draft for the wire."""

from __future__ import annotations

import base64
from binascii import a2b_base64
from typing import Any

from pydantic_core import from_json, to_json

from mail_proxy.model.messages import Attachment, Draft, Payload, PayloadKind
from mail_proxy.services.message_inputs import AttachmentInput, MessageInput


def stored_fields(given: MessageInput, sender: str) -> bytes:
    """Encode a message given by fields for the store."""
    fields: dict[str, object] = {"from": sender, "subject": given.subject, "body": given.body}
    for name in _OPTIONAL:
        if value := getattr(given, name):
            fields[name] = value
    if given.attachments:
        fields["attachments"] = [_stored_attachment(each) for each in given.attachments]
    if given.content_type != "plain":
        fields["content_type"] = given.content_type
    return to_json(fields)


_OPTIONAL = ("to", "cc", "bcc", "body_html", "reply_to", "headers")


def draft_of(payload: Payload) -> Draft:
    """Decode what `stored_fields` encoded."""
    fields = _fields(payload)
    return Draft(
        sender=fields["from"],
        to=tuple(fields.get("to", ())),
        cc=tuple(fields.get("cc", ())),
        subject=fields["subject"],
        body=fields["body"],
        content_type=fields.get("content_type", "plain"),
        body_html=fields.get("body_html"),
        reply_to=fields.get("reply_to"),
        headers=fields.get("headers"),
        attachments=tuple(_attachment(each) for each in fields.get("attachments", ())),
    )


def shown(payload: Payload) -> dict[str, object]:
    """Return what the API shows of a content: everything but the files in it."""
    if payload.kind is PayloadKind.RAW:
        return {"raw": True, "size": len(payload.content)}
    fields = _fields(payload)
    attachments = fields.get("attachments")
    if isinstance(attachments, list):
        fields["attachments"] = [_without_content(each) for each in attachments]
    return fields


def _fields(payload: Payload) -> dict[str, Any]:
    """Read JSON without a copy of its text, which may be large. Raises ValueError."""
    fields: dict[str, Any] = from_json(payload.content, cache_strings="keys")
    return fields


def _stored_attachment(given: AttachmentInput) -> dict[str, object]:
    fields: dict[str, object] = {
        "filename": given.filename,
        "mime_type": given.mime_type,
        "content_id": given.content_id,
        "inline": given.inline,
        "content": base64.b64encode(given.storage_path).decode("ascii"),
    }
    return {name: value for name, value in fields.items() if value not in (None, False)}


def _attachment(fields: dict[str, str]) -> Attachment:
    return Attachment(
        filename=fields["filename"],
        mime_type=fields.get("mime_type"),
        content=a2b_base64(fields.get("content", "")),  # which copies the text no more than it must
        content_id=fields.get("content_id"),
        inline=bool(fields.get("inline", False)),
    )


def _without_content(attachment: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in attachment.items() if name != "content"} | {"fetch_mode": "base64"}
