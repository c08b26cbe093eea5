"""One SMTP connection, command by command: the only module that knows aiosmtplib.

A command returns the server's `Reply`, positive or negative. When there is none, or the connection is
of no more use (421, an answer that fits no question), `Broken` is raised and the connection is closed.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from mail_proxy.addresses import AddressPolicy
from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.net import Resolver, resolve_by_system
from mail_proxy.smtp.dial import dial, failure_of, may_say_password, server_name, tls_context
from mail_proxy.smtp.framing import wire_pieces
from mail_proxy.smtp.verdict import Broken, Failure, Phase, Reply, Trouble, is_too_many

if TYPE_CHECKING:
    from aiosmtplib import SMTPResponse

CHECK_WAIT = 5.0
"""Seconds that a server has for NOOP, RSET and QUIT, on which no message depends."""

SHUTTING_DOWN = 421
GO_AHEAD = 354
POSITIVE = range(200, 300)

# Replies to AUTH that speak of the mechanism, not of the password (RFC 4954, 4 and 6).
_MECHANISM_REPLIES = frozenset({500, 501, 502, 503, 504})
_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870, 4; Python refuses to read a number of thousands of digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that each step of a conversation may take (RFC 5321, 4.5.3.2).

    `data` is for each piece of the content, `final` for the reply to the final dot.
    """

    connect: float = 30.0
    command: float = 60.0
    data: float = 300.0
    final: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """What opening a connection needs besides the account.

    `hostname` is said in EHLO (None: the machine's); `policy` rules the addresses that tenants give.
    """

    timeouts: Timeouts
    hostname: str | None = None
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    resolve: Resolver = resolve_by_system


class _Wire(SMTPProtocol):
    """aiosmtplib's protocol, with flow control, and an ear for the server while content is being sent.

    Pipelining belongs here: the base class keeps one reply and drops what comes unasked.
    """

    async def push(self, data: bytes, wait: float) -> None:
        """Write, and wait until the system has taken everything; raises OSError if it has not."""
        self.write(data)
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        async with asyncio.timeout(wait):
            await self._drain_helper()
        if self._connection_lost and self._paused:
            raise ConnectionResetError

    @property
    def is_ahead(self) -> bool:
        """Whether the server has said more than it was asked: its next reply would be taken for another."""
        return bool(self._buffer)

    def listen(self) -> None:
        """Keep what the server says from now on, although no command awaits it."""
        self._response_pending = True

    def heard(self) -> SMTPResponse | None:
        """Return what the server has said since `listen`, if it is a complete reply."""
        waiter = self._response_waiter
        if waiter is None or not waiter.done() or waiter.exception() is not None:
            return None
        return waiter.result()


