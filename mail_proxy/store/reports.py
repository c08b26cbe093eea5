"""What applications were not told of, and how telling them goes; who tells them is in `contacts`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mail_proxy.errors import NotFound
from mail_proxy.model.reports import ReportState, SyncState, Untold, UntoldPlace
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.queries import load
from mail_proxy.store.rows import reportable_of

SQL = load("reports")
TENANTS = load("tenants")

STRETCH = 2000
"""Events looked at in one transaction of a replay, or of giving up: others must not wait long for it."""

DISORDER = 3600.0
"""Seconds by which events may be out of order: clocks of nodes differ, and are set back."""

EVERY = frozenset(ReportState)

REFUSED = "the application refused this message"

IS_REFUSED = 2
GIVEN_UP = -1
"""What `is_due` says of events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Which events are meant: those that are due, that the application refused, and that were given up."""

    due: bool = False
    refused: bool = False
    given_up: bool = False

    @property
    def params(self) -> Mapping[str, int]:
        return {"due": int(self.due), "refused": int(self.refused), "given_up": int(self.given_up)}


FAILED = Kinds(refused=True, given_up=True)


class Reports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def untold(
        self,
        tenant_id: str | None,
        states: frozenset[ReportState] | None,
        after: UntoldPlace | None,
        limit: int,
    ) -> list[Untold]:
        """What one tenant's application, or everybody's, was not told of, in these states or in any."""
        return await self._database.snapshot(self._untold, tenant_id, states or EVERY, after, limit)

    async def sync_states(self) -> list[SyncState]:
        """How the reporting to each tenant goes."""
        return await self._database.snapshot(self._sync_states)

    async def replay_since(self, tenant_id: str | None, since: float, now: float) -> int:
        """Make due what happened since then and was told, refused or given up; return how many events.

        Of one tenant, or of all. Done in stretches: dying between two of them leaves the rest as it was.
        Raises `NotFound`.
        """
        after, last = await self._database.read(self._span_since, tenant_id, since)
        count = 0
        while after < last:
            after, replayed = await self._database.write(
                self._replay_stretch, tenant_id, since, after, last, now
            )
            count += replayed
        return count

    async def replay_failed(self, tenant_id: str | None, now: float) -> int:
        """Make due what was refused or given up, of one tenant or of all; return how many events.

        In stretches, too. Raises `NotFound`.
        """
        count = 0
        for each in await self._database.read(self._tenants_failed, tenant_id):
            after: int | None = 0
            while after is not None:
                after, replayed = await self._database.write(self._replay_failed, each, after, now)
                count += replayed
        return count

    async def stuck(self) -> Mapping[str, Kinds]:
        """Which events wait because a tenant's application did not take them, or the last post."""
        return await self._database.read(self._stuck)

    async def give_up(self, tenant_id: str, kinds: Kinds, before: float) -> int:
        """Try no more to tell what happened by then to messages that have not changed since; return how much.

        In stretches, of which the last has a young event.
        """
        count, after = 0, 0
        while stretch := await self._database.read(self._stretch_of, tenant_id, kinds, after):
            if old := [event_id for event_id, moment in stretch if moment <= before]:
                count += await self._database.write(self._give_up, old, before)
            if any(moment > before + DISORDER for _, moment in stretch):
                break
            after = stretch[-1][0]
        return count

    def _tenants_untold(self, kinds: Kinds) -> Work[list[str]]:
        rows = yield Call(SQL["tenants_untold"], kinds.params)
        # Not as PostgreSQL sorts, which depends on its locale.
        return sorted(row["tenant_id"] for row in rows)

    def _stuck(self) -> Work[dict[str, Kinds]]:
        rows = yield Call(SQL["failing"], {})
        failing = {row["tenant_id"] for row in rows}
        refusing = yield from self._tenants_untold(Kinds(refused=True))
        return {each: Kinds(due=each in failing, refused=True) for each in failing.union(refusing)}

    def _stretch_of(
        self, tenant_id: str, kinds: Kinds, after: int, limit: int | None = None
    ) -> Work[list[tuple[int, float]]]:
        """Numbers and moments of a tenant's events of some kinds, in order."""
        where = {"tenant_id": tenant_id, "after": after, "limit": STRETCH if limit is None else limit}
        rows = yield Call(SQL["untold"], {**where, **kinds.params})
        return [(row["event_id"], row["event_ts"]) for row in rows]

    def _untold(
        self, tenant_id: str | None, states: frozenset[ReportState], after: UntoldPlace | None, limit: int
    ) -> Work[list[Untold]]:
        """Go from tenant to tenant, so that neither other tenants nor other states are read through."""
        rows = yield Call(SQL["failing"], {})
        failing = {row["tenant_id"]: row for row in rows}
        if tenant_id is None:
            kinds = replace(_kinds(states, is_failing=True), due=states != {ReportState.GIVEN_UP})
            tenants = yield from self._tenants_untold(kinds)
        else:
            tenants = [tenant_id]
        found: list[Untold] = []
        for each in tenants:
            if after is not None and each < after.tenant_id:
                continue
            kinds = _kinds(states, is_failing=each in failing)
            passed = after.event_id if after is not None and after.tenant_id == each else 0
            stretch = yield from self._stretch_of(each, kinds, passed, limit - len(found))
            if stretch:
                ids = json.dumps([event_id for event_id, _ in stretch])
                rows = yield Call(SQL["entries"], {"event_ids": ids})
                found += [_untold(row, failing.get(each)) for row in rows]
            if len(found) == limit:
                break
        return found

    def _sync_states(self) -> Work[list[SyncState]]:
        rows = yield Call(SQL["pending_of_each"], {})
        due = {row["tenant_id"]: row["n"] for row in rows}
        rows = yield Call(SQL["refused_of_each"], {})
        refused = {row["tenant_id"]: (int(row["refused"]), int(row["waiting"])) for row in rows}
        rows = yield Call(SQL["sync_states"], {})
        return [_sync_state(row, due.get(row["id"], 0), *refused.get(row["id"], (0, 0))) for row in rows]

    def _span_since(self, tenant_id: str | None, since: float) -> Work[tuple[int, int]]:
        """Find before which event, and up to which, to look for those since a time.

        Events are numbered as they are stored, so their times rise but for `DISORDER`: no index of times is
        needed, for which each event would pay.
        """
        yield from _check(tenant_id)
        [ends] = yield Call(SQL["span"], {})
        low, high = ends["first"] or 0, ends["last"] or 0
        last: int = high
        while low < high:
            middle = (low + high) // 2
            rows = yield Call(SQL["event_from"], {"event_id": middle})
            if rows and rows[0]["event_ts"] < since - DISORDER:
                low = rows[0]["event_id"] + 1
            else:
                high = middle
        return low - 1, last

    def _replay_stretch(
        self, tenant_id: str | None, since: float, after: int, last: int, now: float
    ) -> Work[tuple[int, int]]:
        """Replay one stretch; return where it ends, and how many there were in it."""
        [stretch] = yield Call(SQL["stretch"], {"after": after, "last": last, "limit": STRETCH})
        if stretch["last"] is None:
            return last, 0
        where = {"tenant_id": tenant_id, "after": after, "last": stretch["last"], "since": since}
        replayed = yield Call(SQL["replay"], where)
        yield from _anew(replayed, now)
        return stretch["last"], len(replayed)

    def _tenants_failed(self, tenant_id: str | None) -> Work[list[str]]:
        yield from _check(tenant_id)
        return [tenant_id] if tenant_id is not None else (yield from self._tenants_untold(FAILED))

    def _replay_failed(self, tenant_id: str, after: int, now: float) -> Work[tuple[int | None, int]]:
        """Replay one stretch of what failed; return where it ends, None at the end, and how many it were."""
        stretch = yield from self._stretch_of(tenant_id, FAILED, after)
        ids = json.dumps([event_id for event_id, _ in stretch])
        replayed = yield Call(SQL["replay_failed"], {"event_ids": ids})
        yield from _anew(replayed, now)
        return (stretch[-1][0] if len(stretch) == STRETCH else None), len(replayed)

    def _give_up(self, event_ids: Sequence[int], before: float) -> Work[int]:
        which = {"event_ids": json.dumps(event_ids)}
        if self._database.dialect == "postgres":  # somebody may want them told again just now
            yield Call(SQL["hold"], which)
        given_up = yield Call(SQL["give_up"], which | {"before": before})
        return len(given_up)


