"""What may be completed: a pure function of the text before the cursor and of the names there are.

Nothing is run to find out: of objects only their plain attributes are looked at, never a property.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mail_proxy_repl.lines import Kind, Vocabulary, kind_of
from mail_proxy_repl.results import Record
from mail_proxy_repl.words import split

USE = "use"
HELP = "help"
LEAVE = ("exit", "quit")

CHAIN = re.compile(r"(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?\Z")
IN_TEXT = re.compile(r"""\A(?:[^"']|"[^"]*"|'[^']*')*["'][^"']*\Z""")
BEGUN = r"""(?P<quote>["'])(?P<begun>[^"']*)\Z"""
ID = re.compile(rf"\bproxy\.(?P<kind>tenants|accounts|messages|storages)\.[a-z_]+\(\s*\[?\s*{BEGUN}")
TENANT = re.compile(rf"\btenant_id\s*=\s*{BEGUN}")
KEY = re.compile(rf"(?P<name>[^\W\d]\w*)\[{BEGUN}")


class Suggestion(NamedTuple):
    """A text to put in place of what follows `start`, and what it means."""

    text: str
    start: int
    meaning: str = ""


class Word(NamedTuple):
    """A word that may follow others of a command."""

    text: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """What there is to be named, where the session stands.

    `follow` tells what may come after the words of a command, `ids` the ids of a kind that begin so.
    """

    commands: Mapping[str, str]
    vocabulary: Vocabulary
    namespace: Mapping[str, object]
    follow: Callable[[Sequence[str], str], Iterable[Word]] = lambda _words, _begun: ()
    ids: Callable[[str, str], Iterable[str]] = lambda _kind, _begun: ()


def suggest(text: str, names: Names) -> list[Suggestion]:
    """Return what may stand in place of the word that the text before the cursor ends with."""
    if "\n" not in text:
        words, begun, start = split(text)
        if not words:
            commands = [(name, meaning) for name, meaning in names.commands.items() if name.startswith(begun)]
            return [Suggestion(name, start, meaning) for name, meaning in commands] + _python(text, names)
        if kind_of(text, names.vocabulary) is Kind.COMMAND:
            found = _following(words, begun, names)
            return [Suggestion(shlex.quote(word.text), start, word.meaning) for word in found]
    return _python(text, names)


def resolve(chain: str, namespace: Mapping[str, object]) -> object:
    """Return what ``a.b.c`` names, of a method the plain function; raise LookupError."""
    first, *rest = chain.split(".")
    thing = namespace[first] if first in namespace else vars(builtins)[first]
    for name in rest:
        try:
            thing = inspect.getattr_static(thing, name)
        except AttributeError:
            raise LookupError(name) from None
    return thing


def public_names(thing: object) -> dict[str, object]:
    """The attributes of a thing that are for users, as they are stored."""
    kinds = (thing if isinstance(thing, type) else type(thing)).__mro__[:-1]
    found: dict[str, object] = {}
    for kind in reversed(kinds):
        found |= vars(kind)
    if not isinstance(thing, type):
        found |= _stored(thing)
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _stored(thing: object) -> Mapping[str, object]:
    """What an object itself holds, asked of `object` and not of its class, which might run code."""
    try:
        held = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}
    return held if isinstance(held, dict) else {}


def meaning_of(thing: object) -> str:
    """The first line of a function's or a part's docstring."""
    told = thing.__doc__ if inspect.isfunction(thing) else type(thing).__doc__
    is_own = (getattr(thing, "__module__", None) or type(thing).__module__).startswith("mail_proxy")
    return (told or "").strip().partition("\n")[0] if is_own else ""


def _following(words: Sequence[str], begun: str, names: Names) -> Iterable[Word]:
    if words[0] == HELP:
        return _topics(words[1:], begun, names)
    if words[0] == USE:
        return [Word(each) for each in names.ids("tenants", begun)] if len(words) == 1 else ()
    return names.follow(words, begun)


def _topics(words: Sequence[str], begun: str, names: Names) -> Iterable[Word]:
    """What ``help`` explains: commands, and what Python names."""
    if words:
        return names.follow(words, begun)
    commands = [Word(name, meaning) for name, meaning in names.commands.items() if name.startswith(begun)]
    chained = _chained(begun, 0, names.namespace)
    return commands + [Word(begun[: each.start] + each.text, each.meaning) for each in chained]


def _python(text: str, names: Names) -> list[Suggestion]:
    for pattern in (ID, TENANT, KEY):
        if match := pattern.search(text):
            return [Suggestion(each, match.start("begun")) for each in _quoted(pattern, match, names)]
    if IN_TEXT.match(text):
        return []
    chain = CHAIN.search(text)
    if chain is None or not chain[0]:
        return [] if text.strip() else _chained("", len(text), names.namespace)
    if chain.start() and text[chain.start() - 1] in ".)]":
        return []  # of a value that is not there before the line is run
    before = chain[0].rpartition(".")[0]
    found = _chained(chain[0], chain.start(), names.namespace)
    if before:
        return found
    known = [*keyword.kwlist, *(name for name in vars(builtins) if not name.startswith("_"))]
    rest = [name for name in known if name.startswith(chain[0]) and name not in names.namespace]
    return found + [Suggestion(name, chain.start()) for name in rest]


def _quoted(pattern: re.Pattern[str], match: re.Match[str], names: Names) -> Iterable[str]:
    """What may stand between quotes: ids of what there is, or the keys of a record."""
    if pattern is KEY:
        record = names.namespace.get(match["name"])
        keys = list(record) if isinstance(record, Record) else []
        return [key for key in keys if key.startswith(match["begun"])]
    return names.ids("tenants" if pattern is TENANT else match["kind"], match["begun"])


def _chained(chain: str, start: int, namespace: Mapping[str, object]) -> list[Suggestion]:
    """What ``a.b.c`` may go on to."""
    before, dot, begun = chain.rpartition(".")
    if not dot:
        found = {name: value for name, value in namespace.items() if not name.startswith("_")}
    else:
        try:
            found = public_names(resolve(before, namespace))
        except LookupError:
            return []
    at = start + len(before) + len(dot)
    return [
        Suggestion(name, at, meaning_of(value)) for name, value in found.items() if name.startswith(begun)
    ]
