"""How much of each account may be under way on this node, and whose turn it is.

A lane is an account's queue. What is claimed waits in its lane for a turn; turns go to immediate messages
first, then to the lane with the fewest conversations, so a slow server holds only its own lane. What is
claimed beyond the conversations is small: it lets the next message be ready when one ends.

Many slow servers are not to hold the whole node either. A lane whose server has not answered yet gets more
than one conversation only while the node has most of its own free, and no lane more than one out of the last
quarter: that is for those with nothing under way.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from enum import Enum, auto

from mail_proxy.model.accounts import Rest
from mail_proxy.model.messages import Priority
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Deferred, Outcome, Scope

FAILURES = 3
"""Consecutive failures to connect after which an account rests; a failed login needs only one."""

CLAIMED_PER_SLOT = 4
"""Messages claimed at most for each conversation that this node may hold; one more for lanes with none."""

ASK_ANEW = 60.0
"""Seconds after which a lane at a rate limit is asked again at the latest: the limit may have been changed,
or the clock."""

FAIR = 4
"""A lane claims at most this many times what it leaves free: no account alone can hold everything."""

KEPT = 0.25
"""Share of the node that is kept for lanes with nothing under way."""

KEPT_FROM_UNKNOWN = 0.75
"""The same before a lane's server has answered: it may be one that never does."""


SAME = 0.0005
"""Seconds by which a moment that a database tells in digits may differ from itself."""


