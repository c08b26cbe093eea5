"""What attempts come to: begun on record before the content leaves, settled as soon as the reply is there.

Many messages are recorded in one transaction: what a commit costs is shared by all that wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import Begin, NewEvent, Recorded, Settlement
from mail_proxy.store import limits
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Many, Params, Work
from mail_proxy.store.queries import load
from mail_proxy.store.suspensions import hold_back

SQL = load("outcomes")
MESSAGES = load("messages")


class Outcomes:
    """`owner` is the node that holds the leases; times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, begins: Sequence[Begin], settlements: Sequence[Settlement], owner: str, now: float
    ) -> Recorded:
        """Record that contents are about to be transmitted, and what came of others, all at once.

        What is begun and not in the answer must not be transmitted: its lease was lost, or it was suspended
        meanwhile. What is settled and not in the answer has been taken over by another node.
        """
        return await self._database.write(self._record, begins, settlements, owner, now)

    def _record(
        self, begins: Sequence[Begin], settlements: Sequence[Settlement], owner: str, now: float
    ) -> Work[Recorded]:
        settled = (yield from self._settle(settlements, owner, now)) if settlements else frozenset()
        begun = (yield from self._begin(begins, owner, now)) if begins else frozenset()
        events = [
            shape.event_params(each.seq, each.tenant_id, event)
            for each in settlements
            if each.seq in settled
            for event in each.events
        ]
        events += [
            shape.event_params(each.seq, each.tenant_id, _sending(each, now))
            for each in begins
            if each.seq in begun
        ]
        yield Many(MESSAGES["insert_event"], events)
        return Recorded(begun=begun, settled=settled)

    def _begin(self, begins: Sequence[Begin], owner: str, now: float) -> Work[frozenset[int]]:
        given = {"seqs": json.dumps(sorted(each.seq for each in begins)), "owner": owner}
        # Were a renewal waited for by the statement that asks for suspensions, it would not see those made since.
        yield Call(SQL["hold"], given)
        rows = yield Call(SQL["begin_final"], given | {"now": now})
        return frozenset(row["seq"] for row in rows)

    def _settle(self, settlements: Sequence[Settlement], owner: str, now: float) -> Work[frozenset[int]]:
        # In the order of the queue: two nodes that settle what lies side by side wait for each other at most.
        given = sorted(settlements, key=lambda each: each.seq)
        rows = yield Many(SQL["settle"], [_settled(each, owner, now) for each in given])
        held = frozenset(row["seq"] for row in rows)
        ours = [each for each in given if each.seq in held]
        waiting = [each for each in ours if each.status.is_waiting]
        if waiting:
            yield from hold_back([each.seq for each in waiting], [each.tenant_id for each in waiting], now)
        limited = [each for each in ours if each.is_limited]
        if limited:
            yield from limits.confirm([each.seq for each in limited if each.may_be_sent], now)
            yield from limits.cancel([each.seq for each in limited if not each.may_be_sent])
        return held


def _sending(begin: Begin, now: float) -> NewEvent:
    return NewEvent(event_type=EventType.SENDING, event_ts=now, description=begin.description)


def _settled(settlement: Settlement, owner: str, now: float) -> Params:
    return {
        "place": settlement.seq,
        "owner": owner,
        "now": now,
        "status": settlement.status.value,
        "recipients": shape.recipients_text(settlement.recipients),
        "retry_count": settlement.retry_count,
        "deferred_ts": settlement.deferred_ts,
        "sent_ts": settlement.sent_ts,
        "error_ts": settlement.error_ts,
        "error": settlement.error,
        "last_error": settlement.last_error,
        "is_unknown": int(settlement.is_unknown),
        "parked_for": settlement.parked_for,
        "parked_since": settlement.parked_since,
    }
