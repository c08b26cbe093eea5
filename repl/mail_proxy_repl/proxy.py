"""``proxy``: what a person at the prompt calls. The docstrings are its help.

Where a tenant may be named and is not, the one in use is meant, and without one all of them; ``"*"`` stands
for all in any case. Times are Unix seconds, ISO 8601 (without a zone: local) or datetimes. What comes back
are dicts with the names of the HTTP API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from uuid import uuid4

from mail_proxy.errors import Conflict, InvalidInput, NotFound
from mail_proxy_repl.place import Place
from mail_proxy_repl.results import Record, Rows
from mail_proxy_repl.server import Server, Wanted

Moment = float | str | datetime

LIMIT = 100


class Part:
    """A part of ``proxy``, over the server that answers."""

    def __init__(self, server: Server, place: Place) -> None:
        self._server = server
        self._place = place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._place}: '?' after a name explains it>"


class Tenants(Part):
    """Tenants: who may hand in messages, and where their reports go."""

    def list(self, *, active_only: bool = False) -> Rows:
        """List the tenants, or the active ones."""
        return Rows("tenants", self._server.tenants(active_only=active_only))

    def get(self, tenant_id: str | None = None) -> Record:
        """Show one tenant, by default the one in use."""
        return Record("tenants", self._server.tenant(self._place.needed(tenant_id)))

    def add(self, tenant_id: str, /, **fields: object) -> Record:
        """Add a tenant; its `api_key` is told this once. `fields` are the API's: name, client_base_url, …"""
        return Record(
            "tenants", {"id": tenant_id, "api_key": self._server.add_tenant({**fields, "id": tenant_id})}
        )

    def update(self, tenant_id: str, /, **changes: object) -> Record:
        """Change what is named, and nothing else."""
        return Record("tenants", self._server.update_tenant(tenant_id, changes))

    def delete(self, tenant_id: str) -> None:
        """Delete a tenant with its accounts, messages and events. It does not ask."""
        self._server.delete_tenant(tenant_id)

    def new_api_key(self, tenant_id: str, *, expires_at: Moment | None = None) -> str:
        """Make a new API key, told this once; the old one is dead at once."""
        return self._server.new_api_key(tenant_id, seconds(expires_at))

    def revoke_api_key(self, tenant_id: str) -> None:
        """Take the API key away."""
        self._server.revoke_api_key(tenant_id)


class Accounts(Part):
    """SMTP accounts, each of a tenant."""

    def list(self, tenant_id: str | None = None) -> Rows:
        """List accounts."""
        return Rows("accounts", self._server.accounts(self._place.meant(tenant_id)))

    def get(self, account_id: str, tenant_id: str | None = None) -> Record:
        """Show one account; never its password."""
        return Record("accounts", self._server.account(account_id, self._place.meant(tenant_id)))

    def add(self, account_id: str, /, *, tenant_id: str | None = None, **fields: object) -> Record:
        """Add an account. `fields` are the API's: host (the only one needed), port, user, password, tls, …"""
        owner = self._place.needed(tenant_id)
        return Record("accounts", self._server.add_account(owner, {**fields, "id": account_id}))

    def update(self, account_id: str, /, *, tenant_id: str | None = None, **changes: object) -> Record:
        """Change what is named, and nothing else."""
        meant = self._place.meant(tenant_id)
        return Record("accounts", self._server.update_account(account_id, meant, changes))

    def delete(self, account_id: str, *, force: bool = False, tenant_id: str | None = None) -> None:
        """Delete an account; while messages are queued for it only with `force`, which lets them fail."""
        self._server.delete_account(account_id, self._place.meant(tenant_id), force=force)

    def test(self, account_id: str, tenant_id: str | None = None) -> Record:
        """Log in at its servers, now, and tell how that went; nothing is sent, nothing changed."""
        return Record("checks", self._server.check_account(account_id, self._place.meant(tenant_id)))


