"""The HTTP API as one table of endpoints, and the application that Starlette makes of it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mail_proxy.api import accounts, instance, messages, tenants
from mail_proxy.api.auth import Level
from mail_proxy.api.errors import answer_to
from mail_proxy.api.requests import Node
from mail_proxy.api.routing import Endpoint, routes_of
from mail_proxy.api.vitals import Vitals
from mail_proxy.metrics import Metrics
from mail_proxy.runtime import Runtime

# In the order of matching: what is asked most often stands first.
ENDPOINTS = (
    Endpoint("POST", "/commands/add-messages", Level.TENANT, messages.add_messages),
    Endpoint("GET", "/messages/{id}", Level.TENANT, messages.get_message),
    Endpoint("GET", "/messages/{id}/events", Level.TENANT, messages.list_events),
    Endpoint("GET", "/messages", Level.TENANT, messages.list_messages),
    Endpoint("POST", "/commands/run-now", Level.TENANT, instance.run_now),
    Endpoint("GET", "/health", Level.PUBLIC, instance.health),
    Endpoint("GET", "/ready", Level.PUBLIC, instance.ready),
    Endpoint("GET", "/metrics", Level.PUBLIC, instance.metrics),
    Endpoint("GET", "/status", Level.TENANT, instance.status),
    Endpoint("POST", "/account", Level.TENANT, accounts.put_account),
    Endpoint("GET", "/accounts", Level.TENANT, accounts.list_accounts),
    Endpoint("GET", "/account/{id}", Level.TENANT, accounts.get_account),
    Endpoint("PUT", "/account/{id}", Level.TENANT, accounts.change_account),
    Endpoint("DELETE", "/account/{id}", Level.TENANT, accounts.delete_account),
    Endpoint("POST", "/tenant", Level.ADMIN, tenants.put_tenant),
    Endpoint("GET", "/tenants", Level.ADMIN, tenants.list_tenants),
    Endpoint("GET", "/tenant/{id}", Level.TENANT, tenants.get_tenant),
    Endpoint("PUT", "/tenant/{id}", Level.TENANT, tenants.change_tenant),
    Endpoint("DELETE", "/tenant/{id}", Level.ADMIN, tenants.delete_tenant),
    Endpoint("POST", "/tenant/{id}/api-key", Level.ADMIN, tenants.new_api_key),
    Endpoint("DELETE", "/tenant/{id}/api-key", Level.ADMIN, tenants.revoke_api_key),
)


def create_app(
    runtime: Runtime, *, metrics: Metrics | None = None, vitals: Vitals | None = None
) -> Starlette:
    """Make the ASGI application over open services.

    `metrics` is what the dispatcher counts in; `vitals` is kept by the daemon, which says there that the node
    is draining. Without them the application has its own, of a process that starts now.
    """
    node = Node(
        runtime=runtime,
        metrics=metrics or Metrics(),
        vitals=vitals or Vitals(started_at=runtime.clock.now()),
    )
    app = Starlette(
        routes=routes_of(ENDPOINTS, node),
        exception_handlers={HTTPException: _answer, Exception: _answer},
    )
    app.router.redirect_slashes = False
    return app


async def _answer(request: Request, error: Exception) -> Response:
    """Answer what happens outside of every endpoint: no such path, mostly."""
    return answer_to(error, request)
