"""Rate limits over time: three dispatchers on one database, and a provider that counts what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from aiosmtpd.smtp import Envelope, Session

from mail_proxy.daemon.dispatcher import Dispatcher
from mail_proxy.model.accounts import LimitBehavior
from mail_proxy.model.messages import MessageFilter, Status
from mail_proxy.model.tenants import RateLimits, Tenant
from mail_proxy.store.limits import LOOK_AGAIN, MARGIN
from mail_proxy.store.parking import HEADS
from tests.support.clock import ManualClock
from tests.support.dispatching import TENANT, Dispatching, dispatching
from tests.support.smtp_server import SmtpServer, _Conversation

NODES = ("node-a", "node-b", "node-c")
MINUTE, HOUR = 60.0, 3600.0
LIMIT = 60
LONGEST_TICK = 1.0
PATIENCE = 60.0
BACKLOG = """
WITH RECURSIVE more(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM more WHERE i < 100000)
INSERT INTO messages (pk, tenant_id, id, account_id, lane, status, priority, recipients, message_id, is_pec,
    size, created_at, updated_at)
SELECT 'pk-' || i, 'acme', 'more-' || i, 'main', {lane}, 'pending', 2, '[]', '<' || i || '@x>', 0, 1, 0, 0
FROM more"""
GREYLISTED = "451 4.7.1 greylisted, try later"


@dataclass(slots=True)
class Visit:
    """A content that came to the provider: when, from whom, and when it was taken, if it was."""

    came: float
    sender: str
    taken: float | None = None
    ended: float | None = None


@dataclass(eq=False)
class Provider(SmtpServer):
    """Takes its time by the test's clock: `pace` tells how many seconds, and whether it takes the mail."""

    clock: ManualClock = field(default_factory=ManualClock)
    pace: Callable[[], tuple[float, bool]] = lambda: (0.0, True)
    visits: list[Visit] = field(default_factory=list)
    holding: int = 0

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: _Conversation, session: Session, envelope: Envelope
    ) -> str:
        visit = Visit(self.clock.now(), envelope.mail_from or "")
        self.visits.append(visit)
        seconds, takes_it = self.pace()
        if seconds:
            self.holding += 1
            try:
                await self.clock.sleep(seconds)
            finally:
                self.holding -= 1
        visit.ended = self.clock.now()
        if not takes_it:
            return GREYLISTED
        visit.taken = visit.ended
        return await super().handle_DATA(server, session, envelope)


@asynccontextmanager
async def provided(database_url: str) -> AsyncIterator[tuple[Dispatching, Provider]]:
    async with dispatching(database_url) as rig:
        provider = Provider(clock=rig.time)
        async with provider.running():
            yield rig, provider


async def queue(rig: Dispatching, count: int, account_id: str = "main") -> None:
    for start in range(0, count, 500):
        names = [f"{account_id}-{number}" for number in range(start, min(start + 500, count))]
        await rig.queue(*names, account_id=account_id, **{"from": f"{account_id}@example.org"})


async def nodes_of(rig: Dispatching) -> list[Dispatcher]:
    """Three dispatchers, in new lives."""
    nodes = [rig.node(name) for name in NODES]
    for node in nodes:
        await node.recover()
    return nodes


async def pass_time(rig: Dispatching, nodes: Sequence[Dispatcher], seconds: float) -> None:
    """Step whenever a dispatcher asks for it; what it begins ends at once."""
    end = rig.clock.now() + seconds
    while (now := rig.clock.now()) < end:
        pauses = await asyncio.gather(*(node.step() for node in nodes))
        for node in nodes:
            await node.idle()
        rig.time.advance(min(*pauses, end - now))


def most_within(moments: Sequence[float], seconds: float) -> int:
    """The most that came within any window of so many seconds, both its ends included."""
    moments, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(moments):
        while moments[first] < moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_a_limit_is_kept_and_used_for_ten_minutes(database_url: str) -> None:
    """Sixty a minute are never 61 in any 60 s, and 600 in ten minutes; with a restart of all three.

    They come as early as the limit allows: sixty at once, and nine times sixty whenever a minute is over.
    """
    async with provided(database_url) as (rig, provider):
        await rig.add_account(provider, limit_per_minute=LIMIT, batch_size=25)
        await queue(rig, 800)
        started = rig.clock.now()
        await pass_time(rig, await nodes_of(rig), 290)
        await pass_time(rig, await nodes_of(rig), 310)

    moments = [visit.came for visit in provider.visits]
    assert most_within(moments, MINUTE) == LIMIT
    assert len(moments) == 10 * LIMIT
    assert max(moments) - started < 9 * (MINUTE + 2 * MARGIN)


