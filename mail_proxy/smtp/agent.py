"""The delivery agent: one message, one conversation, one verdict for each recipient.

It never schedules and never raises for what a server or the network does: that is in the `Outcome`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mail_proxy.addresses import AddressPolicy
from mail_proxy.clock import Clock
from mail_proxy.errors import InvalidInput
from mail_proxy.model.accounts import Account
from mail_proxy.model.verdicts import Bounced, Outcome, Scope, Verdict
from mail_proxy.smtp import sandbox
from mail_proxy.smtp.addresses import parse_one
from mail_proxy.smtp.pool import Pool
from mail_proxy.smtp.transport import GO_AHEAD, Connection, Dialer, Timeouts, open_connection
from mail_proxy.smtp.verdict import Broken, Phase, judge, printable

BeforeData = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
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
        self, account: Account, envelope: Envelope, content: bytes, *, before_data: BeforeData
    ) -> Outcome:
        """Try to deliver `content` to the envelope's recipients.

        `before_data` is awaited at most once, right before DATA, the last moment at which nothing has
        happened yet: what it raises ends the attempt and comes out here.
        """
        if account.is_sandbox:
            recipients = tuple(dict.fromkeys(envelope.recipients))
            return await sandbox.deliver(self._sandbox_dir, envelope.sender, recipients, content, before_data)
        attempt = _Attempt(envelope, content, before_data)
        if attempt.is_open:
            try:
                await self._converse(account, attempt)
            except Broken as broken:
                attempt.settle_open(judge(broken.phase, broken.cause))
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
        async with self._pool.connection(account) as lent:
            try:
                await attempt.converse(lent.connection)
            except Broken:
                # A server may close a connection between two mails: that is no failure of this one.
                if not lent.is_reused or attempt.has_begun_data:
                    raise
                await attempt.converse(await lent.renew())


class _Attempt:
    """One message on its way through one conversation, or a second one if the first was stillborn."""

    def __init__(self, envelope: Envelope, content: bytes, before_data: BeforeData) -> None:
        self._content = content
        self._before_data = before_data
        self.has_begun_data = False
        self._verdicts: dict[str, Verdict] = {}
        self._recipients = dict.fromkeys(envelope.recipients)
        self._wire: dict[str, str] = {}
        for address in self._recipients:
            try:
                self._wire[address] = parse_one(address).wire_address
            except InvalidInput as error:
                self._verdicts[address] = Bounced(code="5.1.3", reply=printable(str(error)))
        self._sender = ""
        try:
            self._sender = parse_one(envelope.sender).wire_address if envelope.sender else ""
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

    def outcome(self) -> Outcome:
        return Outcome(verdicts=self._verdicts)

    async def converse(self, connection: Connection) -> None:
        """Go from MAIL to the reply to the final dot, as far as the server lets us. Raises `Broken`."""
        obstacle = self._obstacle(connection)
        if obstacle is not None:
            self.settle_open(obstacle)
            return
        reply = await connection.mail(
            self._sender, size=len(self._content), is_8bit=self._is_8bit, smtputf8=self._needs_smtputf8
        )
        if not reply.is_positive:
            self.settle_open(judge(Phase.MAIL, reply))
        elif await self._name_recipients(connection):
            await self._send(connection)
        else:
            await connection.reset()

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

    async def _name_recipients(self, connection: Connection) -> bool:
        """Say RCPT for each that has no verdict; tell whether somebody was accepted."""
        waiting = deque(address for address in self._recipients if address not in self._verdicts)
        accepted, refusal = False, None
        async for reply in connection.recipients([self._wire[address] for address in waiting]):
            address = waiting.popleft()
            if reply.is_positive:
                accepted = True
            else:
                refusal = self._verdicts[address] = judge(Phase.RCPT, reply)
        if refusal is not None:  # the server takes no more: what it said to the last goes for the rest
            self._verdicts |= dict.fromkeys(waiting, refusal)
        return accepted

    async def _send(self, connection: Connection) -> None:
        """Go through DATA, for those accepted."""
        self.has_begun_data = True
        try:
            await self._before_data()
        except Exception:
            await connection.reset()
            raise
        reply = await connection.data()
        if reply.code == GO_AHEAD:
            self.settle_open(judge(Phase.FINAL, await connection.content(self._content)))
        else:
            self.settle_open(judge(Phase.DATA, reply))
            await connection.reset()
