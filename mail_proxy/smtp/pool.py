"""Connections kept open for each account, and how many of them there may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mail_proxy.clock import Clock
from mail_proxy.model.accounts import Account
from mail_proxy.smtp.lending import Held, Identity, Lane, Lent, Rider, Waiter, identity_of
from mail_proxy.smtp.transport import Connection

CHECK_AFTER = 5.0
"""Seconds of idleness after which a connection is asked for a sign of life before it is used again."""

NO_RIDES = 3600.0
"""Seconds for which no message begins before another has ended, after a connection broke, or was slow."""

Key = tuple[str, str]


class CalledOff(Exception):
    """The message is not to be sent now after all; nothing was said of it to any server."""


class Pool:
    """Lends connections, made by `connect`, for the time of one message each.

    An account has at most `max_concurrent`, or `default_limit`, at once. One is lent again for `ttl`
    seconds after it was opened, while the account's address, login and TLS stay what they were.
    """

    def __init__(
        self, connect: Callable[[Account], Awaitable[Connection]], *, default_limit: int, clock: Clock
    ) -> None:
        self._connect = connect
        self.default_limit = default_limit
        self._clock = clock
        self._lanes: dict[Key, Lane] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        self._no_rides: dict[Key, float] = {}

    @property
    def open_connections(self) -> int:
        """The number of connections, idle, in use, or being opened."""
        return sum(lane.lent + len(lane.idle) for lane in self._lanes.values())

    async def lend(self, account: Account, rider: Rider) -> Lent:
        """Lend a connection, to be given to `take_back`.

        Raises `Broken` if none can be opened, `CalledOff` if `rider` was while it waited.
        """
        key = _key(account)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane()
        lane.users += 1
        try:
            if lane.lent >= self._limit(account):
                handed = await self._wait(lane, account, rider)
                if handed is not None:
                    return handed
            lane.lent += 1
            try:
                return await self._lend(lane, account)
            except BaseException:
                lane.leave()
                raise
        except BaseException:
            lane.users -= 1
            self._forget(key)
            raise

    async def renew(self, lent: Lent) -> None:
        """Replace a connection that turned out dead by a new one. Raises `Broken`."""
        lent.connection.abort()
        # What happened to this connection happened to those that idled beside it.
        for connection in lent.lane.empty():
            connection.abort()
        lent.held = await self._open(lent.lane, lent.account, lent.identity)
        lent.is_reused = lent.is_introduced = False

    def avoid_rides(self, account: Account) -> None:
        """Let no message begin before another has ended, for long: the account's server does not go along."""
        self._no_rides[_key(account)] = self._clock.now() + NO_RIDES

    def take_back(self, lent: Lent) -> None:
        """Keep the connection for the next message; one that is left in the middle of a mail is closed."""
        lane, held, now = lent.lane, lent.held, self._clock.now()
        held.idle_since = now
        if lent.boarded is not None and self._hand_over(lent, now):
            lane.users -= 1
            return
        if not self._closed and held.is_fit(lent.identity, lane.generation, now):
            lane.idle.append(held)
        else:
            self._dismiss(held.connection)
        lane.leave()
        lane.users -= 1
        self._forget(_key(lent.account))

    def _limit(self, account: Account) -> int:
        return account.max_concurrent or self.default_limit

    async def _wait(self, lane: Lane, account: Account, rider: Rider) -> Lent | None:
        """Wait until fewer are lent out than may be, or one is handed over."""
        identity = identity_of(account)
        while lane.lent >= self._limit(account):
            comes: asyncio.Future[Lent | None] = asyncio.get_running_loop().create_future()
            lane.waiters.append(Waiter(account=account, identity=identity, rider=rider, comes=comes))
            try:
                handed = await comes
            except BaseException:
                if not comes.cancelled():
                    lane.pass_on(comes.result())
                raise
            if handed is not None:
                return handed
            if rider.is_called_off:
                lane.wake()
                raise CalledOff
        return None

    def _board(self, lent: Lent) -> Sequence[str]:
        """See `Lent.following`."""
        now = self._clock.now()
        if not lent.lane.waiters or self._closed or now < self._no_rides.get(_key(lent.account), 0.0):
            return ()
        return lent.lane.board(lent, now)

    def _hand_over(self, lent: Lent, now: float) -> bool:
        """Give the connection to whom has begun on it, if that can be; else he waits for another."""
        lane, held = lent.lane, lent.held
        boarded = lane.alight(lent)
        if boarded is None:
            return False  # who was aboard has gone: what he has begun ends with the connection
        is_wanted = not self._closed and held.is_current(boarded.identity, lane.generation, now)
        if is_wanted and held.connection.is_open and lane.lent <= self._limit(boarded.account):
            boarded.comes.set_result(lent.handed_to(boarded))
            return True
        if held.connection.has_failed:
            self.avoid_rides(lent.account)
        held.connection.abort()
        lane.waiters.appendleft(boarded)
        return False

    async def close_account(self, tenant_id: str, account_id: str) -> None:
        """Close the idle connections of one account; those in use close after their message."""
        lane = self._lanes.get((tenant_id, account_id))
        if lane is not None:
            lane.generation += 1
            connections = lane.empty()
            self._forget((tenant_id, account_id))
            await _quit_all(connections)

    async def cleanup(self) -> None:
        """Close the idle connections that have had their time, or that the server has closed."""
        now = self._clock.now()
        for key, lane in self._lanes.items():
            if lane.let_off(now, self._limit):
                self._no_rides[key] = now + NO_RIDES  # else each message would cost a connection
            lane.let_go()
        self._no_rides = {
            key: until for key, until in self._no_rides.items() if now < until <= now + NO_RIDES
        }
        expired = [connection for lane in self._lanes.values() for connection in lane.weed(None, now)]
        for key in list(self._lanes):
            self._forget(key)
        await _quit_all(expired)

    async def close(self) -> None:
        """Close all idle connections, politely but within seconds; those in use close after their message."""
        self._closed = True
        await _quit_all([connection for lane in self._lanes.values() for connection in lane.empty()])
        for key in list(self._lanes):
            self._forget(key)
        await asyncio.gather(*self._leaving)

    async def _lend(self, lane: Lane, account: Account) -> Lent:
        identity = identity_of(account)
        held = await self._kept(lane, identity) if lane.idle else None
        is_reused = held is not None
        if held is None:
            held = await self._open(lane, account, identity)
        return Lent(
            lane=lane,
            account=account,
            identity=identity,
            held=held,
            is_reused=is_reused,
            board=self._board,
        )

    async def _open(self, lane: Lane, account: Account, identity: Identity) -> Held:
        generation = lane.generation
        connection = await self._connect(account)
        return Held(
            connection=connection,
            identity=identity,
            generation=generation,
            opened_at=self._clock.now(),
            ttl=account.ttl,
        )

    async def _kept(self, lane: Lane, identity: Identity) -> Held | None:
        """Take the connection that was used last, if it lives and is what it has to be."""
        now = self._clock.now()
        for connection in lane.weed(identity, now):
            self._dismiss(connection)
        while lane.idle:
            held = lane.idle.pop()
            if now - held.idle_since < CHECK_AFTER or await held.connection.is_alive():
                return held
        return None

    def _dismiss(self, connection: Connection) -> None:
        """Take leave of the server without keeping anybody waiting."""
        if self._closed or not connection.is_at_rest:
            connection.abort()
            return
        task = asyncio.get_running_loop().create_task(connection.quit(), name="smtp quit")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _forget(self, key: Key) -> None:
        lane = self._lanes[key]
        if not lane.idle and not lane.users:
            del self._lanes[key]


async def _quit_all(connections: list[Connection]) -> None:
    await asyncio.gather(*(connection.quit() for connection in connections))


def _key(account: Account) -> Key:
    return account.tenant_id, account.id
