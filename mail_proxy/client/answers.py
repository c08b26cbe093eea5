"""What comes back from mail-proxy, as values. Times are Unix seconds unless a field is text (ISO 8601).

Fields that a newer server adds are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from mail_proxy.client.errors import UnexpectedAnswer
from mail_proxy.errors import Fault

T = TypeVar("T")

Json = Mapping[str, object]

_VIA = "via"


def read(kind: type[T], answer: object) -> T:
    """Build a value from the fields that it knows; raise `UnexpectedAnswer` when one is missing."""
    given = as_object(answer)
    known = {}
    for each in fields(kind):  # type: ignore[arg-type]  # every `kind` is a dataclass
        if each.name in given:
            known[each.name] = each.metadata.get(_VIA, _unchanged)(given[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise UnexpectedAnswer(f"the answer has no '{each.name}': is the server older than this client?")
    return kind(**known)


def many(kind: type[T]) -> Callable[[object], tuple[T, ...]]:
    """Make a reader of lists; null is an empty one."""
    return lambda answer: tuple(read(kind, each) for each in as_list(answer))


def as_object(answer: object) -> Json:
    if not isinstance(answer, Mapping):
        raise UnexpectedAnswer("the answer is not what mail-proxy says: an object is expected")
    return answer


def as_list(answer: object) -> list[object]:
    if answer is None:
        return []
    if not isinstance(answer, list):
        raise UnexpectedAnswer("the answer is not what mail-proxy says: a list is expected")
    return answer


def faults(answer: object) -> tuple[Fault, ...]:
    """Read those entries of a list that name a field and its fault."""
    found = answer if isinstance(answer, list) else []
    return tuple(
        Fault(tuple(each["loc"]), str(each.get("msg")), str(each.get("type")))
        for each in found
        if isinstance(each, Mapping) and isinstance(each.get("loc"), list)
    )


def _unchanged(value: object) -> object:
    return value


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in as_list(value))


def _read_by(via: Callable[[Any], object]) -> Any:
    """A field that is empty when left out, and read by `via`."""
    return field(default=(), metadata={_VIA: via})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A message that was not queued: invalid, with `errors` naming its fields, or of an id already used."""

    id: str | None
    reason: str
    errors: tuple[Fault, ...] = _read_by(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """How many messages were queued and are on disk, and which were not; `warnings` name unknown fields."""

    queued: int
    rejected: tuple[Rejection, ...] = _read_by(many(Rejection))
    warnings: tuple[str, ...] = _read_by(_words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One address; `code` and `reply` are what the server last said to it."""

    address: str
    status: str
    code: str | None = None
    reply: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a message; `event_id` never repeats."""

    event_id: int
    event_type: str
    event_ts: int
    description: str
    event_data: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `error` is final, `last_error` what went wrong for the time being.

    `message` is its content, without that of attachments. `events` are there when they were asked for.
    """

    pk: str
    id: str
    tenant_id: str
    account_id: str
    status: str
    priority: int
    created_at: int
    updated_at: int
    tenant_name: str | None = None
    batch_code: str | None = None
    deferred_ts: int | None = None
    sent_ts: int | None = None
    error_ts: int | None = None
    error: str | None = None
    last_error: str | None = None
    retry_count: int = 0
    reported_ts: int | None = None
    bounce_type: str | None = None
    bounce_code: str | None = None
    bounce_reason: str | None = None
    bounce_ts: int | None = None
    is_pec: bool = False
    message_id: str | None = None
    metadata: Json | None = None
    recipients: tuple[Recipient, ...] = _read_by(many(Recipient))
    message: Json | None = None
    events: tuple[Event, ...] = _read_by(many(Event))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """A message that was not deleted, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What became of the ids that were to be deleted: `removed` is how many were.

    The others are in the lists; `unauthorized` are those of other tenants.
    """

    removed: int
    not_found: tuple[str, ...] = _read_by(_words)
    unauthorized: tuple[str, ...] = _read_by(_words)
    refused: tuple[KeptMessage, ...] = _read_by(many(KeptMessage))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One SMTP login of a tenant; its passwords never come back."""

    id: str
    tenant_id: str
    host: str
    port: int
    user: str | None = None
    tls: str | None = None
    use_tls: bool | None = None
    tls_verify: bool = True
    tls_ca: str | None = None
    from_address: str | None = None
    ttl: int = 300
    batch_size: int | None = None
    max_concurrent: int | None = None
    limit_per_minute: int = 0
    limit_per_hour: int = 0
    limit_per_day: int = 0
    limit_behavior: str = "defer"
    on_unknown: str = "retry"
    is_pec_account: bool = False
    imap_host: str | None = None
    imap_port: int = 993
    imap_user: str | None = None
    imap_folder: str = "INBOX"
    imap_ssl: bool = True
    circuit: str = "closed"
    last_error: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a login went, over a connection protected by `tls`: `error` says why it failed."""

    ok: bool
    tls: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTest:
    """How the logins of an account went; `imap` is None when it has no mailbox."""

    smtp: Login = field(metadata={_VIA: lambda answer: read(Login, answer)})
    imap: Login | None = field(
        default=None, metadata={_VIA: lambda answer: None if answer is None else read(Login, answer)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One organisation; stored secrets come back as ``***``.

    `client_auth` is None if what is stored cannot be decrypted, and has to be given again.
    """

    id: str
    name: str | None = None
    client_base_url: str | None = None
    client_sync_path: str | None = None
    client_attachment_path: str | None = None
    client_auth: Json | None = None
    rate_limits: Json | None = None
    large_file_config: Json | None = None
    webhook_secret: str | None = None
    report_nulls: bool = True
    active: bool = True
    suspended_batches: tuple[str, ...] = _read_by(_words)
    api_key_expires_at: int | None = None
    created_at: int | None = None
    updated_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A place for files; secrets of its configuration come back as ``***``.

    `config` is None if what is stored cannot be decrypted, and has to be given again.
    """

    tenant_id: str
    name: str
    protocol: str
    config: Json | None
    created_at: str | None = None
    updated_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`database` is ``ok`` or ``unavailable``; the process itself works, or there would be no answer."""

    status: str
    version: str
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One server process; its names are told to the admin only."""

    version: str
    started_at: int
    seen_at: int
    node_id: str | None = None
    name: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the server fares; `pending_messages` are the tenant's own when its token asks."""

    active: bool
    scheduler_active: bool
    pending_messages: int
    uptime_seconds: int
    version: str
    nodes: tuple[Node, ...] = _read_by(many(Node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """What is held back for a tenant (``*`` is all of it), and how many messages wait."""

    tenant_id: str | None = None
    batch_code: str | None = None
    suspended_batches: tuple[str, ...] = _read_by(_words)
    pending_messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounces:
    """How bounces are collected; the password is ``***`` when there is one."""

    bounce_enabled: bool
    bounce_imap_host: str | None = None
    bounce_imap_port: int = 993
    bounce_imap_user: str | None = None
    bounce_imap_password: str | None = None
    bounce_imap_folder: str = "INBOX"
    bounce_imap_ssl: bool = True
    bounce_poll_interval: int = 60
    bounce_return_path: str | None = None
    bounce_after: str = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Bounces):
    """The settings of the whole instance."""

    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A request that may have changed something; `status` is None if the server died before it answered."""

    command_id: int
    ts: int
    endpoint: str
    path: str
    tenant_id: str | None = None
    payload: Json | None = None
    status: int | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPage:
    """Some commands, newest first, and how many there are in all."""

    commands: tuple[Command, ...] = _read_by(many(Command))
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """How the reporting to one tenant goes."""

    id: str
    name: str | None = None
    active: bool = True
    client_base_url: str | None = None
    last_sync_ts: int | None = None
    next_sync_due: int | None = None
    in_dnd: bool = False
    pending_reports: int = 0
    consecutive_failures: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOverview:
    """How the reporting goes, by tenant; an empty post is due `sync_interval_seconds` after the last."""

    sync_interval_seconds: float
    tenants: tuple[SyncStatus, ...] = _read_by(many(SyncStatus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An event that the application was not told of; `id` is the message's.

    Its `state` is ``failing`` while the application does not take it, or any post; ``given_up`` when nobody
    tries any more; else ``unreported``. It is told at `again_ts` at the earliest.
    """

    event_id: int
    tenant_id: str
    id: str
    pk: str
    account_id: str
    event: str
    event_ts: int
    state: str
    refusals: int = 0
    again_ts: int | None = None
    last_error: str | None = None
