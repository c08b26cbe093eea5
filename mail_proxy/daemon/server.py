"""One node at work: its tasks in one group, its signals, and its orderly end.

A task that fails for a reason nobody foresaw ends the process: never a half-alive server whose health
says ok.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from mail_proxy.api.vitals import Vitals
from mail_proxy.bell import LocalBell
from mail_proxy.daemon.cleaner import Cleaner
from mail_proxy.daemon.dispatcher import Dispatcher
from mail_proxy.daemon.housekeeping import Housekeeping
from mail_proxy.daemon.http import HttpServer
from mail_proxy.daemon.reporter import Reporter
from mail_proxy.daemon.timekeeping import Timekeeper

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedAtOnce(Exception):
    """A second signal to stop came while the first was being obeyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`on_up` is called once the API answers, `on_hangup` at each SIGHUP."""

    http: HttpServer
    dispatcher: Dispatcher
    reporter: Reporter
    housekeeping: Housekeeping
    cleaner: Cleaner
    timekeeper: Timekeeper
    vitals: Vitals
    bell: LocalBell
    on_up: Callable[[], None]
    on_hangup: Callable[[], None]

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, then drain: finish conversations, record outcomes, report them."""
        stop: asyncio.Queue[signal.Signals] = asyncio.Queue()
        with _Signals(self, stop):
            async with asyncio.TaskGroup() as group:
                http = self._begin(group, self.http.run_here(), "http")
                dispatch = self._begin(group, self.dispatcher.run(), "dispatcher")
                report = self._begin(group, self.reporter.run(), "reporter")
                aside = [
                    self._begin(group, self.housekeeping.beat(), "sign of life"),
                    self._begin(group, self.housekeeping.listen(), "neighbours"),
                    self._begin(group, self.cleaner.run(), "cleaner"),
                    self._begin(group, self.timekeeper.keep(), "clock"),
                ]
                await self.http.is_up.wait()
                self.on_up()
                number = await stop.get()
                log.info("stopping (%s): finishing what is under way", number.name)
                aside.append(group.create_task(_second(stop), name="second signal"))
                # The API goes on answering: a load balancer learns from /ready to send nothing more.
                self.vitals.is_draining = True
                self.dispatcher.stop()
                await dispatch
                self.reporter.stop()
                await report
                self.http.stop()
                await http
                for task in aside:
                    task.cancel()
            await self.housekeeping.leave()
        log.info("stopped")

    def _begin(
        self, group: asyncio.TaskGroup, work: Coroutine[object, object, None], name: str
    ) -> asyncio.Task[None]:
        return group.create_task(_told(work, name), name=name)


async def _told(work: Coroutine[object, object, None], name: str) -> None:
    """Do the work; a bug that ends it, and with it the server, leaves its trace in the log."""
    try:
        await work
    except Exception:
        log.critical("a bug in %s ends this server", name, exc_info=True)
        raise


async def _second(stop: asyncio.Queue[signal.Signals]) -> None:
    raise StoppedAtOnce(f"{(await stop.get()).name} again")


class _Signals:
    """Lets the loop hear signals for the length of a block."""

    def __init__(self, server: Server, stop: asyncio.Queue[signal.Signals]) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._stop = stop

    def __enter__(self) -> None:
        for number in STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._stop.put_nowait, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._server.on_hangup)
        self._loop.add_signal_handler(signal.SIGUSR1, self._rung)

    def __exit__(self, *_: object) -> None:
        for number in STOP_SIGNALS:
            self._loop.remove_signal_handler(number)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)

    def _rung(self) -> None:
        """A command has queued something (`process.SignalBell`)."""
        self._server.bell.ring_now()
