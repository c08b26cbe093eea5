"""How much of each account may be under way, whose turn it is, and which accounts rest.

A lane is an account's queue. What is claimed waits in its lane for a turn; turns go to immediate messages
first, then to the lane with the fewest conversations, so a slow server holds only its own lane. What is
claimed beyond the conversations is small: it lets the next message be ready when one ends.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field

from mail_proxy.model.messages import Priority
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Deferred, Outcome, Scope

FIRST_REST = 30.0
LONGEST_REST = 900.0
FAILURES = 3
"""Consecutive failures to connect after which an account rests; a failed login needs only one."""

CLAIMED_PER_SLOT = 4
"""Messages claimed at most for each conversation that this node may hold."""

ASK_ANEW = 60.0
"""Seconds after which a lane at a rate limit is asked again at the latest: the limit may have been changed,
or the clock."""

FAIR = 4
"""A lane takes at most this many times what it leaves free: no account alone can hold everything."""


class ByteBudget:
    """Lets contents into memory as long as they fit; of those that never would, one at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._has_giant = False

    def fits(self, size: int) -> bool:
        return not self._has_giant if size > self._limit else self._used + size <= self._limit

    def take(self, size: int) -> None:
        if size > self._limit:
            self._has_giant = True
        else:
            self._used += size

    def give_back(self, size: int) -> None:
        if size > self._limit:
            self._has_giant = False
        else:
            self._used -= size


@dataclass(slots=True, order=True)
class Turn:
    """A claimed message waiting in its lane; `comes` tells whether it goes (True) or goes back (False)."""

    priority: int
    seq: int
    size: int = field(compare=False)
    comes: asyncio.Future[bool] = field(compare=False)


