"""An SMTP server for tests, in the test's own loop: aiosmtpd, which can be told to misbehave.

It takes real mail, refuses the recipients its table names, and does at a stage of the conversation what
`server.at[stage]` says. For what no decent library would do (no EHLO, garbage) there is `ScriptedServer`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, cast

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mail_proxy.model.accounts import Account, TlsMode
from tests.support.scripted_server import DROP, HOST, Fault, ScriptedServer

REFUSALS: Mapping[str, str] = {
    "nouser": "550 5.1.1 no such user",
    "full": "552 5.2.2 mailbox full",
    "policy": "550 5.7.1 blocked by policy",
    "grey": "451 4.7.1 greylisted, try later",
    "tmp": "450 4.2.0 temporarily unavailable",
    "toomany": "452 4.5.3 too many recipients",
}
"""Replies to RCPT by local part (before any ``+``), when a server is given no others."""


class Stage(StrEnum):
    """Where a server can be told to misbehave."""

    CONNECT = "connect"  # instead of the greeting
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # instead of the reply 354
    DOT = "dot"  # the content has come: instead of taking it
    ACCEPTED = "accepted"  # the mail is taken and in `received`: instead of the reply 250
    RSET = "rset"
    NOOP = "noop"
    QUIT = "quit"


Action = Fault | str | asyncio.Event
"""A fault, a reply to give instead, or an event to wait for before going on as usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One mail the server took. `connection` counts from 1; `content` is without dot-stuffing."""

    mail_from: str
    rcpt_tos: tuple[str, ...]
    mail_options: tuple[str, ...]
    content: bytes
    connection: int
    tls: bool
    user: str | None


class _Conversation(SMTP):
    """One connection: aiosmtpd's protocol, with the stages that its hooks leave out."""

    def __init__(self, server: SmtpServer) -> None:
        self.scripted = server
        self.number = 0
        super().__init__(
            server,
            hostname="mx.test",
            ident="test server",
            data_size_limit=server.size_limit,
            enable_SMTPUTF8=True,
            tls_context=server.tls_context if server.tls == "starttls" else None,
            auth_require_tls=server.tls == "starttls",
            authenticator=server.authenticate,
            loop=asyncio.get_running_loop(),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.number == 0:
            self.number = self.scripted.opened(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.scripted.closed(self)
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        try:
            proceeds = await self.scripted.act(self, Stage.CONNECT)
        except asyncio.CancelledError:
            cast("asyncio.WriteTransport", self.transport).abort()
            raise
        if proceeds:
            await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        assert self.envelope is not None
        if not self.envelope.rcpt_tos or await self.scripted.act(self, Stage.DATA):
            await super().smtp_DATA(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if await self.scripted.act(self, Stage.STARTTLS):
            await super().smtp_STARTTLS(arg)
            assert self.session is not None
            if self.session.ssl is None:  # the client left amid the handshake, which asyncio does not tell
                self.connection_lost(None)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if await self.scripted.act(self, Stage.AUTH):
            await super().smtp_AUTH(arg)


@dataclass(eq=False)
class SmtpServer:
    """A working server; set `refusals` and `at` before or while it runs.

    `at` maps a stage to one action for every time, or to a list of actions used up one by one.
    `users` (name to password) makes AUTH compulsory. `mails_per_connection` answers 421 to the next MAIL.
    """

    tls: Literal["starttls", "ssl"] | None = None
    users: Mapping[str, str] | None = None
    refusals: Mapping[str, str] = field(default_factory=lambda: dict(REFUSALS))
    at: dict[Stage, Action | list[Action]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    pipelining: bool = False
    size_limit: int = 2**25
    mails_per_connection: int | None = None
    certificate_names: Sequence[str] = (HOST, "localhost")
    host: str = HOST
    port: int = 0
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    reached: list[Stage] = field(default_factory=list)
    logins: int = 0
    connections: int = 0
    most_open: int = 0
    ca_pem: str = ""
    tls_context: ssl.SSLContext | None = None
    _open: dict[_Conversation, int] = field(default_factory=dict)
    _waiters: list[asyncio.Future[None]] = field(default_factory=list)

    async def wait_for(self, count: int) -> list[Received]:
        """Return what was received once there are `count` mails of it (a minute at most)."""
        await self.until(lambda: len(self.received) >= count)
        return self.received

    async def wait_closed(self) -> None:
        """Wait until no client is connected (a minute at most)."""
        await self.until(lambda: not self._open)

    async def wait_at(self, stage: Stage) -> None:
        """Wait until a conversation has come to what `at` says for `stage` (a minute at most)."""
        await self.until(lambda: stage in self.reached)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Look after each command, mail and lost connection until `condition` holds (a minute at most)."""
        async with asyncio.timeout(60):
            while not condition():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def drop_all(self) -> None:
        """Break every open connection, as a restart of the server would."""
        for conversation in list(self._open):
            if conversation.transport is not None:
                # Early 3.11: asyncio cannot abort a TLS transport that was closed twice. It is gone by then.
                with suppress(AttributeError):
                    cast("asyncio.WriteTransport", conversation.transport).abort()

    async def act(self, conversation: _Conversation, stage: Stage) -> bool:
        """Do what is scripted for `stage`; tell whether the conversation goes on as usual."""
        reply = await self._scripted_reply(conversation, stage)
        if reply is not None:
            await conversation.push(reply)
        return reply is None

    async def _scripted_reply(self, conversation: SMTP, stage: Stage) -> str | None:
        action = self.at.get(stage)
        if isinstance(action, list):
            action = action.pop(0) if action else None
        if action is not None:
            self.reached.append(stage)
            self._announce()
        if isinstance(action, Fault):
            if action is DROP:
                cast("asyncio.WriteTransport", conversation.transport).abort()
            await asyncio.Event().wait()  # ended by aiosmtpd, which cancels this when the connection is lost
        if isinstance(action, asyncio.Event):
            await action.wait()
            return None
        return action if isinstance(action, str) else None

    def opened(self, conversation: _Conversation) -> int:
        self.connections += 1
        self._open[conversation] = 0
        self.most_open = max(self.most_open, len(self._open))
        return self.connections

    def closed(self, conversation: _Conversation) -> None:
        self._open.pop(conversation, None)
        self._announce()

    def _announce(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _note(self, command: str) -> None:
        self.commands.append(command)
        self._announce()

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins += 1
        good = self.users is not None and self.users.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=good, handled=False, auth_data=data)

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self._note(f"EHLO {hostname}")
        reply = await self._scripted_reply(server, Stage.EHLO)
        if reply is not None:
            return [reply]
        session.host_name = hostname
        hidden = self.hidden if self.users is not None else self.hidden | {"AUTH"}
        name, *offered = responses
        if self.pipelining:  # aiosmtpd hears it, and does not say so
            offered.insert(0, "250-PIPELINING")
        return [name, *(line for line in offered if line[4:].split()[0] not in hidden)]

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: _Conversation, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._note(f"MAIL {address}")
        reply = await self._scripted_reply(server, Stage.MAIL)
        if reply is not None:
            return reply
        if self.users is not None and not session.authenticated:
            return "530 5.7.0 authentication required"
        if self.mails_per_connection is not None and self._open.get(server, 0) >= self.mails_per_connection:
            cast("asyncio.Transport", server.transport).write(
                b"421 4.7.0 too many mails on this connection\r\n"
            )
            cast("asyncio.Transport", server.transport).close()
            await asyncio.Event().wait()  # ended by the connection's end
        envelope.mail_from = address or "<>"  # an empty one is none to aiosmtpd
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender ok"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._note(f"RCPT {address}")
        reply = await self._scripted_reply(server, Stage.RCPT)
        if reply is None:
            reply = self.refusals.get(address.partition("@")[0].partition("+")[0])
        if reply is not None:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: _Conversation, session: Session, envelope: Envelope
    ) -> str:
        reply = await self._scripted_reply(server, Stage.DOT)
        if reply is not None:
            return reply
        self._record(server, session, envelope)
        self._announce()
        reply = await self._scripted_reply(server, Stage.ACCEPTED)
        return reply or f"250 2.0.0 queued as {len(self.received)}"

    def _record(self, server: _Conversation, session: Session, envelope: Envelope) -> None:
        assert isinstance(envelope.original_content, bytes)
        login = cast("object", session.auth_data)
        transport = cast("asyncio.BaseTransport", server.transport)
        if server in self._open:
            self._open[server] += 1
        self.received.append(
            Received(
                mail_from=(envelope.mail_from or "").removeprefix("<>"),
                rcpt_tos=tuple(envelope.rcpt_tos),
                mail_options=tuple(envelope.mail_options),
                content=bytes(envelope.original_content),
                connection=server.number,
                tls=transport.get_extra_info("sslcontext") is not None,
                user=login.login.decode() if isinstance(login, LoginPassword) else None,
            )
        )

    async def handle_RSET(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self._note("RSET")
        return await self._scripted_reply(server, Stage.RSET) or "250 2.0.0 flushed"

    async def handle_NOOP(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, arg: str | None
    ) -> str:
        self._note("NOOP")
        return await self._scripted_reply(server, Stage.NOOP) or "250 2.0.0 ok"

    async def handle_QUIT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self._note("QUIT")
        return await self._scripted_reply(server, Stage.QUIT) or "221 2.0.0 bye"

    def _prepare_tls(self) -> None:
        authority = trustme.CA()
        self.ca_pem = authority.cert_pem.bytes().decode()
        self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*self.certificate_names).configure_cert(self.tls_context)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SmtpServer]:
        """Listen on a port of the system's choice until the block ends."""
        if self.tls is not None:
            self._prepare_tls()
        listener = await asyncio.get_running_loop().create_server(
            lambda: _Conversation(self),
            self.host,
            self.port,
            ssl=self.tls_context if self.tls == "ssl" else None,
        )
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            self.drop_all()
            await self.wait_closed()
            await listener.wait_closed()


def account_for(server: SmtpServer | ScriptedServer) -> Account:
    """Make an account that speaks to the server as it wants, without a login."""
    account = Account(tenant_id="acme", id="main", host=server.host, port=server.port, tls=TlsMode.NONE)
    if isinstance(server, SmtpServer) and server.tls is not None:
        return replace(account, tls=TlsMode(server.tls), tls_ca=server.ca_pem)
    return account
