"""One tenant's turn: its application is posted what there is to tell, until there is nothing left to tell.

What becomes of each post is in the database before the next one begins: whoever dies between leaves to the
next node what the application may have got already, with the same numbers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from mail_proxy.callbacks.answer import PostResult
from mail_proxy.callbacks.pace import pause_after, pause_with_more, rounds_after
from mail_proxy.callbacks.poster import Poster, Target, target_for
from mail_proxy.callbacks.report import entry
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.daemon.leases import LEASE, MARGIN
from mail_proxy.errors import KeyMismatch, NotFound
from mail_proxy.metrics import Metrics
from mail_proxy.model.contacts import Acceptance, Contact, News
from mail_proxy.model.tenants import Tenant
from mail_proxy.store import Store

log = logging.getLogger(__name__)

BATCH = 500
MOST_BYTES = 512 * 1024
"""What the entries of one post may have: many a server takes no larger body than 1 MiB."""

TRIAL = 20
"""Entries posted to an application that did not take the last post: there may be many such."""


@dataclass(slots=True)
class Turn:
    """A tenant in this node's hands, until `until` (Unix seconds).

    `posted_at` is since when its application is waited for, if it is. `is_rung` tells that there may be more
    to tell than was seen, `is_over` that no further post may begin.
    """

    contact: Contact
    until: float
    posted_at: float | None = None
    is_rung: bool = False
    is_over: bool = False

    @property
    def tenant_id(self) -> str:
        return self.contact.tenant_id

    def is_silent(self, now: float, seconds: float) -> bool:
        """Whether its application has not answered a post for so long."""
        return self.posted_at is not None and now - self.posted_at >= seconds


class Teller:
    """`owner` is this node; `config` gives the settings of this moment."""

    def __init__(
        self,
        *,
        store: Store,
        poster: Poster,
        clock: Clock,
        owner: str,
        metrics: Metrics,
        config: Callable[[], Config],
    ) -> None:
        self._store = store
        self._contacts = store.contacts
        self._poster = poster
        self._clock = clock
        self._owner = owner
        self._metrics = metrics
        self._config = config

    async def tell(self, turn: Turn) -> float | None:
        """Post until nothing is left, or a post is not taken; then the tenant is anybody's again.

        Return when there is to be another post, if that is known. Raises `DatabaseError`: then what was not
        recorded is told once more, by whoever has the tenant next.
        """
        try:
            # The lease is over where this machine slept: then another node may have the tenant.
            while self._clock.now() < turn.until - MARGIN:
                tenant = await self._store.tenants.get(turn.tenant_id)  # each time: it may change meanwhile
                target = target_for(tenant, self._config())
                if target is None or turn.is_over:
                    break
                news = await self._news(turn)
                if not (news.events or (tenant.active and self._is_called(turn.contact))):
                    break
                next_at = await self._post(turn, tenant, target, news)
                if next_at is not None:
                    return next_at
        except NotFound:
            return None  # deleted meanwhile, with its events
        except KeyMismatch as error:
            return await self._failed(turn.contact, str(error))
        await self._contacts.release(turn.tenant_id, self._owner)
        return turn.contact.again_ts

    def _is_called(self, contact: Contact) -> bool:
        """Whether a post is due even if there is nothing to tell."""
        return contact.beat_at is not None and contact.beat_at <= self._clock.now()

    async def _news(self, turn: Turn) -> News:
        if turn.contact.again_ts is not None:
            again_ts = await self._contacts.regroup(turn.contact, self._clock.now())
            turn.contact = replace(turn.contact, again_ts=again_ts)
        turn.is_rung = False
        limit = TRIAL if turn.contact.failures else BATCH
        return await self._contacts.news(turn.tenant_id, limit, MOST_BYTES)

    async def _post(self, turn: Turn, tenant: Tenant, target: Target, news: News) -> float | None:
        """Post, and record what came of it; return None if the turn goes on, else when the next is due."""
        contact = turn.contact
        is_known = contact.rounds or contact.seen_seq  # 0 is known when nobody had submitted anything yet
        seen_seq = contact.seen_seq if is_known else news.newest_seq
        began = turn.posted_at = self._clock.now()
        entries = [entry(each, report_nulls=tenant.report_nulls) for each in news.events]
        result = await self._poster.post(target, entries, now=began)
        turn.posted_at = None
        if not result.accepted:
            return await self._failed(contact, result.failure or "")
        said = await self._understood(contact, news, result, began, seen_seq)
        if said.refused:
            extra = {"tenant": tenant.id}
            log.info("%s refused to be told of %d events", tenant.id, len(said.refused), extra=extra)
        goes_on = not turn.is_over and (news.has_more or turn.is_rung or said.beat_at <= said.now)
        said = replace(said, lease_until=said.now + LEASE if goes_on else None)
        # Half of it would be as bad as nothing: what was answered is recorded also when the server stops.
        after = await asyncio.shield(self._contacts.accepted(contact, self._owner, said, pause_after))
        if after is None or not goes_on:
            return min(said.beat_at, (after and after.again_ts) or said.beat_at)
        turn.contact, turn.until = after, said.now + LEASE
        return None

    async def _understood(
        self, contact: Contact, news: News, result: PostResult, began: float, seen_seq: int
    ) -> Acceptance:
        """Read what the answer means: which events are told, and when the next post is due."""
        refused = [each.event_id for each in news.events if each.id in result.error_ids]
        told = [each.event_id for each in news.events if each.id not in result.error_ids]
        has_submitted = result.queued > 0 and await self._contacts.has_submitted(contact.tenant_id, seen_seq)
        rounds = rounds_after(contact.rounds, result.queued, has_submitted=has_submitted)
        if not rounds:
            seen_seq = await self._contacts.newest() if result.queued else 0
        now = self._clock.now()
        beat_at = began + self._config().sync_interval
        if result.queued:
            beat_at = min(beat_at, now + pause_with_more(rounds))
        dnd_until = contact.dnd_until if result.next_sync_after is None else result.next_sync_after
        return Acceptance(
            now=now,
            told=told,
            refused=refused,
            beat_at=max(beat_at, dnd_until or 0.0),
            dnd_until=result.next_sync_after,
            rounds=rounds,
            seen_seq=seen_seq,
            lease_until=None,
        )

    async def _failed(self, contact: Contact, reason: str) -> float:
        """Record it, and return when the application is asked again."""
        now, pause = self._clock.now(), pause_after(contact.failures + 1)
        self._metrics.report_failed(contact.tenant_id)
        extra = {"tenant": contact.tenant_id}
        log.warning("reports to %s: %s; again in %.0f s", contact.tenant_id, reason, pause, extra=extra)
        await asyncio.shield(self._contacts.failed(contact, self._owner, reason, now, now + pause))
        return now + pause
