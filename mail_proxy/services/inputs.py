"""What callers hand in, as typed definitions: validation now, and the API's self-description from them.

Field names are the API's. All faults are found at once, each naming its field. Messages and storages are in
``message_inputs.py`` and ``storage_inputs.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.accounts import LimitBehavior, OnUnknown, TlsMode
from mail_proxy.model.tenants import DEFAULT_ATTACHMENT_PATH, DEFAULT_SYNC_PATH
from mail_proxy.services.fields import (
    NOT_NULL,
    Address,
    AfterReading,
    BaseUrl,
    Boolean,
    Certificates,
    Count,
    HeaderText,
    Host,
    Identifier,
    Integer,
    LargeFileConfig,
    Moment,
    Path,
    Port,
    Positive,
    ReturnPath,
    Secret,
    WebhookSecret,
    shape,
)

Model = TypeVar("Model", bound=BaseModel)

MASK = "***"
"""Stands for a stored secret in answers; sent back, it leaves the secret as it is."""


def checked(model: type[Model], raw: object, required: Sequence[str] = ()) -> Model:
    """Validate `raw`, which must have the `required` fields; raise InvalidInput naming every fault."""
    given, faults = examined(model, raw)
    if required:
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


def fault_in(model: type[BaseModel], name: str, value: object) -> str | None:
    """Say what is wrong with one field by itself, for who asks for one after the other; None for nothing."""
    _, faults = examined(model, {name: value})
    return next((fault.msg for fault in faults if fault.loc[:1] == (name,)), None)


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


def refuse_unreadable(
    unreadable: AbstractSet[str], given: Mapping[str, str | None], path: Sequence[str] = ()
) -> None:
    """Raise InvalidInput for secrets that are not `given` anew: what cannot be decrypted cannot be kept.

    Nor is it dropped unless that is asked for, by giving None. `path` leads to the secrets.
    """
    text = "must be given again: what is stored cannot be decrypted"
    kept = [name for name in sorted(unreadable) if given.get(name, MASK) == MASK]
    if kept:
        raise InvalidInput.of([Fault((*path, name), text) for name in kept])


def refuse_changes(raw: Mapping[str, object], stored: Mapping[str, object]) -> None:
    """Raise InvalidInput for what is read-only and given otherwise than it is shown.

    Who sends back what an answer held, with some fields changed, is not to be bothered by the others.
    """
    changed = [name for name, value in stored.items() if name in raw and raw[name] != value]
    if changed:
        raise InvalidInput.of(
            [Fault((name,), "is read-only: leave it out, or as it is shown", "read_only") for name in changed]
        )


def faults_of(error: ValidationError) -> list[Fault]:
    """Translate pydantic's findings; what was given is not repeated, it may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        Fault(
            tuple(part for part in each["loc"] if part != "[key]"),
            _SAID.get(each["type"]) or _WORDS.sub("must", each["msg"].removeprefix("Value error, ")),
            each["type"],
        )
        for each in found
    ]


_WORDS = re.compile(r"^(?:Input|String|Value) should\b")
"""How pydantic begins, which does not name the field; the faults of this project do not name it twice."""

_SAID = {
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}


class Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


_USER = r"^[^:\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_METHODS: list[JsonValue] = [
    {"properties": {"method": {"const": "none"}}},
    {
        "properties": {"method": {"const": "bearer"}, "token": {"type": "string"}},
        "required": ["method", "token"],
    },
    {
        "properties": {
            "method": {"const": "basic"},
            "user": {"type": "string"},
            "password": {"type": "string"},
        },
        "required": ["method", "user", "password"],
    },
]


