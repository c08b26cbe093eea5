"""What happens to the messages of a tenant, and whether an application heard it as it was promised."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tests.support.dispatching import TENANT, Dispatching

Entry = Mapping[str, object]
Name = tuple[str, str]
"""A tenant and the id of one of its messages."""

DATA: Mapping[str, Mapping[str, object]] = {
    "sent": {"smtp_response": "250 ok"},
    "error": {"error": "550 5.1.1 no such user"},
    "deferred": {"reason": "451 4.7.1 later", "deferred_ts": 1_700_000_060, "retry_count": 1},
}
CHAPTERS = {
    "slow": ("deferred", "deferred", "sent"),
    "lost": ("deferred", "deferred", "error"),
    "fast": ("sent",),
}
"""What becomes of a message, by the beginning of its id, one event after the other."""

LONGEST = max(len(chapters) for chapters in CHAPTERS.values())


class Story:
    """Messages of one tenant to which their events happen, step by step; `expected` are those so far.

    Several of a tenant have different names.
    """

    def __init__(
        self, rig: Dispatching, messages: int = 30, *, name: str = "m", tenant_id: str = TENANT
    ) -> None:
        self._rig = rig
        self._tenant_id = tenant_id
        self._name = name
        self._ids = [f"{kind}-{name}{each}" for each in range(messages // len(CHAPTERS)) for kind in CHAPTERS]
        self._step = 0
        self.expected: dict[Name, list[str]] = {(tenant_id, each): [] for each in self._ids}

    async def begin(self) -> None:
        """Queue the messages."""
        await self._rig.queue(*self._ids, tenant_id=self._tenant_id, metadata={"order": "città"})

    async def go_on(self) -> None:
        """Let the next event happen to each message that has one before it."""
        for kind, chapters in CHAPTERS.items():
            for event in chapters[self._step : self._step + 1]:
                await self._happen(f"id LIKE '{kind}-{self._name}%'", event)
                for name in self._ids:
                    if name.startswith(kind):
                        self.expected[self._tenant_id, name].append(event)
        self._step += 1

    async def _happen(self, where: str, event: str) -> None:
        await self._rig.execute(
            "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, event_data, is_due) "
            f"SELECT seq, tenant_id, '{event}', {self._rig.clock.now()}, 'x', '{json.dumps(DATA[event])}', 1 "
            f"FROM messages WHERE tenant_id = '{self._tenant_id}' AND {where} ORDER BY seq"
        )


def broken_promises(posts: Iterable[Sequence[Entry]], expected: Mapping[Name, Sequence[str]]) -> list[str]:
    """Tell what an application has to complain of that got these reports, one after the other.

    Every event comes, in order within its message; what comes twice is the same, with the same `event_id`.
    """
    known: dict[object, Entry] = {}
    heard: defaultdict[Name, list[str]] = defaultdict(list)
    complaints = []
    for post in posts:
        last: dict[Name, int] = {}
        for entry in post:
            name, number = (str(entry["tenant_id"]), str(entry["id"])), int(str(entry["event_id"]))
            if number <= last.get(name, 0):
                complaints.append(f"{name}: {number} comes after {last[name]}")
            last[name] = number
            if known.setdefault(number, entry) != entry:
                complaints.append(f"{number} says something else the second time")
            elif known[number] is entry:
                heard[name].append(str(entry["event"]))
    told = {name: list(events) for name, events in expected.items() if events}
    complaints += [
        f"{name}: heard {heard.get(name)}, not {told.get(name)}"
        for name in sorted({*told, *heard})
        if heard.get(name) != told.get(name)
    ]
    return complaints
