"""Commands and groups as help shows them: by purpose, each with an example; global options everywhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from mail_proxy_cli.registry import Entry, by_name
from mail_proxy_cli.scope import Scope

LEAST_LIKENESS = 0.6
ABOUT_AS_GOOD = 0.08

F = TypeVar("F", bound=Callable[..., object])


def _set_debug(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value and isinstance(ctx.obj, Scope):
        ctx.obj.invocation.debug = True


def _set_plain(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value and isinstance(ctx.obj, Scope):
        ctx.obj.invocation.color = ctx.color = False


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """The options that every level understands; help shows them at the first."""
    return [
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            hidden=hidden,
            callback=_set_debug,
            help="Show the whole traceback of an error (or GMP_DEBUG=1).",
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            hidden=hidden,
            callback=_set_plain,
            help="Print no colours (or NO_COLOR=1).",
        ),
    ]


class Command(click.Command):
    """A command that knows an example of itself."""

    example: str | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *global_options(hidden=True)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")


class Group(click.Group):
    """A group of one module's commands, in the order they were written."""

    example: str | None = None
    command_class = Command

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *global_options(hidden=ctx.parent is not None)]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        command = self.get_command(ctx, word)
        if command is None and not ctx.resilient_parsing:
            raise UnknownName("command", word, near(word, self.list_commands(ctx)), ctx)
        return word, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(100), getattr(command, "example", None)))
        write_commands(formatter, "Commands", rows)


class LazyGroup(Group):
    """A group whose commands are imported when they are called, and not before."""

    entries: tuple[Entry, ...] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return [entry.name for entry in self.entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        entry = by_name(self.entries).get(cmd_name)
        return None if entry is None else load(entry)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - as above
        formatter: click.HelpFormatter,
    ) -> None:
        for heading in dict.fromkeys(entry.heading for entry in self.entries):
            rows = [
                (" | ".join((entry.name, *entry.aliases)), entry.help, entry.example)
                for entry in self.entries
                if entry.heading == heading
            ]
            write_commands(formatter, heading, rows)

    def offered(self, ctx: click.Context) -> Iterable[Entry]:  # noqa: ARG002 - for those whose words decide
        """The commands that completion may offer here."""
        return self.entries

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        items = [
            CompletionItem(entry.name, help=entry.help)
            for entry in self.offered(ctx)
            if entry.name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)


class UnknownName(click.UsageError):
    """A word is no command, instance or tenant; `near` holds those like it."""

    def __init__(
        self, kind: str, name: str, near: Sequence[str], ctx: click.Context | None = None, hint: str = ""
    ) -> None:
        self.kind, self.name, self.near = kind, name, tuple(near)
        mean = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        super().__init__(f"no {kind} '{name}'{mean or hint}", ctx)


def near(word: str, names: Iterable[str], *, least: float = LEAST_LIKENESS) -> list[str]:
    """The names most like `word`, best first, at most three: the best one, and those about as good."""
    from difflib import SequenceMatcher

    likeness = {name: SequenceMatcher(None, word.lower(), name.lower()).ratio() for name in names}
    least = max(least, max(likeness.values(), default=0.0) - ABOUT_AS_GOOD)
    found = [name for name, ratio in likeness.items() if ratio >= least]
    return sorted(found, key=lambda name: (-likeness[name], name))[:3]


def load(entry: Entry) -> click.Command:
    """Import the command that an entry of the table names."""
    module, attribute = entry.target.split(":")
    command = getattr(importlib.import_module(f"mail_proxy_cli.{module}"), attribute)
    if not isinstance(command, click.Command):
        raise TypeError(f"{entry.target} is not a command")
    if isinstance(command, Command | Group):
        command.example = entry.example
    return command


def command(
    name: str | None = None, *, example: str | None = None, **attributes: Any
) -> Callable[[F], Command]:
    """Make a function a command that has an example; otherwise as Click's own."""

    def decorate(function: F) -> Command:
        made = click.command(name, cls=Command, **attributes)(function)
        made.example = example
        return made

    return decorate


def example(words: str) -> Callable[[click.Command], click.Command]:
    """Give a command of a group an example; it stands above the group's own decorator."""

    def decorate(made: click.Command) -> click.Command:
        if isinstance(made, Command):
            made.example = words
        return made

    return decorate


def with_options(function: F, options: Sequence[Callable[[F], F]]) -> F:
    """Give a command's function options, which help shows in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def write_commands(
    formatter: click.HelpFormatter, heading: str, rows: Sequence[tuple[str, str, str | None]]
) -> None:
    """Write one section of commands: name and purpose, and below it the example."""
    if not rows:
        return
    width = max(len(name) for name, _help, _example in rows) + 2
    with formatter.section(heading):
        indent = " " * formatter.current_indent
        for name, purpose, example in rows:
            formatter.write(f"{indent}{name:<{width}}{purpose}\n")
            if example:
                formatter.write(f"{indent}{'':<{width}}  {click.style(example, dim=True)}\n")