class Sign(Enum):
    """What an attempt says of the account itself: that it is to rest, or that it works again."""

    FAILING = auto()
    WORKING = auto()


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

    `quota` is how much may wait for its turn, `conversations` how many are at the server at a time.
    `has_more` tells that the queue held more when it was last looked at. `rest` is there while the account's
    circuit is open, as far as this node knows. Until `limited_until` a rate limit, or another node's probe,
    lets nothing through. `is_known` tells that its server has answered, `failures` counts the attempts since
    at which it did not. `recalls` rises when what has had its turn and has no connection yet is to come back.
    `changed_at` is when the account was changed last, as far as what waits here knows it.
    """

    number: int
    quota: int = 1
    conversations: int = 1
    under_way: int = 0
    sending: int = 0
    waiting: list[Turn] = field(default_factory=list)
    has_more: bool = False
    is_known: bool = False
    failures: int = 0
    recalls: int = 0
    rest: Rest | None = None
    limited_until: float = 0.0
    changed_at: float | None = None

    @property
    def ahead(self) -> int:
        """How many may have their turn beyond the conversations: each begins as soon as another ends."""
        return self.conversations if self.is_known and self.rest is None else 0

    @property
    def is_low(self) -> bool:
        """Whether what waits here would soon be used up."""
        return len(self.waiting) <= max(self.conversations, self.quota // 2)

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing and remembers nothing."""
        return not (self.under_way or self.failures or self.limited_until)

    def limit(self, until: float, now: float) -> None:
        """Let nothing through until then, or for `ASK_ANEW`."""
        self.limited_until = min(until, now + ASK_ANEW)

    def is_limited(self, now: float) -> bool:
        """Whether a rate limit lets nothing through; not when the clock was put back since."""
        return self.limited_until - ASK_ANEW <= now < self.limited_until

    def is_outdated(self, changed_at: float | None) -> bool:
        """Whether what is under way knows the account otherwise than changed last then (None: deleted)."""
        if not self.under_way:
            return False
        if changed_at is None or self.changed_at is None:
            return changed_at is not self.changed_at
        return abs(changed_at - self.changed_at) > SAME

    def is_resting(self, now: float) -> bool:
        return self.rest is not None and self.rest.holds(now)

    def learn(self, outcome: Outcome) -> Sign | None:
        """Note what an attempt came to; return what it says of the account, if it does.

        Where it says nothing of the server, all stays as it was: whoever was to try the account has not.
        """
        if not outcome.tells_of_server:
            return None
        scopes = {each.scope for each in outcome.verdicts.values() if isinstance(each, Deferred)}
        self.is_known = Scope.ACCOUNT not in scopes and scopes != {Scope.CONNECTION}
        if self.is_known:
            self.failures = 0
            return None if self.rest is None else Sign.WORKING
        self.failures += 1
        self.recalls += 1
        is_failing = Scope.ACCOUNT in scopes or self.rest is not None or self.failures >= FAILURES
        return Sign.FAILING if is_failing else None

    def hear(self, rest: Rest | None) -> None:
        """Note how the account rests, as all nodes know; what led to a rest that is over counts no more."""
        if rest is None and self.rest is not None:
            self.failures = 0
        self.rest = rest

    def recover(self) -> None:
        """The account works again."""
        self.rest, self.limited_until = None, 0.0

    def dismiss(self) -> list[int]:
        """Send back what waits; return the places in the queue that are to be given back."""
        self.recalls += 1
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
        self._queues: dict[int, Lane] = {}
        self._sending = 0
        self._under_way = 0

    def open(self, number: int) -> Lane:
        return self._lanes.setdefault(number, Lane(number))

    @property
    def in_hand(self) -> list[Lane]:
        """Those with something under way."""
        return [lane for lane in self._lanes.values() if lane.under_way]

    def under_way(self, number: int) -> int:
        lane = self._lanes.get(number)
        return lane.under_way if lane else 0

    def room(self, lane: Lane, now: float, *, is_urgent: bool = False) -> int:
        """How many more messages of a lane to claim; one, as a probe, while its circuit is open.

        Urgent ones do not wait until what was claimed before them is used up.
        """
        if lane.is_limited(now) or lane.is_resting(now):
            return 0
        lane.limited_until = 0.0
        own = lane.quota - len(lane.waiting) if lane.is_low else 0
        if is_urgent:
            own = lane.quota + lane.conversations - len(lane.waiting)
        if lane.rest is not None:
            own = int(lane.sending + len(lane.waiting) < lane.conversations)
        if own <= 0:
            return 0
        most = self.sends * CLAIMED_PER_SLOT
        free = int(most * (1 - _kept(lane))) - self._under_way
        share = (FAIR * free - lane.under_way) // (FAIR + 1)
        if share < 1:
            self.is_short = True
            return int(not lane.under_way and self._under_way < most + self.sends)
        return min(own, share)

    def enqueue(self, lane: Lane, message: Claimed) -> Turn:
        """Let a claimed message wait for its turn, until `finish` is called for it."""
        turn = Turn(message.priority, message.seq, message.size, asyncio.get_running_loop().create_future())
        heapq.heappush(lane.waiting, turn)
        self._queues[lane.number] = lane
        lane.under_way += 1
        self._under_way += 1
        return turn

    def admit(self) -> None:
        """Give turns as long as there is room; each is to be handed back with `leave`."""
        while (lane := self._next()) is not None:
            turn = heapq.heappop(lane.waiting)
            if not lane.waiting:
                del self._queues[lane.number]
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
            self._queues.pop(number, None)  # if what waited there was sent back

    def next_ready(self, now: float) -> float | None:
        """When the next lane that was let be is to be asked again."""
        ends = (lane.limited_until for lane in self._lanes.values())
        return min((end for end in ends if end > now), default=None)

    def _next(self) -> Lane | None:
        free = self.sends - self._sending
        if free <= 0:
            return None
        able = [lane for lane in self._queues.values() if lane.waiting and self._may_send(lane, free)]
        return min(able, key=_urgency, default=None)

    def _may_send(self, lane: Lane, free: int) -> bool:
        """It is known that some are free."""
        is_free = not lane.sending or free > self.sends * _kept(lane)
        most = lane.conversations + (lane.ahead if 2 * free > self.sends else 0)
        return is_free and lane.sending < most and self._memory.fits(lane.waiting[0].size)


def _kept(lane: Lane) -> float:
    """Which share of the node is not for this lane, but for those with nothing under way."""
    return KEPT if lane.is_known else KEPT_FROM_UNKNOWN


def _urgency(lane: Lane) -> tuple[bool, int, Turn]:
    first = lane.waiting[0]
    return first.priority > Priority.IMMEDIATE, lane.sending, first