class AuthInput(Input):
    """How mail-proxy identifies itself to the application."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _METHODS})

    method: Literal["none", "bearer", "basic"] = "none"
    """`bearer` needs `token`, `basic` needs `user` and `password`."""
    token: Secret | None = None
    user: Annotated[HeaderText, Field(min_length=1, pattern="^[^:]*$"), shape(pattern=_USER)] | None = None
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
    """Messages in any such span of time; 0: any number."""
    daily: Count = 0
    """Messages in any such span of time; 0: any number."""


class TenantInput(Input):
    """A tenant's configuration; what is left out takes its default, or stays (PUT)."""

    id: Annotated[Identifier | None, NOT_NULL] = None
    name: HeaderText | None = None
    client_base_url: BaseUrl | None = None
    """Where the application is reached; its origin changes together with the secrets in `client_auth`."""
    client_sync_path: Path = DEFAULT_SYNC_PATH
    """Where reports are posted."""
    client_attachment_path: Path = DEFAULT_ATTACHMENT_PATH
    """Where attachments are asked for."""
    client_auth: AuthInput = AuthInput()
    """How mail-proxy logs in at the application."""
    rate_limits: RateLimitsInput = RateLimitsInput()
    """Over all accounts."""
    large_file_config: LargeFileConfig | None = None
    webhook_secret: WebhookSecret | None = None
    """Signs the reports (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64, or any other text."""
    report_nulls: Boolean = True
    """Whether reports hold fields that do not apply, as null."""
    active: Boolean = True
    """false: it may hand in nothing, and nothing of it is sent."""
    api_key_expires_at: Moment | None = None
    """The last moment of the key that there is; null: it does not expire."""


class AccountInput(Input):
    """An account's configuration; what is left out takes its default, or stays (PUT)."""

    id: Annotated[Identifier | None, NOT_NULL] = None
    tenant_id: Identifier | None = None
    host: Annotated[Host | None, NOT_NULL] = None
    """The SMTP server; `sandbox` keeps the mail in a directory."""
    port: Port = 587
    user: HeaderText | None = None
    """The login; none: no AUTH."""
    password: Secret | None = None
    """Given anew whenever host, port or TLS change. `***` leaves it as it is."""
    tls: TlsMode | None = None
    """By default from the port: 465 ssl, 587 starttls."""
    use_tls: Boolean | None = None
    """Decides for other ports."""
    tls_verify: Boolean = True
    """Whether the certificate is checked."""
    tls_ca: Certificates | None = None
    """The authorities it is checked by, in PEM; the admin may name a file."""
    from_address: Address | None = None
    """From, for messages without."""
    ttl: Annotated[Count, Field(le=86400)] = 300
    """Seconds an idle connection is kept."""
    batch_size: Positive | None = None
    """Messages claimed at a time, in place of the instance's setting."""
    max_concurrent: Positive | None = None
    """Connections at a time, in place of the instance's setting."""
    limit_per_minute: Count = 0
    """Messages in any such span of time; 0: any number."""
    limit_per_hour: Count = 0
    """Messages in any such span of time; 0: any number."""
    limit_per_day: Count = 0
    """Messages in any such span of time; 0: any number."""
    limit_behavior: LimitBehavior = LimitBehavior.DEFER
    """What is over a limit waits, or becomes an error."""
    on_unknown: OnUnknown = OnUnknown.RETRY
    """What becomes of a message whose outcome is unknown: it is sent again, or held."""
    is_pec_account: Boolean = False
    """Certified mail (PEC)."""
    imap_host: Host | None = None
    """Where receipts arrive."""
    imap_port: Port = 993
    imap_user: HeaderText | None = None
    imap_password: Secret | None = None
    imap_folder: HeaderText = "INBOX"
    imap_ssl: Boolean = True


class BounceInput(Input):
    """Where bounces are collected; what is left out stays. `bounce_after` is for a mail that was read."""

    bounce_enabled: Boolean = False
    bounce_imap_host: Host | None = None
    bounce_imap_port: Port = 993
    bounce_imap_user: Annotated[HeaderText, Field(min_length=1)] | None = None
    bounce_imap_password: Secret | None = None
    bounce_imap_folder: Annotated[HeaderText, Field(min_length=1)] = "INBOX"
    bounce_imap_ssl: Boolean = True
    bounce_poll_interval: Annotated[Integer, Field(ge=1, le=86400)] = 60
    bounce_return_path: ReturnPath | None = None
    bounce_after: AfterReading = "keep"


class InstanceInput(BounceInput):
    """The settings of the instance; what is left out stays."""

    name: Annotated[HeaderText, Field(min_length=1, max_length=255)] | None = None
