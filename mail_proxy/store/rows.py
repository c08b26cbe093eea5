"""Rows to values and back: the one place that knows how a value lies in its columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from mail_proxy.encryption import Vault
from mail_proxy.errors import KeyMismatch
from mail_proxy.model.accounts import SECRETS as ACCOUNT_SECRETS
from mail_proxy.model.accounts import Account, LimitBehavior, OnUnknown, Rest, TlsMode
from mail_proxy.model.messages import (
    Event,
    EventType,
    Message,
    NewMessage,
    Payload,
    PayloadKind,
    Recipient,
    RecipientStatus,
    Status,
)
from mail_proxy.model.queue import Claimed, NewEvent, Parking
from mail_proxy.model.reports import Reportable
from mail_proxy.model.standing import Sender, Standing
from mail_proxy.model.tenants import SECRETS as TENANT_SECRETS
from mail_proxy.model.tenants import AuthMethod, ClientAuth, RateLimits, Tenant
from mail_proxy.store.database import Row


def compact(value: object) -> str:
    """JSON without spaces, Unicode kept."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)  # `dumps` would make one each time


def recipients_text(recipients: Sequence[Recipient]) -> str:
    """Write recipients as `compact` would write a list of objects, for less."""
    return "[" + ",".join([_recipient_text(recipient) for recipient in recipients]) + "]"


def _recipient_text(recipient: Recipient) -> str:
    code, reply = recipient.code, recipient.reply
    return "".join(
        (
            _ADDRESS,
            _quoted(recipient.address),
            ',"status":"',
            recipient.status,
            '","code":',
            "null" if code is None else _quoted(code),
            ',"reply":',
            "null" if reply is None else _quoted(reply),
            "}",
        )
    )


def new_recipients_text(addresses: Sequence[str]) -> str:
    """Write what `recipients_text` would for recipients that were not tried yet, for less."""
    return "[" + ",".join([_ADDRESS + _quoted(address) + _UNTRIED for address in addresses]) + "]"


_quoted = json.encoder.encode_basestring
_ADDRESS, _UNTRIED = '{"address":', ',"status":"pending","code":null,"reply":null}'
_ONE_UNTRIED = re.compile(
    rf'{re.escape("[" + _ADDRESS)}"([^"\\\x00-\x1f]*)"{re.escape(_UNTRIED + "]")}'
)  # what nearly every message has when it is claimed


def recipients_of(text: str) -> tuple[Recipient, ...]:
    if one := _ONE_UNTRIED.fullmatch(text):
        return (Recipient(address=one[1]),)
    return tuple(
        Recipient(address=r["address"], status=RecipientStatus(r["status"]), code=r["code"], reply=r["reply"])
        for r in json.loads(text)
    )


def tenant_place(tenant_id: str, column: str) -> str:
    """Where a secret belongs: bound to its ciphertext, so that it cannot be moved to another row."""
    return f"tenants/{tenant_id}/{column}"


def account_place(tenant_id: str, account_id: str, column: str) -> str:
    """See `tenant_place`."""
    return f"accounts/{tenant_id}/{account_id}/{column}"


def _sealed(vault: Vault, secret: str | None, place: str) -> str | None:
    return None if secret is None else vault.encrypt(secret, place)


def _secrets_of(
    row: Row, names: Sequence[str], vault: Vault, place: Callable[[str], str]
) -> tuple[dict[str, str | None], frozenset[str]]:
    """Read secrets, and name those that cannot be read: one that is damaged spoils nothing else.

    Raises `KeyMismatch` for any when there is no key.
    """
    sealed = {name: row[f"enc_{name}"] for name in names}
    opened = {
        name: None if value is None else vault.decrypt_if_sound(value, place(name))
        for name, value in sealed.items()
    }
    return opened, frozenset(name for name in names if sealed[name] is not None and opened[name] is None)


def refuse_unreadable(unreadable: AbstractSet[str], whose: str) -> None:
    """Raise `KeyMismatch` for secrets that could not be read: they would be lost unseen."""
    if unreadable:
        raise KeyMismatch(
            f"cannot keep the {', '.join(sorted(unreadable))} of {whose}: it cannot be decrypted"
        )


