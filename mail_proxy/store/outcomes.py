"""What attempts come to: begun on record before the content leaves, settled as soon as the reply is there.

Many messages are recorded in one transaction: what a commit costs is shared by all that wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import Begin, NewEvent, Recorded, Settlement
from mail_proxy.store import limits
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Many, Params, Work
from mail_proxy.store.queries import load
from mail_proxy.store.suspensions import hold_back

SQL = load("outcomes")
MESSAGES = load("messages")


class Batch(Protocol):
    """What is to be recorded, asked for when the transaction begins: what has come until then goes along."""

    def take(self) -> tuple[Sequence[Begin], Sequence[Settlement], float]:
        """Return it, and the moment from which on nothing joins (Unix seconds); the same when asked again.

        Another thread may ask.
        """
        ...


class Outcomes:
    """`owner` is the node that holds the leases; times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, batch: Batch, owner: str) -> Recorded:
        """Record that contents are about to be transmitted, and what came of others, all at once.

        What is begun and not in the answer must not be transmitted: its lease was lost, or it was suspended
        meanwhile. What is settled and not in the answer has been taken over by another node. What an earlier
        call has recorded, and could not tell of, is in the answer.
        """
        return await self._database.write(self._record, batch, owner)

    def _record(self, batch: Batch, owner: str) -> Work[Recorded]:
        # Not when it was handed in: what has joined since was sent later, and would leave its window early.
        begins, settlements, now = batch.take()
        seqs = [begin.seq for begin in begins] + [settlement.seq for settlement in settlements]
        held = yield from self._held(seqs, owner, now)
        # In the order of the queue: two nodes that settle what lies side by side wait for each other at most.
        settled = sorted((each for each in settlements if each.seq in held), key=lambda each: each.seq)
        begun = [each for each in begins if held.get(each.seq)]
        yield Many(SQL["settle"], [_settled(each, now) for each in settled])
        if begun:
            yield Call(SQL["begin_final"], {"seqs": json.dumps([each.seq for each in begun]), "now": now})
        events = [
            shape.event_params(each.seq, each.tenant_id, event) for each in settled for event in each.events
        ]
        events += [shape.event_params(each.seq, each.tenant_id, _sending(each, now)) for each in begun]
        yield Many(MESSAGES["insert_event"], events)
        yield from _let_go(settled, now)
        known = yield from _known([each for each in settlements if each.seq not in held])
        return Recorded(
            begun=frozenset(each.seq for each in begun),
            settled=known.union(each.seq for each in settled),
        )

    def _held(self, seqs: Sequence[int], owner: str, now: float) -> Work[dict[int, bool]]:
        """Tell which messages are this node's, and whether they may be begun."""
        given = {"seqs": json.dumps(sorted(seqs)), "owner": owner}
        if self._database.dialect == "postgres":
            # A renewal is waited for here: the next statement sees what was suspended meanwhile.
            yield Call(SQL["lock"], given)
        [row] = yield Call(SQL["held"], given | {"now": now})
        return {seq: bool(may_begin) for seq, may_begin in json.loads(row["held"])}


def _known(unheld: Sequence[Settlement]) -> Work[frozenset[int]]:
    """Tell which are on record: a connection may break after a commit, before that was confirmed."""
    if not unheld:
        return frozenset()
    rows = yield Call(MESSAGES["histories"], {"seqs": json.dumps([each.seq for each in unheld])})
    told = {(row["seq"], row["event_type"], row["event_ts"]) for row in rows}
    return frozenset(
        each.seq
        for each in unheld
        if each.events
        and told.issuperset((each.seq, event.event_type, event.event_ts) for event in each.events)
    )


def _let_go(settled: Sequence[Settlement], now: float) -> Work[None]:
    """Hold back what waits again and is suspended, and let slots of rate limits count or go."""
    waiting = [each for each in settled if each.status.is_waiting]
    if waiting:
        yield from hold_back([each.seq for each in waiting], [each.tenant_id for each in waiting], now)
    limited = [each for each in settled if each.is_limited]
    if limited:
        yield from limits.confirm([each.seq for each in limited if each.may_be_sent], now)
        yield from limits.cancel([each.seq for each in limited if not each.may_be_sent])


def _sending(begin: Begin, now: float) -> NewEvent:
    return NewEvent(event_type=EventType.SENDING, event_ts=now, description=begin.description)


def _settled(settlement: Settlement, now: float) -> Params:
    return {
        "place": settlement.seq,
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
        "is_news": int(any(event.event_type.is_reported for event in settlement.events)),
    }
