"""From what an application hands in to what the store takes.

Every message is judged by itself, and all its faults are told at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mail_proxy.encryption import Tracking
from mail_proxy.errors import Fault, foremost
from mail_proxy.model.messages import NewMessage, PayloadKind
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.model.standing import Sender, Standing
from mail_proxy.services.addresses import bare_address, domain_of
from mail_proxy.services.fields import message_id
from mail_proxy.services.identifiers import new_pk
from mail_proxy.services.inputs import examined, missing
from mail_proxy.services.message_inputs import (
    RECIPIENT_FIELDS,
    EnvelopeInput,
    MessageInput,
    doubled,
    is_plain,
    unknown_names,
    unused_names,
)
from mail_proxy.services.payloads import stored_fields
from mail_proxy.smtp import eml
from mail_proxy.smtp.addresses import to_ascii

DEFAULT_ACCOUNT = "default"

MAX_RECIPIENTS = 10_000
"""Of a message given raw; the lists of one given by fields have their own limit."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that was not queued. `is_invalid` tells a fault of the message from a used id."""

    id: str | None
    reason: str
    errors: tuple[Fault, ...] = ()
    is_invalid: bool = True


@dataclass(frozen=True, slots=True)
class Directory:
    """The tenants that the messages of one request may name, with their accounts."""

    tenants: Mapping[str, Standing]

    def tenant_of(self, account_id: str | None) -> str:
        """The tenant of a message that names none: the owner of the account if there is just one.

        Raises ValueError when several tenants have an account of this id.
        """
        owners = [
            standing.tenant_id
            for standing in self.tenants.values()
            if account_id is not None and any(sender.id == account_id for sender in standing.senders)
        ]
        if len(owners) > 1:
            raise ValueError(f"several tenants have an account '{account_id}': say which by tenant_id")
        return owners[0] if owners else DEFAULT_TENANT


def _sender_for(tenant: Standing, account_id: str | None) -> Sender:
    """The account named, or the tenant's only or default one; raise ValueError with the reason."""
    if account_id is not None:
        for sender in tenant.senders:
            if sender.id == account_id:
                return sender
        raise ValueError(f"the tenant has no account '{account_id}'")
    if not tenant.senders:
        raise ValueError("the tenant has no account")
    if len(tenant.senders) == 1:
        return tenant.senders[0]
    for sender in tenant.senders:
        if sender.id == DEFAULT_ACCOUNT:
            return sender
    raise ValueError("the tenant has several accounts and none is called 'default': say which")


@dataclass(slots=True)
class Judge:
    """Judges the messages of one request."""

    directory: Directory
    tracking: Tracking
    default_priority: int
    fixed_tenant: str | None

    def judge(self, raw: object) -> NewMessage | Rejection:
        """Return the message ready for the store, or why it is refused."""
        given, faults = examined(MessageInput, raw)
        if not isinstance(raw, Mapping):
            return _refused(raw, faults)
        fields: Mapping[str, object] = raw
        if not is_plain(fields):
            faults += doubled(fields)
        account = self._destination(fields, faults)
        content = None
        if fields.get("raw") is None:
            if given is None or account is None or not _is_complete(given, account):
                faults += _missing(fields, given, account, faults)
            if given is not None and (given.headers or given.body_html):
                faults += _contradictions(given)
            if given is not None and account is not None and not faults:
                content = _from_fields(given, account)
        elif given is not None and given.raw is not None:
            content = _from_raw(given, given.raw, faults)
        if given is None or account is None or content is None or faults:
            return _refused(raw, faults)
        return self._new(given, account, content)

    def _destination(self, fields: Mapping[str, object], faults: list[Fault]) -> Sender | None:
        """Find the account even of a message with other faults, so that all are told at once."""
        tenant_id, account_id = fields.get("tenant_id"), fields.get("account_id")
        if not isinstance(account_id, str | None) or not isinstance(tenant_id, str | None):
            return None
        if self.fixed_tenant is not None and tenant_id not in (None, self.fixed_tenant):
            faults.append(Fault(("tenant_id",), "is not the tenant of this token"))
            return None
        try:
            tenant_id = tenant_id or self.fixed_tenant or self.directory.tenant_of(account_id)
        except ValueError as error:
            faults.append(Fault(("tenant_id",), str(error)))
            return None
        tenant = self.directory.tenants.get(tenant_id)
        if tenant is None or not tenant.active:
            problem = "no such tenant" if tenant is None else "the tenant is not active"
            faults.append(Fault(("tenant_id",), problem))
            return None
        try:
            return _sender_for(tenant, account_id)
        except ValueError as error:
            faults.append(Fault(("account_id",), str(error)))
            return None

    def _new(self, given: MessageInput, account: Sender, content: _Content) -> NewMessage:
        pk = new_pk()
        message_id = content.message_id
        if message_id is None:
            message_id = f"<{self.tracking.id_for(pk)}@{_ascii_domain(content.sender)}>"
        return NewMessage(
            pk=pk,
            tenant_id=account.tenant_id,
            id=given.id,
            account_id=account.id,
            lane=account.lane,
            kind=content.kind,
            payload=content.payload,
            recipients=content.recipients,
            envelope_from=content.return_path,
            message_id=message_id,
            priority=self.default_priority if given.priority is None else given.priority,
            batch_code=given.batch_code,
            deferred_ts=given.deferred_ts,
            is_pec=account.is_pec_account,
            is_held=self.directory.tenants[account.tenant_id].holds(given.batch_code),
            metadata=None if given.metadata is None else json.dumps(given.metadata, ensure_ascii=False),
        )


