"""The delivery agent: one message, one conversation, one verdict for each recipient.

It never schedules and never raises for what a server or the network does: that is in the `Outcome`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mail_proxy.addresses import AddressPolicy
from mail_proxy.clock import Clock
from mail_proxy.errors import InvalidInput
from mail_proxy.model.accounts import Account
from mail_proxy.model.verdicts import Bounced, Deferred, Outcome, Scope, Verdict
from mail_proxy.smtp import sandbox
from mail_proxy.smtp.addresses import wire_address
from mail_proxy.smtp.lending import Lent
from mail_proxy.smtp.pool import CalledOff, Pool
from mail_proxy.smtp.transport import GO_AHEAD, POSITIVE, Connection, Dialer, Timeouts, open_connection
from mail_proxy.smtp.verdict import Broken, Failure, Phase, Reply, Trouble, is_too_many, judge, printable

log = logging.getLogger(__name__)

GROUP = 100
"""Commands said in one go at most, so that "too many recipients" is heard before thousands are named."""

MOST_RIDING = 5
"""Recipients at most of a message that begins along with the end of another's content."""

_GO_AHEAD = range(GO_AHEAD, GO_AHEAD + 1)


class FinalStep(Protocol):
    """What a delivery asks before it does what cannot be undone."""

    async def begin(self) -> None:
        """Take note that the content goes out now; called at most once.

        What it raises ends the attempt, with nothing sent, and comes out of `deliver`.
        """

    def holds(self) -> bool:
        """Tell whether the message still is ours to send; asked before each piece of the content."""
        ...

    def is_called_off(self) -> bool:
        """Tell whether it is not to be sent now after all; asked while it waits for a connection."""
        ...


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for each message
class Envelope:
    """`sender` is the return path, empty for none. `needs_smtputf8` speaks of the content's header;
    addresses here that need it are seen.
    """

    sender: str
    recipients: tuple[str, ...]
    needs_smtputf8: bool = False


class DeliveryAgent:
    """Delivers for all accounts, keeping their connections. Ended by `close`.

    Addresses of servers that a tenant gave must be admitted by `policy` (None: public ones are).
    Accounts with host ``sandbox`` deliver into `sandbox_dir`.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        max_concurrent_per_account: int,
        sandbox_dir: Path | None,
        clock: Clock,
        hostname: str | None = None,
        policy: AddressPolicy | None = None,
    ) -> None:
        self._dialer = Dialer(timeouts=timeouts, hostname=hostname, policy=policy or AddressPolicy())
        self._sandbox_dir = sandbox_dir
        self._pool = Pool(
            lambda account: open_connection(account, self._dialer),
            default_limit=max_concurrent_per_account,
            clock=clock,
        )

    def reconfigure(
        self, *, timeouts: Timeouts, max_concurrent_per_account: int, policy: AddressPolicy
    ) -> None:
        """Take what can change without a restart; connections that are open stay what they are."""
        self._dialer = replace(self._dialer, timeouts=timeouts, policy=policy)
        self._pool.default_limit = max_concurrent_per_account

    @property
    def open_connections(self) -> int:
        """The number of connections to servers, idle ones included."""
        return self._pool.open_connections

    async def deliver(
        self, account: Account, envelope: Envelope, content: bytes, *, final: FinalStep
    ) -> Outcome:
        """Try to deliver `content` to the envelope's recipients.

        `final` is begun once the server waits for the content for at least one of them, the last moment at
        which nothing has happened yet. Raises `CalledOff` if it was, while the message waited.
        """
        if account.is_sandbox:
            recipients = tuple(dict.fromkeys(envelope.recipients))
            return await sandbox.deliver(self._sandbox_dir, envelope.sender, recipients, content, final)
        attempt = _Attempt(envelope, content, final)
        if attempt.is_open:
            try:
                await self._converse(account, attempt)
            except Broken as broken:
                attempt.tells_of_server = True
                attempt.settle_open(judge(broken.phase, broken.cause))
            except CalledOff:
                raise
            except Exception as error:
                if error is attempt.refusal:
                    raise
                # A bug that one message meets must not end the sending of all others.
                log.exception("unforeseen in a conversation with %s:%d", account.host, account.port)
                attempt.tells_of_server = False
                text = f"internal error: {type(error).__name__}"
                attempt.settle_open(Deferred(reply=text, scope=Scope.MESSAGE, unknown=attempt.has_begun))
        return attempt.outcome()

    async def close_account(self, tenant_id: str, account_id: str) -> None:
        """Close an account's connections: it was changed or deleted."""
        await self._pool.close_account(tenant_id, account_id)

    async def cleanup(self) -> None:
        """Close connections that have idled past their account's ttl: to be called now and then."""
        await self._pool.cleanup()

    async def close(self) -> None:
        """Close all connections; to be called when no delivery is under way."""
        await self._pool.close()

    async def _converse(self, account: Account, attempt: _Attempt) -> None:
        lent = await self._pool.lend(account, attempt)
        try:
            try:
                await attempt.converse(lent)
                if lent.is_shared and attempt.is_unwelcome:
                    self._pool.avoid_rides(account)
            except Broken as broken:
                if lent.is_shared and isinstance(broken.cause, Failure):
                    self._pool.avoid_rides(account)
                if lent.is_introduced:
                    attempt.forget()
                # A server may close a connection between two mails: that is no failure of this one.
                if not lent.is_reused or attempt.has_begun or not attempt.is_open:
                    raise
                await self._pool.renew(lent)
                await attempt.converse(lent)
        finally:
            self._pool.take_back(lent)


