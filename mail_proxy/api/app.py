"""The HTTP API as one table of endpoints, and the application that Starlette makes of it."""

from __future__ import annotations

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
    responses,
    storages,
    tenants,
)
from mail_proxy.api.auth import Level
from mail_proxy.api.gate import Gate
from mail_proxy.api.requests import Node
from mail_proxy.api.routing import Application, Endpoint
from mail_proxy.api.schemas import (
    AccountDeletion,
    ApiKeyInput,
    CleanupInput,
    CommandsExportQuery,
    CommandsQuery,
    DeletionInput,
    MessagesQuery,
    ReplayInput,
    ReportsQuery,
    RetryInput,
    RunNowInput,
    SubmissionInput,
    SuspensionInput,
    SuspensionQuery,
    TenantQuery,
    TenantsQuery,
)
from mail_proxy.api.vitals import Vitals
from mail_proxy.metrics import Metrics
from mail_proxy.runtime import Runtime
from mail_proxy.services.inputs import AccountInput, BounceInput, InstanceInput, TenantInput
from mail_proxy.services.storage_inputs import StorageInput

# In the order of matching: what is asked most often stands first.
# fmt: off
ENDPOINTS = (
    Endpoint("POST", "/commands/add-messages", Level.TENANT, intake.add_messages, answer=responses.Submitted,
             body=SubmissionInput, required=("messages",), statuses=(400,), records_itself=True),
    Endpoint("GET", "/messages/{id}", Level.TENANT, messages.get_message, answer=responses.Message,
             query=TenantQuery, statuses=(409,)),
    Endpoint("GET", "/messages/{id}/events", Level.TENANT, messages.list_events, answer=responses.EventList,
             query=TenantQuery, statuses=(409,)),
    Endpoint("GET", "/messages/{id}/receipts", Level.TENANT, messages.list_receipts,
             answer=responses.ReceiptList, query=TenantQuery, statuses=(409,)),
    Endpoint("POST", "/messages/{id}/retry", Level.TENANT, commands.retry, answer=responses.Message,
             query=TenantQuery, body=RetryInput, body_is_optional=True, statuses=(409,)),
    Endpoint("GET", "/messages", Level.TENANT, messages.list_messages, answer=responses.MessageList,
             query=MessagesQuery),
    Endpoint("POST", "/commands/run-now", Level.TENANT, commands.run_now, answer=responses.Answer,
             query=TenantQuery, body=RunNowInput, body_is_optional=True, statuses=(404,)),
    Endpoint("POST", "/commands/suspend", Level.TENANT, commands.suspend,
             answer=responses.SuspendedOrSwitched, query=SuspensionQuery,
             body=SuspensionInput, body_is_optional=True, statuses=(404,)),
    Endpoint("POST", "/commands/activate", Level.TENANT, commands.activate,
             answer=responses.SuspendedOrSwitched, query=SuspensionQuery,
             body=SuspensionInput, body_is_optional=True, statuses=(404, 409)),
    Endpoint("POST", "/commands/delete-messages", Level.TENANT, commands.delete_messages,
             answer=responses.Removed, query=TenantQuery, body=DeletionInput, required=("ids",),
             statuses=(404,)),
    Endpoint("POST", "/commands/cleanup-messages", Level.TENANT, commands.cleanup_messages,
             answer=responses.CleanedUp, query=TenantQuery, body=CleanupInput, body_is_optional=True,
             statuses=(404,)),
    Endpoint("GET", "/health", Level.PUBLIC, health.health, answer=responses.Health),
    Endpoint("GET", "/ready", Level.PUBLIC, health.ready, answer=responses.Readiness),
    Endpoint("GET", "/metrics", Level.PUBLIC, health.metrics, media_type="text/plain"),
    Endpoint("GET", "/openapi.json", Level.PUBLIC, openapi.document),
    Endpoint("GET", "/docs", Level.PUBLIC, openapi.page, media_type="text/html"),
    Endpoint("GET", "/status", Level.TENANT, health.status, answer=responses.ServerStatus),
    Endpoint("POST", "/account", Level.TENANT, accounts.put_account, answer=responses.Answer,
             query=TenantQuery, body=AccountInput, required=("id", "host"), statuses=(404,)),
    Endpoint("GET", "/accounts", Level.TENANT, accounts.list_accounts, answer=responses.AccountList,
             query=TenantQuery),
    Endpoint("GET", "/account/{id}", Level.TENANT, accounts.get_account, answer=responses.AccountAnswer,
             query=TenantQuery, statuses=(409,)),
    Endpoint("PUT", "/account/{id}", Level.TENANT, accounts.change_account, answer=responses.AccountAnswer,
             query=TenantQuery, body=AccountInput, statuses=(409,)),
    Endpoint("DELETE", "/account/{id}", Level.TENANT, accounts.delete_account, answer=responses.Answer,
             query=AccountDeletion, statuses=(409,)),
    Endpoint("POST", "/account/{id}/test", Level.TENANT, accounts.test_account, answer=responses.Tested,
             query=TenantQuery, statuses=(409,)),
    Endpoint("POST", "/storage", Level.TENANT, storages.put_storage, answer=responses.Answer,
             query=TenantQuery, body=StorageInput, statuses=(403, 404)),
    Endpoint("GET", "/storages", Level.TENANT, storages.list_storages, answer=responses.StorageList,
             query=TenantQuery),
    Endpoint("DELETE", "/storage/{name}", Level.TENANT, storages.delete_storage, answer=responses.Answer,
             query=TenantQuery),
    Endpoint("POST", "/tenant", Level.ADMIN, tenants.put_tenant, answer=responses.TenantStored,
             body=TenantInput, required=("id",)),
    Endpoint("GET", "/tenants", Level.ADMIN, tenants.list_tenants, answer=responses.TenantList,
             query=TenantsQuery),
    Endpoint("GET", "/tenants/sync-status", Level.ADMIN, reports.sync_status, answer=responses.SyncList),
    Endpoint("GET", "/tenant/{id}", Level.TENANT, tenants.get_tenant, answer=responses.TenantAnswer),
    Endpoint("PUT", "/tenant/{id}", Level.TENANT, tenants.change_tenant, answer=responses.TenantAnswer,
             body=TenantInput, statuses=(403,)),
    Endpoint("DELETE", "/tenant/{id}", Level.ADMIN, tenants.delete_tenant, answer=responses.Answer,
             statuses=(409,)),
    Endpoint("POST", "/tenant/{id}/api-key", Level.ADMIN, tenants.new_api_key, answer=responses.ApiKey,
             body=ApiKeyInput, body_is_optional=True),
    Endpoint("DELETE", "/tenant/{id}/api-key", Level.ADMIN, tenants.revoke_api_key, answer=responses.Answer),
    Endpoint("GET", "/instance", Level.ADMIN, instance.get_instance, answer=responses.InstanceAnswer),
    Endpoint("PUT", "/instance", Level.ADMIN, instance.change_instance, answer=responses.InstanceAnswer,
             body=InstanceInput),
    Endpoint("GET", "/instance/bounce", Level.ADMIN, instance.get_bounce, answer=responses.BounceAnswer),
    Endpoint("PUT", "/instance/bounce", Level.ADMIN, instance.change_bounce, answer=responses.BounceAnswer,
             body=BounceInput),
    Endpoint("POST", "/instance/bounce/reload", Level.ADMIN, instance.reload_bounce, answer=responses.Answer),
    Endpoint("POST", "/instance/reload-bounce", Level.ADMIN, instance.reload_bounce, answer=responses.Answer),
    Endpoint("GET", "/reports", Level.TENANT, reports.list_reports, answer=responses.ReportList,
             query=ReportsQuery),
    Endpoint("POST", "/reports/replay", Level.TENANT, reports.replay, answer=responses.Replayed,
             query=TenantQuery, body=ReplayInput, body_is_optional=True, statuses=(404,)),
    Endpoint("GET", "/files/{token}", Level.PUBLIC, files.get_file, media_type="application/octet-stream"),
    Endpoint("GET", "/command-log", Level.ADMIN, command_log.list_commands,
             answer=responses.CommandList, query=CommandsQuery),
    Endpoint("GET", "/command-log/export", Level.ADMIN, command_log.export,
             query=CommandsExportQuery, media_type=command_log.JSON_LINES),
)
# fmt: on


def create_app(
    runtime: Runtime,
    *,
    metrics: Metrics | None = None,
    vitals: Vitals | None = None,
    gate: Gate | None = None,
) -> Application:
    """Make the ASGI application over open services.

    `metrics` is what the dispatcher counts in; `vitals` is kept by the daemon, which says there that the node
    is draining, and `gate` follows what it reads of the configuration. Without them the application has its
    own, of a process that starts now.
    """
    node = Node(
        runtime=runtime,
        metrics=metrics or Metrics(),
        vitals=vitals or Vitals(started_at=runtime.clock.now()),
        gate=gate or Gate(runtime.config, runtime.clock),
    )
    return Application(ENDPOINTS, node)
