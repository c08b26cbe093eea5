"""SMTP accounts of tenants."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.errors import Conflict, DatabaseError, Fault, InvalidInput, NotFound
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import SECRETS, Account, Circuit, TlsMode
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.services.inputs import (
    MASK,
    AccountInput,
    checked,
    refuse_changes,
    refuse_unreadable,
    replaced_mask,
)
from mail_proxy.services.views import account_view
from mail_proxy.store import Store
from mail_proxy.tls import PEM_MARK

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which what is left of deletions is left to the next look, by whatever node."""

_READ_ONLY = ("created_at",)
"""What is refused when it is given otherwise; `updated_at`, `circuit`, `last_error` move on by themselves."""
_NOT_CONFIGURATION = frozenset({"id", "tenant_id"})
_SMTP_ADDRESS = ("host", "port", "effective_tls", "may_be_clear", "tls_verify")
_IMAP_ADDRESS = ("imap_host", "imap_port", "imap_ssl")
_ADDRESSES = ("host", "port", "imap_host", "imap_port")


class AccountsService:
    """`raw` mappings carry the API's field names; InvalidInput lists every fault."""

    def __init__(self, store: Store, clock: Clock, bell: Bell, metrics: Metrics | None = None) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell
        self._metrics = metrics

    async def list(self, tenant_id: str | None = None) -> list[Account]:
        if tenant_id is None:
            return await self._store.accounts.all()
        return await self._store.accounts.of_tenant(tenant_id)

    async def get(self, tenant_id: str, account_id: str) -> Account:
        """Raise `NotFound` when the tenant has no such account."""
        return await self._store.accounts.get(tenant_id, account_id)

    async def find(self, account_id: str, tenant_id: str | None = None) -> Account:
        """Find an account whose tenant may be left out when its id is unique, else `default`'s.

        Raises `NotFound`, or `Conflict` when several tenants have an account of this id.
        """
        if tenant_id is not None:
            return await self.get(tenant_id, account_id)
        found = await self._store.accounts.named(account_id)
        if len(found) > 1:
            owners = ", ".join(account.tenant_id for account in found)
            raise Conflict(
                f"several tenants have an account '{account_id}' ({owners}): say which by tenant_id"
            )
        return found[0] if found else await self.get(DEFAULT_TENANT, account_id)

    async def create(self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool = False) -> Account:
        """Add an account; raise `Conflict` when the tenant has one of this id, or `NotFound` (tenant)."""
        account = self.draft(tenant_id, raw, by_tenant=by_tenant)
        return await self._store.accounts.add(account, self._clock.now())

    def draft(self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool = False) -> Account:
        """Return what `create` would add: to try its login before anything is written."""
        given = checked(AccountInput, raw, ["id", "host"])
        if by_tenant:
            _refuse_files(given)
        blank = Account(tenant_id=tenant_id, id=given.id or "", host=given.host or "", by_tenant=by_tenant)
        return _changed(blank, given, given.model_fields_set, by_tenant=by_tenant)

    async def replace(self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool = False) -> Account:
        """Create, or replace the whole configuration: what is left out takes its default."""
        given = checked(AccountInput, raw, ["id", "host"])
        everything = frozenset(AccountInput.model_fields)
        try:
            return await self._change(tenant_id, given.id or "", raw, given, everything, by_tenant=by_tenant)
        except NotFound:
            with suppress(Conflict):  # another request was faster
                return await self.create(tenant_id, raw, by_tenant=by_tenant)
            return await self._change(tenant_id, given.id or "", raw, given, everything, by_tenant=by_tenant)

    async def update(
        self, tenant_id: str, account_id: str, raw: Mapping[str, object], *, by_tenant: bool = False
    ) -> Account:
        """Change what `raw` names, nothing else; raise `NotFound`."""
        given = checked(AccountInput, raw, ["host"] if "host" in raw else ())
        names = given.model_fields_set
        return await self._change(
            tenant_id, account_id, raw, given, names, by_tenant=by_tenant, keeps_tls=True
        )

    async def delete(self, tenant_id: str, account_id: str, *, force: bool = False) -> int:
        """Remove it; with `force` its queued messages become errors, in small steps, and are reported.

        Returns how many those are. Raises `NotFound`, or `Conflict` without `force` while there are any. From
        the first step on nothing is sent through it. If the server dies between, or the database goes away,
        `catch_up` does the rest.
        """
        departure = await self._store.accounts.delete(tenant_id, account_id, force=force)
        try:
            while await self._fail_left(departure.lane):
                pass
        except DatabaseError as error:
            text = "account %s/%s is deleted, but what waits for it is still to fail: %s"
            log.warning(text, tenant_id, account_id, error)
        return departure.waiting

    async def catch_up(self) -> None:
        """Do what is left of deletions: to be called now and then."""
        until = self._clock.now() + PATIENCE
        for lane in await self._store.accounts.departures():
            while self._clock.now() < until and await self._fail_left(lane):
                pass

    async def _fail_left(self, lane: int) -> bool:
        """Take one step; return whether anything was left."""
        failures = await self._store.accounts.fail_left(lane, self._clock.now())
        if failures is None:
            return False
        if self._metrics is not None:
            self._metrics.error(failures.tenant_id, failures.account_id, failures.count)
        await self._bell.ring()
        return True

    async def _change(
        self,
        tenant_id: str,
        account_id: str,
        raw: Mapping[str, object],
        given: AccountInput,
        names: AbstractSet[str],
        *,
        by_tenant: bool,
        keeps_tls: bool = False,
    ) -> Account:
        if by_tenant:
            _refuse_files(given)

        circuit = Circuit.CLOSED

        def change(current: Account) -> Account:
            nonlocal circuit
            shown = account_view(current)
            refuse_changes(raw, {name: shown.get(name) for name in _READ_ONLY})
            refuse_unreadable(
                current.unreadable, {name: getattr(given, name) for name in names & current.unreadable}
            )
            changed = _changed(current, given, names, by_tenant=by_tenant)
            if keeps_tls and current.tls is None and _is_as_without_tls(changed, given):
                changed = replace(changed, tls=None)
            _refuse_repointing(current, changed, given)
            circuit = Circuit.CLOSED if changed == current else current.circuit
            return changed

        account = await self._store.accounts.change(tenant_id, account_id, change, self._clock.now())
        if circuit is Circuit.OPEN:
            log.info("account %s/%s rests no longer: it was changed", tenant_id, account_id)
        await self._bell.ring()
        return account


