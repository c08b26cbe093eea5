"""Connections kept open for each account, and how many of them there may be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mail_proxy.clock import Clock
from mail_proxy.model.accounts import Account
from mail_proxy.smtp.transport import Connection

CHECK_AFTER = 5.0
"""Seconds of idleness after which a connection is asked for a sign of life before it is used again."""

RIDE = 10.0
"""Seconds after which a message that has begun on a connection, and does not get it, looks for another."""

NO_RIDES = 3600.0
"""Seconds for which no message begins before another has ended, after a connection broke there."""

Key = tuple[str, str]
Identity = tuple[object, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class _Held:
    """A connection and what it was opened for."""

    connection: Connection
    identity: Identity
    generation: int
    opened_at: float
    ttl: float
    idle_since: float = 0.0

    def is_fit(self, identity: Identity, generation: int, now: float) -> bool:
        """Whether the next message can begin on it."""
        return self.is_current(identity, generation, now) and self.connection.is_at_rest

    def is_current(self, identity: Identity, generation: int, now: float) -> bool:
        """Whether it still is what the account asks for; a clock set back counts against it."""
        return (
            0 <= now - self.opened_at < self.ttl
            and self.generation == generation
            and self.identity == identity
        )


class CalledOff(Exception):
    """The message is not to be sent now after all; nothing was said of it to any server."""


class Rider(Protocol):
    """A message that waits for a connection."""

    @property
    def is_called_off(self) -> bool:
        """Whether it is not to be sent now after all."""
        ...

    def introduction(self, connection: Connection) -> Sequence[str]:
        """Return the commands that begin its transaction, to be said along with the end of another's content.

        Nothing if that cannot be on this connection, or is not to be.
        """
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    """Who waits for a connection. `comes` brings one with the introduction said, or word that one is free.

    `boarded_at` is when it was said (Unix seconds).
    """

    account: Account
    identity: Identity
    rider: Rider
    comes: asyncio.Future[Lent | None]
    boarded_at: float = 0.0


@dataclass(slots=True)
class _Lane:
    """One account's connections: those idle, the last used at the end, and the number lent out.

    `riding` are those on which a message has begun before another has ended.

    `users` counts those who have one or wait for one. `generation` rises when all are to be closed.
    """

    idle: list[_Held] = field(default_factory=list)
    lent: int = 0
    users: int = 0
    generation: int = 0
    waiters: deque[_Waiter] = field(default_factory=deque)
    riding: set[Lent] = field(default_factory=set)

    def leave(self) -> None:
        """One less is lent out."""
        self.lent -= 1
        self.wake()

    def wake(self) -> None:
        """Tell the next in line that there may be room."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.comes.done():
                waiter.comes.set_result(None)
                return

    def empty(self) -> list[Connection]:
        """Take out all idle connections."""
        connections = [held.connection for held in self.idle]
        self.idle.clear()
        return connections

    def weed(self, identity: Identity | None, now: float) -> list[Connection]:
        """Take out the idle connections that are not fit (to be what `identity` says, if given)."""
        unfit = [
            held for held in self.idle if not held.is_fit(identity or held.identity, self.generation, now)
        ]
        self.idle[:] = [held for held in self.idle if held not in unfit]
        return [held.connection for held in unfit]


