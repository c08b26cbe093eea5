"""What the session needs of the command line around it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mail_proxy_repl.explaining import Section
from mail_proxy_repl.suggest import Word


class Pulse(NamedTuple):
    """How the server fares: `state` in a word or two, and how many messages wait (None: not known)."""

    state: str
    waiting: int | None


class Shell(Protocol):
    """The commands of an instance on this machine, or those of a session with a server elsewhere."""

    @property
    def commands(self) -> Mapping[str, str]:
        """Every word that may begin a command, with what it is for."""
        ...

    @property
    def known(self) -> Collection[str]:
        """The words that are taken for commands, be it to say that they do not work here."""
        ...

    @property
    def of_tenants(self) -> Container[str]:
        """Those of them that a tenant's id may stand before."""
        ...

    def headings(self) -> Sequence[Section]:
        """The commands as help shows them."""
        ...

    def run(self, words: Sequence[str], tenant: str | None) -> int:
        """Run a command and return its exit code; raises what goes wrong."""
        ...

    def follow(self, words: Sequence[str], begun: str, tenant: str | None) -> Iterable[Word]:
        """What may come after the words of a command, and begins so."""
        ...

    def ids(self, kind: str, begun: str, tenant: str | None) -> Iterable[str]:
        """The ids of tenants, accounts, messages, storages, batches or files that begin so."""
        ...

    def near(self, word: str) -> Sequence[str]:
        """The commands that a word is like."""
        ...

    async def pulse(self) -> Pulse:
        """Look how the server fares."""
        ...

    def say(self, text: str) -> None:
        """Print a text."""
        ...

    def show(self, value: object) -> None:
        """Print what a line of Python came to."""
        ...

    def report(self, error: BaseException, where: str = "") -> int:
        """Tell of an error in one line, and return the exit code that goes with it."""
        ...

    @property
    def runner(self) -> asyncio.Runner:
        """The loop that everything of this session lives in."""
        ...