def _refuse_files(given: AccountInput) -> None:
    """What a tenant's token gives never makes this server open a file of its own."""
    if given.tls_ca is not None and PEM_MARK not in given.tls_ca:
        raise InvalidInput.of([Fault(("tls_ca",), "must be the certificates themselves (PEM), not a path")])


def _changed(current: Account, given: AccountInput, names: AbstractSet[str], *, by_tenant: bool) -> Account:
    values: dict[str, object] = {
        name: getattr(given, name) for name in names - _NOT_CONFIGURATION if name not in SECRETS
    }
    for name in SECRETS:
        if name in names:
            values[name] = replaced_mask(name, getattr(given, name), getattr(current, name))
    values["unreadable"] = frozenset()
    changed = replace(current, **values)  # type: ignore[arg-type]  # the names are Account's own, typed by AccountInput
    return replace(changed, by_tenant=_is_given_by_tenant(current, changed, names, by_tenant=by_tenant))


def _is_as_without_tls(changed: Account, given: AccountInput) -> bool:
    """Tell whether `tls` only says what would hold without it, as when it comes back as it was shown.

    `none` beside a password says more: that it may go in clear.
    """
    if given.tls is TlsMode.NONE and given.password not in (None, MASK):
        return False
    return replace(changed, tls=None).effective_tls is changed.effective_tls


def _is_given_by_tenant(
    current: Account, changed: Account, names: AbstractSet[str], *, by_tenant: bool
) -> bool:
    """Tell whether a tenant gave any of the addresses: the admin is trusted for all, or for none."""
    if by_tenant:
        return current.by_tenant or any(getattr(current, n) != getattr(changed, n) for n in _ADDRESSES)
    return current.by_tenant and not ("host" in names and (changed.imap_host is None or "imap_host" in names))


def _refuse_repointing(current: Account, changed: Account, given: AccountInput) -> None:
    """A stored password never follows to a new address (contract: security.md, Repointing)."""
    faults = []
    for secret, address in (("password", _SMTP_ADDRESS), ("imap_password", _IMAP_ADDRESS)):
        moved = [name for name in address if getattr(current, name) != getattr(changed, name)]
        kept = getattr(changed, secret) is not None and getattr(given, secret) in (None, MASK)
        if moved and kept:
            what = "tls" if moved[0] in ("effective_tls", "may_be_clear") else moved[0]
            faults.append(Fault((secret,), f"must be given again when {what} changes"))
    if faults:
        raise InvalidInput.of(faults)
