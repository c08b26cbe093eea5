"""One account's connections: which idle, which are lent out, who waits for one, and who rides.

To ride is to begin on a connection along with the end of the message that has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mail_proxy.model.accounts import Account
from mail_proxy.smtp.transport import Connection

RIDE = 10.0
"""Seconds after which a message that has begun on a connection, and does not get it, looks for another."""

Identity = tuple[object, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
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
class Waiter:
    """Who waits for a connection. `comes` brings one with the introduction said, or word that one is free.

    `boarded_at` is when it was said (Unix seconds).
    """

    account: Account
    identity: Identity
    rider: Rider
    comes: asyncio.Future[Lent | None]
    boarded_at: float = 0.0


@dataclass(slots=True)
class Lane:
    """One account's connections: those idle, the last used at the end, and the number lent out.

    `riding` are those on which a message has begun before another has ended. `users` counts those who have
    one or wait for one. `generation` rises when all are to be closed.
    """

    idle: list[Held] = field(default_factory=list)
    lent: int = 0
    users: int = 0
    generation: int = 0
    waiters: deque[Waiter] = field(default_factory=deque)
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

    def board(self, lent: Lent, now: float) -> Sequence[str]:
        """Let the next in line begin on a connection before its message has ended; return what to say."""
        while self.waiters and self.waiters[0].comes.done():
            self.waiters.popleft()
        if not self.waiters:
            return ()
        waiter = self.waiters[0]
        if not lent.held.is_current(waiter.identity, self.generation, now):
            return ()
        said = waiter.rider.introduction(lent.connection)
        if said:
            self.waiters.popleft()
            waiter.boarded_at = now
            lent.boarded, lent.has_boarded = waiter, True
            self.riding.add(lent)
        return said

    def alight(self, lent: Lent) -> Waiter | None:
        """Return who has begun on a connection whose message has ended, if he still waits for it."""
        boarded, lent.boarded = lent.boarded, None
        self.riding.discard(lent)
        return None if boarded is None or boarded.comes.done() else boarded

    def let_off(self, now: float, limit: Callable[[Account], int]) -> bool:
        """Let messages wait for another connection whose own is taken up by the one before for long.

        Tells whether there were any.
        """
        before = len(self.riding)
        for lent in list(self.riding):
            boarded = lent.boarded
            if boarded is not None and not 0 <= now - boarded.boarded_at < RIDE:
                lent.boarded = None
                self.riding.discard(lent)
                self.waiters.appendleft(boarded)
                if self.lent < limit(boarded.account):
                    self.wake()
        return len(self.riding) < before

    def let_go(self) -> None:
        """Tell those who were called off: no connection might come free for long."""
        for waiter in self.waiters:
            if not waiter.comes.done() and waiter.rider.is_called_off:
                waiter.comes.set_result(None)

    def pass_on(self, handed: Lent | None) -> None:
        """What has come to a waiter is not wanted any more: the turn goes to the next."""
        if handed is None:
            self.wake()
        else:
            handed.connection.abort()
            self.leave()


@dataclass(slots=True, kw_only=True, eq=False)
class Lent:
    """A connection lent out for one message; `is_reused` tells that it has served another.

    `is_introduced`: the message's introduction was said along with another's content, and the server has not
    yet asked for its own. `boarded` waits for it after that message; `has_boarded` tells of one let off, too.
    """

    lane: Lane
    account: Account
    identity: Identity
    held: Held
    is_reused: bool
    board: Callable[[Lent], Sequence[str]]
    is_introduced: bool = False
    boarded: Waiter | None = None
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

    def handed_to(self, waiter: Waiter) -> Lent:
        """The same connection, lent to the one who has begun on it."""
        return Lent(
            lane=self.lane,
            account=waiter.account,
            identity=waiter.identity,
            held=self.held,
            is_reused=True,
            board=self.board,
            is_introduced=True,
        )


def identity_of(account: Account) -> Identity:
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