def warnings_of(raw: object) -> list[str]:
    """Name what was ignored in a message; nothing when all of it was understood."""
    if not isinstance(raw, Mapping) or is_plain(raw):
        return []
    unknown = unknown_names(raw)
    unused = unused_names(raw) if raw.get("raw") is not None else []
    found = []
    if unknown:
        found.append(f"ignored unknown field{'s' * (len(unknown) > 1)} {', '.join(unknown)}")
    if unused:
        found.append(f"ignored {', '.join(unused)}: the raw message says it itself")
    return [f"{_id_of(raw) or '(no id)'}: {text}" for text in found]


@dataclass(slots=True)
class _Content:
    """What a message says and whom it concerns; `message_id` None: it gets one of ours."""

    kind: PayloadKind
    payload: bytes
    sender: str
    return_path: str
    recipients: tuple[str, ...]
    message_id: str | None


def _from_fields(given: MessageInput, account: Sender) -> _Content:
    given = _with_header_fields(given)
    sender = given.from_ or account.from_address or ""
    return _Content(
        PayloadKind.FIELDS,
        stored_fields(given, sender),
        sender=bare_address(sender),
        return_path=bare_address(given.return_path or sender),
        recipients=_unique([*given.to, *given.cc, *given.bcc]),
        message_id=given.message_id,
    )


def _from_raw(given: MessageInput, content: bytes, faults: list[Fault]) -> _Content | None:
    envelope = given.envelope or EnvelopeInput()
    try:
        parsed = eml.parse(content)
        sender = bare_address(envelope.from_ or given.return_path or parsed.sender)
        recipients = _unique(envelope.to or _few(parsed.addressed()))
    except ValueError as error:
        faults.append(Fault(("raw",), str(error)))
        return None
    return _Content(
        PayloadKind.RAW,
        content,
        sender=sender,
        return_path=sender,
        recipients=recipients,
        message_id=parsed.message_id,
    )


def _few(recipients: Sequence[str]) -> Sequence[str]:
    if len(recipients) > MAX_RECIPIENTS:
        raise ValueError(f"the message has {len(recipients)} recipients: at most {MAX_RECIPIENTS}")
    return recipients


def _is_complete(given: MessageInput, account: Sender) -> bool:
    """Tell at a glance whether `_missing` would find nothing."""
    return (
        given.subject is not None
        and given.body is not None
        and bool(given.from_ or account.from_address)
        and bool(given.to or given.cc or given.bcc)
        and not (given.bcc and account.is_pec_account)
    )


def _missing(
    fields: Mapping[str, object], given: MessageInput | None, account: Sender | None, known: Sequence[Fault]
) -> list[Fault]:
    """Find what a message by fields must have, also in one that has other faults."""
    faults = missing(fields, ("subject", "body"), known)
    if account is not None and not account.from_address and missing(fields, ("from",), known):
        faults.append(Fault(("from",), "is required: the account has no from_address", "missing"))
    if given is not None:
        has_recipients = bool(given.to or given.cc or given.bcc)
    else:
        has_recipients = any(fields.get(name) for name in RECIPIENT_FIELDS)
    if not has_recipients:
        faults.append(Fault(("to",), "at least one recipient is required in to, cc or bcc", "missing"))
    if account is not None and account.is_pec_account and (fields.get("bcc") or fields.get("bcc_addr")):
        faults.append(Fault(("bcc",), "a PEC message cannot have Bcc recipients"))
    return faults


def _contradictions(given: MessageInput) -> list[Fault]:
    """Find what is said twice, of which only one could be sent."""
    faults = []
    if given.body_html and given.content_type == "html":
        problem = "cannot stand beside a body that is HTML itself: give the plain text as body"
        faults.append(Fault(("body_html",), problem))
    set_elsewhere = {"reply-to": given.reply_to, "message-id": given.message_id}
    seen: set[str] = set()
    for name in given.headers:
        low = name.lower()
        if low in seen:
            faults.append(Fault(("headers", name), "is given twice"))
        elif set_elsewhere.get(low) is not None:
            field = low.replace("-", "_")
            faults.append(Fault(("headers", name), f"sets {field}, which is given as well"))
        seen.add(low)
    return faults


def _with_header_fields(given: MessageInput) -> MessageInput:
    """Let Reply-To and Message-ID among the headers set the fields of that name."""
    update: dict[str, object] = {}
    rest = {}
    for name, value in given.headers.items():
        match name.lower():
            case "reply-to":
                update["reply_to"] = value.strip()
            case "message-id":
                update["message_id"] = message_id(value)
            case _:
                rest[name] = value
    return given.model_copy(update=update | {"headers": rest}) if update else given


def _refused(raw: object, faults: Sequence[Fault]) -> Rejection:
    told = foremost(faults)
    return Rejection(_id_of(raw), "; ".join(str(fault) for fault in told), tuple(told))


def _id_of(raw: object) -> str | None:
    name = raw.get("id") if isinstance(raw, Mapping) else None
    return name if isinstance(name, str) else None


def _unique(addresses: Sequence[str]) -> tuple[str, ...]:
    """Give each address once; the case of a domain means nothing (RFC 5321, section 2.4)."""
    first: dict[tuple[str, str], str] = {}
    for address in map(bare_address, addresses):
        local, _, domain = address.rpartition("@")
        first.setdefault((local, domain.lower()), address)
    return tuple(first.values())


def _ascii_domain(address: str) -> str:
    domain = domain_of(address)
    return domain if domain.isascii() else to_ascii(domain)
