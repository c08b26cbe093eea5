"""``python -m scripts.manual``: write ``man/`` and ``completions/`` from the tree of commands.

A page for the program, and one for each command, which tells of all levels that know the command. A test
fails when a file is out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from mail_proxy import __version__
from mail_proxy.config import describe_settings
from mail_proxy_cli.completion import SHELLS, script
from mail_proxy_cli.nodes import Command, load
from mail_proxy_cli.registry import Entry
from scripts.reference import LEVELS, option_words, usage_words

ROOT = Path(__file__).resolve().parents[1]
MAN, COMPLETIONS = ROOT / "man", ROOT / "completions"
PROGRAM = "mail-proxy"
DATE = "2026-11-21"

COMPLETION_FILES = {"bash": PROGRAM, "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}

FILES = {
    "~/.mail-proxy/NAME/": "An instance; MAIL_PROXY_HOME moves the directory that holds them.",
    "config.toml": "Its settings, except secrets.",
    "mail_service.db": "Its SQLite database, unless it uses PostgreSQL.",
    "token": "Its admin token.",
    "encryption.key": "The key of the secrets in its database, unless given otherwise.",
    "server.log": "What its server says.",
    "sandbox/": "The mail of accounts whose host is sandbox (Maildir).",
}
EXITS = {
    "0": "Success.",
    "1": "The operation failed.",
    "2": "Wrong usage.",
    "130": "Interrupted.",
}

DESCRIPTION = """\
An application hands over a message and goes on; mail-proxy keeps it on disk, delivers it through the right
account, tries again when the provider says later, and tells the application what became of it.

The first word is a command or the name of an instance; then follows a command of the instance or the id of
a tenant; then a command of the tenant. What 'mail-proxy use' has chosen may be left out."""

Level = tuple[str, Entry]


def files() -> dict[Path, str]:
    """Everything this script writes, by path."""
    made = {MAN / f"{PROGRAM}.1": _page(PROGRAM, _program())}
    for name, levels in _by_word().items():
        made[MAN / f"{PROGRAM}-{name}.1"] = _page(f"{PROGRAM}-{name}", _command_page(name, levels))
    for shell in SHELLS:
        made[COMPLETIONS / COMPLETION_FILES[shell]] = script(shell)
    return made


def _by_word() -> dict[str, list[Level]]:
    words: dict[str, list[Level]] = {}
    for prefix, entries in LEVELS.values():
        for entry in entries:
            words.setdefault(entry.name, []).append((prefix, entry))
    return words


def _page(name: str, body: Iterator[str]) -> str:
    head = f'.TH {_escaped(name).upper()} 1 {DATE} "{PROGRAM} {__version__}" "{PROGRAM} manual"'
    return "\n".join([head, *body]) + "\n"


def _program() -> Iterator[str]:
    yield from _section("NAME", [f"{PROGRAM} - the server between your applications and SMTP providers"])
    yield ".SH SYNOPSIS"
    for prefix, _ in LEVELS.values():
        yield from (".nf", _escaped(f"{prefix} COMMAND ..."), ".fi")
    yield from _section(
        "DESCRIPTION",
        DESCRIPTION.split("\n\n"),
    )
    yield ".SH COMMANDS"
    for prefix, entries in LEVELS.values():
        yield from (f".SS {_escaped(prefix)}", *_list({entry.name: entry.help for entry in entries}))
    yield ".SH ENVIRONMENT"
    yield from _list({" ".join(each.env): each.doc for each in describe_settings()})
    yield from _list(
        {
            "MAIL_PROXY_HOME": "The directory of the instances.",
            "MAIL_PROXY_INSTANCE MAIL_PROXY_TENANT": "The instance and the tenant that may be left out.",
            "MAIL_PROXY_ENCRYPTION_KEY": "The key of the secrets: base64 of 32 bytes.",
            "NO_COLOR": "If set, no colours.",
        }
    )
    yield from (".SH FILES", *_list(FILES), '.SH "EXIT STATUS"', *_list(EXITS), ".SH SEE ALSO")
    yield ", ".join(_reference(name) for name in sorted(_by_word()))


def _command_page(name: str, levels: Sequence[Level]) -> Iterator[str]:
    yield from _section("NAME", [f"{PROGRAM}-{name} - {levels[0][1].help.rstrip('.')}"])
    yield ".SH SYNOPSIS"
    loaded = [(prefix, entry, load(entry)) for prefix, entry in levels]
    for prefix, _, command in loaded:
        for path, leaf in _leaves(f"{prefix} {name}", command):
            yield from (".nf", _escaped(f"{usage_words(path, leaf)} [OPTION]..."), ".fi")
    yield ".SH DESCRIPTION"
    for _, _, command in loaded:
        yield from _paragraphs(command)
    for prefix, _, command in loaded:
        for path, leaf in _leaves(f"{prefix} {name}", command):
            yield from _options(path, leaf, named=isinstance(command, click.Group) or len(loaded) > 1)
    examples = [entry.example for _, entry in levels]
    for prefix, _, command in loaded:
        leaves = [leaf for _, leaf in _leaves(f"{prefix} {name}", command) if leaf is not command]
        examples += [leaf.example for leaf in leaves if isinstance(leaf, Command) and leaf.example]
    yield from (".SH EXAMPLES", ".nf", *map(_escaped, dict.fromkeys(examples)), ".fi")
    yield from (".SH SEE ALSO", _reference(None))


def _leaves(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, subcommand in command.commands.items():
        yield from _leaves(f"{path} {name}", subcommand)


def _options(path: str, command: click.Command, *, named: bool) -> Iterator[str]:
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    yield f'.SH "OPTIONS OF {_escaped(path)}"' if named else ".SH OPTIONS"
    if named:
        yield from _paragraphs(command)
    texts = {option_words(each): each.help or "" for each in options}
    yield from _list(texts | {"-h, --help": "Show the help and exit."})


def _paragraphs(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        as_is = paragraph.startswith("\b\n")
        lines = paragraph.removeprefix("\b\n").splitlines()
        text = [_escaped(line) for line in lines] if as_is else [_escaped(" ".join(lines))]
        yield from (".PP", *((".nf", *text, ".fi") if as_is else text))


def _section(title: str, paragraphs: Sequence[str]) -> Iterator[str]:
    yield f".SH {title}"
    for number, paragraph in enumerate(paragraphs):
        yield from ([".PP"] if number else []) + [_escaped(paragraph)]


def _list(texts: Mapping[str, str]) -> Iterator[str]:
    for term, text in texts.items():
        yield from (".TP", rf"\fB{_escaped(term)}\fR", _escaped(text))


def _reference(name: str | None) -> str:
    return rf"\fB{_escaped(PROGRAM if name is None else f'{PROGRAM}-{name}')}\fR(1)"


def _escaped(text: str) -> str:
    """Keep roff from reading anything into the text."""
    plain = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("…", "...")
    plain = plain.encode("ascii", "replace").decode("ascii")
    return re.sub(r"^(?=[.'])", r"\\&", plain, flags=re.MULTILINE)


def main() -> None:
    made = files()
    for directory in (MAN, COMPLETIONS):
        directory.mkdir(exist_ok=True)
        for old in directory.iterdir():
            if old not in made:
                old.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
