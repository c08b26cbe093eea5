"""The HTTP API as one table of endpoints, and the application that Starlette makes of it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mail_proxy.api import (
    accounts,
    command_log,
    commands,
    files,
    health,
    instance,
    intake,
    messages,
    openapi,
    reports,
    storages,
    tenants,
)
from mail_proxy.api.auth import Level
from mail_proxy.api.errors import answer_to
from mail_proxy.api.gate import Gate
from mail_proxy.api.requests import Node
from mail_proxy.api.routing import Endpoint, routes_of
from mail_proxy.api.vitals import Vitals
from mail_proxy.metrics import Metrics
from mail_proxy.runtime import Runtime

# In the order of matching: what is asked most often stands first.
ENDPOINTS = (
    Endpoint("POST", "/commands/add-messages", Level.TENANT, intake.add_messages),
    Endpoint("GET", "/messages/{id}", Level.TENANT, messages.get_message),
    Endpoint("GET", "/messages/{id}/events", Level.TENANT, messages.list_events),
    Endpoint("GET", "/messages/{id}/receipts", Level.TENANT, messages.list_receipts),
    Endpoint("POST", "/messages/{id}/retry", Level.TENANT, commands.retry),
    Endpoint("GET", "/messages", Level.TENANT, messages.list_messages),
    Endpoint("POST", "/commands/run-now", Level.TENANT, commands.run_now),
    Endpoint("POST", "/commands/suspend", Level.TENANT, commands.suspend),
    Endpoint("POST", "/commands/activate", Level.TENANT, commands.activate),
    Endpoint("POST", "/commands/delete-messages", Level.TENANT, commands.delete_messages),
    Endpoint("POST", "/commands/cleanup-messages", Level.TENANT, commands.cleanup_messages),
    Endpoint("GET", "/health", Level.PUBLIC, health.health),
    Endpoint("GET", "/ready", Level.PUBLIC, health.ready),
    Endpoint("GET", "/metrics", Level.PUBLIC, health.metrics),
    Endpoint("GET", "/openapi.json", Level.PUBLIC, openapi.document),
    Endpoint("GET", "/docs", Level.PUBLIC, openapi.page),
    Endpoint("GET", "/status", Level.TENANT, health.status),
    Endpoint("POST", "/account", Level.TENANT, accounts.put_account),
    Endpoint("GET", "/accounts", Level.TENANT, accounts.list_accounts),
    Endpoint("GET", "/account/{id}", Level.TENANT, accounts.get_account),
    Endpoint("PUT", "/account/{id}", Level.TENANT, accounts.change_account),
    Endpoint("DELETE", "/account/{id}", Level.TENANT, accounts.delete_account),
    Endpoint("POST", "/account/{id}/test", Level.TENANT, accounts.test_account),
    Endpoint("POST", "/storage", Level.TENANT, storages.put_storage),
    Endpoint("GET", "/storages", Level.TENANT, storages.list_storages),
    Endpoint("DELETE", "/storage/{name}", Level.TENANT, storages.delete_storage),
    Endpoint("POST", "/tenant", Level.ADMIN, tenants.put_tenant),
    Endpoint("GET", "/tenants", Level.ADMIN, tenants.list_tenants),
    Endpoint("GET", "/tenants/sync-status", Level.ADMIN, reports.sync_status),
    Endpoint("GET", "/tenant/{id}", Level.TENANT, tenants.get_tenant),
    Endpoint("PUT", "/tenant/{id}", Level.TENANT, tenants.change_tenant),
    Endpoint("DELETE", "/tenant/{id}", Level.ADMIN, tenants.delete_tenant),
    Endpoint("POST", "/tenant/{id}/api-key", Level.ADMIN, tenants.new_api_key),
    Endpoint("DELETE", "/tenant/{id}/api-key", Level.ADMIN, tenants.revoke_api_key),
    Endpoint("GET", "/instance", Level.ADMIN, instance.get_instance),
    Endpoint("PUT", "/instance", Level.ADMIN, instance.change_instance),
    Endpoint("GET", "/instance/bounce", Level.ADMIN, instance.get_bounce),
    Endpoint("PUT", "/instance/bounce", Level.ADMIN, instance.change_bounce),
    Endpoint("POST", "/instance/bounce/reload", Level.ADMIN, instance.reload_bounce),
    Endpoint("POST", "/instance/reload-bounce", Level.ADMIN, instance.reload_bounce),
    Endpoint("GET", "/reports", Level.TENANT, reports.list_reports),
    Endpoint("POST", "/reports/replay", Level.TENANT, reports.replay),
    Endpoint("GET", "/files/{token}", Level.PUBLIC, files.get_file),
    Endpoint("GET", "/command-log", Level.ADMIN, command_log.list_commands),
    Endpoint("GET", "/command-log/export", Level.ADMIN, command_log.export),
)


def create_app(
    runtime: Runtime,
    *,
    metrics: Metrics | None = None,
    vitals: Vitals | None = None,
    gate: Gate | None = None,
) -> Starlette:
    """Make the ASGI application over open services.

    `metrics` is what the dispatcher counts in; `vitals` is kept by the daemon, which says there that the node
    is draining, and `gate` follows what it reads of the configuration. Without them the application has its
    own, of a process that starts now.
    """
    node = Node(
        runtime=runtime,
        metrics=metrics or Metrics(),
        vitals=vitals or Vitals(started_at=runtime.clock.now()),
        gate=gate or Gate(runtime.config),
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
