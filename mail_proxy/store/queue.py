"""The queue: promoting, claiming under a lease, settling, and taking over from the dead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mail_proxy.errors import InvalidInput
from mail_proxy.model.accounts import LimitBehavior, OnUnknown, Rest
from mail_proxy.model.messages import EventType, Status
from mail_proxy.model.queue import Claim, Claimed, NewEvent, Orphan, Outlook, Parking, ReadyLane
from mail_proxy.store import circuit, limits
from mail_proxy.store import rows as shape
from mail_proxy.store.database import Call, Database, Many, Params, Work
from mail_proxy.store.limits import Limits, Use
from mail_proxy.store.messages import read_payloads
from mail_proxy.store.parking import park
from mail_proxy.store.queries import load
from mail_proxy.store.settings import ACTIVE
from mail_proxy.store.suspensions import hold_back

SQL = load("queue")
MESSAGES = load("messages")

READ_ALONG = 256 * 1024
"""Bytes up to which a content is read together with the claim."""

CHUNK = 500
"""Messages promoted or taken over in one transaction, so that none lasts long."""

UNKNOWN_TEXT = "outcome unknown: the connection or the server process ended after the content was handed over"


@dataclass(frozen=True, slots=True)
class _Taking:
    """Whose messages are taken by whom until when; those `after` a place first, if there are any.

    Contents of up to `read_along` bytes come with them.
    """

    lane: int
    owner: str
    now: float
    until: float
    after: circuit.Place
    read_along: int


class Queue:
    """`owner` is the node that holds a lease; times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def promote(self, now: float) -> int:
        """Let scheduled messages whose time has come join the queue; return how many (at most `CHUNK`)."""
        return await self._database.write(self._promote, now)

    async def look(self, in_hand: Sequence[int] = ()) -> Outlook:
        """See what there is to do; accounts of suspended and inactive tenants are left out.

        It tells of the lanes `in_hand` when their accounts were changed last.
        """
        return await self._database.read(self._look, in_hand)

    async def claim(self, lane: int, limit: int, owner: str, now: float, until: float) -> Claim:
        """Take up to `limit` messages of a lane, best first, leased until `until`.

        Rate limits are kept: fewer may come, and none. Then the claim tells when there may be more, and the
        next in line are parked, or rejected. While the account's circuit is open, one comes after each rest.
        """
        try:
            return await self._database.write(self._claim, lane, limit, owner, now, until, READ_ALONG)
        except InvalidInput:  # a content that is damaged is not to keep the others
            return await self._database.write(self._claim, lane, limit, owner, now, until, 0)

    async def renew(self, seqs: Sequence[int], owner: str, until: float) -> frozenset[int]:
        """Prolong the leases of what is under way; return which: those lost to another node stay lost."""
        return await self._database.write(self._renew, seqs, owner, until)

    async def release(self, seqs: Sequence[int], owner: str, now: float) -> None:
        """Give back what was claimed and not begun."""
        await self._database.write(self._release, seqs, owner, now)

    async def take_over(self, now: float, *, owner: str, is_start: bool = False) -> list[Orphan]:
        """Put back what dead nodes left (at most `CHUNK`); at start, what `owner` left in a former life.

        What was claimed only returns to the queue. What may have been transmitted has an unknown outcome:
        it is tried again at once, or held, as its account's `on_unknown` says.
        """
        return await self._database.write(self._take_over, now, owner, is_start)

    def _promote(self, now: float) -> Work[int]:
        return len((yield Call(SQL["promote"], {"now": now, "limit": CHUNK})))

    def _look(self, in_hand: Sequence[int]) -> Work[Outlook]:
        [row] = yield Call(SQL["look"], {"active": ACTIVE, "in_hand": json.dumps(in_hand)})
        return Outlook(
            lanes=tuple(
                ReadyLane(
                    lane=lane,
                    priority=priority,
                    is_gone=bool(is_gone),
                    rest=Rest(rest, float(until)) if rest else None,
                )
                for lane, priority, is_gone, rest, until in json.loads(row["lanes"])
            ),
            next_due=row["due"],
            next_expiry=row["expiry"],
            active=None if row["active"] is None else bool(json.loads(row["active"])),
            changes={lane: float(moment) for lane, moment in json.loads(row["changes"])},
        )

    def _claim(
        self, lane: int, limit: int, owner: str, now: float, until: float, read_along: int
    ) -> Work[Claim]:
        gate = yield from circuit.gate(lane, now)
        if isinstance(gate, circuit.Shut):
            return Claim(held_by=Parking.ACCOUNT, opens_at=gate.until)
        if gate is None:
            take = _Taking(lane, owner, now, until, circuit.FRONT, read_along)
            return (yield from self._claim_within_limits(take, limit))
        take = _Taking(lane, owner, now, until, gate.after, read_along)
        claim = yield from self._claim_within_limits(take, 1)
        for message in claim.messages:
            yield from circuit.probe(lane, message.seq)
        return claim

    def _claim_within_limits(self, take: _Taking, limit: int) -> Work[Claim]:
        bound = yield from limits.limits_of(take.lane)
        if bound is None:
            return Claim()  # also if its tenant becomes active at this moment: that would go without limits
        if not bound.windows:
            return Claim(messages=tuple((yield from self._take(take, limit))))
        now = take.now
        uses = yield from limits.use_of(bound, now)
        free = min(use.free for use in uses)
        claimed = (yield from self._take(take, min(limit, free))) if free else []
        yield from limits.reserve(bound, [message.seq for message in claimed])
        messages = tuple(replace(message, is_limited=True) for message in claimed)
        if limit <= free or len(messages) < free:
            return Claim(messages=messages)
        return (yield from self._hold_over(bound, [use.and_of(free) for use in uses], messages, now))

    def _hold_over(
        self, bound: Limits, uses: Sequence[Use], messages: tuple[Claimed, ...], now: float
    ) -> Work[Claim]:
        """Let what is over a limit wait, or fail, as the account says."""
        if bound.behavior is LimitBehavior.REJECT:
            rejected = yield from limits.reject(bound, now, CHUNK)
            return Claim(messages=messages, held_by=Parking.LIMIT, rejected=rejected)
        opening = yield from limits.opening(bound, uses, now)
        parked = yield from park(bound.lane, Parking.LIMIT, opening.reason, opening.moments, now)
        return Claim(messages=messages, held_by=Parking.LIMIT, opens_at=opening.opens_at, parked=parked)

    def _take(self, take: _Taking, limit: int) -> Work[list[Claimed]]:
        claimed = yield from self._pick(take, limit, take.after)
        if not claimed and take.after != circuit.FRONT:
            claimed = yield from self._pick(take, limit, circuit.FRONT)
        if not claimed:
            return []
        seqs = json.dumps(sorted(message.seq for message in claimed))
        yield Call(SQL["take"], {"seqs": seqs, "owner": take.owner, "now": take.now, "until": take.until})
        raw = [message for message in claimed if message.payload is None and message.size <= READ_ALONG]
        contents = (yield from read_payloads([message.seq for message in raw])) if raw else {}
        for message in raw:
            message.payload = contents.get(message.seq)
        return claimed

    def _pick(self, take: _Taking, limit: int, after: circuit.Place) -> Work[list[Claimed]]:
        priority, seq = after
        given = {
            "lane": take.lane,
            "limit": limit,
            "priority": priority,
            "seq": seq,
            "read_along": take.read_along,
        }
        [row] = yield Call(SQL["pick"], given)
        claimed = [shape.claimed_of(values, take.lane) for values in json.loads(row["picked"])]
        claimed.sort(key=lambda message: (message.priority, message.seq))
        return claimed

    def _renew(self, seqs: Sequence[int], owner: str, until: float) -> Work[frozenset[int]]:
        rows = yield Call(SQL["renew"], {"seqs": json.dumps(sorted(seqs)), "owner": owner, "until": until})
        return frozenset(row["seq"] for row in rows)

    def _release(self, seqs: Sequence[int], owner: str, now: float) -> Work[None]:
        given = {"seqs": json.dumps(sorted(seqs)), "owner": owner, "now": now}
        released = {row["seq"]: row["tenant_id"] for row in (yield Call(SQL["release"], given))}
        yield from limits.cancel(list(released))
        yield from hold_back(released, released.values(), now)

    def _take_over(self, now: float, owner: str, is_start: bool) -> Work[list[Orphan]]:
        rows = yield Call(
            SQL["orphans_at_start" if is_start else "orphans"], {"now": now, "owner": owner, "limit": CHUNK}
        )
        orphans = [
            Orphan(
                seq=row["seq"],
                tenant_id=row["tenant_id"],
                account_id=row["account_id"],
                was_final=row["final_at"] is not None,
                on_unknown=OnUnknown(row["on_unknown"] or OnUnknown.RETRY),
            )
            for row in rows
        ]
        retries = {row["seq"]: row["retry_count"] + (row["final_at"] is not None) for row in rows}
        yield from limits.confirm([each.seq for each in orphans if each.was_final], now)
        yield from limits.cancel([each.seq for each in orphans if not each.was_final])
        yield Many(SQL["reclaim"], [_reclaimed(each, retries[each.seq], now) for each in orphans])
        yield Many(
            MESSAGES["insert_event"],
            [
                shape.event_params(each.seq, each.tenant_id, _outcome_unknown(each, retries[each.seq], now))
                for each in orphans
                if each.was_final
            ],
        )
        yield from hold_back([each.seq for each in orphans], [each.tenant_id for each in orphans], now)
        return orphans


def _due(orphan: Orphan, now: float) -> float | None:
    """When an orphan with an unknown outcome is tried again; None: a person decides."""
    return None if orphan.on_unknown is OnUnknown.HOLD else now


def _reclaimed(orphan: Orphan, retries: int, now: float) -> Params:
    return {
        "seq": orphan.seq,
        "now": now,
        "status": Status.DEFERRED if orphan.was_final else Status.PENDING,
        "deferred_ts": _due(orphan, now) if orphan.was_final else None,
        "retry_count": retries,
        "is_unknown": int(orphan.was_final),
        "last_error": UNKNOWN_TEXT if orphan.was_final else None,
    }


def _outcome_unknown(orphan: Orphan, retries: int, now: float) -> NewEvent:
    due = _due(orphan, now)
    return NewEvent(
        event_type=EventType.DEFERRED,
        event_ts=now,
        description=f"{UNKNOWN_TEXT}; {'held' if due is None else 'to be sent again'}",
        event_data={
            "reason": UNKNOWN_TEXT,
            "deferred_ts": due,
            "retry_count": retries,
            "possible_duplicate": True,
        },
    )
