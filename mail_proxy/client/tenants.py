"""Tenants, their API keys, and how their reporting goes."""

from __future__ import annotations

from typing import Unpack

from mail_proxy.client.answers import Suspension, SyncOverview, Tenant, as_object
from mail_proxy.client.calls import Call, Resource, S
from mail_proxy.client.fields import TenantFields
from mail_proxy.client.requests import Moment, Request, fetch, listed, nothing, one, to, value


class Tenants(Resource[S]):
    """``client.tenants``. All but `get` and `update` need the admin token."""

    @Call
    def create(self, tenant_id: str, **fields: Unpack[TenantFields]) -> Request[str | None]:
        """Create a tenant and return its API key, which is not told again.

        One that exists is replaced: what is left out takes its default. It keeps its key: the answer is None.
        """
        return Request("POST", to("tenant"), _new_key, body={**fields, "id": tenant_id})

    @Call
    def update(self, tenant_id: str, **changes: Unpack[TenantFields]) -> Request[Tenant]:
        """Change what is named, and return the tenant; a tenant's token may not change everything (403)."""
        return Request("PUT", to("tenant", tenant_id), one(Tenant), body=changes, is_repeatable=True)

    @Call
    def get(self, tenant_id: str) -> Request[Tenant]:
        """Return one tenant; `ApiError` with status 404 when there is none."""
        return fetch(to("tenant", tenant_id), one(Tenant))

    @Call
    def list(self, *, active_only: bool = False) -> Request[tuple[Tenant, ...]]:
        """Return all tenants, or the active ones."""
        return fetch(to("tenants"), listed("tenants", Tenant), active_only=active_only)

    @Call
    def delete(self, tenant_id: str) -> Request[None]:
        """Delete a tenant with all its data."""
        return Request("DELETE", to("tenant", tenant_id), nothing)

    @Call
    def new_api_key(self, tenant_id: str, *, expires_at: Moment | None = None) -> Request[str]:
        """Give a tenant a new API key, which is not told again; the old one is dead at once."""
        body = {} if expires_at is None else {"expires_at": expires_at}
        return Request("POST", to("tenant", tenant_id, "api-key"), value("api_key", str), body=body)

    @Call
    def revoke_api_key(self, tenant_id: str) -> Request[None]:
        """Take a tenant's API key away."""
        return Request("DELETE", to("tenant", tenant_id, "api-key"), nothing, is_repeatable=True)

    @Call
    def sync_status(self) -> Request[SyncOverview]:
        """Tell how the reporting to each tenant goes."""
        return fetch(to("tenants", "sync-status"), one(SyncOverview))

    @Call
    def suspend(self, tenant_id: str) -> Request[Suspension]:
        """Hold back all messages of a tenant, until `activate`."""
        query = {"tenant_id": tenant_id}
        return Request("POST", to("commands", "suspend"), one(Suspension), query, is_repeatable=True)

    @Call
    def activate(self, tenant_id: str) -> Request[Suspension]:
        """Lift all suspensions of a tenant, those of its batches too."""
        query = {"tenant_id": tenant_id}
        return Request("POST", to("commands", "activate"), one(Suspension), query, is_repeatable=True)


def _new_key(answer: object) -> str | None:
    return value("api_key", str)(answer) if "api_key" in as_object(answer) else None