def tenant_params(tenant: Tenant, vault: Vault) -> dict[str, object]:
    """Raise `KeyMismatch` for a tenant with secrets that could not be read."""
    refuse_unreadable(tenant.unreadable, f"tenant '{tenant.id}'")
    auth = tenant.client_auth
    auth_text = None
    if auth.method is not AuthMethod.NONE:
        auth_text = compact(
            {"method": auth.method, "token": auth.token, "user": auth.user, "password": auth.password}
        )
    return {
        "id": tenant.id,
        "name": tenant.name,
        "client_base_url": tenant.client_base_url,
        "client_sync_path": tenant.client_sync_path,
        "client_attachment_path": tenant.client_attachment_path,
        "enc_client_auth": _sealed(vault, auth_text, tenant_place(tenant.id, "client_auth")),
        "rate_hourly": tenant.rate_limits.hourly,
        "rate_daily": tenant.rate_limits.daily,
        "large_file_config": None if tenant.large_file_config is None else compact(tenant.large_file_config),
        "enc_webhook_secret": _sealed(
            vault, tenant.webhook_secret, tenant_place(tenant.id, "webhook_secret")
        ),
        "report_nulls": int(tenant.report_nulls),
        "api_key_expires_at": tenant.api_key_expires_at,
        "active": int(tenant.active),
        "by_tenant": int(tenant.by_tenant),
    }