class Connection:
    """An SMTP session, greeted and logged in. Make one with `open_connection`."""

    def __init__(self, client: aiosmtplib.SMTP, wire: _Wire, timeouts: Timeouts) -> None:
        self._client = client
        self._wire = wire
        self._timeouts = timeouts
        self._in_transaction = False

    @property
    def is_at_rest(self) -> bool:
        """Whether the next transaction can begin: open, and none is under way."""
        return self.is_open and not self._in_transaction and not self._wire.is_ahead

    @property
    def is_open(self) -> bool:
        return self._wire.is_connected

    @property
    def is_encrypted(self) -> bool:
        return self.is_open and self._client.get_transport_info("sslcontext") is not None

    @property
    def max_size(self) -> int | None:
        """The largest message in bytes that the server takes (RFC 1870); None if it does not tell."""
        size = self._client.esmtp_extensions.get("size", "").strip()
        return int(size) or None if _SIZE.fullmatch(size) else None

    def offers(self, extension: str) -> bool:
        """Tell whether the server's EHLO named the extension."""
        return self._client.supports_extension(extension)

    async def mail(self, sender: str, *, size: int, is_8bit: bool, smtputf8: bool) -> Reply:
        """Begin a transaction; what the server does not offer is not said."""
        options = [
            f"SIZE={size}" if self.offers("SIZE") else "",
            "BODY=8BITMIME" if is_8bit and self.offers("8BITMIME") else "",
            "SMTPUTF8" if smtputf8 else "",
        ]
        reply = await self._command(Phase.MAIL, "MAIL", f"FROM:<{sender}>", *filter(None, options))
        self._in_transaction = reply.is_positive
        return reply

    async def recipients(self, addresses: Iterable[str]) -> AsyncIterator[Reply]:
        """Name the recipients, yielding the reply to each; ends early when the server takes no more."""
        for address in addresses:
            reply = await self._command(Phase.RCPT, "RCPT", f"TO:<{address}>")
            yield reply
            if is_too_many(reply):
                return

    async def data(self) -> Reply:
        """Ask to send the content; only after a reply of 354 may it follow."""
        return await self._command(Phase.DATA, "DATA", expected=range(GO_AHEAD, GO_AHEAD + 1))

    async def content(self, content: bytes) -> Reply:
        """Send the content and the final dot, and return the reply to them.

        The phase of what is raised tells whether the dot had left (`FINAL`) or not (`CONTENT`).
        """
        self._require_in_step(Phase.CONTENT)
        self._wire.listen()
        try:
            for piece in wire_pieces(content):
                if self._wire.heard() is not None:
                    break
                await self._wire.push(piece, self._timeouts.data)
            else:
                return await self._final_reply()
        except OSError as error:
            cause: Reply | Failure = _failure(error)
        else:
            cause = Failure(Trouble.LOST)
        early = self._wire.heard()
        self.abort()
        raise Broken(Phase.CONTENT, cause if early is None else _reply(early))

    async def _final_reply(self) -> Reply:
        with self._translating(Phase.FINAL):
            reply = _reply(await self._wire.read_response(timeout=self._timeouts.final))
            self._in_transaction = False
            return _usable(Phase.FINAL, reply, POSITIVE)

    async def reset(self) -> None:
        """Give up the transaction, and the connection too if the server does not let go."""
        if self.is_open and await self._check("RSET"):
            self._in_transaction = False

    async def is_alive(self) -> bool:
        """Ask the server for a sign of life."""
        return self.is_open and await self._check("NOOP")

    async def quit(self) -> None:
        """Take leave, and close whether or not the server answers."""
        if self.is_open:
            await self._check("QUIT")
        self.abort()

    def abort(self) -> None:
        """Close at once; what was written and has not left will not leave."""
        transport = self._wire.transport
        if transport is not None:
            cast("asyncio.WriteTransport", transport).abort()
        self._client.close()

    async def _check(self, command: str) -> bool:
        wait = min(CHECK_WAIT, self._timeouts.command)
        try:
            reply = await self._command(Phase.MAIL, command, wait=wait)
        except Broken:
            return False
        if not reply.is_positive:
            self.abort()
        return reply.is_positive

    async def _command(
        self, phase: Phase, *words: str, expected: range = POSITIVE, wait: float | None = None
    ) -> Reply:
        encoded = (word.encode() for word in words)
        self._require_in_step(phase)
        with self._translating(phase):
            reply = _reply(
                await self._client.execute_command(*encoded, timeout=wait or self._timeouts.command)
            )
            return _usable(phase, reply, expected)

    def _require_in_step(self, phase: Phase) -> None:
        if self._wire.is_ahead:
            self.abort()
            raise Broken(phase, Failure(Trouble.GARBLED, "it said more than it was asked"))

    @contextmanager
    def _translating(self, phase: Phase) -> Iterator[None]:
        """Turn whatever aiosmtplib and the system raise into `Broken`; whatever is raised, hang up."""
        try:
            yield
        except (OSError, ValueError, aiosmtplib.SMTPException) as error:
            self.abort()
            raise Broken(phase, _failure(error)) from error
        except BaseException:
            self.abort()
            raise

    # Opening

    async def greet(self, account: Account, hostname: str | None) -> None:
        """Go from the server's greeting to a session that can take mail: EHLO, STARTTLS, AUTH."""
        with self._translating(Phase.GREETING):
            greeting = _reply(await self._wire.read_response(timeout=self._timeouts.command))
            if not greeting.is_positive:
                raise Broken(Phase.GREETING, greeting)
            self._client.local_hostname = hostname or self._own_name()
        await self._hello()
        if account.effective_tls is TlsMode.STARTTLS:
            await self._start_tls(account)
            await self._hello()
        with self._translating(Phase.AUTH):
            self._limit_buffer()
            if account.user:
                await self._login(account, account.user, account.password or "")

    def _limit_buffer(self) -> None:
        """Have `push` wait for each byte: what is in our own buffers has not been sent."""
        if self._wire.transport is None:
            raise ConnectionResetError
        cast("asyncio.WriteTransport", self._wire.transport).set_write_buffer_limits(high=1)

    def _own_name(self) -> str:
        name = socket.gethostname()
        if _HOST_NAME.fullmatch(name):
            return name
        own = self._client.get_transport_info("sockname")[0]
        return f"[IPv6:{own}]" if ":" in own else f"[{own}]"

    async def _hello(self) -> None:
        with self._translating(Phase.HELLO):
            try:
                await self._client.ehlo(timeout=self._timeouts.command)
            except aiosmtplib.SMTPHeloError as error:
                if error.code < 500 or not self.is_open:
                    raise
                await self._client.helo(timeout=self._timeouts.command)

    async def _start_tls(self, account: Account) -> None:
        with self._translating(Phase.STARTTLS):
            if not self.offers("STARTTLS"):
                raise Broken(Phase.STARTTLS, Failure(Trouble.NO_STARTTLS))
            await self._client.starttls(
                tls_context=await tls_context(account),
                server_hostname=server_name(account),
                timeout=self._timeouts.command,
            )

    async def _login(self, account: Account, user: str, password: str) -> None:
        peer = self._client.get_transport_info("peername")[0]
        if not may_say_password(account, peer, is_encrypted=self.is_encrypted):
            raise Broken(Phase.AUTH, Failure(Trouble.UNENCRYPTED))
        refusal: Reply | Failure = Failure(Trouble.NO_AUTH, " ".join(self._client.server_auth_methods))
        for mechanism in self._mechanisms():
            answer = await self._authenticate(mechanism, user, password)
            if answer.is_positive:
                return
            refusal = answer
            # A server may hold no plain text of the password, which CRAM-MD5 needs: that says nothing yet.
            if not self.is_open or (mechanism != "cram-md5" and answer.code not in _MECHANISM_REPLIES):
                break
        raise Broken(Phase.AUTH, refusal)

    def _mechanisms(self) -> list[str]:
        """The mechanisms to try, in order: in clear, first the one that does not show the password."""
        known = ["plain", "login", "cram-md5"] if self.is_encrypted else ["cram-md5", "plain", "login"]
        return [mechanism for mechanism in known if mechanism in self._client.server_auth_methods]

    async def _authenticate(self, mechanism: str, user: str, password: str) -> Reply:
        methods = {
            "plain": self._client.auth_plain,
            "login": self._client.auth_login,
            "cram-md5": self._client.auth_crammd5,
        }
        try:
            return _reply(await methods[mechanism](user, password, timeout=self._timeouts.command))
        except aiosmtplib.SMTPAuthenticationError as error:
            return Reply(error.code, error.message)