async def test_hours_of_accounts_and_of_their_tenant_are_kept_together(database_url: str) -> None:
    """Two accounts of 50 an hour under a tenant of 70; each window is used to its last slot."""
    async with provided(database_url) as (rig, provider):
        await rig.store.tenants.add(Tenant(id=TENANT, rate_limits=RateLimits(hourly=70)), None, 0.0)
        for name in ("main", "other"):
            await rig.add_account(provider, name, limit_per_hour=50)
            await queue(rig, 150, name)
        nodes = [rig.node(name, send_loop_interval=HOUR) for name in NODES]
        await pass_time(rig, nodes, 2 * HOUR + 60)

    moments = [visit.came for visit in provider.visits]
    assert most_within(moments, HOUR) == 70
    for sender in ("main@example.org", "other@example.org"):
        own = [visit.came for visit in provider.visits if visit.sender == sender]
        assert most_within(own, HOUR) <= 50
    assert len(moments) == 3 * 70


async def test_over_a_limit_that_rejects_the_rest_fails_and_the_limit_is_kept(database_url: str) -> None:
    """Ten a minute go; all others have failed at once, also what comes later in that minute."""
    async with provided(database_url) as (rig, provider):
        await rig.add_account(provider, limit_per_minute=10, limit_behavior=LimitBehavior.REJECT)
        await queue(rig, 30)
        nodes = await nodes_of(rig)
        await pass_time(rig, nodes, 30)
        await rig.queue("late")
        await pass_time(rig, nodes, 10)
        assert (await rig.message("late")).error == "rate_limit_exceeded"
        await pass_time(rig, nodes, 30)
        await rig.queue("next")
        await pass_time(rig, nodes, 5)
        assert await rig.status("next") == "sent"
        failed = await rig.runtime.services.messages.list(MessageFilter(status=Status.ERROR))

    assert (len(provider.visits), len(failed.messages)) == (11, 21)


