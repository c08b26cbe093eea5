"""Services that stay open from one command of an interactive session to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mail_proxy.daemon.process import SignalBell
from mail_proxy.runtime import open_services
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    from mail_proxy.config import Config
    from mail_proxy.runtime import Runtime

T = TypeVar("T")


class Held:
    """The services of one instance, and the loop that they live in, which runs only while it is needed.

    They are opened anew when the configuration, the key or the database file has become another one:
    ``config set`` and ``rotate-key`` may be typed in the session, or elsewhere.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.runner = asyncio.Runner()
        self.runtime: Runtime | None = None
        """What is open, as it was when it was last used."""
        self._stack = AsyncExitStack()
        self._opened_as: object = None

    def run(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        """Do some work with the services; within a coroutine, which has the loop, with others beside it."""
        if _is_looping():
            with ThreadPoolExecutor(1) as beside:
                return beside.submit(asyncio.run, self._run_beside(work)).result()
        return self.runner.run(self._run(work))

    def close(self) -> None:
        """Close what is open, and the loop."""
        try:
            self.runner.run(self._close())
        finally:
            self.runner.close()

    async def _run(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        return await work(await self._current())

    async def _run_beside(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        async with self._services(self.scope.load_config()) as runtime:
            return await work(runtime)

    def _services(self, config: Config) -> AbstractAsyncContextManager[Runtime]:
        instance = self.scope.instance
        return open_services(config, instance, bell=SignalBell(instance), environ=self.scope.environ)

    async def _current(self) -> Runtime:
        config, instance = self.scope.load_config(), self.scope.instance
        files = (instance.key_file, config.db_path or instance.database)
        if self.runtime is None or self._opened_as != (config, _states(files)):
            await self._close()
            self.runtime = await self._stack.enter_async_context(self._services(config))
            self._opened_as = (config, _states(files))  # opening may have made the files
        return self.runtime

    async def _close(self) -> None:
        self.runtime = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()


def _is_looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _states(files: tuple[Path, Path]) -> list[tuple[int, ...] | None]:
    """Which files lie there: a key is written anew, and so is what is put in a database's place."""
    return [_state(path) for path in files]


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
