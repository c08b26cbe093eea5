"""Connections kept open for each account, and how many of them there may be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mail_proxy.clock import Clock
from mail_proxy.model.accounts import Account
from mail_proxy.smtp.transport import Connection

CHECK_AFTER = 5.0
"""Seconds of idleness after which a connection is asked for a sign of life before it is used again."""

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
        """Whether it still is what the account asks for; a clock set back counts against it."""
        return (
            0 <= now - self.opened_at < self.ttl
            and self.generation == generation
            and self.identity == identity
            and self.connection.is_at_rest
        )


@dataclass(slots=True)
class _Lane:
    """One account's connections: those idle, the last used at the end, and the number lent out.

    `users` counts those who have one or wait for one. `generation` rises when all are to be closed.
    """

    idle: list[_Held] = field(default_factory=list)
    lent: int = 0
    users: int = 0
    generation: int = 0
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)

    async def enter(self, limit: int) -> None:
        """Wait until fewer than `limit` are lent out, and count one more."""
        while self.lent >= limit:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if not waiter.cancelled():
                    self._wake()  # the turn was ours, and goes to the next
                raise
        self.lent += 1

    def leave(self) -> None:
        self.lent -= 1
        self._wake()

    def _wake(self) -> None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
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
    """A connection lent out for one message; `is_reused` tells that it has served another."""

    lane: _Lane
    account: Account
    identity: Identity
    held: _Held
    is_reused: bool

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

    @property
    def open_connections(self) -> int:
        """The number of connections, idle, in use, or being opened."""
        return sum(lane.lent + len(lane.idle) for lane in self._lanes.values())

    async def lend(self, account: Account) -> Lent:
        """Lend a connection, to be given to `take_back`. Raises `Broken` if none can be opened."""
        key = (account.tenant_id, account.id)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        lane.users += 1
        try:
            await lane.enter(account.max_concurrent or self.default_limit)
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
        lent.is_reused = False

    def take_back(self, lent: Lent) -> None:
        """Keep the connection for the next message; one that is left in the middle of a mail is closed."""
        lane, held, now = lent.lane, lent.held, self._clock.now()
        held.idle_since = now
        if not self._closed and held.is_fit(lent.identity, lane.generation, now):
            lane.idle.append(held)
        else:
            self._dismiss(held.connection)
        lane.leave()
        lane.users -= 1
        self._forget((lent.account.tenant_id, lent.account.id))

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
        return Lent(lane=lane, account=account, identity=identity, held=held, is_reused=is_reused)

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
