"""One attempt at a message: its content written, handed to the delivery agent, its begin put on record."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mail_proxy.daemon.circuits import CircuitKeeper
from mail_proxy.daemon.journal import Journal
from mail_proxy.daemon.lanes import Lane, Sign
from mail_proxy.daemon.leases import Leases
from mail_proxy.daemon.preparation import Preparer
from mail_proxy.daemon.recording import Attempted, about
from mail_proxy.model.accounts import Account
from mail_proxy.model.queue import Begin, Claimed
from mail_proxy.model.verdicts import Bounced, Outcome
from mail_proxy.smtp.agent import DeliveryAgent
from mail_proxy.smtp.pool import CalledOff

log = logging.getLogger(__name__)


class NotToBeSent(Exception):
    """The message was suspended meanwhile, or may be another node's by now."""


@dataclass(frozen=True, slots=True)
class _FinalStep:
    """Puts on record that a message goes out now, and asks for its lease while it does."""

    claimed: Claimed
    account: Account
    journal: Journal
    leases: Leases
    lane: Lane
    recalls: int

    async def begin(self) -> None:
        account, claimed = self.account, self.claimed
        where = "sandbox" if account.is_sandbox else f"{account.host}:{account.port}"
        if not await self.journal.begin(Begin(claimed.seq, claimed.tenant_id, f"handing over to {where}")):
            raise NotToBeSent

    def holds(self) -> bool:
        return self.leases.holds(self.claimed.seq)

    def is_called_off(self) -> bool:
        return self.lane.recalls != self.recalls


class Attempts:
    def __init__(
        self,
        *,
        preparer: Preparer,
        agent: DeliveryAgent,
        journal: Journal,
        leases: Leases,
        circuits: CircuitKeeper,
    ) -> None:
        self._preparer = preparer
        self._agent = agent
        self._journal = journal
        self._leases = leases
        self._circuits = circuits

    async def make(self, claimed: Claimed, account: Account, lane: Lane) -> Attempted | None:
        """Hand the message to the delivery agent; None when it was not to be sent after all.

        If the account has failed, that is noted before this returns. Raises `DatabaseError`; then nothing was
        transmitted.
        """
        prepared = await self._preparer.prepare(claimed)
        if isinstance(prepared, Bounced):
            return Attempted(Outcome.same(_open_addresses(claimed), prepared))
        try:
            outcome = await self._agent.deliver(
                account,
                prepared.envelope,
                prepared.content,
                final=_FinalStep(claimed, account, self._journal, self._leases, lane, lane.recalls),
            )
        except CalledOff:
            return None  # the account has failed, or sending has ended: told once, not for each message
        except NotToBeSent:
            text = "message %s is not sent now: it was suspended, or its lease was lost"
            log.info(text, claimed.id, extra=about(claimed))
            return None
        sign = lane.learn(outcome)
        if sign is Sign.FAILING:  # noted before the turn goes to the next message, which would fail as well
            await self._circuits.trip(account, lane, outcome)
        return Attempted(outcome, has_recovered=sign is Sign.WORKING)


def _open_addresses(claimed: Claimed) -> tuple[str, ...]:
    return tuple(each.address for each in claimed.recipients if each.status.is_open)
