"""What the API answers, as typed definitions: its description is made from them, and tests hold it to them.

A field's docstring is its description; those of `described_by` are taken for fields that have none.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from mail_proxy.model.accounts import Circuit, LimitBehavior, OnUnknown, TlsMode
from mail_proxy.model.messages import EventType, RecipientStatus, Status
from mail_proxy.model.removal import Kept
from mail_proxy.model.reports import ReportState
from mail_proxy.model.storages import StorageProtocol
from mail_proxy.services.inputs import AccountInput, InstanceInput, TenantInput
from mail_proxy.services.message_inputs import MessageInput

Seconds = Annotated[int, Field(ge=0)]
Masked = Literal["***"]
IsoTime = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Part(BaseModel):
    """Part of an answer. Tests allow no field that is not here; clients had better."""

    model_config = ConfigDict(defer_build=True, extra="forbid")

    described_by: ClassVar[type[BaseModel] | None] = None


class Answer(Part):
    """It is done."""

    ok: Literal[True]


class Refusal(Part):
    """It is not done: why."""

    ok: Literal[False]
    error: str
    """One line, for a person."""
    detail: object
    """The same, or what more there is to tell."""


class FieldFault(Part):
    loc: list[str | int]
    """The way to the field; none: the whole of what was given."""
    msg: str
    type: str


class Invalid(Refusal):
    """Something is wrong with what was given."""

    detail: list[FieldFault]
    """Every fault, by its field."""


class Rejection(Part):
    id: str | None
    reason: str
    """What is wrong with it, or `duplicate id`, `already sent`, `being sent`."""
    errors: list[FieldFault] = []
    """Its faults, field by field."""


class AllRejectedDetail(Part):
    error: str
    rejected: list[Rejection]


class AllRejected(Refusal):
    """There were messages, and every one was invalid."""

    detail: AllRejectedDetail


class InternalErrorDetail(Part):
    id: str


class InternalError(Refusal):
    """A bug: the log of the server has the story, by this id."""

    detail: InternalErrorDetail


class Health(Answer):
    """The process works."""

    status: Literal["ok"]
    version: str
    database: Literal["ok", "unavailable"]


class Readiness(Answer):
    """This node takes requests."""

    status: Literal["ready"]


class Node(Part):
    """A server process. A tenant's token is not told what names the machine."""

    node_id: str = ""
    name: str = ""
    pid: int = 0
    version: str
    started_at: Seconds
    seen_at: Seconds


class ServerStatus(Answer):
    active: bool
    """The switch of the whole instance."""
    scheduler_active: bool
    """Whether dispatch runs by itself, which it does not in test mode."""
    pending_messages: Annotated[int, Field(ge=0)]
    """Of the token's tenant; for the admin, of all."""
    uptime_seconds: Seconds
    version: str
    nodes: list[Node]


class Submitted(Answer):
    queued: Annotated[int, Field(ge=0)]
    """How many are on disk now, those that were replaced among them."""
    rejected: list[Rejection]
    warnings: list[str] = []
    """Fields that were ignored, by message."""


class Recipient(Part):
    address: str
    status: RecipientStatus
    code: str | None
    """Of the last reply: its enhanced status code, or else its three digits."""
    reply: str | None


class ShownAttachment(Part):
    """An attachment without what is in it."""

    filename: str
    mime_type: str = ""
    content_id: str = ""
    inline: bool = False
    fetch_mode: Literal["base64"]


class ShownFields(Part):
    """What was handed in, without the contents of attachments."""

    described_by = MessageInput

    from_: str = Field(alias="from")
    subject: str
    body: str
    to: list[str] = []
    cc: list[str] = []
    bcc: list[str] = []
    body_html: str = ""
    content_type: Literal["html"] = "html"
    reply_to: str = ""
    headers: dict[str, str] = {}
    attachments: list[ShownAttachment] = []


class ShownRaw(Part):
    """A message that was given raw."""

    raw: Literal[True]
    size: Seconds
    """In bytes."""


class Event(Part):
    event_id: int
    event_type: EventType
    event_ts: Seconds
    description: str
    event_data: dict[str, object] | None


