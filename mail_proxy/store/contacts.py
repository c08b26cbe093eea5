"""Who tells which tenant's application, and when: one node at a time, for as long as its lease lasts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from mail_proxy.model.contacts import Acceptance, Candidate, Contact, News, Outlook
from mail_proxy.store.database import Call, Database, Params, Row, Work
from mail_proxy.store.queries import load
from mail_proxy.store.rows import reportable_of

SQL = load("contacts")

NEWEST = 10_000
"""Messages, of all tenants, among which one is looked for that a tenant has submitted lately."""

ALL = 1e18
"""A moment after all others."""

STRETCH = 2000
"""Events looked at in one transaction: others must not wait long for it."""

SOME = 100
"""Refused events that become due again for one post: even if they carry much, others fit into it, too."""

LONGEST = 600.0
"""Seconds that nobody ever waits after a failure or a refusal."""

ENTRY = 300
"""Bytes of an entry of a report besides what the event and the message carry."""

NO_BEAT = -1.0
"""Stands for no `beat_at` where it is compared: NULL equals nothing."""


class Contacts:
    """`owner` is the node that tells."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, now: float, owner: str, *, has_fallback: bool) -> Outlook:
        """Find who is due. `has_fallback`: those without an address of their own can be told, too."""
        return await self._database.read(self._look, now, owner, has_fallback)

    async def schedule(self, now: float, interval: float, *, has_fallback: bool) -> None:
        """Let each active tenant that can be told have a post after `interval` seconds at the latest.

        What a clock that was ahead has put off is mended, and what an older version did not know of.
        """
        scheme: Params = {
            "now": now,
            "latest": now + interval,
            "longest": now + LONGEST,
            "has_fallback": int(has_fallback),
        }
        if await self._database.read(self._unscheduled, scheme):
            await self._database.write(self._schedule, scheme)

    async def take(
        self, tenant_ids: Sequence[str], retired: Sequence[str], owner: str, now: float, until: float
    ) -> list[Contact]:
        """Take those of these tenants that nobody else has; let `retired` have no empty posts."""
        return await self._database.write(self._take, tenant_ids, retired, owner, now, until)

    async def renew(self, tenant_ids: Sequence[str], owner: str, until: float) -> set[str]:
        """Keep tenants longer; return which of them are still this node's."""
        return await self._database.write(self._renew, tenant_ids, owner, until)

    async def release(self, tenant_id: str, owner: str) -> None:
        """Give a tenant back."""
        await self._database.write(self._release, tenant_id, owner)

    async def leave(self, owner: str) -> None:
        """Give back all that a node has."""
        await self._database.write(self._leave, owner)

    async def regroup(self, contact: Contact, now: float) -> float | None:
        """Make due what was refused and has waited; return when the next of it is due, None if there is none.

        Only some of it, so that what is new need not wait until all of it was posted; all if somebody wanted
        that. What happened since to what still waits is made to wait with it, so that it stays in order.
        """
        if contact.again_ts == 0:
            while await self._database.write(self._due_again, contact.tenant_id, ALL, STRETCH):
                pass
        return await self._database.write(self._regroup, contact, now)

    async def news(self, tenant_id: str, limit: int, most_bytes: int) -> News:
        """Read what the tenant is to be told next: so many events, with so much in them, but one at least."""
        return await self._database.read(self._news, tenant_id, limit, most_bytes)

    async def newest(self) -> int:
        """The place of the last message that anybody queued; 0 when there is none."""
        return await self._database.read(self._newest)

    async def has_submitted(self, tenant_id: str, seen_seq: int) -> bool:
        """Whether the tenant queued a message after that one, as far as the newest of all tell."""
        return await self._database.read(self._has_submitted, tenant_id, seen_seq)

    async def accepted(
        self, contact: Contact, owner: str, said: Acceptance, pause: Callable[[int], float]
    ) -> Contact | None:
        """Record that a post was taken; return how the tenant stands now, None when it is another node's.

        `pause` gives the seconds after which a message is told of again that was refused so many times.
        """
        return await self._database.write(self._accepted, contact, owner, said, pause)

    async def failed(self, contact: Contact, owner: str, reason: str, now: float, next_try: float) -> None:
        """Record that a post was not taken, and give the tenant back; it is posted to again at `next_try`."""
        await self._database.write(self._failed, contact, owner, reason, now, next_try)

    async def hurry(self, tenant_id: str | None, now: float, *, lifts_dnd: bool) -> None:
        """Let nobody wait after a failure or a refusal: one tenant, or all of them.

        One tenant's application is posted to at once even if there is nothing to tell, unless it does not
        want to be disturbed and `lifts_dnd` is not given.
        """
        await self._database.write(self._hurry, tenant_id, now, lifts_dnd)

    def _look(self, now: float, owner: str, has_fallback: bool) -> Work[Outlook]:
        due: dict[str, Candidate] = {}
        retired: list[str] = []
        is_elsewhere = False
        for name in ("with_news", "with_refused", "with_beat"):
            rows = yield Call(SQL[name], {"now": now} if name != "with_news" else {})
            for row in rows:
                is_reachable = row["has_address"] or has_fallback
                if name == "with_beat" and not (is_reachable and row["active"]):
                    retired.append(row["tenant_id"])
                elif not is_reachable or (row["next_try_ts"] is not None and row["next_try_ts"] > now):
                    continue
                elif row["owner"] not in (None, owner) and row["lease_until"] > now:
                    is_elsewhere = is_elsewhere or name == "with_news"
                else:
                    candidate = Candidate(row["tenant_id"], row["failures"] > 0, name == "with_news")
                    due.setdefault(row["tenant_id"], candidate)
        [moments] = yield Call(SQL["moments"], {"now": now})
        known = [moments[each] for each in ("next_try", "again", "beat") if moments[each] is not None]
        return Outlook(
            due=tuple(due.values()),
            retired=tuple(retired),
            next_at=min(known, default=None),
            is_elsewhere=is_elsewhere,
        )

    def _unscheduled(self, scheme: Params) -> Work[bool]:
        return bool((yield Call(SQL["unscheduled"], scheme)))

    def _schedule(self, scheme: Params) -> Work[None]:
        for name in ("complete", "schedule", "bring_forward", "wait_no_longer"):
            yield Call(SQL[name], {each: scheme[each] for each in SQL[name].order})

    def _take(
        self, tenant_ids: Sequence[str], retired: Sequence[str], owner: str, now: float, until: float
    ) -> Work[list[Contact]]:
        if retired:
            yield Call(SQL["retire"], {"tenant_ids": json.dumps(retired), "now": now})
        wanted = {"tenant_ids": json.dumps(tenant_ids), "owner": owner, "now": now, "lease_until": until}
        return [_contact(row) for row in (yield Call(SQL["take"], wanted))]

    def _renew(self, tenant_ids: Sequence[str], owner: str, until: float) -> Work[set[str]]:
        rows = yield Call(
            SQL["renew"], {"tenant_ids": json.dumps(tenant_ids), "owner": owner, "lease_until": until}
        )
        return {row["tenant_id"] for row in rows}

    def _release(self, tenant_id: str, owner: str) -> Work[None]:
        yield Call(SQL["release"], {"tenant_id": tenant_id, "owner": owner})

    def _leave(self, owner: str) -> Work[None]:
        yield Call(SQL["leave"], {"owner": owner})

    def _due_again(self, tenant_id: str, until: float, limit: int) -> Work[bool]:
        ripe = {"tenant_id": tenant_id, "until": until, "limit": limit}
        return bool((yield Call(SQL["due_again"], ripe)))

    def _regroup(self, contact: Contact, now: float) -> Work[float | None]:
        whose = {"tenant_id": contact.tenant_id}
        yield Call(SQL["join_refused"], whose | {"limit": STRETCH})
        yield from self._due_again(contact.tenant_id, now, SOME)
        if self._database.dialect == "postgres":
            yield Call(SQL["hold"], whose)
        rows = yield Call(SQL["again"], whose | {"seen_again": contact.again_ts})
        return rows[0]["again_ts"] if rows else None

    def _news(self, tenant_id: str, limit: int, most_bytes: int) -> Work[News]:
        rows = yield Call(SQL["news"], {"tenant_id": tenant_id, "limit": limit})
        some = list(_up_to(rows, most_bytes))
        return News(
            [reportable_of(row) for row in some],
            has_more=len(some) < len(rows) or len(rows) == limit,
            newest_seq=(yield from self._newest()),
        )

    def _newest(self) -> Work[int]:
        rows = yield Call(SQL["newest"], {})
        seq: int = rows[0]["seq"]
        return seq

    def _has_submitted(self, tenant_id: str, seen_seq: int) -> Work[bool]:
        which = {"tenant_id": tenant_id, "seen_seq": seen_seq, "limit": NEWEST}
        return bool((yield Call(SQL["submitted"], which)))

    def _accepted(
        self, contact: Contact, owner: str, said: Acceptance, pause: Callable[[int], float]
    ) -> Work[Contact | None]:
        if said.told:
            which = {"event_ids": json.dumps(said.told)}
            if self._database.dialect == "postgres":
                yield Call(SQL["lock_told"], which)
            yield Call(SQL["told"], which | {"now": said.now})
            yield Call(SQL["told_messages"], which | {"now": said.now})
        if said.refused:
            yield from self._refuse(contact.tenant_id, said, pause)
        rows = yield Call(
            SQL["accepted"],
            {
                "tenant_id": contact.tenant_id,
                "owner": owner,
                "now": said.now,
                "seen_beat": _seen(contact),
                "beat_at": said.beat_at,
                "dnd_until": said.dnd_until,
                "rounds": said.rounds,
                "seen_seq": said.seen_seq,
                "lease_until": said.lease_until,
            },
        )
        return _contact(rows[0]) if rows else None

    def _refuse(self, tenant_id: str, said: Acceptance, pause: Callable[[int], float]) -> Work[None]:
        rows = yield Call(SQL["refusals"], {"event_ids": json.dumps(said.refused)})
        alike: defaultdict[float, list[int]] = defaultdict(list)
        for row in rows:
            alike[said.now + pause(row["refusals"] + 1)].append(row["seq"])
        for again_ts, seqs in alike.items():
            yield Call(SQL["refuse"], {"seqs": json.dumps(seqs), "again_ts": again_ts})
        if alike:
            yield Call(SQL["wait_for_refused"], {"tenant_id": tenant_id, "again_ts": min(alike)})

    def _failed(self, contact: Contact, owner: str, reason: str, now: float, next_try: float) -> Work[None]:
        yield Call(
            SQL["failed"],
            {
                "tenant_id": contact.tenant_id,
                "owner": owner,
                "last_error": reason,
                "now": now,
                "next_try": next_try,
                "seen_beat": _seen(contact),
            },
        )

    def _hurry(self, tenant_id: str | None, now: float, lifts_dnd: bool) -> Work[None]:
        if tenant_id is None:
            yield Call(SQL["hurry_all"], {"now": now})
        else:
            yield Call(SQL["hurry"], {"tenant_id": tenant_id, "now": now, "lifts_dnd": int(lifts_dnd)})


def _contact(row: Row) -> Contact:
    return Contact(
        tenant_id=row["tenant_id"],
        failures=row["failures"],
        beat_at=row["beat_at"],
        dnd_until=row["dnd_until"],
        again_ts=row["again_ts"],
        rounds=row["rounds"],
        seen_seq=row["seen_seq"],
    )


def _seen(contact: Contact) -> float:
    return NO_BEAT if contact.beat_at is None else contact.beat_at


def _up_to(rows: Sequence[Row], most_bytes: int) -> Iterator[Row]:
    """The first of these, one at least, as long as what they carry is no more than that."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row["event_data"] or "") + len(row["metadata"] or "") + ENTRY
        if count and size > most_bytes:
            return
        yield row
