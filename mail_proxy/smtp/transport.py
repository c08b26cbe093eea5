"""One SMTP connection: opened by aiosmtplib, which only this module and `wire` know, then ours.

A command is answered by the server's `Reply`, positive or negative. When there is none, or the connection is
of no more use (421, an answer that fits no question), `Broken` is raised and the connection is closed.
"""

from __future__ import annotations

import asyncio
import re
import socket
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import aiosmtplib
from aiosmtplib.auth import auth_crammd5_verify

from mail_proxy.addresses import AddressPolicy
from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.net import Resolver, resolve_by_system
from mail_proxy.smtp.dial import dial, failure_of, may_say_password, server_name, tls_context
from mail_proxy.smtp.framing import wire_pieces
from mail_proxy.smtp.verdict import Broken, Failure, Phase, Reply, Trouble
from mail_proxy.smtp.wire import SHUTTING_DOWN, Wire

if TYPE_CHECKING:
    from aiosmtplib import SMTPResponse

CHECK_WAIT = 5.0
"""Seconds that a server has for NOOP, RSET and QUIT, on which no message depends."""

CHALLENGE = 334
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


class Answers:
    """The replies to a group of commands, to be taken in the order of the commands."""

    def __init__(self, connection: Connection, replies: Sequence[Reply], fault: Failure | None) -> None:
        self._connection = connection
        self._replies = replies
        self._fault = fault
        self._taken = 0

    def take(self, phase: Phase, expected: range = POSITIVE) -> Reply:
        """Return the reply to the next command. Raises `Broken` if there is none that can be used."""
        if self._taken == len(self._replies):
            raise self._connection.broken(phase, self._fault or Failure(Trouble.LOST))
        reply = self._replies[self._taken]
        self._taken += 1
        if reply.code == SHUTTING_DOWN:
            raise self._connection.broken(phase, reply)
        if reply.code not in expected and not reply.is_negative:
            garbled = Failure(Trouble.GARBLED, f"{reply.code} {reply.text}")  # who knows what state it is in
            raise self._connection.broken(phase, garbled)
        return reply