class MessageFields(Part):
    """A message. Times are Unix seconds."""

    described_by = MessageInput

    pk: str
    id: str
    tenant_id: str
    tenant_name: str | None
    account_id: str
    status: Status
    priority: Annotated[int, Field(ge=0, le=3)]
    batch_code: str | None
    created_at: Seconds
    updated_at: Seconds
    deferred_ts: Seconds | None
    """What it waits for: scheduled, to be retried, or over a limit."""
    sent_ts: Seconds | None
    error_ts: Seconds | None
    error: str | None
    """Set in state `error` alone."""
    retry_count: Annotated[int, Field(ge=0)]
    reported_ts: Seconds | None
    bounce_type: str | None
    bounce_code: str | None
    bounce_reason: str | None
    bounce_ts: Seconds | None
    is_pec: bool
    message_id: str | None
    recipients: list[Recipient]
    last_error: str | None
    """What went wrong on the way."""
    metadata: dict[str, object] | None
    message: ShownFields | ShownRaw | None = None
    """Absent when it was deleted meanwhile."""


class ListedMessage(MessageFields):
    events: list[Event] = []
    """With `include_history`."""


class Message(MessageFields, Answer): ...


class MessageList(Answer):
    messages: list[ListedMessage]
    """Newest first."""
    next_cursor: str | None
    """Asks for those after them; null at the end."""


class EventList(Answer):
    events: list[Event]
    """In order."""


class ReceiptList(Answer):
    receipts: list[object]


class Account(Part):
    described_by = AccountInput

    id: str
    tenant_id: str
    host: str
    port: int
    user: str | None
    tls: TlsMode
    """As given, or as it follows from the port."""
    use_tls: bool | None
    tls_verify: bool
    tls_ca: str | None
    from_address: str | None
    ttl: int
    batch_size: int | None
    max_concurrent: int | None
    limit_per_minute: int
    limit_per_hour: int
    limit_per_day: int
    limit_behavior: LimitBehavior
    on_unknown: OnUnknown
    is_pec_account: bool
    imap_host: str | None
    imap_port: int
    imap_user: str | None
    imap_folder: str
    imap_ssl: bool
    circuit: Circuit
    """`open` while the account rests after failures, and is only probed."""
    last_error: str | None
    """What keeps it from sending."""
    created_at: IsoTime
    updated_at: IsoTime


class AccountAnswer(Account, Answer): ...


class AccountList(Answer):
    accounts: list[Account]


class Login(Part):
    ok: bool
    """Whether the login worked."""
    error: str | None
    """Why it did not."""
    tls: TlsMode
    """The protection of the connection."""
    seconds: Annotated[float, Field(ge=0)]


class Tested(Answer):
    """The logins were tried."""

    smtp: Login
    imap: Login | None
    """Null: the account has no `imap_host`."""


class NoAuth(Part):
    method: Literal["none"]


class Bearer(Part):
    method: Literal["bearer"]
    token: Masked


class Basic(Part):
    method: Literal["basic"]
    user: str
    password: Masked


class RateLimits(Part):
    hourly: int
    daily: int


class Tenant(Part):
    described_by = TenantInput

    id: str
    name: str | None
    client_base_url: str | None
    client_sync_path: str
    client_attachment_path: str
    client_auth: NoAuth | Bearer | Basic | None
    """Null: what is stored cannot be decrypted, and has to be given again."""
    rate_limits: RateLimits
    large_file_config: dict[str, object] | None
    webhook_secret: Masked | None
    report_nulls: bool
    active: bool
    suspended_batches: list[str]
    """Batches that are held back; `*`: everything is."""
    api_key_expires_at: Seconds | None
    created_at: Seconds
    updated_at: Seconds


class TenantAnswer(Tenant, Answer): ...


class TenantList(Answer):
    tenants: list[Tenant]


class TenantStored(Answer):
    api_key: str = ""
    """Of a new tenant, and here alone."""


class ApiKey(Answer):
    api_key: str
    """Shown here alone."""


