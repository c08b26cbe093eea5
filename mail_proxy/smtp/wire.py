"""The wire below a conversation: bytes out, replies in, one deadline.

aiosmtplib's protocol until the session stands; it waits for one reply at a time and drops what comes unasked,
so that the transactions, whose commands go out in groups, are held here. All replies are read here: it would
read all lines anew with each piece that comes, and a server that says little could cost much.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiosmtplib import SMTPResponse, SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol

from mail_proxy.smtp.replies import Garbled, ReplyReader
from mail_proxy.smtp.verdict import Failure, Reply, Trouble

SHUTTING_DOWN = 421


class Wire(SMTPProtocol):
    """`replies` are those to what was last asked, in order; `fault` says why there will be no more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.replies: list[Reply] = []
        self.fault: Failure | None = None
        self._reader: ReplyReader | None = None
        self._opening = ReplyReader()
        self._expected = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._patience = 0.0
        self._patience_once_sent: float | None = None
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def take_over(self) -> None:
        """Take the replies for those to groups of commands from now on."""
        self._reader = ReplyReader()
        # Paused until every byte has left: what is in our own buffers has not been sent.
        self._writing().set_write_buffer_limits(high=1)

    @property
    def is_ahead(self) -> bool:
        """Whether the server has said more than it was asked: its next reply would be taken for another."""
        surplus = len(self.replies) - self._expected
        return surplus > 0 or (surplus == 0 and self._reader is not None and self._reader.is_amid)

    @property
    def surplus(self) -> Reply | None:
        """The first reply that nobody had asked for."""
        return self.replies[self._expected] if len(self.replies) > self._expected else None

    @property
    def has_unsent(self) -> bool:
        """Whether the system has not yet taken all that was written."""
        return self._paused

    def expect(self, count: int) -> None:
        """Take the next `count` replies for those to what is now said."""
        self.replies = []
        self._expected = self._wanted = count

    def expect_more(self, count: int) -> None:
        """Take `count` further replies for those to what is said along; they are waited for later."""
        self._expected += count

    def want_all(self) -> None:
        """Wait for all that is expected, from now on."""
        self._wanted = self._expected

    def send(self, data: bytes) -> None:
        """Write. There is a `fault` at once if the connection is lost already."""
        if self.transport is not None and not self.transport.is_closing():
            self._writing().write(data)
        if self.transport is None or self.transport.is_closing():
            self._fail(Failure(Trouble.LOST))

    async def hear(self, patience: float) -> None:
        """Wait until the replies wanted are there, or no more will come: see `replies` and `fault`.

        The server has `patience` seconds for each of them.
        """
        while self._lacks_replies():
            await self._pause(patience)

    async def hear_final(self, patience: float, patience_once_sent: float) -> None:
        """The same for one reply, with so many seconds for sending the rest, and for the reply after that."""
        self._patience_once_sent = patience_once_sent
        try:
            await self.hear(patience if self._paused else patience_once_sent)
        finally:
            self._patience_once_sent = None

    async def drain(self, patience: float) -> None:
        """Wait until the system has taken all that was written, or a reply came, or the `fault`."""
        while self._paused and self.fault is None and not self.replies:
            await self._pause(patience)

    # Called by the event loop

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self._read_one(data)
            return
        if self.fault is not None or self.is_ahead:
            return  # of no more use, and a flood must not fill the memory
        known = len(self.replies)
        try:
            self._reader.feed(data, self.replies)
        except Garbled as error:
            self._fail(Failure(Trouble.GARBLED, str(error)))
            return
        if not self._lacks_replies():
            self._wake()
        elif len(self.replies) > known:  # a reply in drips gets no more time
            self._due = self._loop.time() + self._patience

    def _read_one(self, data: bytes) -> None:
        """Give aiosmtplib the one reply that it waits for."""
        waiter = self._response_waiter
        if waiter is None or waiter.done() or not self._response_pending:
            return
        try:
            reply = self._only_reply(data)
        except Garbled as error:
            self._set_response_exception(waiter, SMTPResponseException(-1, str(error)))
        else:
            if reply is not None:
                waiter.set_result(SMTPResponse(reply.code, reply.text))

    def _only_reply(self, data: bytes) -> Reply | None:
        """Read on; the reply once it is whole. Raises Garbled if anything but a farewell comes after it."""
        replies: list[Reply] = []
        self._opening.feed(data, replies)
        if not replies or (len(replies) == 1 and not self._opening.is_amid):
            return replies[0] if replies else None
        for reply in replies:
            if reply.code == SHUTTING_DOWN:
                return reply
        # After STARTTLS that may be somebody else's, who wants it to be taken for the server's.
        raise Garbled("it said more than it was asked")

    def eof_received(self) -> bool:
        self._fail(Failure(Trouble.LOST))
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._fail(Failure(Trouble.LOST, (exc.strerror or "") if isinstance(exc, OSError) else ""))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._patience_once_sent is None:
            self._wake()
        else:
            self._due = self._loop.time() + self._patience_once_sent
            if self._due < self._timer_due:
                self._set_timer()

    # Waiting

    def _lacks_replies(self) -> bool:
        if self.fault is not None or len(self.replies) >= self._wanted:
            return False
        return all(reply.code != SHUTTING_DOWN for reply in self.replies)

    async def _pause(self, patience: float) -> None:
        """Wait for the next thing to happen; after `patience` seconds that is the `fault`."""
        self._patience = patience
        self._due = self._loop.time() + patience
        # One timer serves many waits: it looks again whether the time is over, and whose.
        if self._timer is None or self._due < self._timer_due:
            self._set_timer()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._due
        self._timer = self._loop.call_at(self._due, self._look_at_the_time)

    def _look_at_the_time(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._due:
            self._set_timer()
        else:
            self._fail(Failure(Trouble.TIMEOUT))

    def _fail(self, fault: Failure) -> None:
        self.fault = self.fault or fault
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _writing(self) -> asyncio.WriteTransport:
        if self.transport is None:
            raise ConnectionResetError
        return cast("asyncio.WriteTransport", self.transport)
