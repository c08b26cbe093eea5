"""``python -m scripts.manual``: write ``man/`` and ``completions/`` from the tree of commands.

A page for the program, and one for each command, which tells of all levels that know the command. A test
fails when a file is out of date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from mail_proxy import __version__
from mail_proxy.config import describe_settings
from mail_proxy_cli.completion import SHELLS, script
from mail_proxy_cli.grammar import root
from mail_proxy_cli.nodes import Command, load
from mail_proxy_cli.registry import Entry
from scripts.reference import LEVELS, option_words, usage_words
from scripts.roff import as_is, escaped, filled, paragraphs, section, synopsis, terms

ROOT = Path(__file__).resolve().parents[1]
MAN, COMPLETIONS = ROOT / "man", ROOT / "completions"
PROGRAM = "mail-proxy"
DATE = "2026-11-22"

COMPLETION_FILES = {"bash": PROGRAM, "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}

DESCRIPTION = """\
An application hands over a message and goes on; mail-proxy keeps it on disk, delivers it through the right
account, tries again when the provider says later, and tells the application what became of it.

The first word is a command or the name of an instance; then follows a command of the instance or the id of
a tenant; then a command of the tenant. What 'mail-proxy use' has chosen may be left out."""

STARTING = (
    "mail-proxy start myserver",
    "mail-proxy myserver tenants add acme --name 'Acme Ltd' --base-url https://app.acme.com",
    "mail-proxy myserver acme accounts add main --host smtp.acme.com --user bot --password-stdin",
    "mail-proxy myserver acme send hello.eml --wait",
    "mail-proxy myserver acme messages list",
)
"""From nothing to a message that is sent."""

ENVIRONMENT = {
    "MAIL_PROXY_HOME": "The directory of the instances; by default ~/.mail-proxy.",
    "MAIL_PROXY_INSTANCE, MAIL_PROXY_TENANT": "The instance and the tenant that may be left out.",
    "MAIL_PROXY_ENCRYPTION_KEY": "The key of the secrets in the database: base64 of 32 bytes.",
    "GMP_DEBUG": "If 1, an error shows its whole traceback.",
    "NO_COLOR": "If set, no colours.",
}
FILES = {
    "~/.mail-proxy/NAME/": "An instance; MAIL_PROXY_HOME moves the directory that holds them.",
    "config.toml": "Its settings, except secrets.",
    "mail_service.db": "Its SQLite database, unless it uses PostgreSQL.",
    "token": "Its admin token.",
    "encryption.key": "The key of the secrets in its database, unless given otherwise.",
    "server.log": "What its server says.",
    "attachments/": "What is kept of attachments.",
    "sandbox/": "The mail of accounts whose host is sandbox (Maildir).",
}
EXITS = {
    "0": "Success.",
    "1": "The operation failed; standard error says why, in one line.",
    "2": "Wrong usage.",
    "130": "Interrupted.",
}

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
    head = f'.TH {escaped(name).upper()} 1 {DATE} "{PROGRAM} {__version__}" "{PROGRAM} manual"'
    return "\n".join([head, *body]) + "\n"


def _program() -> Iterator[str]:
    yield from section("NAME", [f"{PROGRAM} - the server between your applications and SMTP providers"])
    yield from _synopsis([f"{prefix} COMMAND ..." for prefix, _ in LEVELS.values()])
    yield from section("DESCRIPTION", DESCRIPTION.split("\n\n"))
    yield from section("OPTIONS", ["They may stand anywhere, except --version and --tenant."])
    yield from _options([each for each in root.get_params(click.Context(root)) if "--help" not in each.opts])
    yield ".SH COMMANDS"
    yield from filled("Each has a manual page of its own: man mail-proxy-list, and so on.")
    for prefix, entries in LEVELS.values():
        yield f'.SS "{escaped(prefix)} ..."'
        yield from terms({" | ".join((entry.name, *entry.aliases)): entry.help for entry in entries})
    yield from section("EXAMPLES", ["From nothing to a message that is sent:"])
    yield ".PP"
    yield from as_is(STARTING)
    yield ".SH ENVIRONMENT"
    yield from terms(ENVIRONMENT | {", ".join(each.env): each.doc for each in describe_settings()})
    yield from (".SH FILES", *terms(FILES), '.SH "EXIT STATUS"', *terms(EXITS))
    yield from _see_also([f"{PROGRAM}-{name}" for name in sorted(_by_word())])


def _command_page(name: str, levels: Sequence[Level]) -> Iterator[str]:
    loaded = [(prefix, load(entry)) for prefix, entry in levels]
    leaves = [leaf for prefix, command in loaded for leaf in _leaves(f"{prefix} {name}", command)]
    yield from section("NAME", [f"{PROGRAM}-{name} - {levels[0][1].help.rstrip('.')}"])
    yield from _synopsis([f"{usage_words(path, leaf)} [OPTION]..." for path, leaf in leaves])
    if len(leaves) == 1:
        yield from section("DESCRIPTION", _help(leaves[0][1]))
        yield ".SH OPTIONS"
        yield from _options(leaves[0][1].params)
    else:
        yield from section("DESCRIPTION", dict.fromkeys(text for _, top in loaded for text in _help(top)))
        yield ".SH COMMANDS"
        for path, leaf in leaves:
            yield from (f'.SS "{escaped(path)}"', *paragraphs(_help(leaf)))
            yield from _options(leaf.params)
    yield ".SH EXAMPLES"
    yield from as_is(
        dict.fromkeys(leaf.example for _, leaf in leaves if isinstance(leaf, Command) and leaf.example)
    )
    yield from (".SH ENVIRONMENT", *terms(ENVIRONMENT), '.SH "EXIT STATUS"', *terms(EXITS))
    alike = {entry.name for _, entry in _all() for _, this in levels if entry.heading == this.heading}
    yield from _see_also([PROGRAM, *(f"{PROGRAM}-{other}" for other in sorted(alike - {name}))])


def _all() -> Iterator[Level]:
    for levels in _by_word().values():
        yield from levels


def _leaves(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, subcommand in command.commands.items():
        yield from _leaves(f"{path} {name}", subcommand)


def _synopsis(lines: Sequence[str]) -> Iterator[str]:
    yield from (".SH SYNOPSIS", ".nf", *map(synopsis, lines), ".fi")


def _options(params: Sequence[click.Parameter]) -> Iterator[str]:
    options = [each for each in params if isinstance(each, click.Option) and not each.hidden]
    texts = {option_words(each): each.help or "" for each in options}
    yield from terms(texts | {"-h, --help": "Show the help and exit."})


def _help(command: click.Command) -> list[str]:
    return inspect.cleandoc(command.help or "").split("\n\n")


def _see_also(names: Sequence[str]) -> Iterator[str]:
    yield '.SH "SEE ALSO"'
    references = [rf"\fB{escaped(name)}\fR(1)" for name in names]
    yield ",\n".join(references)


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