_Commands = deque[tuple[Phase, str, str]]
"""Phase, recipient if it names one, and the line."""


class _Attempt:
    """One message on its way through one conversation, or a second one if the first was stillborn.

    `has_begun` tells that the final step was begun, and `refusal` what that raised. `tells_of_server`: see
    `Outcome`.
    """

    def __init__(self, envelope: Envelope, content: bytes, final: FinalStep) -> None:
        self._content = content
        self._final = final
        self._introduced: _Commands = deque()
        self.has_begun = False
        self.tells_of_server = False
        self.refusal: Exception | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._recipients = dict.fromkeys(envelope.recipients)
        self._wire: dict[str, str] = {}
        for address in self._recipients:
            try:
                self._wire[address] = wire_address(address)
            except InvalidInput as error:
                self._verdicts[address] = Bounced(code="5.1.3", reply=printable(str(error)))
        self._sender = ""
        try:
            self._sender = wire_address(envelope.sender) if envelope.sender else ""
        except InvalidInput as error:
            refusal = Bounced(code="5.1.7", reply=printable(f"return path: {error}"), scope=Scope.MESSAGE)
            self.settle_open(refusal)
        self._needs_smtputf8 = envelope.needs_smtputf8 or not all(
            address.isascii() for address in (self._sender, *self._wire.values())
        )
        self._is_8bit = not content.isascii()

    @property
    def is_open(self) -> bool:
        """Whether some recipient has no verdict yet."""
        return len(self._verdicts) < len(self._recipients)

    def settle_open(self, verdict: Verdict) -> None:
        """Give the verdict to all recipients that have none."""
        for address in self._recipients:
            self._verdicts.setdefault(address, verdict)

    def forget(self) -> None:
        """Begin anew: what a server said may have been said of another message."""
        for address in self._wire:
            self._verdicts.pop(address, None)

    def outcome(self) -> Outcome:
        return Outcome(verdicts=self._verdicts, tells_of_server=self.tells_of_server)

    @property
    def is_called_off(self) -> bool:
        """See `Rider`."""
        return self._final.is_called_off()

    def introduction(self, connection: Connection) -> Sequence[str]:
        """See `Rider`."""
        is_small = len(self._recipients) <= MOST_RIDING and connection.offers("PIPELINING")
        if not is_small or self.is_called_off or self._obstacle(connection) is not None:
            return ()
        self._introduced = self._commands(connection)
        return [line for _, _, line in self._introduced]

    async def converse(self, lent: Lent) -> None:
        """Go from MAIL to the reply to the final dot, as far as the server lets us. Raises `Broken`."""
        connection = lent.connection
        obstacle = self._obstacle(connection)
        # What keeps a message from being said on a connection kept from before says nothing of now.
        self.tells_of_server = obstacle is None or not lent.is_reused
        if obstacle is not None:
            self.settle_open(obstacle)
            return
        reply = await self._introduce(lent)
        if reply is None or reply.is_negative:
            if reply is not None:
                self.settle_open(judge(Phase.DATA, reply))
            is_in_step = not self.is_unwelcome and await connection.reset()
            if lent.is_introduced and not is_in_step:
                # Refused for coming too soon, or by a reply to something else: that is for it to say again.
                raise connection.broken(Phase.DATA, Failure(Trouble.GARBLED))
        elif self.is_open:
            lent.is_introduced = False
            await self._send(lent)
        else:
            # It waits for a message to nobody, and even an empty one might be taken for a mail.
            connection.abort()
        if self.is_unwelcome and lent.has_boarded:
            connection.abort()  # it may take what we say for the content of the next mail
        elif self.is_unwelcome:
            await connection.quit()

    @property
    def is_unwelcome(self) -> bool:
        """Whether the server has enough of this connection: the next message would be told the same."""
        deferred = [each for each in self._verdicts.values() if isinstance(each, Deferred)]
        return any(each.scope is Scope.CONNECTION for each in deferred)

    def _obstacle(self, connection: Connection) -> Bounced | None:
        """Find what keeps this message from being sent to this server, whatever it would answer."""
        size, limit = len(self._content), connection.max_size
        if limit is not None and size > limit:
            text = f"the message has {size} bytes, the server takes at most {limit}"
            return Bounced(code="5.3.4", reply=text, scope=Scope.MESSAGE)
        if self._needs_smtputf8 and not connection.offers("SMTPUTF8"):
            text = "the message has internationalised addresses, and the server does not offer SMTPUTF8"
            return Bounced(code="5.6.7", reply=text, scope=Scope.MESSAGE)
        if self._is_8bit and not connection.offers("8BITMIME"):
            text = "the message has 8-bit content, and the server does not offer 8BITMIME"
            return Bounced(code="5.6.3", reply=text, scope=Scope.MESSAGE)
        return None

    def _commands(self, connection: Connection) -> _Commands:
        """List what comes before the content: MAIL, RCPT for each recipient that has no verdict, DATA."""
        mail = connection.mail(
            self._sender, size=len(self._content), is_8bit=self._is_8bit, smtputf8=self._needs_smtputf8
        )
        waiting = [address for address in self._recipients if address not in self._verdicts]
        commands = deque([(Phase.MAIL, "", mail)])
        commands += [(Phase.RCPT, address, f"RCPT TO:<{self._wire[address]}>") for address in waiting]
        commands.append((Phase.DATA, "", "DATA"))
        return commands

    async def _introduce(self, lent: Lent) -> Reply | None:
        """Say MAIL, RCPT and DATA, in groups where the server can; return the reply to DATA if said."""
        connection = lent.connection
        commands = self._introduced if lent.is_introduced else self._commands(connection)
        most = GROUP if connection.offers("PIPELINING") else 1
        reply = None
        while commands and self.is_open:
            group = [commands.popleft() for _ in range(min(most, len(commands)))]
            if lent.is_introduced:
                answers = await connection.answers()
            else:
                answers = await connection.ask(group[0][0], [command for _, _, command in group])
            for phase, address, _ in group:
                reply = answers.take(phase, _GO_AHEAD if phase is Phase.DATA else POSITIVE)
                if reply.is_negative and phase is not Phase.DATA:
                    self._refuse(phase, address, reply, commands)
        return None if commands else reply

    def _refuse(self, phase: Phase, address: str, reply: Reply, commands: _Commands) -> None:
        """Give the verdict of a refusal to those it concerns, be it that they wait in `commands`."""
        verdict = judge(phase, reply)
        if phase is Phase.MAIL:
            self.settle_open(verdict)
            return
        self._verdicts.setdefault(address, verdict)
        if is_too_many(reply):
            while commands and commands[0][0] is Phase.RCPT:
                self._verdicts.setdefault(commands.popleft()[1], verdict)

    async def _send(self, lent: Lent) -> None:
        """Send the content, for those accepted."""
        self.has_begun = True
        try:
            await self._final.begin()
        except Exception as error:
            self.refusal = error
            raise
        reply = await lent.connection.content(self._content, self._final.holds, lent.following)
        self.settle_open(judge(Phase.FINAL, reply))