class Connection:
    """An SMTP session, greeted and logged in. Make one with `open_connection`.

    `max_size` is the largest message in bytes that the server takes (RFC 1870); None if it does not tell.
    """

    def __init__(self, client: aiosmtplib.SMTP, wire: Wire, timeouts: Timeouts) -> None:
        self._client = client
        self._wire = wire
        self._timeouts = timeouts
        self._in_transaction = False
        self._extensions: frozenset[str] = frozenset()
        self.max_size: int | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether the next transaction can begin: open, and none is under way."""
        return self.is_open and not self._in_transaction and not self._wire.is_ahead

    @property
    def is_open(self) -> bool:
        return self._wire.fault is None and self._wire.is_connected

    @property
    def has_failed(self) -> bool:
        """Whether the server has ended it, or said what is no reply, in time or at all."""
        return self._wire.fault is not None

    @property
    def is_encrypted(self) -> bool:
        return self.is_open and self._client.get_transport_info("sslcontext") is not None

    def offers(self, extension: str) -> bool:
        """Tell whether the server's EHLO named the extension, written in capitals."""
        return extension in self._extensions

    def mail(self, sender: str, *, size: int, is_8bit: bool, smtputf8: bool) -> str:
        """Write the command that begins a transaction; what the server does not offer is not said."""
        size_told = f" SIZE={size}" if "SIZE" in self._extensions else ""
        body = " BODY=8BITMIME" if is_8bit and "8BITMIME" in self._extensions else ""
        utf8 = " SMTPUTF8" if smtputf8 else ""
        return f"MAIL FROM:<{sender}>{size_told}{body}{utf8}"

    async def ask(self, phase: Phase, commands: Sequence[str]) -> Answers:
        """Say commands of a transaction in one go, the first at `phase`, and wait for the replies to them.

        More than one may be said only to a server that offers PIPELINING (RFC 2920), DATA the last of them.
        """
        self._in_transaction = True
        return await self._ask(phase, commands, self._timeouts.command)

    async def content(
        self, content: bytes, may_go_on: Callable[[], bool], following: Callable[[], Sequence[str]]
    ) -> Reply:
        """Send the content and the final dot, and return the reply to them.

        `may_go_on` is asked before each piece. What `following` gives when the last of them leaves is said
        along with it (RFC 2920, 3.1): see `answers`. The phase of what is raised tells whether the dot had
        left (`FINAL`) or not (`CONTENT`).
        """
        self._require_in_step(Phase.CONTENT)
        wire, patience = self._wire, self._timeouts
        wire.expect(1)
        pieces = wire_pieces(content)
        piece, rest = next(pieces), next(pieces, None)
        while True:
            await wire.drain(patience.data)
            if wire.fault is not None or wire.replies:
                raise self._cut_short()
            if not may_go_on():
                raise self.broken(Phase.CONTENT, Failure(Trouble.SLEPT))
            if rest is None:
                break
            wire.send(piece)
            piece, rest = rest, next(pieces, None)
        said = following()
        wire.expect_more(len(said))
        wire.send(piece + _lines(said) if said else piece)
        if wire.fault is not None:  # nothing of the last piece has left
            raise self._cut_short()
        await wire.hear_final(patience.data, patience.final)
        if wire.has_unsent and not said:  # else who knows whether the dot has left
            raise self._cut_short()
        reply = Answers(self, wire.replies[:1], wire.fault).take(Phase.FINAL)
        self._in_transaction = bool(said)
        return reply

    async def answers(self) -> Answers:
        """Wait for the replies to what was said along with the content before."""
        self._wire.want_all()
        try:
            await self._wire.hear(self._timeouts.command)
        except BaseException:
            self.abort()
            raise
        return Answers(self, self._wire.replies[1:], self._wire.fault)

    def _cut_short(self) -> Broken:
        """Close amid the content, and tell why: a reply, or a fault."""
        cause = self._wire.replies[0] if self._wire.replies else self._wire.fault
        return self.broken(Phase.CONTENT, cause or Failure(Trouble.LOST))

    async def reset(self) -> bool:
        """Give up the transaction; False if the server does not let go, which costs the connection too."""
        if self.is_open and await self._check("RSET"):
            self._in_transaction = False
            return True
        return False

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

    def broken(self, phase: Phase, cause: Reply | Failure) -> Broken:
        """Close, and tell why."""
        self.abort()
        return Broken(phase, cause)

    async def _check(self, command: str) -> bool:
        try:
            answers = await self._ask(Phase.MAIL, [command], min(CHECK_WAIT, self._timeouts.command))
            reply = answers.take(Phase.MAIL)
        except Broken:
            return False
        if not reply.is_positive:
            self.abort()
        return reply.is_positive

    async def _ask(self, phase: Phase, commands: Sequence[str], patience: float) -> Answers:
        data = _lines(commands)
        self._require_in_step(phase)
        wire = self._wire
        wire.expect(len(commands))
        try:
            wire.send(data)
            await wire.hear(patience)
        except BaseException:
            self.abort()
            raise
        return Answers(self, wire.replies[: len(commands)], wire.fault)

    def _require_in_step(self, phase: Phase) -> None:
        if self._wire.is_ahead:
            surplus = self._wire.surplus
            if surplus is not None and surplus.code == SHUTTING_DOWN:
                raise self.broken(phase, surplus)
            raise self.broken(phase, Failure(Trouble.GARBLED, "it said more than it was asked"))

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
            if account.user:
                await self._login(account, account.user, account.password or "")
            offered = self._client.esmtp_extensions
            self._extensions = frozenset(name.upper() for name in offered)
            size = offered.get("size", "").strip()
            self.max_size = int(size) or None if _SIZE.fullmatch(size) else None
            self._wire.take_over()

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
            if not self._client.supports_extension("STARTTLS"):
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
            is_of_mechanism = mechanism == "cram-md5" or answer.code in _MECHANISM_REPLIES
            # One that wants to hear more would take the next command for that.
            if not self.is_open or not answer.is_negative or not is_of_mechanism:
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
            "cram-md5": self._answer_challenge,
        }
        try:
            return _reply(await methods[mechanism](user, password, timeout=self._timeouts.command))
        except aiosmtplib.SMTPAuthenticationError as error:
            return Reply(error.code, error.message)

    async def _answer_challenge(self, user: str, password: str, *, timeout: float) -> SMTPResponse:
        """Log in by CRAM-MD5 (RFC 2195); a challenge that is not base64 is returned, and not answered.

        aiosmtplib would leave out what is not, and be told that the password is wrong.
        """
        response = await self._client.execute_command(b"AUTH", b"CRAM-MD5", timeout=timeout)
        if response.code != CHALLENGE or not _is_base64(response.message):
            return response
        proof = auth_crammd5_verify(user, password, response.message)
        return await self._client.execute_command(proof, timeout=timeout)


async def open_connection(account: Account, dialer: Dialer) -> Connection:
    """Connect, greet, encrypt and log in as the account says. Raises `Broken`."""
    loop = asyncio.get_running_loop()
    implicit = account.effective_tls is TlsMode.SSL
    transport, wire = await dial(
        account,
        lambda: Wire(loop),
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


def _lines(commands: Sequence[str]) -> bytes:
    data = "\r\n".join([*commands, ""]).encode()
    if data.count(b"\n") != len(commands):
        raise ValueError("a command with a line end in it")
    return data


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _reply(response: SMTPResponse) -> Reply:
    return Reply(response.code, response.message)


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
