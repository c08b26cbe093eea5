"""The two clients, which are one but for the waiting."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Self

from mail_proxy.client.accounts import Accounts
from mail_proxy.client.answers import Health, Status
from mail_proxy.client.calls import Call, Resource, S
from mail_proxy.client.instance import CommandLog, InstanceSettings
from mail_proxy.client.messages import Messages
from mail_proxy.client.reports import Reports
from mail_proxy.client.requests import Request, fetch, nothing, one, to
from mail_proxy.client.sending import AsyncSender, Sender, Target
from mail_proxy.client.storages import Storages
from mail_proxy.client.tenants import Tenants

TIMEOUT = 30.0
"""Seconds that connecting may take, and each wait for more of the answer."""

RETRIES = 2
"""How often what is safe to repeat is repeated."""


class Server(Resource[S]):
    """What both clients offer."""

    _sending: type[S]

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        tenant_id: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        target = Target(url=url, token=token, timeout=timeout, retries=retries, verify=verify)
        sender = self._sending(target)
        super().__init__(sender, tenant_id)
        self.messages = Messages(sender, tenant_id)
        self.accounts = Accounts(sender, tenant_id)
        self.tenants = Tenants(sender, tenant_id)
        self.storages = Storages(sender, tenant_id)
        self.reports = Reports(sender, tenant_id)
        self.instance = InstanceSettings(sender, tenant_id)
        self.command_log = CommandLog(sender, tenant_id)

    @Call
    def status(self) -> Request[Status]:
        """Tell how the server fares; a tenant's token is told of its own messages only."""
        return fetch(to("status"), one(Status))

    @Call
    def run_now(self, *, tenant_id: str | None = None) -> Request[None]:
        """Wake dispatch and reporting; a tenant's token also lifts that tenant's Do Not Disturb."""
        query = {"tenant_id": self.tenant(tenant_id)}
        return Request("POST", to("commands", "run-now"), nothing, query, is_repeatable=True)

    @Call
    def health(self) -> Request[Health]:
        """Ask whether the server lives; no token is needed."""
        return fetch(to("health"), one(Health))


class MailProxyClient(Server[Sender]):
    """A client of one mail-proxy server::

        with MailProxyClient("http://127.0.0.1:8000", token=key) as client:
            client.messages.enqueue({"id": "order-1", "to": "ann@example.com", …})

    `token` is the admin's or a tenant's; `tenant_id` is the tenant that the admin means where a call names
    none. `timeout` (seconds) limits connecting and each wait for more of an answer. `retries` is how often a
    request is repeated, after a pause, when the connection fails, or the server says 503 and when to come
    again; it holds for what is safe to repeat: reading, `enqueue`, changes that come to the same when made
    twice, and whatever cannot have reached the server. A time-out is never repeated. `verify` may be an SSL
    context that trusts a private authority. Redirects are not followed.

    Raises ValueError for a URL or a token that can never work. Several threads may share a client.
    """

    _sending = Sender

    def close(self) -> None:
        """Close the connections."""
        self.sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncMailProxyClient(Server[AsyncSender]):
    """The same for asyncio: what returns there is awaited here; lists of many pages take ``async for``.

    For one event loop, whose tasks may share it.
    """

    _sending = AsyncSender

    async def close(self) -> None:
        """Close the connections."""
        await self.sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
