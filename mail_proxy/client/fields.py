"""What may be handed in, for editors and type checkers; the server judges it. Names are the API's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypedDict

from mail_proxy.client.requests import Moment

Priority = Literal[0, 1, 2, 3, "immediate", "high", "medium", "low"]
Addresses = str | Sequence[str]


class Attachment(TypedDict, total=False):
    """A file of a message; its content as bytes, or as text that begins with ``base64:``."""

    filename: Required[str]
    storage_path: Required[str | bytes]
    fetch_mode: str
    mime_type: str
    content_md5: str
    content_id: str
    inline: bool


Envelope = TypedDict("Envelope", {"from": str, "to": Addresses}, total=False)
"""Stands in for the addresses that a message given raw has in itself."""

NewMessage = TypedDict(
    "NewMessage",
    {
        "id": Required[str],
        "tenant_id": str,
        "account_id": str,
        "from": str,
        "to": Addresses,
        "cc": Addresses,
        "bcc": Addresses,
        "subject": str,
        "body": str,
        "content_type": Literal["plain", "html"],
        "body_html": str,
        "reply_to": str,
        "return_path": str,
        "message_id": str,
        "headers": Mapping[str, str],
        "attachments": Sequence[Attachment],
        "priority": Priority,
        "deferred_ts": Moment,
        "batch_code": str,
        "metadata": Mapping[str, object],
        "raw": str | bytes,
        "envelope": Envelope,
    },
    total=False,
)
"""A message to be sent. `id` is the application's own: the same id again is the same message.

`raw` is a whole one (RFC 5322), as bytes or as base64.
"""


class AccountFields(TypedDict, total=False):
    """An account's configuration, but for its host."""

    port: int
    user: str | None
    password: str | None
    tls: Literal["none", "starttls", "ssl"] | None
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
    limit_behavior: Literal["defer", "reject"]
    on_unknown: Literal["retry", "hold"]
    is_pec_account: bool
    imap_host: str | None
    imap_port: int
    imap_user: str | None
    imap_password: str | None
    imap_folder: str
    imap_ssl: bool


class AccountChanges(AccountFields, total=False):
    """What of an account may be changed."""

    host: str


class ClientAuth(TypedDict, total=False):
    """How mail-proxy identifies itself to the application."""

    method: Required[Literal["none", "bearer", "basic"]]
    token: str
    user: str
    password: str


class RateLimits(TypedDict, total=False):
    """Messages that a tenant may send; 0 is no limit."""

    hourly: int
    daily: int


class TenantFields(TypedDict, total=False):
    """A tenant's configuration."""

    name: str | None
    client_base_url: str | None
    client_sync_path: str
    client_attachment_path: str
    client_auth: ClientAuth
    rate_limits: RateLimits
    large_file_config: Mapping[str, object] | None
    webhook_secret: str | None
    report_nulls: bool
    active: bool


class BounceFields(TypedDict, total=False):
    """How bounces are collected."""

    bounce_enabled: bool
    bounce_imap_host: str | None
    bounce_imap_port: int
    bounce_imap_user: str | None
    bounce_imap_password: str | None
    bounce_imap_folder: str
    bounce_imap_ssl: bool
    bounce_poll_interval: int
    bounce_return_path: str | None
    bounce_after: str


class InstanceFields(BounceFields, total=False):
    """The settings of the whole instance."""

    name: str | None
