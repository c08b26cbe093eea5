"""What requests may say in their query and in bodies that no service defines.

What tenants, accounts, messages and storages look like is defined in ``services``, in ``inputs.py`` and the
``…_inputs.py`` beside it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core.core_schema import CoreSchema, list_schema

from mail_proxy.clock import LAST_SECOND
from mail_proxy.model.messages import END_OF_TIME, Status
from mail_proxy.model.names import IDENTIFIER
from mail_proxy.model.reports import ReportState
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.services.fields import (
    BatchCode,
    Boolean,
    HeaderText,
    Identifier,
    MessageId,
    Moment,
    PriorityLevel,
    not_too_many,
    shape,
)
from mail_proxy.services.inputs import Input
from mail_proxy.services.message_inputs import MessageInput
from mail_proxy.services.messages import MAX_PAGE
from mail_proxy.services.reports import CURSOR

_OR_ALL = rf"^(\*|{IDENTIFIER.pattern})$"


def _number(value: object) -> object:
    """Take a number from the text that a query is; other text may be an ISO 8601 time."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _seconds(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of seconds")
    return value


def _or_all(value: object, check: ValidatorFunctionWrapHandler) -> object:
    return value if value == EVERYTHING else check(value)


def _flag(value: object) -> object:
    """Take true and false in any case, as programs print them, and 1 and 0."""
    known = {"true": True, "1": True, "false": False, "0": False}
    given = value.lower() if isinstance(value, str) else value
    if isinstance(given, bool):
        return given
    if given not in known:
        raise ValueError("must be true or false")
    return known[given]


def _without_default(schema: dict[str, JsonValue]) -> None:
    del schema["default"]


class _Judged:
    """Stands beside a list whose items are taken as they come, and judged by `model` later."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, JsonValue]:
        return handler(list_schema(self._model.__pydantic_core_schema__))


Instant = Annotated[Moment, BeforeValidator(_number)]
Until = Annotated[Instant, Field(json_schema_extra=_without_default)]
Flag = Annotated[
    bool,
    BeforeValidator(_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}),
]


class TenantNamed(Input):
    """Names the tenant that is meant; query and body may both do so."""

    tenant_id: Identifier | None = None
    """With a tenant's token, its own."""


class TenantQuery(TenantNamed):
    """Which tenant is meant; with a tenant's token, its own."""


class RunNowInput(TenantNamed):
    """Whose messages and reports are wanted now."""


class MessagesQuery(TenantQuery):
    """Which messages to list. Times are those of queueing: from `since` on, and before `until`."""

    active_only: Flag = False
    """Those that have still to leave."""
    status: Status | None = None
    account_id: Identifier | None = None
    batch_code: BatchCode | None = None
    since: Instant = 0.0
    """Queued then or later."""
    until: Until = END_OF_TIME
    """Queued before."""
    include_history: Flag = False
    """Whether each message comes with its events."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 1000
    cursor: Annotated[HeaderText, Field(json_schema_extra={"format": "cursor"})] | None = None
    """The `next_cursor` of an earlier answer."""


class AccountDeletion(TenantQuery):
    """`force` deletes an account that has queued messages: they become errors."""

    force: Flag = False
    """Even while messages are queued."""


class CommandsExportQuery(Input):
    """Which commands: from `since` on, and before `until`."""

    tenant_id: Identifier | None = None
    since: Instant = 0.0
    until: Until = END_OF_TIME
    endpoint: HeaderText | None = None
    """Its name, such as `PUT /account/{id}`, or its path, such as `/account/{id}`."""


class CommandsQuery(CommandsExportQuery):
    """Which commands, and which of them to list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """How many of the newest to leave out."""


class TenantsQuery(Input):
    active_only: Flag = False


class SubmissionInput(Input):
    """The body of add-messages; each message is judged by itself."""

    messages: Annotated[list[object], _Judged(MessageInput)]
    default_priority: PriorityLevel | None = None
    """Of the messages that have none."""


class ApiKeyInput(Input):
    """The key's last moment, in Unix seconds; none: it does not expire."""

    expires_at: Moment | None = None
    """When the key stops to open; none: never."""


class SuspensionQuery(Input):
    """What to hold back, or to let go on: a batch, all of a tenant, or (`*`, the admin's) all there is."""

    tenant_id: Annotated[Identifier, WrapValidator(_or_all), shape(pattern=_OR_ALL)] | None = None
    batch_code: BatchCode | None = None


class SuspensionInput(SuspensionQuery):
    """What to hold back, or to let go on, when it is not said in the query."""


class ReportsQuery(TenantQuery):
    """Which of the events that applications were not told of to list."""

    state: ReportState | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 1000
    cursor: Annotated[HeaderText, Field(json_schema_extra={"pattern": CURSOR})] | None = None
    """The `next_cursor` of an earlier answer."""


class ReplayInput(TenantNamed):
    """What to tell again."""

    since: Moment | None = None
    """Events of then and later; by default those alone that were refused or given up."""


class DeletionInput(TenantNamed):
    """What to delete."""

    ids: Annotated[
        list[MessageId],
        Field(max_length=MAX_PAGE),
        BeforeValidator(lambda value: not_too_many(value, MAX_PAGE)),
    ]
    force: Boolean = False
    """Whether what is sent and not yet reported goes, too."""


class CleanupInput(TenantNamed):
    """What to let go of."""

    older_than_seconds: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=LAST_SECOND)] | None = None
    """How long ago it was reported, at least; by default the retention."""


class RetryInput(TenantNamed):
    """When to try again."""

    at: Moment | None = None
    """Not before; by default now."""
