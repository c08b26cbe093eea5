"""Every command of the tree, as the words that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click

from mail_proxy_cli import registry
from mail_proxy_cli.nodes import Command, load

INSTANCE, TENANT = "myserver", "acme"


class Leaf(NamedTuple):
    """One command that does something, in a world with instance `INSTANCE` and tenant `TENANT`."""

    words: tuple[str, ...]
    command: click.Command

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def example(self) -> str | None:
        return self.command.example if isinstance(self.command, Command) else None

    def has_option(self, name: str) -> bool:
        return any(name in parameter.opts for parameter in self.command.params)


LEVELS = (
    ((), registry.GLOBAL),
    ((INSTANCE,), registry.INSTANCE),
    ((INSTANCE, TENANT), registry.TENANT),
)


def leaves() -> Iterator[Leaf]:
    """All of them, groups' commands in place of groups."""
    for before, entries in LEVELS:
        for entry in entries:
            yield from _below((*before, entry.name), load(entry))


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[Leaf]:
    if not isinstance(command, click.Group):
        yield Leaf(words, command)
        return
    for name, inner in command.commands.items():
        yield from _below((*words, name), inner)
