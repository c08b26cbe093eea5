"""From what an application hands in to what the store takes.

Every message is judged by itself, and all its faults are told at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from mail_proxy.encryption import Tracking
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.accounts import Account
from mail_proxy.model.messages import NewMessage, PayloadKind
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.model.tenants import Tenant
from mail_proxy.services.addresses import bare_address, domain_of
from mail_proxy.services.identifiers import new_pk
from mail_proxy.services.inputs import EnvelopeInput, MessageInput, faults_of, unknown_names
from mail_proxy.services.payloads import stored_fields
from mail_proxy.smtp import eml

DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that was not queued. `is_invalid` tells a fault of the message from a used id."""

    id: str | None
    reason: str
    errors: tuple[Fault, ...] = ()
    is_invalid: bool = True


@dataclass(frozen=True, slots=True)
class Directory:
    """The tenants and accounts that the messages of one request may name."""

    tenants: Mapping[str, Tenant]
    accounts: Mapping[str, Sequence[Account]]

    def tenant_of(self, account_id: str | None) -> str:
        """The tenant of a message that names none: the owner of the account if there is just one.

        Raises ValueError when several tenants have an account of this id.
        """
        owners = [
            tenant_id
            for tenant_id, accounts in self.accounts.items()
            if any(account.id == account_id for account in accounts)
        ]
        if account_id is None or not owners:
            return DEFAULT_TENANT
        if len(owners) > 1:
            raise ValueError(f"several tenants have an account '{account_id}': say which by tenant_id")
        return owners[0]

    def account_for(self, tenant_id: str, account_id: str | None) -> Account:
        """The account named, or the tenant's only or default one; raise ValueError with the reason."""
        accounts = self.accounts.get(tenant_id, ())
        if account_id is not None:
            for account in accounts:
                if account.id == account_id:
                    return account
            raise ValueError(f"the tenant has no account '{account_id}'")
        if not accounts:
            raise ValueError("the tenant has no account")
        if len(accounts) == 1:
            return accounts[0]
        for account in accounts:
            if account.id == DEFAULT_ACCOUNT:
                return account
        raise ValueError("the tenant has several accounts and none is called 'default': say which")


@dataclass(frozen=True, slots=True)
class Intake:
    """Judges the messages of one request."""

    directory: Directory
    tracking: Tracking
    default_priority: int
    fixed_tenant: str | None

    def judge(self, raw: object) -> NewMessage | Rejection:
        """Return the message ready for the store, or why it is refused."""
        given, faults = _parsed(raw)
        name = _id_of(raw)
        tenant_id, account = self._destination(raw, faults)
        if given is None or account is None:
            return _refused(name, faults)
        if given.raw is not None:
            return self._from_raw(given, given.raw, account, faults)
        return self._from_fields(given, account, tenant_id, faults)

    def _destination(self, raw: object, faults: list[Fault]) -> tuple[str, Account | None]:
        """Find tenant and account even of a message with other faults, so that all are told at once."""
        fields = raw if isinstance(raw, Mapping) else {}
        tenant_id, account_id = fields.get("tenant_id"), fields.get("account_id")
        if not isinstance(account_id, str | None) or not isinstance(tenant_id, str | None):
            return "", None
        if self.fixed_tenant is not None and tenant_id not in (None, self.fixed_tenant):
            faults.append(Fault(("tenant_id",), "is not the tenant of this token"))
            return "", None
        try:
            tenant_id = tenant_id or self.fixed_tenant or self.directory.tenant_of(account_id)
        except ValueError as error:
            faults.append(Fault(("tenant_id",), str(error)))
            return "", None
        tenant = self.directory.tenants.get(tenant_id)
        if tenant is None or not tenant.active:
            problem = "no such tenant" if tenant is None else "the tenant is not active"
            faults.append(Fault(("tenant_id",), problem))
            return tenant_id, None
        try:
            return tenant_id, self.directory.account_for(tenant_id, account_id)
        except ValueError as error:
            faults.append(Fault(("account_id",), str(error)))
            return tenant_id, None

    def _from_fields(
        self, given: MessageInput, account: Account, tenant_id: str, faults: list[Fault]
    ) -> NewMessage | Rejection:
        given, header_faults = _with_header_fields(given)
        sender = given.from_ or account.from_address
        faults += header_faults
        faults += _missing(given, sender)
        if account.is_pec_account and given.bcc:
            faults.append(Fault(("bcc",), "a PEC message cannot have Bcc recipients"))
        if faults or sender is None:
            return _refused(given.id, faults)
        pk = new_pk()
        recipients = _unique([*given.to, *given.cc, *given.bcc])
        own_id = f"<{self.tracking.id_for(pk)}@{_ascii_domain(sender)}>"
        return self._new(
            given,
            account,
            pk=pk,
            tenant_id=tenant_id,
            kind=PayloadKind.FIELDS,
            payload=stored_fields(given, sender),
            recipients=recipients,
            envelope_from=bare_address(given.return_path) if given.return_path else bare_address(sender),
            message_id=given.message_id or own_id,
        )

    def _from_raw(
        self, given: MessageInput, content: bytes, account: Account, faults: list[Fault]
    ) -> NewMessage | Rejection:
        try:
            parsed = eml.parse(content)
        except InvalidInput as error:
            return _refused(given.id, [*faults, Fault(("raw",), str(error))])
        envelope = given.envelope or EnvelopeInput()
        try:
            sender = bare_address(envelope.from_ or given.return_path or parsed.sender)
            recipients = _unique(envelope.to or parsed.addressed())
        except ValueError as error:
            faults.append(Fault(("raw",), str(error)))
        if faults:
            return _refused(given.id, faults)
        pk = new_pk()
        own_id = f"<{self.tracking.id_for(pk)}@{_ascii_domain(sender)}>"
        return self._new(
            given,
            account,
            pk=pk,
            tenant_id=account.tenant_id,
            kind=PayloadKind.RAW,
            payload=content,
            recipients=recipients,
            envelope_from=sender,
            message_id=parsed.message_id or own_id,
        )

    def _new(
        self,
        given: MessageInput,
        account: Account,
        *,
        pk: str,
        tenant_id: str,
        kind: PayloadKind,
        payload: bytes,
        recipients: tuple[str, ...],
        envelope_from: str,
        message_id: str,
    ) -> NewMessage:
        return NewMessage(
            pk=pk,
            tenant_id=tenant_id,
            id=given.id,
            account_id=account.id,
            lane=account.lane,
            kind=kind,
            payload=payload,
            recipients=recipients,
            envelope_from=envelope_from,
            message_id=message_id,
            priority=self.default_priority if given.priority is None else given.priority,
            batch_code=given.batch_code,
            deferred_ts=given.deferred_ts,
            is_pec=account.is_pec_account,
            metadata=None if given.metadata is None else json.dumps(given.metadata, ensure_ascii=False),
        )