@dataclass(slots=True, kw_only=True, eq=False)
class Lent:
    """A connection lent out for one message; `is_reused` tells that it has served another.

    `is_introduced`: the message's introduction was said along with another's content, and the server has not
    yet asked for its own. `boarded` waits for it after that message; `has_boarded` tells of one let off, too.
    """

    lane: _Lane
    account: Account
    identity: Identity
    held: _Held
    is_reused: bool
    board: Callable[[Lent], Sequence[str]]
    is_introduced: bool = False
    boarded: _Waiter | None = None
    has_boarded: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether what happens on it may be due to one message's beginning before another had ended."""
        return self.is_introduced or self.has_boarded

    def following(self) -> Sequence[str]:
        """Let the next in line begin on this connection before this message has ended; return what to say."""
        return self.board(self)

    @property
    def connection(self) -> Connection:
        return self.held.connection


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
        self._lanes: dict[Key, _Lane] = {}
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
            lane = self._lanes[key] = _Lane()
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
        if lent.boarded is not None and self._hand_over(lent, lent.boarded, now):
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

    async def _wait(self, lane: _Lane, account: Account, rider: Rider) -> Lent | None:
        """Wait until fewer are lent out than may be, or one is handed over."""
        identity = _identity(account)
        while lane.lent >= self._limit(account):
            comes: asyncio.Future[Lent | None] = asyncio.get_running_loop().create_future()
            lane.waiters.append(_Waiter(account=account, identity=identity, rider=rider, comes=comes))
            try:
                handed = await comes
            except BaseException:
                if not comes.cancelled():
                    self._pass_on(lane, comes.result())
                raise
            if handed is not None:
                return handed
            if rider.is_called_off:
                lane.wake()
                raise CalledOff
        return None

    def _pass_on(self, lane: _Lane, handed: Lent | None) -> None:
        """What has come is not wanted any more: the turn goes to the next."""
        if handed is None:
            lane.wake()
        else:
            handed.connection.abort()
            lane.leave()

    def _board(self, lent: Lent) -> Sequence[str]:
        lane, now = lent.lane, self._clock.now()
        while lane.waiters and lane.waiters[0].comes.done():
            lane.waiters.popleft()
        if not lane.waiters or self._closed or now < self._no_rides.get(_key(lent.account), 0.0):
            return ()
        waiter = lane.waiters[0]
        if not lent.held.is_current(waiter.identity, lane.generation, now):
            return ()
        said = waiter.rider.introduction(lent.connection)
        if said:
            lane.waiters.popleft()
            waiter.boarded_at = now
            lent.boarded, lent.has_boarded = waiter, True
            lane.riding.add(lent)
        return said

    def _hand_over(self, lent: Lent, boarded: _Waiter, now: float) -> bool:
        """Give the connection to whom has begun on it, if that can be; else he waits for another."""
        lent.boarded = None
        lane, held = lent.lane, lent.held
        lane.riding.discard(lent)
        if boarded.comes.done():
            return False  # who was aboard has gone: what he has begun ends with the connection
        is_wanted = not self._closed and held.is_current(boarded.identity, lane.generation, now)
        if is_wanted and held.connection.is_open and lane.lent <= self._limit(boarded.account):
            boarded.comes.set_result(
                Lent(
                    lane=lane,
                    account=boarded.account,
                    identity=boarded.identity,
                    held=held,
                    is_reused=True,
                    board=self._board,
                    is_introduced=True,
                )
            )
            return True
        if held.connection.has_failed:
            self.avoid_rides(lent.account)
        held.connection.abort()
        lane.waiters.appendleft(boarded)
        return False

    def _let_off(self, lane: _Lane, now: float) -> None:
        """Let messages wait for another connection whose own is taken up by the one before for long."""
        for lent in list(lane.riding):
            boarded = lent.boarded
            if boarded is not None and not 0 <= now - boarded.boarded_at < RIDE:
                lent.boarded = None
                lane.riding.discard(lent)
                lane.waiters.appendleft(boarded)
                if lane.lent < self._limit(boarded.account):
                    lane.wake()

    def _let_go(self, lane: _Lane) -> None:
        """Tell those who were called off: no connection might come free for long."""
        for waiter in lane.waiters:
            if not waiter.comes.done() and waiter.rider.is_called_off:
                waiter.comes.set_result(None)

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
        for lane in self._lanes.values():
            self._let_off(lane, now)
            self._let_go(lane)
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

    async def _lend(self, lane: _Lane, account: Account) -> Lent:
        identity = _identity(account)
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

    async def _open(self, lane: _Lane, account: Account, identity: Identity) -> _Held:
        generation = lane.generation
        connection = await self._connect(account)
        return _Held(
            connection=connection,
            identity=identity,
            generation=generation,
            opened_at=self._clock.now(),
            ttl=account.ttl,
        )

    async def _kept(self, lane: _Lane, identity: Identity) -> _Held | None:
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


def _identity(account: Account) -> Identity:
    """What a connection depends on: once one of these changes, it is another account's."""
    return (
        account.host,
        account.port,
        account.user,
        account.password,
        account.tls,
        account.effective_tls,
        account.tls_verify,
        account.tls_ca,
        account.by_tenant,
    )