async def open_connection(account: Account, dialer: Dialer) -> Connection:
    """Connect, greet, encrypt and log in as the account says. Raises `Broken`."""
    loop = asyncio.get_running_loop()
    implicit = account.effective_tls is TlsMode.SSL
    transport, wire = await dial(
        account,
        lambda: _Wire(loop=loop),
        tls=await tls_context(account) if implicit else None,
        policy=dialer.policy,
        resolve=dialer.resolve,
        wait=dialer.timeouts.connect,
    )
    client = aiosmtplib.SMTP(hostname=account.host, timeout=dialer.timeouts.command)
    client.protocol, client.transport = wire, transport
    connection = Connection(client, wire, dialer.timeouts)
    await connection.greet(account, dialer.hostname)
    return connection


def _reply(response: SMTPResponse) -> Reply:
    return Reply(response.code, response.message)


def _usable(phase: Phase, reply: Reply, expected: range) -> Reply:
    """Return the reply unless it ends the session, or leaves unclear what state it is in."""
    if reply.code == SHUTTING_DOWN:
        raise Broken(phase, reply)
    if reply.code not in expected and not reply.is_negative:
        raise Broken(phase, Failure(Trouble.GARBLED, f"{reply.code} {reply.text}"))
    return reply


def _failure(error: Exception) -> Reply | Failure:
    """Map an exception of aiosmtplib or of the system to what it means."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        if error.code > 0:
            return Reply(error.code, error.message)
        return Failure(Trouble.GARBLED, error.message)
    if isinstance(error, ConnectionError):
        cause = error.__cause__
        return Failure(Trouble.LOST, (cause.strerror or "") if isinstance(cause, OSError) else "")
    if isinstance(error, OSError):
        return failure_of(error)
    if isinstance(error, ValueError):
        return Failure(Trouble.SETTINGS, str(error))
    return Failure(Trouble.GARBLED, str(error))
