"""Reports: what applications were not told, and telling them again."""

from __future__ import annotations

from typing import Literal

from mail_proxy.client.answers import Report
from mail_proxy.client.calls import Call, Pages, Resource, S
from mail_proxy.client.requests import Moment, Page, Request, fetch, paged, to, value


class Reports(Resource[S]):
    """``client.reports``. With the admin token, `tenant_id` says whose; a tenant's token means its own."""

    @Pages
    def list(
        self,
        *,
        state: Literal["unreported", "failing", "given_up"] | None = None,
        page_size: int = 1000,
        tenant_id: str | None = None,
    ) -> Request[Page[Report]]:
        """Go through all events that were not told, tenant by tenant, the oldest first.

        `page_size` (at most 10,000) are fetched at a time. Without a tenant, the admin sees those of all.
        """
        query = {"tenant_id": self.tenant(tenant_id), "state": state, "limit": page_size}
        return fetch(to("reports"), paged("reports", Report), **query)

    @Call
    def replay(self, *, since: Moment | None = None, tenant_id: str | None = None) -> Request[int]:
        """Have the application told again what happened since a time; return of how many events.

        What it refused and what was given up is told, too; without a time, that alone. Events keep their
        `event_id`, by which the application knows them. Without a tenant, the admin means all of them.
        """
        query = {"tenant_id": self.tenant(tenant_id)}
        body = {} if since is None else {"since": since}
        return Request("POST", to("reports", "replay"), value("replayed", int), query, body)
