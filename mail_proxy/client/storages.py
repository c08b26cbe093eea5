"""Storages: places for files that tenants name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mail_proxy.client.answers import Storage
from mail_proxy.client.calls import Call, Resource, S
from mail_proxy.client.requests import Request, fetch, listed, nothing, to


class Storages(Resource[S]):
    """``client.storages``. With the admin token, `tenant_id` says whose; a tenant's token means its own."""

    @Call
    def create(
        self,
        name: str,
        *,
        protocol: Literal["local", "s3", "gcs", "azure"],
        config: Mapping[str, object],
        tenant_id: str | None = None,
    ) -> Request[None]:
        """Create a storage, or replace it; a secret given as ``***`` stays as it is."""
        query = {"tenant_id": self.tenant(tenant_id)}
        body = {"name": name, "protocol": protocol, "config": config}
        return Request("POST", to("storage"), nothing, query, body, is_repeatable=True)

    @Call
    def list(self, *, tenant_id: str | None = None) -> Request[tuple[Storage, ...]]:
        """Return a tenant's storages; without a tenant, the admin gets those of all."""
        return fetch(to("storages"), listed("storages", Storage), tenant_id=self.tenant(tenant_id))

    @Call
    def delete(self, name: str, *, tenant_id: str | None = None) -> Request[None]:
        """Delete a storage."""
        return Request("DELETE", to("storage", name), nothing, {"tenant_id": self.tenant(tenant_id)})