@dataclass(slots=True)
class Lane:
    """What this node has under way for one account. Times are Unix seconds.

    `quota` is how much that may be, `conversations` how many at the server at a time. `has_more` tells that
    the queue held more when it was last looked at, `is_ill` that the account's trouble is on record.
    Until `limited_until` a rate limit lets nothing through.
    """

    number: int
    quota: int = 1
    conversations: int = 1
    under_way: int = 0
    sending: int = 0
    waiting: list[Turn] = field(default_factory=list)
    has_more: bool = False
    failures: int = 0
    rest: float = 0.0
    resting_until: float = 0.0
    limited_until: float = 0.0
    is_ill: bool = False

    @property
    def is_low(self) -> bool:
        """Whether what waits here would soon be used up."""
        return len(self.waiting) <= self.conversations

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing and remembers nothing."""
        return not (self.under_way or self.failures or self.rest or self.limited_until)

    def limit(self, until: float, now: float) -> None:
        """Let nothing through until then, or for `ASK_ANEW`."""
        self.limited_until = min(until, now + ASK_ANEW)

    def is_limited(self, now: float) -> bool:
        """Whether a rate limit lets nothing through; not when the clock was put back since."""
        return self.limited_until - ASK_ANEW <= now < self.limited_until

    def is_resting(self, now: float) -> bool:
        return now < self.resting_until

    def learn(self, outcome: Outcome, now: float) -> bool:
        """Note what an attempt says of the account itself; return whether it is a change worth telling.

        What conversations begun before a rest come to during it neither lengthens nor ends it.
        """
        scopes = {each.scope for each in outcome.verdicts.values() if isinstance(each, Deferred)}
        is_failure = Scope.ACCOUNT in scopes or scopes == {Scope.CONNECTION}
        if self.is_resting(now):
            return False
        if not is_failure:
            was_ill, self.is_ill = self.is_ill, False
            self.failures, self.rest = 0, 0.0
            return was_ill
        self.failures += 1
        if Scope.ACCOUNT not in scopes and self.failures < FAILURES:
            return False
        self.rest = min(max(self.rest * 2, FIRST_REST), LONGEST_REST)
        self.resting_until = now + self.rest
        self.is_ill = True
        return True

    def dismiss(self) -> list[int]:
        """Send back what waits; return the places in the queue that are to be given back."""
        dismissed, self.waiting = self.waiting, []
        for turn in dismissed:
            if not turn.comes.done():
                turn.comes.set_result(False)
        return sorted(turn.seq for turn in dismissed)


class Lanes:
    """The lanes with something under way, or with trouble; `sends` are the conversations of this node.

    `is_short` tells that some lane was turned away because the node as a whole has enough.
    """

    def __init__(self, sends: int, memory: ByteBudget) -> None:
        self.sends = sends
        self.is_short = False
        self._memory = memory
        self._lanes: dict[int, Lane] = {}
        self._sending = 0
        self._under_way = 0

    def open(self, number: int) -> Lane:
        return self._lanes.setdefault(number, Lane(number))

    def under_way(self, number: int) -> int:
        lane = self._lanes.get(number)
        return lane.under_way if lane else 0

    def room(self, lane: Lane, now: float, *, is_urgent: bool = False) -> int:
        """How many more messages of a lane to claim; one as a probe when a rest has ended.

        Urgent ones do not wait until what was claimed before them is used up.
        """
        if lane.is_limited(now):
            return 0
        lane.limited_until = 0.0
        if lane.rest:
            return int(not lane.under_way and not lane.is_resting(now))
        own = lane.quota - lane.under_way if lane.is_low else 0
        if is_urgent:
            own = lane.quota + lane.conversations - lane.under_way
        if own <= 0:
            return 0
        free = self.sends * CLAIMED_PER_SLOT - self._under_way
        share = (FAIR * free - lane.under_way) // (FAIR + 1)
        if share < 1:
            self.is_short = True
            return int(free > 0 and not lane.under_way)
        return min(own, share)

    def enqueue(self, lane: Lane, message: Claimed) -> Turn:
        """Let a claimed message wait for its turn, until `finish` is called for it."""
        turn = Turn(message.priority, message.seq, message.size, asyncio.get_running_loop().create_future())
        heapq.heappush(lane.waiting, turn)
        lane.under_way += 1
        self._under_way += 1
        return turn

    def admit(self) -> None:
        """Give turns as long as there is room; each is to be handed back with `leave`."""
        while (lane := self._next()) is not None:
            turn = heapq.heappop(lane.waiting)
            if not turn.comes.done():
                lane.sending += 1
                self._sending += 1
                self._memory.take(turn.size)
                turn.comes.set_result(True)

    def leave(self, lane: Lane, turn: Turn) -> None:
        """A conversation has ended: its turn goes to the next."""
        lane.sending -= 1
        self._sending -= 1
        self._memory.give_back(turn.size)
        self.admit()

    def finish(self, lane: Lane) -> None:
        """A claimed message has been dealt with."""
        lane.under_way -= 1
        self._under_way -= 1

    def dismiss(self) -> list[int]:
        """Send back everything that waits."""
        return [seq for lane in self._lanes.values() for seq in lane.dismiss()]

    def look_anew(self) -> None:
        """Begin a look at the queue, which tells what lanes have more."""
        self.is_short = False
        for lane in self._lanes.values():
            lane.has_more = False

    def forget_idle(self) -> None:
        for number in [number for number, lane in self._lanes.items() if lane.is_idle]:
            del self._lanes[number]

    def next_ready(self, now: float) -> float | None:
        """When the next rest ends, or the next slot of a rate limit is free."""
        ends = [
            moment
            for lane in self._lanes.values()
            for moment in (lane.resting_until, lane.limited_until)
            if moment > now
        ]
        return min(ends, default=None)

    def _next(self) -> Lane | None:
        free = self.sends - self._sending
        if free <= 0:
            return None
        able = [lane for lane in self._lanes.values() if lane.waiting and self._may_send(lane, free)]
        return min(able, key=_urgency, default=None)

    def _may_send(self, lane: Lane, free: int) -> bool:
        return lane.sending < min(lane.conversations, FAIR * free) and self._memory.fits(lane.waiting[0].size)


def _urgency(lane: Lane) -> tuple[bool, int, Turn]:
    first = lane.waiting[0]
    return first.priority > Priority.IMMEDIATE, lane.sending, first
