"""The command log: every request that may have changed something."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.model.messages import END_OF_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A request that may have changed something, at `ts` (Unix seconds).

    `path` is as it was asked for, with the query. `payload` is JSON, without secrets and bodies of messages.
    `status` is that of the answer; None: the server died before it answered. `command_id` is 0 until it is
    stored.
    """

    ts: float
    endpoint: str
    path: str
    tenant_id: str | None = None
    payload: str | None = None
    status: int | None = None
    client: str | None = None
    command_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFilter:
    """Which commands: from `since` on, before `until`, at one of these endpoints (at most 3; none: all)."""

    tenant_id: str | None = None
    endpoints: tuple[str, ...] = ()
    since: float = 0.0
    until: float = END_OF_TIME
