"""The messages that callers hand in, as a typed definition; see ``inputs.py``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
)

from mail_proxy.errors import Fault
from mail_proxy.services.fields import (
    BASE64_TEXT,
    Address,
    Addresses,
    Base64,
    BatchCode,
    BodyText,
    Boolean,
    Headers,
    HeaderText,
    Identifier,
    MediaType,
    MessageId,
    MessageIdField,
    Metadata,
    Moment,
    PriorityLevel,
    decoded_base64,
    not_too_many,
)
from mail_proxy.services.inputs import Input, checked

MAX_ATTACHMENTS = 100


def _attached(value: object, info: ValidationInfo) -> object:
    """Take what is base64 by its prefix, or by the mode given."""
    is_marked = not isinstance(value, str) or value.startswith("base64:")
    if not is_marked and info.data.get("fetch_mode") is None and "fetch_mode" in info.data:
        raise ValueError("only base64 content can be attached: it must begin with 'base64:'")
    return decoded_base64(value)


def _is_intact(digest: str, info: ValidationInfo) -> str:
    content = info.data.get("storage_path")
    if content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != digest.lower():
        raise ValueError("is not the MD5 of the content")
    return digest


class AttachmentInput(Input):
    """A file of a message. This version takes the content itself, in base64."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["fetch_mode"], "properties": {"fetch_mode": {"const": "base64"}}},
                {"properties": {"storage_path": {"pattern": "^base64:"}}},
            ]
        }
    )

    filename: Annotated[HeaderText, Field(min_length=1, max_length=255)]
    fetch_mode: Literal["base64"] | None = None
    """What `storage_path` is; without it that shows in how it begins."""
    storage_path: Annotated[bytes, BeforeValidator(_attached), BASE64_TEXT]
    """`base64:` and the content; with `fetch_mode` the content alone will do."""
    mime_type: MediaType | None = None
    """By default what the file name says."""
    content_md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$"), AfterValidator(_is_intact)] | None = None
    """Checked, when given."""
    content_id: HeaderText | None = None
    """For `cid:` links in an HTML body."""
    inline: Boolean = False
    """Shown within the message, not beside it."""


class EnvelopeInput(Input):
    """Overrides the addresses read from a raw message."""

    from_: Address | None = Field(default=None, alias="from")
    """The sender."""
    to: Addresses | None = None
    """The recipients, in place of those in the message."""


Attachments = Annotated[
    tuple[AttachmentInput, ...],
    Field(max_length=MAX_ATTACHMENTS),
    BeforeValidator(lambda value: () if value is None else not_too_many(value, MAX_ATTACHMENTS)),
]


def _told_of_messages(schema: dict[str, JsonValue]) -> None:
    """Tell JSON Schema of second names, and of what is required in the two forms of a message."""
    properties = schema["properties"]
    if isinstance(properties, dict):
        for alias, name in _ALIASES.items():
            same = properties[name]
            if isinstance(same, dict):
                properties[alias] = {**same, "description": f"Another name of `{name}`."}
    schema["not"] = {"anyOf": [{"required": [alias, name]} for alias, name in _ALIASES.items()]}
    schema["anyOf"] = [
        {
            "title": "by fields",
            "required": ["subject", "body"],
            "properties": {"subject": {"type": "string"}, "body": {"type": "string"}},
            "anyOf": [
                {"required": [name], "properties": {name: {"not": {"enum": [None, "", []]}}}}
                for name in RECIPIENT_FIELDS
            ],
        },
        {"title": "raw", "required": ["raw"], "properties": {"raw": {"type": "string", "minLength": 1}}},
    ]


