"""What callers hand in, as typed definitions: validation now, and the API's self-description from them.

Field names are the API's. A message's faults are all found at once, each naming its field.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.accounts import LimitBehavior, OnUnknown, TlsMode
from mail_proxy.model.tenants import DEFAULT_ATTACHMENT_PATH, DEFAULT_SYNC_PATH
from mail_proxy.services.addresses import CONTROL
from mail_proxy.services.fields import (
    Address,
    Addresses,
    BaseUrl,
    BatchCode,
    BodyText,
    Boolean,
    Count,
    HeaderText,
    Host,
    Identifier,
    MessageId,
    Moment,
    Path,
    Port,
    Positive,
    PriorityLevel,
    Secret,
)

Model = TypeVar("Model", bound=BaseModel)

MASK = "***"
"""Stands for a stored secret in answers; sent back, it leaves the secret as it is."""

MAX_METADATA = 4096

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MESSAGE_ID = re.compile(r"<?([^<>\s@]+@[^<>\s@]+)>?")
_REFUSED_HEADERS = {"from", "to", "cc", "bcc", "subject", "received", "return-path", "x-genro-mail-id"}
_REFUSED_PREFIXES = ("content-", "mime-")


def checked(model: type[Model], raw: object) -> Model:
    """Validate `raw`; raise InvalidInput naming every fault."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput.of(faults_of(error)) from None