class Command(Part):
    command_id: int
    ts: Seconds
    endpoint: str
    """Method and pattern of the path."""
    path: str
    """As it was asked for, with the query."""
    tenant_id: str | None
    payload: dict[str, object] | None
    """The body, without secrets and contents of messages."""
    status: int | None
    """Of the answer; null: the server died before it answered."""
    client: str | None
    """The address of who asked."""


class CommandList(Answer):
    commands: list[Command]
    """Newest first."""
    total: Annotated[int, Field(ge=0)]
    """How many there are, beyond those listed."""


class Storage(Part):
    tenant_id: str
    name: str
    protocol: StorageProtocol
    config: dict[str, str] | None
    """What was given; secrets are `***`. Null: it cannot be decrypted, and has to be given again."""
    created_at: IsoTime
    updated_at: IsoTime


class StorageList(Answer):
    storages: list[Storage]


class Bounce(Part):
    described_by = InstanceInput

    bounce_enabled: bool
    bounce_imap_host: str | None
    bounce_imap_port: int
    bounce_imap_user: str | None
    bounce_imap_password: Masked | None
    bounce_imap_folder: str
    bounce_imap_ssl: bool
    bounce_poll_interval: int
    """Seconds."""
    bounce_return_path: str | None
    bounce_after: str
    """What becomes of a mail that was read: `keep`, `seen`, `delete` or `move:<folder>`."""


class BounceAnswer(Bounce, Answer): ...


class InstanceAnswer(BounceAnswer):
    name: str | None


class Report(Part):
    event_id: int
    tenant_id: str
    id: str
    """Of the message."""
    pk: str
    account_id: str
    event: EventType
    event_ts: Seconds
    state: ReportState
    """`failing`: the application did not take it, or the last post; `given_up`: nobody tries any more."""
    refusals: Annotated[int, Field(ge=0)]
    """How often the application refused it, or what happened to the message before."""
    again_ts: Seconds | None
    """When it is told at the earliest; null: as soon as possible, or never if it was given up."""
    last_error: str | None
    """Why the application was not told, if it failed."""


class ReportList(Answer):
    reports: list[Report]
    next_cursor: str | None
    """Asks for those after these; null at the end."""


class Replayed(Answer):
    replayed: Annotated[int, Field(ge=0)]
    """How many events the application will be told of again."""


class SyncStatus(Part):
    id: str
    name: str | None
    active: bool
    client_base_url: str | None
    last_sync_ts: Seconds | None
    """When the application last took a post."""
    next_sync_due: Seconds | None
    """When it is posted to next, be it with nothing to tell; null: nothing will be posted."""
    in_dnd: bool
    """Whether it does not want to be disturbed now without news."""
    pending_reports: Annotated[int, Field(ge=0)]
    """How many events it is still to be told of, those among them that it refused."""
    consecutive_failures: Annotated[int, Field(ge=0)]
    last_error: str | None


class SyncList(Answer):
    sync_interval_seconds: Annotated[float, Field(ge=0)]
    """After how long an application is posted to even if there is nothing to tell."""
    tenants: list[SyncStatus]


class Switched(Answer):
    """The dispatch of the whole instance."""

    active: bool


class Suspension(Part):
    tenant_id: str
    batch_code: str | None
    """As it was asked; null: everything of the tenant."""
    suspended_batches: list[str]
    """Batches that are held back; `*`: everything is."""
    pending_messages: Annotated[int, Field(ge=0)]
    """How many of the batch, or of the tenant, have still to leave."""


class SuspensionAnswer(Suspension, Answer): ...


class SuspendedOrSwitched(RootModel[SuspensionAnswer | Switched]):
    """Of a tenant, or of the whole instance."""


class KeptMessage(Part):
    id: str
    reason: Kept


class Removed(Answer):
    removed: Annotated[int, Field(ge=0)]
    """How many were deleted: all those that are in none of the lists."""
    not_found: list[str]
    unauthorized: list[str]
    """Ids that only other tenants have; empty for a tenant's token."""
    refused: list[KeptMessage]
    """Those that stay, and why."""


class CleanedUp(Answer):
    removed: Annotated[int, Field(ge=0)]
    """How many messages."""
