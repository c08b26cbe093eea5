"""What callers hand in, as typed definitions: validation now, and the API's self-description from them.

Field names are the API's. A message's faults are all found at once, each naming its field.
"""

from __future__ import annotations

import hashlib
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
    ValidationInfo,
    model_validator,
)

from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.accounts import LimitBehavior, OnUnknown, TlsMode
from mail_proxy.model.tenants import DEFAULT_ATTACHMENT_PATH, DEFAULT_SYNC_PATH
from mail_proxy.services.fields import (
    Address,
    Addresses,
    Base64,
    BaseUrl,
    BatchCode,
    BodyText,
    Boolean,
    Certificates,
    Count,
    Headers,
    HeaderText,
    Host,
    Identifier,
    LargeFileConfig,
    MediaType,
    MessageId,
    MessageIdField,
    Metadata,
    Moment,
    Path,
    Port,
    Positive,
    PriorityLevel,
    Secret,
    decoded_base64,
    not_too_many,
)

Model = TypeVar("Model", bound=BaseModel)

MAX_ATTACHMENTS = 100

MASK = "***"
"""Stands for a stored secret in answers; sent back, it leaves the secret as it is."""


def checked(model: type[Model], raw: object, required: Sequence[str] = ()) -> Model:
    """Validate `raw`, which must have the `required` fields; raise InvalidInput naming every fault."""
    given, faults = examined(model, raw)
    faults += missing(raw, required, faults)
    if given is None or faults:
        raise InvalidInput.of(faults)
    return given


def examined(model: type[Model], raw: object) -> tuple[Model | None, list[Fault]]:
    """Validate `raw`; return what it says, or every fault."""
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        return None, faults_of(error)


def missing(raw: object, required: Sequence[str], known: Sequence[Fault] = ()) -> list[Fault]:
    """Name those of the `required` fields that are absent or null, and have no fault yet."""
    if not isinstance(raw, Mapping):
        return []
    named = {fault.loc[0] for fault in known if fault.loc}
    return [
        Fault((name,), "is required", "missing")
        for name in required
        if raw.get(name) is None and name not in named
    ]


def replaced_mask(name: str, given: str | None, stored: str | None) -> str | None:
    """Return the secret meant: the stored one for `MASK`; raise InvalidInput when none is stored."""
    if given != MASK:
        return given
    if stored is None:
        raise InvalidInput.of([Fault((name,), f"'{MASK}' stands for the stored secret, and there is none")])
    return stored


def faults_of(error: ValidationError) -> list[Fault]:
    """Translate pydantic's findings; what was given is not repeated, it may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        Fault(
            tuple(part for part in each["loc"] if part != "[key]"),
            _SAID.get(each["type"]) or each["msg"].removeprefix("Value error, "),
            each["type"],
        )
        for each in found
    ]


_SAID = {"model_type": "must be an object", "missing": "is required"}


class Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


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

    filename: Annotated[HeaderText, Field(min_length=1, max_length=255)]
    fetch_mode: Literal["base64"] | None = None
    storage_path: Annotated[bytes, BeforeValidator(_attached)]
    mime_type: MediaType | None = None
    content_md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$"), AfterValidator(_is_intact)] | None = None
    content_id: HeaderText | None = None
    inline: Boolean = False


class EnvelopeInput(Input):
    """Overrides the addresses read from a raw message."""

    from_: Address | None = Field(default=None, alias="from")
    to: Addresses | None = None


Attachments = Annotated[
    tuple[AttachmentInput, ...],
    Field(max_length=MAX_ATTACHMENTS),
    BeforeValidator(lambda value: () if value is None else not_too_many(value, MAX_ATTACHMENTS)),
]


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
    message_id: MessageIdField | None = None
    headers: Headers = Field(default_factory=dict, validation_alias=AliasChoices("headers", "custom_headers"))
    attachments: Attachments = ()
    priority: PriorityLevel | None = None
    deferred_ts: Moment | None = Field(
        default=None, validation_alias=AliasChoices("deferred_ts", "send_after")
    )
    batch_code: BatchCode | None = None
    metadata: Metadata | None = None
    raw: Base64 | None = None
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
_IN_RAW = _MESSAGE_NAMES - {
    "id", "tenant_id", "account_id", "return_path", "priority", "deferred_ts", "send_after",
    "batch_code", "metadata", "raw", "envelope",
}  # fmt: skip


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
    large_file_config: LargeFileConfig | None = None
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
    tls_ca: Certificates | None = None
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
