"""Tenants: who may hand in messages, and where their reports go."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.encryption import hash_token, new_token
from mail_proxy.errors import Conflict, Fault, Forbidden, InvalidInput, NotFound
from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.services.inputs import (
    MASK,
    AuthInput,
    RateLimitsInput,
    TenantInput,
    checked,
    refuse_changes,
    refuse_unreadable,
    replaced_mask,
)
from mail_proxy.services.removal import Told, nobody
from mail_proxy.services.views import seconds, tenant_view
from mail_proxy.store import Store

_READ_ONLY = ("suspended_batches", "api_key", "created_at")
"""What is refused when it is given otherwise than it is shown; `updated_at` moves on by itself."""
_ADMIN_MAY_SET = ("active", "api_key_expires_at", "rate_limits", "report_nulls")
_ADMIN_DECIDES = ("api_key", "suspended_batches")
"""With those above, what a tenant's own token may not change of it (contract: security.md, Isolation)."""


class TenantsService:
    """`raw` mappings carry the API's field names; InvalidInput lists every fault."""

    def __init__(self, store: Store, clock: Clock, bell: Bell) -> None:
        self._store = store
        self._clock = clock
        self._bell = bell

    async def list(self, *, active_only: bool = False) -> list[Tenant]:
        tenants = await self._store.tenants.all()
        return [tenant for tenant in tenants if tenant.active or not active_only]

    async def get(self, tenant_id: str) -> Tenant:
        """Raise `NotFound` when there is no such tenant."""
        return await self._store.tenants.get(tenant_id)

    async def create(self, raw: Mapping[str, object]) -> tuple[Tenant, str]:
        """Add a tenant and return its API key, which is shown this once; raise `Conflict`."""
        given = checked(TenantInput, raw, ["id"])
        refuse_changes(raw, {"suspended_batches": [], "api_key": None})
        key = new_token()
        tenant = _changed(
            Tenant(id=given.id or "", has_api_key=True), given, given.model_fields_set, by_tenant=False
        )
        return await self._store.tenants.add(tenant, hash_token(key), self._clock.now()), key

    async def replace(self, raw: Mapping[str, object]) -> tuple[Tenant, str | None]:
        """Create, or replace the whole configuration; the key comes only on creation.

        A key that is there stays, and expires when it would have unless `raw` says otherwise.
        """
        given = _complete(checked(TenantInput, raw, ["id"]))
        everything = TenantInput.model_fields.keys() - {"api_key_expires_at"} | given.model_fields_set
        try:
            return await self._change(given.id or "", raw, given, everything, by_tenant=False), None
        except NotFound:
            with suppress(Conflict):  # another request was faster
                return await self.create(raw)
            return await self._change(given.id or "", raw, given, everything, by_tenant=False), None

    async def update(self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool = False) -> Tenant:
        """Change what `raw` names, nothing else; raise `NotFound`, or `Forbidden` for a tenant's token."""
        given = checked(TenantInput, raw)
        names = given.model_fields_set - {"id"}
        return await self._change(tenant_id, raw, given, names, by_tenant=by_tenant)

    async def delete(self, tenant_id: str, *, told: Told = nobody) -> None:
        """Delete a tenant with all its data, its messages in small steps; raise `NotFound`.

        From the first step on it takes and sends nothing. If the server dies between, delete it again.
        """
        if tenant_id == DEFAULT_TENANT:
            raise Conflict(f"the tenant '{DEFAULT_TENANT}' cannot be deleted")
        await self._store.tenants.close(tenant_id, self._clock.now())
        while count := await self._store.tenants.empty(tenant_id):
            told(count)
        await self._store.tenants.delete(tenant_id)

    async def new_api_key(self, tenant_id: str, expires_at: float | None = None) -> str:
        """Replace the key; the old one is dead at once. `expires_at` is Unix seconds."""
        key = new_token()
        await self._store.tenants.set_key(tenant_id, hash_token(key), expires_at, self._clock.now())
        return key

    async def revoke_api_key(self, tenant_id: str) -> None:
        await self._store.tenants.set_key(tenant_id, None, None, self._clock.now())

    async def _change(
        self,
        tenant_id: str,
        raw: Mapping[str, object],
        given: TenantInput,
        names: AbstractSet[str],
        *,
        by_tenant: bool,
    ) -> Tenant:
        def change(current: Tenant) -> Tenant:
            shown = tenant_view(current)
            refuse_unreadable(current.unreadable, _secrets_in(given, names))
            changed = _changed(current, given, names, by_tenant=by_tenant)
            if by_tenant:
                _refuse_the_admins(current, changed, raw, shown)
            refuse_changes(raw, {name: shown.get(name) for name in _READ_ONLY})
            _refuse_repointing(current, changed, given, names)
            return changed

        tenant = await self._store.tenants.change(tenant_id, change, self._clock.now())
        await self._bell.ring()  # it may be active again, or reached where it was not
        return tenant


