"""A real server process with a tenant whose application runs in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from tests.support.application import Application
from tests.support.nodes import entries, until
from tests.support.server import Client, Json, Server
from tests.support.smtp_server import SmtpServer
from tests.support.story import Name, broken_promises

TENANT = "acme"
TOLD = ("sent", "error", "deferred", "bounce")
"""Events that applications are told of."""


@dataclass(slots=True)
class Office:
    """`key` is the tenant's token."""

    server: Server
    app: Application
    key: str

    async def call(self, method: str, path: str, body: object = None, *, by_admin: bool = False) -> Json:
        """Speak to the server while the application goes on, with the tenant's token or the admin's."""
        return await asyncio.to_thread(self._call, method, path, body, by_admin)

    async def submit(self, *ids: str, to: str = "ann@example.net") -> None:
        """Submit a message for each id; the recipient's name decides what becomes of it."""
        answer = await self.call("POST", "/commands/add-messages", entries(*ids, to=[to]))
        assert answer["queued"] == len(ids), answer

    async def run_now(self, *, by_admin: bool = False) -> None:
        await self.call("POST", f"/commands/run-now?tenant_id={TENANT}", by_admin=by_admin)

    async def until_status(self, condition: Callable[[Json], bool]) -> Json:
        """Wait until what sync-status tells of the tenant fulfils the condition."""
        return await until(self._status, condition)

    async def until_log(self, line: str) -> None:
        """Wait until the server has written this."""
        await until(lambda: self.server.log, lambda log: line in log)

    async def until_told(self, ids: Sequence[str]) -> None:
        """Wait until nothing more will become of these messages, and nothing is pending."""
        for each in ids:
            look = partial(self._call, "GET", f"/messages/{each}")
            await until(look, lambda shown: shown["status"] in ("sent", "error"))
        await self.until_status(lambda status: status["pending_reports"] == 0)

    async def complaints(self, ids: Sequence[str]) -> list[str]:
        """What the application has to complain of, that should have heard what the server knows of these."""
        return broken_promises([post.entries for post in self.app.posts], await self._history(ids))

    async def restart(self) -> None:
        """Start the server again."""
        await asyncio.to_thread(self.server.start)

    async def _history(self, ids: Sequence[str]) -> Mapping[Name, list[str]]:
        history = {}
        for each in ids:
            events = (await self.call("GET", f"/messages/{each}/events"))["events"]
            history[TENANT, each] = [event["event_type"] for event in events if event["event_type"] in TOLD]
        return history

    def _status(self) -> Json:
        tenants = self._call("GET", "/tenants/sync-status", by_admin=True)["tenants"]
        found: Json = next(each for each in tenants if each["id"] == TENANT)
        return found

    def _call(self, method: str, path: str, body: object = None, by_admin: bool = False) -> Json:
        """Over a connection of its own: one that is idle for a while has been closed."""
        with closing(
            Client("127.0.0.1", self.server.port, self.server.token if by_admin else self.key)
        ) as client:
            return client.call(method, path, body)


async def move_in(
    server: Server, app: Application, mail: SmtpServer | None = None, **tenant: object
) -> Office:
    """Give a server that runs a tenant with an account, of the sandbox if there is no `mail` server."""
    admin = server.client()

    def make() -> str:
        key: str = admin.post("/tenant", {"id": TENANT, "client_base_url": app.url, **tenant})["api_key"]
        where = {"host": "sandbox"} if mail is None else {"host": mail.host, "port": mail.port, "tls": "none"}
        admin.post("/account", {"id": "main", "tenant_id": TENANT, **where})
        return key

    return Office(server, app, await asyncio.to_thread(make))
