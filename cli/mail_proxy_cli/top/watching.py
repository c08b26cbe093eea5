"""``top`` on a terminal: the looks, the keys and the signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mail_proxy.clock import steady_seconds
from mail_proxy.errors import MailProxyError
from mail_proxy.model.activity import Order
from mail_proxy_cli.errors import OK
from mail_proxy_cli.instances import describe
from mail_proxy_cli.scope import Scope
from mail_proxy_cli.terminal import ENDS
from mail_proxy_cli.top.picture import Scene, picture
from mail_proxy_cli.top.screen import FullScreen, Paper, Screen, keys

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime
    from mail_proxy.services.activity import Watch

SHARE = 10
"""A look that takes a second is followed by so many seconds of rest: the server comes first."""


async def watch(scope: Scope, interval: float, runtime: Runtime) -> int:
    """Show it until someone has had enough; the exit code."""
    screen = Paper() if scope.invocation.is_dumb else FullScreen(color=scope.invocation.color)
    stage = _Stage(scope, runtime.services.activity.watch(scope.named_tenant))
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(stage.look_again_and_again(interval, screen))
        with _signals(stage):
            while not stage.is_over:
                with screen.taken(), keys(stage.press):
                    await stage.show(screen)
                if stage.is_to_stop:
                    stage.is_to_stop = False
                    os.kill(os.getpid(), signal.SIGSTOP)  # until the shell lets it go on
        looking.cancel()
    if stage.ended_by is not None:
        signal.raise_signal(stage.ended_by)  # now that the screen is given back
    return OK


class _Stage:
    """What is on show, and what keys and signals have asked for.

    `is_to_stop` asks to leave the terminal to others for a while.
    """

    def __init__(self, scope: Scope, watch: Watch) -> None:
        self.is_over = self.is_to_stop = False
        self.ended_by: signal.Signals | None = None
        self._scope = scope
        self._watch = watch
        self._is_paused = False
        self._scene = Scene(describe(scope, scope.instance), scope.named_tenant, None)
        self._is_new = False
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()

    async def show(self, screen: Screen) -> None:
        """Show each change, until it is over or is to stop."""
        while not self.is_over and not self.is_to_stop:
            self._changed.clear()
            scene = replace(self._scene, keys=self._keys())
            screen.show(partial(picture, scene), is_new=self._is_new)
            self._is_new = False
            await self._changed.wait()

    async def look_again_and_again(self, interval: float, screen: Screen) -> None:
        """Look, and rest: for longer when looking was hard; for as long as it takes when paused."""
        await self._look(screen.rows)  # the first time there is more to read than ever after
        while True:
            begun = steady_seconds()
            is_good = await self._look(screen.rows)
            took = steady_seconds() - begun
            pause = max(interval, SHARE * took) if is_good else interval
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._is_paused else pause):
                    await self._hurry.wait()
            self._hurry.clear()

    def press(self, key: str) -> None:
        """Do what a key is for."""
        match key:
            case "q":
                self.is_over = True
            case "p":
                self._is_paused = not self._is_paused
            case "s":
                orders = list(Order)
                following = orders[(orders.index(self._scene.order) + 1) % len(orders)]
                self._scene = replace(self._scene, order=following)
            case _:
                return
        self._hurry.set()
        self._changed.set()

    def terminate(self, number: signal.Signals) -> None:
        self.is_over, self.ended_by = True, number
        self._changed.set()

    def stop(self) -> None:
        self.is_to_stop = True
        self._changed.set()

    def draw(self) -> None:
        """Draw it again: the terminal has changed."""
        self._changed.set()

    async def _look(self, most: int) -> bool:
        """Look once, and tell whether the database could be asked."""
        try:
            activity = await self._watch.look(self._scene.order, most)
        except MailProxyError as error:
            self._scene = replace(self._scene, trouble=str(error))
        else:
            self._scene = replace(self._scene, activity=activity, trouble=None)
        self._scene = replace(self._scene, server=describe(self._scope, self._scope.instance))
        self._is_new = True
        self._changed.set()
        return self._scene.trouble is None

    def _keys(self) -> str:
        if not sys.stdin.isatty():
            return "Ctrl+C quit"
        pause = "p go on (paused)" if self._is_paused else "p pause"
        return f"q quit   {pause}   s sort: {self._scene.order}"


@contextmanager
def _signals(stage: _Stage) -> Iterator[None]:
    """Obey the terminal's signals while this lasts."""
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGWINCH: stage.draw,
        signal.SIGTSTP: stage.stop,
        **{number: partial(stage.terminate, number) for number in ENDS},
    }
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