def warnings_of(raw: object) -> str | None:
    """Name what was ignored in a message; None when all of it was understood."""
    if isinstance(raw, Mapping) and (names := unknown_names(raw)):
        return f"{_id_of(raw) or '(no id)'}: ignored unknown field{'s' * (len(names) > 1)} {', '.join(names)}"
    return None


def _parsed(raw: object) -> tuple[MessageInput | None, list[Fault]]:
    try:
        return MessageInput.model_validate(raw), []
    except ValidationError as error:
        faults = faults_of(error)
    if isinstance(raw, Mapping) and not raw.get("raw"):
        named = {fault.loc[0] for fault in faults if fault.loc}
        faults += [
            Fault((name,), "is required", "missing")
            for name in ("subject", "body")
            if raw.get(name) is None and name not in named
        ]
    return None, faults


def _missing(given: MessageInput, sender: str | None) -> list[Fault]:
    faults = [
        Fault((name,), "is required", "missing")
        for name in ("subject", "body")
        if getattr(given, name) is None
    ]
    if sender is None:
        faults.append(Fault(("from",), "is required: the account has no from_address", "missing"))
    if not (given.to or given.cc or given.bcc):
        faults.append(Fault(("to",), "at least one recipient is required in to, cc or bcc", "missing"))
    return faults


def _with_header_fields(given: MessageInput) -> tuple[MessageInput, list[Fault]]:
    """Let Reply-To and Message-ID among the headers set the fields of that name."""
    special = {
        {"reply-to": "reply_to", "message-id": "message_id"}[name.lower()]: value
        for name, value in given.headers.items()
        if name.lower() in ("reply-to", "message-id")
    }
    if not special:
        return given, []
    rest = {
        name: value for name, value in given.headers.items() if name.lower() not in ("reply-to", "message-id")
    }
    try:
        fields = MessageInput.model_validate({"id": given.id, **special})
    except ValidationError as error:
        return given, [Fault(("headers", *fault.loc), fault.msg) for fault in faults_of(error)]
    update: dict[str, object] = {"headers": rest} | {name: getattr(fields, name) for name in special}
    return given.model_copy(update=update), []


def _refused(name: str | None, faults: Sequence[Fault]) -> Rejection:
    return Rejection(name, "; ".join(str(fault) for fault in faults), tuple(faults))


def _id_of(raw: object) -> str | None:
    name = raw.get("id") if isinstance(raw, Mapping) else None
    return name if isinstance(name, str) else None


def _unique(addresses: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(bare_address(address) for address in addresses))


def _ascii_domain(sender: str) -> str:
    domain = domain_of(bare_address(sender))
    if domain.isascii():
        return domain
    return domain.encode("idna").decode("ascii")
