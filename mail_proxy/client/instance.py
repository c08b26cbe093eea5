"""The instance as a whole: its settings, its dispatch, and the log of what was asked of it."""

from __future__ import annotations

from typing import Unpack

from mail_proxy.client.answers import Bounces, Command, CommandPage, Instance
from mail_proxy.client.calls import Call, Lines, Resource, S
from mail_proxy.client.fields import BounceFields, InstanceFields
from mail_proxy.client.requests import Moment, Request, fetch, nothing, one, to


class InstanceSettings(Resource[S]):
    """``client.instance``, for the admin token."""

    @Call
    def get(self) -> Request[Instance]:
        """Return the settings."""
        return fetch(to("instance"), one(Instance))

    @Call
    def update(self, **changes: Unpack[InstanceFields]) -> Request[Instance]:
        """Change what is named, and return the settings."""
        return Request("PUT", to("instance"), one(Instance), body=changes, is_repeatable=True)

    @Call
    def bounces(self) -> Request[Bounces]:
        """Return how bounces are collected."""
        return fetch(to("instance", "bounce"), one(Bounces))

    @Call
    def update_bounces(self, **changes: Unpack[BounceFields]) -> Request[Bounces]:
        """Change what is named of how bounces are collected, and return that."""
        return Request("PUT", to("instance", "bounce"), one(Bounces), body=changes, is_repeatable=True)

    @Call
    def reload_bounces(self) -> Request[None]:
        """Have every node read the settings of bounces anew; a change of them does that by itself."""
        return Request("POST", to("instance", "bounce", "reload"), nothing, is_repeatable=True)

    @Call
    def suspend(self) -> Request[None]:
        """Stop the dispatch of all tenants, on every node, until `activate`."""
        return Request("POST", to("commands", "suspend"), nothing, {"tenant_id": "*"}, is_repeatable=True)

    @Call
    def activate(self) -> Request[None]:
        """Start the dispatch again; what is suspended of a tenant stays so."""
        return Request("POST", to("commands", "activate"), nothing, {"tenant_id": "*"}, is_repeatable=True)


class CommandLog(Resource[S]):
    """``client.command_log``, for the admin token: every request that may have changed something.

    `endpoint` is a name such as ``PUT /account/{id}``, or its path alone; `until` is not included.
    """

    @Call
    def list(
        self,
        *,
        endpoint: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int = 100,
        offset: int = 0,
        tenant_id: str | None = None,
    ) -> Request[CommandPage]:
        """Return the newest commands, but for the first `offset` of them."""
        return fetch(
            to("command-log"),
            one(CommandPage),
            tenant_id=self.tenant(tenant_id),
            endpoint=endpoint,
            since=since,
            until=until,
            limit=limit,
            offset=offset,
        )

    @Lines
    def export(
        self,
        *,
        endpoint: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tenant_id: str | None = None,
    ) -> Request[Command]:
        """Go through all commands, oldest first, as they arrive; raises `Unreachable` if that breaks off."""
        return fetch(
            to("command-log", "export"),
            one(Command),
            tenant_id=self.tenant(tenant_id),
            endpoint=endpoint,
            since=since,
            until=until,
        )
