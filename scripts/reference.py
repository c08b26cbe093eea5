"""``python -m scripts.reference``: write the parts of docs/reference/ that the program itself can tell.

Between ``<!-- made: NAME -->`` and ``<!-- end -->`` a page holds what `PARTS` makes; a test fails when it
is out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from mail_proxy import errors
from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.errors import TRANSLATIONS
from mail_proxy.config import describe_settings
from mail_proxy.settings import Setting
from mail_proxy_cli import registry
from mail_proxy_cli.errors import EXIT_CODES
from mail_proxy_cli.nodes import load
from mail_proxy_cli.registry import Entry

PAGES = Path(__file__).resolve().parents[1] / "docs" / "reference"

_PART = re.compile(r"(?<=<!-- made: )(?P<name>\w+)(?P<head> -->\n)(?P<body>.*?)(?=<!-- end -->)", re.DOTALL)

LEVELS = {
    "global": ("mail-proxy", registry.GLOBAL),
    "instance": ("mail-proxy <instance>", registry.INSTANCE),
    "tenant": ("mail-proxy <instance> <tenant>", registry.TENANT),
}


def commands(level: str) -> Iterator[str]:
    """Describe every command of a level of the grammar, subcommands included."""
    words, entries = LEVELS[level]
    for entry in entries:
        yield from _command(f"{words} {entry.name}", load(entry), entry)


def _command(path: str, command: click.Command, entry: Entry | None) -> Iterator[str]:
    yield f"### {path}"
    yield inspect.cleandoc(command.help or "")
    if entry is not None and entry.aliases:
        yield f"Also: {', '.join(f'`{name}`' for name in entry.aliases)}."
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            yield from _command(f"{path} {name}", subcommand, None)
        return
    example = entry.example if entry is not None else getattr(command, "example", None)
    yield f"```text\n{usage_words(path, command)}\n```" + (f"\n\nFor example `{example}`." if example else "")
    yield "\n".join(
        _option(each) for each in command.params if isinstance(each, click.Option) and not each.hidden
    )


# Rendered here and not by Click, whose texts differ from version to version.
def _word(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return f"{parameter.opts[0]} {_value(parameter)}" if parameter.required else ""
    word = parameter.metavar or (parameter.name or "").upper()
    return word if parameter.required or word.startswith("[") else f"[{word}]"


def usage_words(path: str, command: click.Command) -> str:
    """What to type, but for what may be left out."""
    return " ".join(word for word in (path, *map(_word, command.params)) if word)


def option_words(option: click.Option) -> str:
    """All names of an option, and what its value looks like."""
    names = ", ".join(option.opts)
    if option.secondary_opts:
        names += " / " + ", ".join(option.secondary_opts)
    return names if option.is_flag else f"{names} {_value(option)}"


def _option(option: click.Option) -> str:
    default = f" Default: {option.default:g}." if isinstance(option.default, float) else ""
    return f"- `{option_words(option)}`: {option.help or ''}{default}"


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(str(choice) for choice in option.type.choices)
    return "N" if isinstance(option.type, click.IntRange | click.FloatRange) else "TEXT"


def settings() -> Iterator[str]:
    """Describe every setting: its names, its default, what it does, which values it takes."""
    yield "| setting | default | |\n|---|---|---|\n" + "\n".join(map(_setting, describe_settings()))


def _setting(setting: Setting) -> str:
    names = "<br>".join(f"`{name}`" for name in (setting.key, *setting.env))
    default = setting.shown(setting.default) if setting.default not in (None, ()) else ""
    text = f"{setting.doc} Takes {setting.allowed}."
    if setting.secret:
        text += " Never in `config.toml`."
    if not setting.reloadable:
        text += " *Restart.*"
    return f"| {names} | {f'`{default}`' if default else ''} | {_cell(text)} |"


def error_classes() -> Iterator[type[errors.MailProxyError]]:
    """Every class of the tree, parents first."""

    def below(parent: type[errors.MailProxyError]) -> Iterator[type[errors.MailProxyError]]:
        yield parent
        for child in parent.__subclasses__():
            yield from below(child)

    yield from (kind for kind in below(errors.MailProxyError) if kind.__module__ == errors.__name__)


def error_table() -> Iterator[str]:
    """Describe every foreseen failure, with what the edges make of it."""
    rows = [
        f"| `{kind.__name__}` | `{kind.code}` | {_status(kind)} | {EXIT_CODES[kind]} | {_cell(_doc(kind))} |"
        for kind in error_classes()
    ]
    yield "| class | code | HTTP | exit | |\n|---|---|---|---|---|\n" + "\n".join(rows)


def _status(kind: type[Exception]) -> str:
    translation = TRANSLATIONS.get(kind)
    return "" if translation is None else str(translation.status)


def endpoints() -> Iterator[str]:
    """Describe every endpoint in the words of its handler."""
    for endpoint in ENDPOINTS:
        yield f"### {endpoint.method} {endpoint.path}"
        yield f"*{endpoint.level.value} level.* {inspect.cleandoc(endpoint.handler.__doc__ or '')}"


def _doc(thing: object) -> str:
    return " ".join(inspect.cleandoc(thing.__doc__ or "").split())


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


PARTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "commands_global": lambda: commands("global"),
    "commands_instance": lambda: commands("instance"),
    "commands_tenant": lambda: commands("tenant"),
    "settings": settings,
    "errors": error_table,
    "endpoints": endpoints,
}


def renewed(page: str) -> str:
    """Return a page with its made parts as they are now."""
    return _PART.sub(
        lambda part: part["name"] + part["head"] + "\n" + "\n\n".join(_filled(part["name"])) + "\n\n", page
    )


def _filled(name: str) -> list[str]:
    return [block for block in PARTS[name]() if block.strip()]


def main() -> None:
    """Renew every page, and say which have changed."""
    for path in sorted(PAGES.glob("*.md")):
        old = path.read_text("utf-8")
        new = renewed(old)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"renewed {path.name}")


if __name__ == "__main__":
    main()