def faults_of(error: ValidationError) -> list[Fault]:
    """Translate pydantic's findings; what was given is not repeated, it may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        Fault(tuple(each["loc"]), each["msg"].removeprefix("Value error, "), each["type"]) for each in found
    ]


class Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True)


def _content(value: object) -> object:
    """Decode base64, the ``base64:`` prefix being optional."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be base64 text")
    try:
        return base64.b64decode(value.removeprefix("base64:"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not valid base64") from None


class AttachmentInput(Input):
    """A file of a message. This version takes the content itself, in base64."""

    filename: Annotated[HeaderText, Field(min_length=1, max_length=255)]
    storage_path: Annotated[bytes, BeforeValidator(_content)]
    fetch_mode: Literal["base64"] | None = None
    mime_type: HeaderText | None = None
    content_md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")] | None = None
    content_id: HeaderText | None = None
    inline: Boolean = False

    @model_validator(mode="before")
    @classmethod
    def _is_given_inline(cls, raw: object) -> object:
        if not isinstance(raw, Mapping):
            return raw
        path, mode = raw.get("storage_path"), raw.get("fetch_mode")
        if mode is None and isinstance(path, str) and not path.startswith("base64:"):
            raise ValueError("only base64 content can be attached: storage_path must begin with 'base64:'")
        return raw

    @model_validator(mode="after")
    def _is_intact(self) -> AttachmentInput:
        digest = hashlib.md5(self.storage_path, usedforsecurity=False).hexdigest()
        if self.content_md5 is not None and digest != self.content_md5.lower():
            raise ValueError("the content does not have the MD5 given")
        if self.mime_type is not None and not re.fullmatch(
            rf"{_TOKEN.pattern}/{_TOKEN.pattern}", self.mime_type
        ):
            raise ValueError("mime_type must be type/subtype")
        return self


class EnvelopeInput(Input):
    """Overrides the addresses read from a raw message."""

    from_: Address | None = Field(default=None, alias="from")
    to: Addresses | None = None


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        low = name.lower()
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        if low in _REFUSED_HEADERS or low.startswith(_REFUSED_PREFIXES):
            raise ValueError(f"{name} cannot be set here")
        if CONTROL.search(value):
            raise ValueError(f"{name} may not hold control characters or line breaks")
    return headers


def _metadata(value: dict[str, object]) -> dict[str, object]:
    import json

    if any(isinstance(each, dict | list) for each in value.values()):
        raise ValueError("must be flat: no objects or lists in it")
    if len(json.dumps(value)) > MAX_METADATA:
        raise ValueError(f"is larger than {MAX_METADATA} bytes")
    return value


def _message_id(text: str) -> str:
    match = _MESSAGE_ID.fullmatch(text)
    if match is None or CONTROL.search(text) or not text.isascii():
        raise ValueError("must be a Message-ID such as <left@right>")
    return f"<{match[1]}>"


class MessageInput(Input):
    """One message of ``add-messages``: by fields, or `raw` (RFC 5322, base64)."""

    id: MessageId
    tenant_id: Identifier | None = None
    account_id: Identifier | None = None
    from_: Address | None = Field(default=None, alias="from")
    to: Addresses = ()
    cc: Addresses = Field(default=(), validation_alias=AliasChoices("cc", "cc_addr"))
    bcc: Addresses = Field(default=(), validation_alias=AliasChoices("bcc", "bcc_addr"))
    subject: HeaderText | None = None
    body: BodyText | None = None
    content_type: Literal["plain", "html"] = "plain"
    body_html: BodyText | None = None
    reply_to: Address | None = None
    return_path: Address | None = None
    message_id: Annotated[str, Field(max_length=900), AfterValidator(_message_id)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict, validation_alias=AliasChoices("headers", "custom_headers")
    )
    attachments: tuple[AttachmentInput, ...] = Field(default=(), max_length=100)
    priority: PriorityLevel | None = None
    deferred_ts: Moment | None = Field(
        default=None, validation_alias=AliasChoices("deferred_ts", "send_after")
    )
    batch_code: BatchCode | None = None
    metadata: Annotated[dict[str, object], AfterValidator(_metadata)] | None = None
    raw: Annotated[bytes, BeforeValidator(_content)] | None = None
    envelope: EnvelopeInput | None = None


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


def unknown_names(raw: Mapping[str, object]) -> list[str]:
    """Name the fields of a message that mean nothing."""
    return sorted(str(name) for name in raw.keys() - _MESSAGE_NAMES)


class AuthInput(Input):
    """How mail-proxy identifies itself to the application."""

    method: Literal["none", "bearer", "basic"] = "none"
    token: Secret | None = None
    user: Annotated[HeaderText, Field(min_length=1, pattern="^[^:]*$")] | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> AuthInput:
        if self.method == "bearer" and self.token is None:
            raise ValueError("method bearer needs a token")
        if self.method == "basic" and (self.user is None or self.password is None):
            raise ValueError("method basic needs user and password")
        return self


class RateLimitsInput(Input):
    hourly: Count = 0
    daily: Count = 0


class TenantInput(Input):
    """A tenant's configuration; what is left out takes its default, or stays (PUT)."""

    id: Identifier | None = None
    name: HeaderText | None = None
    client_base_url: BaseUrl | None = None
    client_sync_path: Path = DEFAULT_SYNC_PATH
    client_attachment_path: Path = DEFAULT_ATTACHMENT_PATH
    client_auth: AuthInput = AuthInput()
    rate_limits: RateLimitsInput = RateLimitsInput()
    large_file_config: dict[str, object] | None = None
    webhook_secret: Secret | None = None
    report_nulls: Boolean = True
    active: Boolean = True


class AccountInput(Input):
    """An account's configuration; what is left out takes its default, or stays (PUT)."""

    id: Identifier | None = None
    tenant_id: Identifier | None = None
    host: Host | None = None
    port: Port = 587
    user: HeaderText | None = None
    password: Secret | None = None
    tls: TlsMode | None = None
    use_tls: Boolean | None = None
    tls_verify: Boolean = True
    tls_ca: Annotated[str, Field(max_length=1_000_000)] | None = None
    from_address: Address | None = None
    ttl: Annotated[Count, Field(le=86400)] = 300
    batch_size: Positive | None = None
    max_concurrent: Positive | None = None
    limit_per_minute: Count = 0
    limit_per_hour: Count = 0
    limit_per_day: Count = 0
    limit_behavior: LimitBehavior = LimitBehavior.DEFER
    on_unknown: OnUnknown = OnUnknown.RETRY
    is_pec_account: Boolean = False
    imap_host: Host | None = None
    imap_port: Port = 993
    imap_user: HeaderText | None = None
    imap_password: Secret | None = None
    imap_folder: HeaderText = "INBOX"
    imap_ssl: Boolean = True


def required(model: BaseModel, names: Sequence[str]) -> None:
    """Raise InvalidInput naming those of `names` that were not given."""
    missing = [name for name in names if getattr(model, name) is None]
    if missing:
        raise InvalidInput.of([Fault((name,), "is required", "missing") for name in missing])
