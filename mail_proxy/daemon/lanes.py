"""How much of each account may be under way, and which accounts rest.

A lane is an account's queue. Its conversations are limited, so a slow server holds only its own; what is
claimed beyond them is small and lets the next message be ready when a conversation ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mail_proxy.model.verdicts import Deferred, Outcome, Scope

FIRST_REST = 30.0
LONGEST_REST = 900.0
FAILURES = 3
"""Consecutive failures to connect after which an account rests; a failed login needs only one."""


@dataclass(slots=True)
class Lane:
    """What this node has under way for one account. Times are Unix seconds."""

    number: int
    conversations: asyncio.Semaphore
    claimed: int = 0
    failures: int = 0
    rest: float = 0.0
    resting_until: float = 0.0

    def room(self, claims: int, now: float) -> int:
        """How many more messages may be claimed, `claims` being the most; one when a rest has just ended."""
        if now < self.resting_until:
            return 0
        most = 1 if self.rest else claims
        return max(0, most - self.claimed)

    def learn(self, outcome: Outcome, now: float) -> bool:
        """Note what an attempt says of the account itself; return whether it is a change worth telling."""
        scopes = {each.scope for each in outcome.verdicts.values() if isinstance(each, Deferred)}
        if Scope.ACCOUNT in scopes:
            return self._rest(now)
        if scopes == {Scope.CONNECTION}:
            self.failures += 1
            return self.failures >= FAILURES and self._rest(now)
        was_resting, self.failures, self.rest = bool(self.rest), 0, 0.0
        return was_resting

    def _rest(self, now: float) -> bool:
        """Rest, twice as long each time; conversations that fail during a rest do not lengthen it."""
        if now < self.resting_until:
            return False
        self.rest = min(max(self.rest * 2, FIRST_REST), LONGEST_REST)
        self.resting_until = now + self.rest
        return True


@dataclass(slots=True)
class Lanes:
    """The lanes with something under way, or resting."""

    _lanes: dict[int, Lane] = field(default_factory=dict)

    def get(self, number: int) -> Lane | None:
        return self._lanes.get(number)

    def open(self, number: int, conversations: int) -> Lane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = Lane(number, asyncio.Semaphore(conversations))
        return lane

    def forget_idle(self) -> None:
        """Drop the lanes that hold nothing and remember nothing."""
        for number in [n for n, lane in self._lanes.items() if not lane.claimed and not lane.failures]:
            if not self._lanes[number].rest:
                del self._lanes[number]

    @property
    def claimed(self) -> int:
        return sum(lane.claimed for lane in self._lanes.values())

    def next_ready(self, now: float) -> float | None:
        """When the next rest ends."""
        ends = [lane.resting_until for lane in self._lanes.values() if lane.resting_until > now]
        return min(ends) if ends else None