class Run:
    """Three dispatchers that run, each in a task, while the test's clock goes on in small steps."""

    def __init__(self, rig: Dispatching, provider: Provider, rng: Random) -> None:
        self._rig, self._provider, self._rng = rig, provider, rng
        self._nodes: list[Dispatcher] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._nodes = [self._rig.node(name) for name in NODES]
        self._tasks = [asyncio.create_task(node.run()) for node in self._nodes]

    async def kill(self) -> None:
        """End all three at once, whatever they are doing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def on(self, seconds: float) -> None:
        """Let time pass."""
        end = self._rig.clock.now() + seconds
        while self._rig.clock.now() < end:
            self._rig.time.advance(self._rng.uniform(0.2, LONGEST_TICK))
            await self._all_have_looked()

    async def _all_have_looked(self) -> None:
        looks = self._rig.database.done["look"] + len(NODES)
        for node in self._nodes:
            node.wake.set()
        async with asyncio.timeout(PATIENCE):
            await self._rig.database.until_done("look", looks)
            while self._rig.agent.at_once != self._provider.holding:  # noqa: ASYNC110 - of two parties
                await asyncio.sleep(0.001)


def paces(rng: Random) -> Callable[[], tuple[float, bool]]:
    """Most conversations take seconds, some longer than the window; a few end without the mail taken."""
    return lambda: (rng.uniform(61, 75) if rng.random() < 0.25 else rng.uniform(0, 6), rng.random() > 0.1)


async def test_a_limit_is_kept_and_used_whatever_conversations_take(database_url: str) -> None:
    """Counted when contents come as when they are taken, nothing exceeds it; and no slot stays unused.

    Each slot is taken from the claim to a window after the mail was taken, or until it was refused. With the
    steps of this clock, and the pause after which a slot that was given back is found, that is all the time.
    """
    rng = Random(7)
    async with provided(database_url) as (rig, provider):
        provider.pace = paces(rng)
        await rig.add_account(provider, limit_per_minute=LIMIT, max_concurrent=LIMIT, batch_size=2 * LIMIT)
        await queue(rig, 500)
        run = Run(rig, provider, rng)
        run.start()
        started = rig.clock.now()
        await run.on(270)
        await run.kill()
        now = rig.clock.now()

    assert most_within([visit.taken for visit in provider.visits if visit.taken is not None], MINUTE) <= LIMIT
    assert most_within([visit.came for visit in provider.visits if visit.taken is not None], MINUTE) <= LIMIT
    slack = 2 * LONGEST_TICK + LOOK_AGAIN
    used = sum(until - start + slack for start, until in slots(provider.visits, now))
    assert used >= LIMIT * (now - started)


def slots(visits: Sequence[Visit], now: float) -> Iterator[tuple[float, float]]:
    """From when until when each visit has a slot, as far as time has come."""
    for visit in visits:
        ended = visit.ended or now
        stays = 0.0 if visit.taken is None else MINUTE + MARGIN
        yield visit.came, min(now, ended + stays)


async def test_a_limit_is_kept_when_all_die_in_the_middle_of_conversations(database_url: str) -> None:
    """What was handed over counts from when it is found, though nobody knows whether it was taken."""
    rng = Random(8)
    async with provided(database_url) as (rig, provider):
        provider.pace = paces(rng)
        await rig.add_account(provider, limit_per_minute=20, max_concurrent=20)
        await queue(rig, 300)
        run = Run(rig, provider, rng)
        for _ in range(4):
            run.start()
            await run.on(50)
            await run.kill()

    assert most_within([visit.came for visit in provider.visits if was_or_may_be_taken(visit)], MINUTE) <= 20


def was_or_may_be_taken(visit: Visit) -> bool:
    return visit.taken is not None or visit.ended is None


async def test_a_backlog_at_a_limit_costs_nothing_while_it_waits(database_url: str) -> None:
    """A hundred thousand that wait: a look now and then, and one claim a minute, which takes none.

    What these cost is the same with a hundred (tests/contract/test_store_limits_cost.py).
    """
    async with provided(database_url) as (rig, provider):
        account = await rig.add_account(provider, limit_per_hour=1)
        await rig.queue("first")
        await rig.execute(BACKLOG.format(lane=account.lane))
        await pass_time(rig, await nodes_of(rig), 60)
        before = rig.database.done.copy()
        node = rig.node("node-d")
        pause = await node.step()
        await pass_time(rig, [node], 115)
        done = rig.database.done - before
        shown = MessageFilter(tenant_id=TENANT, status=Status.DEFERRED)
        parked = len((await rig.runtime.services.messages.list(shown)).messages)

    assert pause == 5
    assert done == {"look": 1 + 115 / 5, "claim": 2, "list": 2}
    assert (parked, len(provider.visits)) == (HEADS, 1)


async def test_a_slot_that_comes_back_is_used_at_once(database_url: str) -> None:
    """A refused message was not sent: the next one goes, without a moment in between."""
    async with provided(database_url) as (rig, provider):
        await rig.add_account(provider, limit_per_hour=1)
        await rig.queue("refused", to=["nouser@example.net"])
        await rig.queue("next")
        await rig.work(2)
        assert (await rig.status("refused"), await rig.status("next")) == ("error", "sent")


async def test_a_lane_at_its_limit_tells_of_its_heads_once(database_url: str) -> None:
    """However often it is asked, and by how many nodes; they go in their order when slots come."""
    async with provided(database_url) as (rig, provider):
        await rig.add_account(provider, limit_per_minute=2)
        await queue(rig, HEADS + 30)
        await pass_time(rig, await nodes_of(rig), 185)
        happened = [await rig.happened(f"main-{number}") for number in range(HEADS + 30)]
        sent = [await rig.status(f"main-{number}") == "sent" for number in range(HEADS + 30)]

    assert happened[0] == ["queued", "sending", "sent"]
    assert happened[7] == ["queued", "deferred", "sending", "sent"]
    assert happened[8 : HEADS + 8] == [["queued", "deferred"]] * HEADS
    assert happened[HEADS + 8 :] == [["queued"]] * 22
    assert all(before >= after for before, after in pairwise(sent))
