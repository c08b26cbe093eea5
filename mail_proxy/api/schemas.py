"""What requests may say in their query and in bodies that no service defines.

What tenants, accounts and messages look like is defined in ``services/inputs.py``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from mail_proxy.model.messages import END_OF_TIME, Status
from mail_proxy.services.fields import BatchCode, HeaderText, Identifier, Moment, PriorityLevel
from mail_proxy.services.inputs import Input
from mail_proxy.services.messages import MAX_PAGE


def _number(value: object) -> object:
    """Take a number from the text that a query is; other text may be an ISO 8601 time."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Instant = Annotated[Moment, BeforeValidator(_number)]


class TenantQuery(Input):
    """Which tenant is meant; with a tenant's token, its own."""

    tenant_id: Identifier | None = None


class MessagesQuery(TenantQuery):
    """Which messages to list. Times are those of queueing: from `since` on, and before `until`."""

    active_only: bool = False
    status: Status | None = None
    account_id: Identifier | None = None
    batch_code: BatchCode | None = None
    since: Instant = 0.0
    until: Instant = END_OF_TIME
    include_history: bool = False
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 1000
    cursor: HeaderText | None = None


class AccountDeletion(TenantQuery):
    """`force` deletes an account that has queued messages: they become errors."""

    force: bool = False


class CommandsExportQuery(Input):
    """Which commands: from `since` on, and before `until`."""

    tenant_id: Identifier | None = None
    since: Instant = 0.0
    until: Instant = END_OF_TIME
    endpoint: HeaderText | None = None
    """Its name, such as `PUT /account/{id}`, or its path, such as `/account/{id}`."""


class CommandsQuery(CommandsExportQuery):
    """Which commands, and which of them to list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """How many of the newest to leave out."""


class TenantsQuery(Input):
    active_only: bool = False


class SubmissionInput(Input):
    """The body of add-messages; each message is judged by itself."""

    messages: list[object]
    default_priority: PriorityLevel | None = None


class ApiKeyInput(Input):
    """The key's last moment, in Unix seconds; none: it does not expire."""

    expires_at: Moment | None = None