def tenant_of(row: Row, vault: Vault, suspended: Sequence[str]) -> Tenant:
    """See `account_of`."""
    tenant_id: str = row["id"]
    secrets, unreadable = _secrets_of(row, TENANT_SECRETS, vault, partial(tenant_place, tenant_id))
    auth = ClientAuth()
    if secrets["client_auth"]:
        fields = json.loads(secrets["client_auth"])
        auth = ClientAuth(
            method=AuthMethod(fields["method"]),
            token=fields["token"],
            user=fields["user"],
            password=fields["password"],
        )
    large_files: Mapping[str, object] | None = None
    if row["large_file_config"] is not None:
        large_files = json.loads(row["large_file_config"])
    return Tenant(
        id=tenant_id,
        name=row["name"],
        client_base_url=row["client_base_url"],
        client_sync_path=row["client_sync_path"],
        client_attachment_path=row["client_attachment_path"],
        client_auth=auth,
        rate_limits=RateLimits(hourly=row["rate_hourly"], daily=row["rate_daily"]),
        large_file_config=large_files,
        webhook_secret=secrets["webhook_secret"],
        report_nulls=bool(row["report_nulls"]),
        active=bool(row["active"]),
        by_tenant=bool(row["by_tenant"]),
        unreadable=unreadable,
        suspended_batches=tuple(suspended),
        has_api_key=row["api_key_hash"] is not None,
        api_key_expires_at=row["api_key_expires_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def standing_of(tenant_id: str, rows: Sequence[Row], suspended: Sequence[Row]) -> Standing:
    """Make it of a tenant's row, repeated for each account; without one, that of the account is empty."""
    return Standing(
        tenant_id=tenant_id,
        version=rows[0]["version"],
        active=bool(rows[0]["active"]),
        suspended=frozenset(row["batch_code"] for row in suspended),
        senders=tuple(
            Sender(
                tenant_id=tenant_id,
                id=row["id"],
                lane=row["lane"],
                from_address=row["from_address"],
                is_pec_account=bool(row["is_pec_account"]),
            )
            for row in rows
            if row["id"] is not None
        ),
    )


_PLAIN_ACCOUNT_COLUMNS = (
    "tenant_id",
    "id",
    "host",
    "port",
    "tls_ca",
    "from_address",
    "ttl",
    "batch_size",
    "max_concurrent",
    "limit_per_minute",
    "limit_per_hour",
    "limit_per_day",
    "imap_host",
    "imap_port",
    "imap_user",
    "imap_folder",
)
_FLAG_ACCOUNT_COLUMNS = ("tls_verify", "is_pec_account", "imap_ssl", "by_tenant")


def account_params(account: Account, vault: Vault) -> dict[str, object]:
    """Raise `KeyMismatch` for an account with secrets that could not be read."""
    refuse_unreadable(account.unreadable, f"account '{account.id}'")
    params: dict[str, object] = {name: getattr(account, name) for name in _PLAIN_ACCOUNT_COLUMNS}
    params |= {name: int(getattr(account, name)) for name in _FLAG_ACCOUNT_COLUMNS}
    key = (account.tenant_id, account.id)
    return params | {
        "login": account.user,
        "enc_password": _sealed(vault, account.password, account_place(*key, "password")),
        "enc_imap_password": _sealed(vault, account.imap_password, account_place(*key, "imap_password")),
        "tls": account.tls,
        "use_tls": None if account.use_tls is None else int(account.use_tls),
        "limit_behavior": account.limit_behavior,
        "on_unknown": account.on_unknown,
    }


def account_of(row: Row, vault: Vault) -> Account:
    """One secret that is damaged spoils nothing else. Raises `KeyMismatch` for any when there is no key."""
    columns = {name: row[name] for name in _PLAIN_ACCOUNT_COLUMNS}
    columns |= {name: bool(row[name]) for name in _FLAG_ACCOUNT_COLUMNS}
    place = partial(account_place, row["tenant_id"], row["id"])
    secrets, unreadable = _secrets_of(row, ACCOUNT_SECRETS, vault, place)
    return Account(
        **columns | secrets,
        user=row["login"],
        unreadable=unreadable,
        tls=None if row["tls"] is None else TlsMode(row["tls"]),
        use_tls=None if row["use_tls"] is None else bool(row["use_tls"]),
        limit_behavior=LimitBehavior(row["limit_behavior"]),
        on_unknown=OnUnknown(row["on_unknown"]),
        lane=row["lane"],
        last_error=row["last_error"],
        rest=rest_of(row),
        ill_since=row["ill_since"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def rest_of(row: Row) -> Rest | None:
    """Read an account's columns `rest` and `resting_until`; None while its circuit is closed."""
    return Rest(row["rest"], row["resting_until"]) if row["rest"] else None


def message_params(new: NewMessage, seq: int, now: float) -> dict[str, object]:
    is_later = new.deferred_ts is not None and new.deferred_ts > now
    return {
        "seq": seq,
        "pk": new.pk,
        "tenant_id": new.tenant_id,
        "id": new.id,
        "account_id": new.account_id,
        "lane": new.lane,
        "status": Status.DEFERRED if is_later else Status.PENDING,
        "priority": int(new.priority),
        "batch_code": new.batch_code,
        "recipients": new_recipients_text(new.recipients),
        "envelope_from": new.envelope_from,
        "message_id": new.message_id,
        "metadata": new.metadata,
        "is_pec": int(new.is_pec),
        "is_held": int(new.is_held),
        "size": len(new.payload),
        "deferred_ts": new.deferred_ts if is_later else None,
        "kind": new.kind,
        "payload": new.payload,
        "now": now,
    }


_PLAIN_MESSAGE_COLUMNS = (
    "seq",
    "pk",
    "tenant_id",
    "id",
    "account_id",
    "priority",
    "batch_code",
    "envelope_from",
    "message_id",
    "metadata",
    "size",
    "created_at",
    "updated_at",
    "deferred_ts",
    "sent_ts",
    "error_ts",
    "error",
    "last_error",
    "retry_count",
    "reported_ts",
    "bounce_type",
    "bounce_code",
    "bounce_reason",
    "bounce_ts",
)


def message_of(row: Row) -> Message:
    """A message as it is shown: what is parked keeps its place among the pending, and is deferred."""
    status = Status(row["status"])
    is_parked = status is Status.PENDING and row["parked_for"] is not None
    return Message(
        **{name: row[name] for name in _PLAIN_MESSAGE_COLUMNS},
        status=Status.DEFERRED if is_parked else status,
        recipients=recipients_of(row["recipients"]),
        is_pec=bool(row["is_pec"]),
    )


def claimed_of(values: Sequence[Any], lane: int) -> Claimed:
    """Read one message of the statement `pick`, its columns in their order there."""
    *columns, created_at, is_unknown, parked_for, parked_since, content = values
    seq, pk, tenant_id, message_id, account_id, priority, recipients, *others = columns
    envelope_from, internet_id, retry_count, size = others
    return Claimed(
        seq=seq,
        pk=pk,
        tenant_id=tenant_id,
        id=message_id,
        account_id=account_id,
        lane=lane,
        priority=priority,
        recipients=recipients_of(recipients),
        envelope_from=envelope_from,
        message_id=internet_id,
        retry_count=retry_count,
        size=size,
        created_at=float(created_at),
        is_unknown=bool(is_unknown),
        parked_for=None if parked_for is None else Parking(parked_for),
        parked_since=None if parked_since is None else float(parked_since),
        payload=None if content is None else Payload(kind=PayloadKind.FIELDS, content=content.encode()),
    )


def event_params(seq: int, tenant_id: str, event: NewEvent) -> dict[str, object]:
    return {
        "seq": seq,
        "tenant_id": tenant_id,
        "event_type": event.event_type,
        "event_ts": event.event_ts,
        "description": event.description,
        "event_data": None if event.event_data is None else compact(event.event_data),
        "is_due": int(event.event_type.is_reported),
    }


def event_of(row: Row) -> Event:
    return Event(
        event_id=row["event_id"],
        event_type=EventType(row["event_type"]),
        event_ts=row["event_ts"],
        description=row["description"],
        event_data=None if row["event_data"] is None else json.loads(row["event_data"]),
    )


def reportable_of(row: Row) -> Reportable:
    """Build an event with what a report says of its message."""
    return Reportable(
        event_id=row["event_id"],
        event_type=EventType(row["event_type"]),
        event_ts=row["event_ts"],
        event_data={} if row["event_data"] is None else json.loads(row["event_data"]),
        id=row["id"],
        tenant_id=row["tenant_id"],
        pk=row["pk"],
        account_id=row["account_id"],
        priority=row["priority"],
        metadata=row["metadata"],
    )