def _complete(given: TenantInput) -> TenantInput:
    """Name all of the limits: what is left out of a replacement takes its default."""
    limits = RateLimitsInput(**given.rate_limits.model_dump())
    return given.model_copy(update={"rate_limits": limits})


def _secrets_in(given: TenantInput, names: AbstractSet[str]) -> dict[str, str | None]:
    """The secrets that `given` names: what they are to be, or the mask."""
    auth = given.client_auth
    secrets = {
        "client_auth": MASK if MASK in (auth.token, auth.password) else auth.token or auth.password,
        "webhook_secret": given.webhook_secret,
    }
    return {name: secret for name, secret in secrets.items() if name in names}


def _refuse_the_admins(
    current: Tenant, changed: Tenant, raw: Mapping[str, object], shown: Mapping[str, object]
) -> None:
    """Raise `Forbidden` for what is the admin's and would change; as it is shown it may come back."""
    refused = [name for name in _ADMIN_MAY_SET if getattr(changed, name) != getattr(current, name)]
    refused += [name for name in _ADMIN_DECIDES if name in raw and raw[name] != shown.get(name)]
    if refused:
        raise Forbidden(f"only the admin token may change {', '.join(sorted(refused))}")


def _changed(current: Tenant, given: TenantInput, names: AbstractSet[str], *, by_tenant: bool) -> Tenant:
    plain = {
        name: getattr(given, name)
        for name in names
        & {
            "name",
            "client_base_url",
            "client_sync_path",
            "client_attachment_path",
            "large_file_config",
            "report_nulls",
            "active",
        }
    }
    if "client_auth" in names:
        plain["client_auth"] = _auth(current.client_auth, given.client_auth)
    if "rate_limits" in names:
        limits = given.rate_limits.model_dump(exclude_unset=True)
        plain["rate_limits"] = replace(current.rate_limits, **limits)
    if "webhook_secret" in names:
        plain["webhook_secret"] = replaced_mask(
            "webhook_secret", given.webhook_secret, current.webhook_secret
        )
    if "api_key_expires_at" in names:
        plain["api_key_expires_at"] = _expiry(current, given.api_key_expires_at)
    if "client_base_url" in names and (not by_tenant or given.client_base_url != current.client_base_url):
        plain["by_tenant"] = by_tenant
    return replace(current, **plain, unreadable=frozenset())


def _expiry(current: Tenant, given: float | None) -> float | None:
    """When the key expires; what is shown in whole seconds and comes back so changes nothing."""
    if given == seconds(current.api_key_expires_at):
        return current.api_key_expires_at
    if given is not None and not current.has_api_key:
        raise InvalidInput.of([Fault(("api_key_expires_at",), "there is no API key that could expire")])
    return given


def _auth(current: ClientAuth, given: AuthInput) -> ClientAuth:
    """Keep of what was given only what the method uses."""
    match AuthMethod(given.method):
        case AuthMethod.BEARER:
            token = replaced_mask("client_auth", given.token, current.token)
            return ClientAuth(method=AuthMethod.BEARER, token=token)
        case AuthMethod.BASIC:
            password = replaced_mask("client_auth", given.password, current.password)
            return ClientAuth(method=AuthMethod.BASIC, user=given.user, password=password)
        case AuthMethod.NONE:
            return ClientAuth()


def _origin(url: str | None) -> tuple[str, str | None, int | None] | None:
    if url is None:
        return None
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _refuse_repointing(current: Tenant, changed: Tenant, given: TenantInput, names: AbstractSet[str]) -> None:
    """A stored secret never follows to a new address (contract: security.md, Repointing)."""
    if changed.client_auth.method is AuthMethod.NONE or changed.client_base_url is None:
        return
    if _origin(current.client_base_url) == _origin(changed.client_base_url):
        return
    if "client_auth" not in names or MASK in (given.client_auth.token, given.client_auth.password):
        raise InvalidInput.of(
            [Fault(("client_auth",), "must be given again when client_base_url moves to another server")]
        )
