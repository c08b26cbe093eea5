"""What a shell asks after Tab, and the answer as its script (completion.py) takes it.

A script sends the line up to the cursor, as it was typed. Each line of the answer is one offer: a word
after ``=``, for zsh and fish with its description, or ``file`` or ``dir``: the shell knows those itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem, ShellComplete

COMPLETE_VARIABLE = "_MAIL_PROXY_COMPLETE"
LINE_VARIABLE = "COMP_LINE"
BREAKS_VARIABLE = "COMP_WORDBREAKS"

SPACES = " \t\n"
ESCAPED_IN_DOUBLE_QUOTES = '$`"\\'
KEPT_WITH_WHAT_FOLLOWS = "$@"  # readline's special prefixes: bash replaces them, too
SPECIAL_IN_BASH = set(" \\'\"`$&|;<>(){}[]*?!~#^")


class Typed(NamedTuple):
    """A command line up to the cursor, without its quotes; the last word is the one being typed."""

    words: tuple[str, ...]
    last: str
    kept: int = 0
    """How many characters of the last word stand before what bash replaces."""
    quote: str = ""
    """The quotation mark that is still open."""


class Offer(NamedTuple):
    """One thing that may stand in place of the last word. `kind` is ``plain``, ``file`` or ``dir``."""

    word: str
    kind: str
    help: str


def answer(shell: str, environ: Mapping[str, str], root: click.Command, scope: object) -> str:
    """What to print for a shell; nothing for one that is not known."""
    write = WRITERS.get(shell)
    if write is None:
        return ""
    typed = parse(environ.get(LINE_VARIABLE, ""), environ.get(BREAKS_VARIABLE, ""))
    return "".join(f"{line}\n" for line in write(_offers(typed, root, scope), typed))


def parse(line: str, breaks: str = "") -> Typed:
    """Split a line as shells do. `breaks` are the characters at which bash begins a new word to replace."""
    words: list[str] = []
    word, kept, quote, is_begun = "", 0, "", False
    characters = iter(line)
    for character in characters:
        if quote:
            if character == quote:
                quote, kept = "", len(word)
            elif character == "\\" and quote == '"':
                following = next(characters, "")
                word += following if following in ESCAPED_IN_DOUBLE_QUOTES else character + following
            else:
                word += character
        elif character in SPACES:
            if is_begun:
                words.append(word)
            word, kept, is_begun = "", 0, False
            continue
        elif character in "'\"":
            quote, kept = character, len(word)
        elif character == "\\":
            word += next(characters, "")
        else:
            word += character
            if character in breaks:
                kept = len(word) - (character in KEPT_WITH_WHAT_FOLLOWS)
        is_begun = True
    return Typed(tuple(words), word, kept, quote)


def _offers(typed: Typed, root: click.Command, scope: object) -> Iterator[Offer]:
    arguments, last, before = [*typed.words[1:]], typed.last, ""
    if last.startswith("--") and "=" in last and "--" not in arguments:
        option, _, last = last.partition("=")
        arguments.append(option)
        before = f"{option}="
    asked = ShellComplete(root, {"obj": scope}, "mail-proxy", COMPLETE_VARIABLE)
    for item in asked.get_completions(arguments, last):
        if item.type != "plain" or _can_stand(item, arguments, last):
            yield Offer(f"{before}{item.value}", item.type, " ".join((item.help or "").split()))


def _can_stand(item: CompletionItem[str], arguments: Iterable[str], last: str) -> bool:
    """Leave out ids that would be read as options, and what one line cannot hold."""
    if not item.value.startswith(last) or not item.value.isprintable():
        return False
    return not item.value.startswith("-") or last.startswith("-") or "--" in arguments


def _for_bash(offers: Iterable[Offer], typed: Typed) -> Iterator[str]:
    """Bash inserts words as they are given: quoted here, from where it begins to replace."""
    for offer in offers:
        rest = offer.word[typed.kept :]
        yield f"={_quoted(rest, typed.quote)}" if offer.kind == "plain" else offer.kind


def _quoted(word: str, quote: str) -> str:
    if quote == "'":
        return word.replace("'", "'\\''")
    special = ESCAPED_IN_DOUBLE_QUOTES if quote else SPECIAL_IN_BASH
    return "".join(f"\\{character}" if character in special else character for character in word)


def _for_zsh(offers: Iterable[Offer], _typed: Typed) -> Iterator[str]:
    """``_describe`` of zsh parts word and description at the first colon that is not escaped."""
    for offer in offers:
        if offer.kind != "plain":
            yield offer.kind
        elif offer.help:
            word = offer.word.replace("\\", "\\\\").replace(":", "\\:")
            yield f"+{word}:{offer.help}"
        else:
            yield f"={offer.word}"


def _for_fish(offers: Iterable[Offer], _typed: Typed) -> Iterator[str]:
    for offer in offers:
        yield f"={offer.word}\t{offer.help}" if offer.kind == "plain" else offer.kind


WRITERS: dict[str, Callable[[Iterable[Offer], Typed], Iterator[str]]] = {
    "bash": _for_bash,
    "zsh": _for_zsh,
    "fish": _for_fish,
}