class Messages(Part):
    """Messages: those in the queue, and what became of the others."""

    def list(
        self,
        status: str | None = None,
        *,
        account_id: str | None = None,
        batch_code: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        active_only: bool = False,
        limit: int = LIMIT,
        tenant_id: str | None = None,
    ) -> Rows:
        """List messages, the newest first, at most `limit` of them.

        `since` and `until` are times of queueing; `active_only` are those that still have to leave.
        """
        if limit < 1:
            raise InvalidInput("limit must be at least 1")
        wanted = Wanted(
            tenant_id=self._place.meant(tenant_id),
            status=status,
            account_id=account_id,
            batch_code=batch_code,
            since=seconds(since),
            until=seconds(until),
            active_only=active_only,
            limit=limit + 1,
        )
        found = list(islice(self._server.messages(wanted), limit + 1))
        return Rows("messages", found[:limit], cut=len(found) > limit)

    def pending(self, *, limit: int = LIMIT, tenant_id: str | None = None) -> Rows:
        """List what has still to leave: pending, deferred, being sent."""
        return self.list(active_only=True, limit=limit, tenant_id=tenant_id)

    def sent(self, *, limit: int = LIMIT, tenant_id: str | None = None) -> Rows:
        """List what was sent."""
        return self.list("sent", limit=limit, tenant_id=tenant_id)

    def errors(self, *, limit: int = LIMIT, tenant_id: str | None = None) -> Rows:
        """List what has failed for good."""
        return self.list("error", limit=limit, tenant_id=tenant_id)

    def get(self, message_id: str, tenant_id: str | None = None) -> Record:
        """Show one message: its state, its recipients one by one, what it carries."""
        return Record("messages", self._server.message(message_id, self._place.meant(tenant_id)))

    def events(self, message_id: str, tenant_id: str | None = None) -> Rows:
        """Tell what happened to a message, in order."""
        return Rows("events", self._server.events(message_id, self._place.meant(tenant_id)))

    def add(
        self,
        messages: Mapping[str, object] | Iterable[Mapping[str, object]],
        *,
        tenant_id: str | None = None,
    ) -> Record:
        """Queue a message, or several, given as the API takes them: {"to": …, "subject": …, "body": …}.

        One without an `id` is given one; `ids` are those of all.
        """
        given = [messages] if isinstance(messages, Mapping) else list(messages)
        named = [{"id": str(uuid4()), **each} for each in given]
        done = self._server.add_messages(self._place.meant(tenant_id), named)
        return Record("submissions", {"ids": [each["id"] for each in named], **done})

    def retry(self, message_id: str, *, at: Moment | None = None, tenant_id: str | None = None) -> Record:
        """Let a message that waits or has failed be due now, or at a time."""
        view = self._server.retry(message_id, self._place.meant(tenant_id), seconds(at))
        return Record("messages", view)

    def delete(
        self, ids: str | Iterable[str], tenant_id: str | None = None, *, force: bool = False
    ) -> Record:
        """Delete messages with all that is known of them. It does not ask.

        What is being sent stays; what was sent and not yet reported goes only with `force`.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        done = self._server.delete_messages(wanted, self._place.meant(tenant_id), force=force)
        return Record("removals", done)

    def cleanup(self, tenant_id: str | None = None, older_than_seconds: float | None = None) -> int:
        """Delete what was reported that long ago, by default the retention; return how many they were."""
        return self._server.cleanup(self._place.meant(tenant_id), older_than_seconds)


class Storages(Part):
    """Storages: places for files, each of a tenant."""

    def list(self, tenant_id: str | None = None) -> Rows:
        """List storages; never their secrets."""
        return Rows("storages", self._server.storages(self._place.meant(tenant_id)))

    def get(self, name: str, tenant_id: str | None = None) -> Record:
        """Show one storage; never its secrets."""
        owner = self._place.needed(tenant_id)
        return next((each for each in self.list(tenant_id=owner) if each["name"] == name), None) or _no(name)

    def add(
        self, name: str, protocol: str, config: Mapping[str, object], *, tenant_id: str | None = None
    ) -> Record:
        """Add a storage; the protocol is local, s3, gcs or azure. One that is there is refused."""
        owner = self._place.needed(tenant_id)
        if any(each["name"] == name for each in self.list(tenant_id=owner)):
            raise Conflict(f"tenant '{owner}' already has a storage '{name}'")
        return self._put(owner, name, protocol, config)

    def update(
        self, name: str, protocol: str, config: Mapping[str, object], *, tenant_id: str | None = None
    ) -> Record:
        """Replace a storage's configuration; a secret given as ``***`` stays as it is."""
        owner = self._place.needed(tenant_id)
        self.get(name, tenant_id=owner)
        return self._put(owner, name, protocol, config)

    def delete(self, name: str, tenant_id: str | None = None) -> None:
        """Delete a storage."""
        self._server.delete_storage(self._place.needed(tenant_id), name)

    def _put(self, owner: str, name: str, protocol: str, config: Mapping[str, object]) -> Record:
        self._server.put_storage(owner, {"name": name, "protocol": protocol, "config": dict(config)})
        return self.get(name, tenant_id=owner)


