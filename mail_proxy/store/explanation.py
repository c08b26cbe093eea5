"""All that may tell why a message waits, read together."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.errors import NotFound
from mail_proxy.model.explanations import Condition, FullWindow, Sender
from mail_proxy.model.messages import EventType, Message, Status
from mail_proxy.model.queue import Parking
from mail_proxy.store import limits
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.queries import load
from mail_proxy.store.rescheduling import RESCHEDULED

SQL = load("explanation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A suspension that holds a message: of `batch_code`, or `EVERYTHING`."""

    batch_code: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What let a message wait last: it was queued or put off, in the words of that event."""

    event_type: EventType
    at: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A message and what is around it. `condition` is its account's, None when that was deleted.

    `is_pending`: its time has come; `is_in_line`: nor is it held back, and so many are `ahead` of it in the
    queue of its account, which has this `lane`. `parked_for` is what it says there that it waits for.
    """

    message: Message
    lane: int
    is_pending: bool
    is_in_line: bool
    parked_for: Parking | None
    parked_since: float | None
    is_tenant_active: bool
    holds: tuple[Hold, ...]
    last_put: Put | None
    ahead: int
    condition: Condition | None
    sender: Sender | None

    @property
    def was_put_off(self) -> bool:
        """Whether an attempt, and not a person, decided when it is due."""
        put = self.last_put
        return put is not None and put.event_type is EventType.DEFERRED and put.words != RESCHEDULED


class Explanations:
    """Times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def facts(self, tenant_id: str, message_id: str, *, most_ahead: int, alive_since: float) -> Facts:
        """Read them, as of one moment; of what goes before the message at most `most_ahead` are counted.

        A node seen at `alive_since` or later lives. Raises `NotFound`.
        """
        return await self._database.snapshot(self._facts, tenant_id, message_id, most_ahead, alive_since)

    async def full_windows(self, lane: int, now: float, ahead: int) -> list[FullWindow]:
        """The rate limits that let nothing of an account go now, for a message with so many `ahead` of it."""
        return await self._database.read(self._full_windows, lane, now, ahead)

    def _facts(self, tenant_id: str, message_id: str, most_ahead: int, alive_since: float) -> Work[Facts]:
        rows = yield Call(SQL["facts"], {"tenant_id": tenant_id, "id": message_id})
        if not rows:
            raise NotFound("message", message_id)
        [row] = rows
        given = {"tenant_id": tenant_id, "batch_code": row["batch_code"]}
        holds = yield Call(SQL["suspensions"], given)
        puts = yield Call(SQL["last_put"], {"seq": row["seq"]})
        place = {"lane": row["lane"], "priority": row["priority"], "seq": row["seq"], "most": most_ahead}
        ahead = yield Call(SQL["ahead"], place)
        is_pending = row["status"] == Status.PENDING
        return Facts(
            message=shape.message_of(row),
            lane=row["lane"],
            is_pending=is_pending,
            is_in_line=is_pending and not row["is_held"],
            parked_for=Parking(row["parked_for"]) if is_pending and row["parked_for"] else None,
            parked_since=row["parked_since"] if is_pending else None,
            is_tenant_active=bool(row["is_tenant_active"]),
            holds=tuple(Hold(batch_code=each["batch_code"], since=each["created_at"]) for each in holds),
            last_put=_put_of(puts[0]) if puts else None,
            ahead=ahead[0]["n"],
            condition=_condition_of(row),
            sender=_sender_of(row, alive_since),
        )

    def _full_windows(self, lane: int, now: float, ahead: int) -> Work[list[FullWindow]]:
        bound = yield from limits.limits_of(lane)
        if bound is None or not bound.windows:
            return []
        found = []
        for use in (yield from limits.use_of(bound, now)):
            if not use.free:
                moments = (yield from limits.opening(bound, [use], now)).moments
                found.append(
                    FullWindow(
                        limit=use.window.words,
                        taken=use.taken,
                        frees_at=moments[0],
                        turn_at=moments[min(ahead, len(moments) - 1)],
                    )
                )
        return found


def _put_of(row: Row) -> Put:
    return Put(event_type=EventType(row["event_type"]), at=row["event_ts"], words=row["description"])


def _condition_of(row: Row) -> Condition | None:
    if row["known_account"] is None:
        return None
    return Condition(
        account_id=row["known_account"],
        rest=shape.rest_of(row),
        ill_since=row["ill_since"],
        last_error=row["account_error"],
    )


def _sender_of(row: Row, alive_since: float) -> Sender | None:
    if row["status"] != Status.SENDING or row["lease_owner"] is None:
        return None
    return Sender(
        node_id=row["lease_owner"],
        name=row["node_name"],
        is_alive=row["node_seen_at"] is not None and row["node_seen_at"] >= alive_since,
        lease_until=row["lease_until"],
        begun_at=row["final_at"],
    )
