"""The circuit of an account: after failures it rests, the same for all nodes and after a restart.

When a rest is over, one claim on one node takes one message, which tries the account; its success closes the
circuit, its failure doubles the rest. What waits in line meanwhile keeps its place (`store/parking.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.model.accounts import CLOCK_SLACK, Account, Rest
from mail_proxy.model.messages import Priority, Status
from mail_proxy.model.queue import Parking
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Params, Row, Work
from mail_proxy.store.failures import fail
from mail_proxy.store.parking import HEADS, park
from mail_proxy.store.queries import load

SQL = load("circuit")

FIRST_REST = 30.0
LONGEST_REST = 900.0

LOOK_AGAIN = 5.0
"""Seconds after which to look whether another node's probe has ended, or somebody has changed the account."""

WAITING = "waiting for the account, which rests"

Place = tuple[int, int]
"""Where in the line of an account: the priority and the seq of a message."""

FRONT: Place = (-1, 0)
"""Before everybody."""

CHUNK = 125
"""Messages of each priority that become errors in one transaction."""


@dataclass(frozen=True, slots=True)
class Shut:
    """Nothing may be claimed of a lane; `until` is when to ask again."""

    until: float


@dataclass(frozen=True, slots=True)
class Probe:
    """One message of a lane may be claimed, and tries the account.

    `after` is the place in line of one that has just tried it in vain: the next has its turn.
    """

    after: Place = FRONT


@dataclass(frozen=True, slots=True)
class Tripped:
    """How an account rests that has failed; `is_news` tells that this rest has just begun."""

    rest: Rest | None
    is_news: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailing:
    """An account whose circuit is open. `ill_since` is Unix seconds."""

    lane: int
    tenant_id: str
    account_id: str
    last_error: str
    rest: Rest
    ill_since: float


class Circuits:
    """Times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def trip(self, account: Account, reason: str, now: float) -> Tripped:
        """Let an account rest that has failed: 30 s at first, then twice as long each time, at most 15 min.

        Nothing changes while it rests already, nor when it was changed since `account` was read.
        """
        return await self._database.write(self._trip, account, reason, now)

    async def mend(self, account: Account, now: float) -> bool:
        """Close the circuit of an account that has worked; return whether it was open.

        Nothing changes while it rests: what began before says nothing of how it fares now.
        """
        return await self._database.write(self._mend, account, now)

    async def ailing(self) -> list[Ailing]:
        """The accounts whose circuits are open."""
        return await self._database.read(self._found, "ailing", {})

    async def unparked(self, now: float) -> list[Ailing]:
        """Those of them that rest, with a message at the head of the line that does not say that it waits."""
        return await self._database.read(self._found, "unparked", {"now": now, "heads": HEADS})

    async def park(self, lane: int, now: float) -> int:
        """Let the heads of a line say that they wait for their account; return how many had not said so."""
        return await self._database.write(self._park, lane, now)

    async def overdue(self, before: float, now: float) -> list[Ailing]:
        """Those that rest, and for which a message has waited since `before`.

        An account whose rest is over is to be tried first: perhaps no server ran for a day.
        """
        params = {"before": before, "heads": HEADS, "now": now}
        return await self._database.read(self._found, "overdue", params)

    async def give_up(self, lane: int, before: float, error: str, now: float) -> int:
        """Make errors of what has waited for its account since `before`; return how many (some at a time)."""
        return await self._database.write(self._give_up, lane, before, error, now)

    def _trip(self, account: Account, reason: str, now: float) -> Work[Tripped]:
        rows = yield Call(SQL["lock"], {"lane": account.lane})
        if not rows or rows[0]["updated_at"] != account.updated_at:
            return Tripped(None, is_news=False)
        rest = shape.rest_of(rows[0])
        if rest is not None and rest.holds(now):
            return Tripped(rest, is_news=False)
        seconds = FIRST_REST if rest is None else min(rest.seconds * 2, LONGEST_REST)
        rest = Rest(seconds, now + seconds)
        opened = {"lane": account.lane, "rest": rest.seconds, "until": rest.until}
        yield Call(SQL["open"], opened | {"reason": reason, "now": now})
        return Tripped(rest, is_news=True)

    def _mend(self, account: Account, now: float) -> Work[bool]:
        known = {"lane": account.lane, "updated_at": account.updated_at, "now": now, "slack": CLOCK_SLACK}
        return bool((yield Call(SQL["close"], known)))

    def _found(self, query: str, params: Params) -> Work[list[Ailing]]:
        return [_ailing_of(row) for row in (yield Call(SQL[query], params))]

    def _park(self, lane: int, now: float) -> Work[int]:
        rows = yield Call(SQL["state"], {"lane": lane})
        rest = shape.rest_of(rows[0]) if rows else None
        if rest is None or not rest.holds(now):
            return 0
        reason, since = f"{WAITING}: {rows[0]['last_error']}", rows[0]["ill_since"]
        return (yield from park(lane, Parking.ACCOUNT, reason, rest.until, now, since=since))

    def _give_up(self, lane: int, before: float, error: str, now: float) -> Work[int]:
        rows: list[Row] = []
        for priority in Priority:
            place = {"lane": lane, "priority": priority.value, "before": before, "limit": CHUNK}
            rows += yield Call(SQL["waited_since"], place)
        yield from fail(rows, error, now)
        return len(rows)


def gate(lane: int, now: float) -> Work[Shut | Probe | None]:
    """See what the circuit of a lane lets through, None: everything.

    Whoever may take a probe is alone until the transaction ends.
    """
    rows = yield Call(SQL["state"], {"lane": lane})
    if rows and shape.rest_of(rows[0]) is not None:
        rows = yield Call(SQL["lock"], {"lane": lane})
    rest = shape.rest_of(rows[0]) if rows else None
    if rest is None:
        return None
    if rest.holds(now):
        return Shut(min(rest.until, now + LOOK_AGAIN))
    last: int = rows[0]["probe"] or 0
    for row in (yield Call(SQL["prober"], {"seq": last})):
        if row["status"] == Status.SENDING:
            return Shut(now + LOOK_AGAIN)
        return Probe(after=(row["priority"], last))
    return Probe()


def probe(lane: int, seq: int) -> Work[None]:
    """This message tries the account; nobody else does while it is being sent."""
    yield Call(SQL["probe"], {"lane": lane, "seq": seq})


def _ailing_of(row: Row) -> Ailing:
    return Ailing(
        lane=row["lane"],
        tenant_id=row["tenant_id"],
        account_id=row["id"],
        last_error=row["last_error"],
        rest=Rest(row["rest"], row["resting_until"]),
        ill_since=row["ill_since"],
    )