class MessageInput(Input):
    """One message of ``add-messages``: by fields, or `raw` (RFC 5322, base64)."""

    model_config = ConfigDict(json_schema_extra=_told_of_messages)

    id: MessageId
    """The application's own, unique within its tenant."""
    tenant_id: Identifier | None = None
    """With a tenant's token, its own."""
    account_id: Identifier | None = None
    """By default the tenant's only one, or the one called `default`."""
    from_: Address | None = Field(default=None, alias="from")
    """`address` or `Name <address>`; by default the account's `from_address`."""
    to: Addresses = ()
    """A list, or one string with commas; there is one recipient at least in `to`, `cc` or `bcc`."""
    cc: Addresses = Field(default=(), validation_alias=AliasChoices("cc", "cc_addr"))
    bcc: Addresses = Field(default=(), validation_alias=AliasChoices("bcc", "bcc_addr"))
    subject: HeaderText | None = None
    body: BodyText | None = None
    """May be empty."""
    content_type: Literal["plain", "html"] = "plain"
    """What `body` is."""
    body_html: BodyText | None = None
    """A second form of a plain `body`."""
    reply_to: Address | None = None
    return_path: Address | None = None
    """The sender of the envelope, where bounces go."""
    message_id: MessageIdField | None = None
    """In place of one made."""
    headers: Headers = Field(default_factory=dict, validation_alias=AliasChoices("headers", "custom_headers"))
    """Further header fields; those that mail-proxy writes itself are refused."""
    attachments: Attachments = ()
    priority: PriorityLevel | None = None
    """By default that of the request, then that of the instance."""
    deferred_ts: Moment | None = Field(
        default=None, validation_alias=AliasChoices("deferred_ts", "send_after")
    )
    """Not before."""
    batch_code: BatchCode | None = None
    """The campaign it belongs to."""
    metadata: Metadata | None = None
    """Comes back in reports; a flat object of 4 KiB at most."""
    raw: Base64 | None = None
    """In place of the fields: a whole message (RFC 5322), sent as it is."""
    envelope: EnvelopeInput | None = None
    """Overrides the addresses that a raw message names."""


def _known_names(model: type[BaseModel]) -> frozenset[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            names.update(str(choice) for choice in alias.choices)
        else:
            names.add(str(alias or name))
    return frozenset(names)


_MESSAGE_NAMES = _known_names(MessageInput)


_ATTACHMENT_NAMES = _known_names(AttachmentInput)


def refuse_impossible(fields: Mapping[str, object]) -> None:
    """Raise InvalidInput for fields that no message can have, whatever else it holds."""
    checked(MessageInput, {"id": "any", **fields})


def is_plain(raw: Mapping[str, object]) -> bool:
    """Tell whether a message has only fields by their first names: nothing doubled, unknown or unused."""
    return raw.keys() <= _PLAIN_NAMES


def unknown_names(raw: Mapping[str, object]) -> list[str]:
    """Name the fields of a message, and of its attachments, that mean nothing."""
    attachments = raw.get("attachments")
    found = {str(name) for name in raw.keys() - _MESSAGE_NAMES}
    for each in attachments if isinstance(attachments, list) else ():
        if isinstance(each, Mapping):
            found |= {f"attachments.{name}" for name in each.keys() - _ATTACHMENT_NAMES}
    return sorted(found)


def unused_names(raw: Mapping[str, object]) -> list[str]:
    """Name the fields that a message given raw has in itself, so that they are not looked at."""
    return sorted(name for name in _IN_RAW & raw.keys() if raw[name])


def doubled(raw: Mapping[str, object]) -> list[Fault]:
    """Find fields given under two names, of which only one could count."""
    return [
        Fault((alias,), f"is another name of {name}: give one of them")
        for alias, name in _ALIASES.items()
        if raw.get(alias) is not None and raw.get(name) is not None
    ]


RECIPIENT_FIELDS = ("to", "cc", "cc_addr", "bcc", "bcc_addr")

_ALIASES = {
    "cc_addr": "cc",
    "bcc_addr": "bcc",
    "custom_headers": "headers",
    "send_after": "deferred_ts",
}
_PLAIN_NAMES = _MESSAGE_NAMES - _ALIASES.keys() - {"raw", "envelope", "attachments"}
_IN_RAW = _MESSAGE_NAMES - {
    "id", "tenant_id", "account_id", "return_path", "priority", "deferred_ts", "send_after",
    "batch_code", "metadata", "raw", "envelope",
}  # fmt: skip
