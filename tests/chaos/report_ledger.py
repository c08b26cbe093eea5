"""What a database says that happened, what applications were told of it, and whether that agrees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.bench.report import percentile
from tests.chaos.disturbances import Kind
from tests.chaos.ledger import rows
from tests.support.receiver import Request

CLOSE = 1.0
"""Seconds by which what a node did, and what was done to it, may be told apart wrongly."""

_HAPPENED = """
SELECT e.event_id, m.tenant_id, m.id, e.event_type, e.event_ts
FROM events e JOIN messages m ON m.seq = e.seq
WHERE e.event_type IN ('sent', 'error', 'deferred') ORDER BY e.event_id"""
_LEFT = "SELECT event_id FROM events WHERE is_due <> 0"
_UNTOLD = "SELECT id FROM messages WHERE reported_ts IS NULL"


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of which an application has to be told; `at` is in Unix seconds."""

    event_id: int
    tenant_id: str
    message_id: str
    kind: str
    at: float


@dataclass(frozen=True, slots=True)
class Absence:
    """A node was killed, or stopped for longer than a lease; until `end` it did not run (Unix seconds)."""

    node: str
    kind: Kind
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Twice:
    """A second request with something that the first had, too."""

    first: Request
    second: Request

    def __str__(self) -> str:
        return " and ".join(
            f"{each.path} {each.begin:.3f} to {each.end:.3f} ({each.mood})"
            for each in (self.first, self.second)
        )


@dataclass(slots=True, kw_only=True)
class Reports:
    """Each node posts to a path of its own: its name after a slash."""

    happened: Sequence[Happened] = ()
    requests: Sequence[Request] = ()
    absences: list[Absence] = field(default_factory=list)
    left: Sequence[str] = ()

    @property
    def delays(self) -> list[float]:
        """Seconds from each event to the first time that its application had it."""
        first: dict[int, float] = {}
        for request in self.requests:
            for entry in request.taken:
                first.setdefault(_number(entry), request.begin)
        return [first[event.event_id] - event.at for event in self.happened if event.event_id in first]

    @property
    def doubled(self) -> list[Twice]:
        """What an application had, and was told again."""
        had: dict[int, Request] = {}
        twice: list[Twice] = []
        for request in self.requests:
            before = {
                id(had[number]): had[number] for number in map(_number, request.entries) if number in had
            }
            twice += [Twice(each, request) for each in before.values()]
            had |= dict.fromkeys(map(_number, request.taken), request)
        return twice

    @property
    def at_once(self) -> list[Twice]:
        """Two posts to one application that were under way at the same time."""
        return [
            Twice(first, second)
            for posts in self._by_tenant().values()
            for number, second in enumerate(posts)
            for first in posts[:number]
            if second.begin < first.end
        ]

    def broken_promises(self) -> list[str]:
        """Everything that should not be so, in words; empty is the hoped-for answer."""
        unexcused = [each for each in self.doubled if not self._excused(each)]
        at_once = [each for each in self.at_once if not self._excused(each)]
        return [
            *self._lost(),
            *(f"the database still has {each}" for each in self.left),
            *self._out_of_order(),
            *self._changed(),
            *(f"told twice though its node ran: {each}" for each in unexcused),
            *(f"posted at once though its node ran: {each}" for each in at_once),
        ]

    def _by_tenant(self) -> Mapping[str, list[Request]]:
        posts: dict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            for tenant_id in {str(entry["tenant_id"]) for entry in request.entries}:
                posts[tenant_id].append(request)
        return posts

    def _lost(self) -> Iterator[str]:
        told = {(_number(entry), *_whose(entry)) for request in self.requests for entry in request.taken}
        was = {(each.event_id, each.tenant_id, each.message_id, each.kind) for each in self.happened}
        yield from (f"never told: {each}" for each in sorted(was - told))
        yield from (f"told, and did not happen: {each}" for each in sorted(told - was))
        for request in self.requests:
            if len(tenants := {entry["tenant_id"] for entry in request.entries}) > 1:
                yield f"one post told of the messages of several tenants: {tenants}"

    def _out_of_order(self) -> Iterator[str]:
        """Each event has to be had before the next of its message is."""
        orders: dict[tuple[object, object], list[int]] = defaultdict(list)
        seen: set[int] = set()
        for request in self.requests:
            for entry in request.taken:
                if (number := _number(entry)) not in seen:
                    seen.add(number)
                    orders[entry["tenant_id"], entry["id"]].append(number)
        for message, order in orders.items():
            if any(later < earlier for earlier, later in pairwise(order)):
                yield f"out of order: {message} {order}"

    def _changed(self) -> Iterator[str]:
        known: dict[int, Mapping[str, object]] = {}
        for request in self.requests:
            for entry in request.entries:
                if known.setdefault(_number(entry), entry) != entry:
                    yield f"told again in other words: {entry} after {known[_number(entry)]}"

    def _excused(self, twice: Twice) -> bool:
        """Whether the node that posted first was killed, or stopped beyond its lease, amid it or since."""
        return any(
            f"/{each.node}" == twice.first.path
            and each.begin < twice.second.begin + CLOSE
            and twice.first.begin - CLOSE < each.end
            for each in self.absences
        )

    def __str__(self) -> str:
        requests = Counter(request.path for request in self.requests if request.entries)
        moods = Counter(request.mood.value for request in self.requests if request.entries)
        at_once = [each for each in self.at_once if _shared(each)]
        return (
            f"{len(self.happened)} events in {sum(requests.values())} posts {dict(requests)}, answered "
            f"{dict(moods)}; {len(self.requests) - sum(requests.values())} empty posts; "
            f"{len(self.doubled)} posts told again of something, {len(self.at_once)} pairs of posts to one "
            f"application at a time, {len(at_once)} of them with a common event; "
            f"event to arrival: median {percentile(self.delays, 0.5):.2f} s, "
            f"p99 {percentile(self.delays, 0.99):.1f} s, slowest {max(self.delays, default=0):.1f} s"
        )


def _number(entry: Mapping[str, object]) -> int:
    return int(str(entry["event_id"]))


def _whose(entry: Mapping[str, object]) -> tuple[str, str, str]:
    return str(entry["tenant_id"]), str(entry["id"]), str(entry["event"])


def _shared(twice: Twice) -> bool:
    return not set(map(_number, twice.first.entries)).isdisjoint(map(_number, twice.second.entries))


def read_happened(target: str | Path) -> list[Happened]:
    """The events of which applications have to be told, in order."""
    return [
        Happened(int(str(number)), str(tenant_id), str(message_id), str(kind), float(str(at)))
        for number, tenant_id, message_id, kind, at in rows(target, _HAPPENED)
    ]


def read_left(target: str | Path) -> list[str]:
    """What the database says is still to be told, in words."""
    left = [f"event {number} to tell" for (number,) in rows(target, _LEFT)]
    return left + [f"message {identity} as not told of" for (identity,) in rows(target, _UNTOLD)]