class InstanceSettings(Part):
    """The settings of the whole instance that are kept in its database."""

    def get(self) -> Record:
        """Show the settings: its name, and how bounces are collected."""
        return Record("instance", self._server.settings())

    def update(self, **changes: object) -> Record:
        """Change what is named, and nothing else."""
        return Record("instance", self._server.update_settings(changes))


class CommandLog(Part):
    """The log of every request to the API that may have changed something."""

    def list(
        self,
        *,
        endpoint: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int = LIMIT,
        offset: int = 0,
        tenant_id: str | None = None,
    ) -> Rows:
        """List requests, the newest first, but for the first `offset`; `endpoint`: ``PUT /account/{id}``."""
        if limit < 1 or offset < 0:
            raise InvalidInput("limit must be at least 1, offset at least 0")
        found = self._server.commands(
            self._place.meant(tenant_id), endpoint, seconds(since), seconds(until), limit + 1, offset
        )
        rows = list(islice(found, limit + 1))
        return Rows("commands", rows[:limit], cut=len(rows) > limit)


class Proxy(Part):
    """The instance of this session. What a call returns is shown as a table, or is there to work with.

    Where a tenant may be named and is not, the one in use is meant; tenant_id="*" stands for all.
    """

    def __init__(self, server: Server, place: Place) -> None:
        super().__init__(server, place)
        self.tenants = Tenants(server, place)
        self.accounts = Accounts(server, place)
        self.messages = Messages(server, place)
        self.storages = Storages(server, place)
        self.instance = InstanceSettings(server, place)
        self.command_log = CommandLog(server, place)

    def status(self) -> Record:
        """Tell whether the server runs, whether it dispatches, and how many messages wait."""
        return Record("status", self._server.status())

    def stats(self, tenant_id: str | None = None) -> Record:
        """Count messages by state."""
        return Record("stats", self._server.stats(self._place.meant(tenant_id)))

    def run_now(self, tenant_id: str | None = None) -> None:
        """Make the running servers dispatch and report now."""
        self._server.run_now(self._place.meant(tenant_id))

    def suspend(self, tenant_id: str | None = None, batch_code: str | None = None) -> Record:
        """Hold back a batch, or all of a tenant; without a tenant, stop dispatch of the whole instance."""
        return Record("suspensions", self._server.suspend(*self._suspended(tenant_id, batch_code)))

    def activate(self, tenant_id: str | None = None, batch_code: str | None = None) -> Record:
        """Let a batch go on, or all of a tenant; without a tenant, start dispatch of the whole instance."""
        return Record("suspensions", self._server.activate(*self._suspended(tenant_id, batch_code)))

    def _suspended(self, tenant_id: str | None, batch_code: str | None) -> tuple[str | None, str | None]:
        if batch_code is not None:
            return self._place.needed(tenant_id), batch_code
        return self._place.meant(tenant_id), None


def seconds(moment: Moment | None) -> float | None:
    """Turn a time into Unix seconds; raise InvalidInput for what is none."""
    match moment:
        case None | int() | float():
            return moment
        case datetime():
            return moment.timestamp()
        case str():
            with suppress(ValueError, OverflowError):
                return datetime.fromisoformat(moment).timestamp()
    raise InvalidInput(f"{moment!r} is no time: give Unix seconds, ISO 8601 text or a datetime")


def _no(name: str) -> Record:
    raise NotFound("storage", name)