def _check(tenant_id: str | None) -> Work[None]:
    if tenant_id is not None and not (yield Call(TENANTS["get"], {"id": tenant_id})):
        raise NotFound("tenant", tenant_id)


def _anew(replayed: Sequence[Row], now: float) -> Work[None]:
    """Their messages were not all told of; retention, and giving up, count from now."""
    seqs = sorted({int(row["seq"]) for row in replayed})
    yield Call(SQL["replay_messages"], {"seqs": json.dumps(seqs), "now": now})


def _kinds(states: frozenset[ReportState], *, is_failing: bool) -> Kinds:
    """The kinds of events that are in these states, of a tenant that did or did not take the last post."""
    state_of_due = ReportState.FAILING if is_failing else ReportState.UNREPORTED
    return Kinds(
        due=state_of_due in states,
        refused=ReportState.FAILING in states,
        given_up=ReportState.GIVEN_UP in states,
    )


def _untold(row: Row, failing: Row | None) -> Untold:
    """`failing`: what is known of a tenant whose application did not take the last post."""
    event = reportable_of(row)
    is_given_up, was_refused = row["is_due"] == GIVEN_UP, row["refusals"] > 0
    error = None if failing is None else failing["last_error"]
    if was_refused and (is_given_up or error is None):
        error = REFUSED
    if is_given_up:
        state, again = ReportState.GIVEN_UP, None
    else:
        moments = [row["again_ts"], None if failing is None else failing["next_try_ts"]]
        again = max((each for each in moments if each is not None), default=None)
        is_failing = failing is not None or row["is_due"] == IS_REFUSED
        state = ReportState.FAILING if is_failing else ReportState.UNREPORTED
    return Untold(event=event, state=state, refusals=row["refusals"], again_ts=again, last_error=error)


def _sync_state(row: Row, due: int, refused: int, waiting: int) -> SyncState:
    """`waiting` of those due are of messages of which an event was refused."""
    return SyncState(
        tenant_id=row["id"],
        name=row["name"],
        active=bool(row["active"]),
        client_base_url=row["client_base_url"],
        last_sync_ts=row["last_sync_ts"],
        next_try_ts=row["next_try_ts"],
        failures=row["failures"] or 0,
        last_error=row["last_error"],
        beat_at=row["beat_at"],
        dnd_until=row["dnd_until"],
        again_ts=row["again_ts"],
        pending=due + refused,
        refused=refused + waiting,
    )
