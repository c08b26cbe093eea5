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

from mail_proxy.model.messages import Status
from mail_proxy_repl.calls import Call, open_call
from mail_proxy_repl.lines import Kind, Vocabulary, kind_of
from mail_proxy_repl.results import Record
from mail_proxy_repl.words import split

USE = "use"
HELP = "help"
LEAVE = ("exit", "quit")

CHAIN = re.compile(r"(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?\Z")
IN_TEXT = re.compile(r"""\A(?:[^"']|"[^"]*"|'[^']*')*["'][^"']*\Z""")
KEY = re.compile(r"""(?P<name>[^\W\d]\w*)(?P<row>\[-?\d+\])?\[["'](?P<begun>[^"']*)\Z""")

KINDS = {
    "tenant_id": "tenants",
    "account_id": "accounts",
    "message_id": "messages",
    "ids": "messages",
    "batch_code": "batches",
}
"""What the arguments that are so called name."""

OPENING = ("open", "Path", "pathlib.Path")
"""What is called with a file."""


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

    `follow` tells what may come after the words of a command, `ids` the ids of a kind that begin so: of
    tenants, accounts, messages, storages, batches, files.
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
            commands = {name: meaning for name, meaning in names.commands.items() if name.startswith(begun)}
            rest = [each for each in _python(text, names) if each.text not in commands]
            return [Suggestion(name, start, meaning) for name, meaning in commands.items()] + rest
        if kind_of(text, names.vocabulary) is Kind.COMMAND or _is_tenant(words, names):
            found = _following(words, begun, names)
            return [Suggestion(_quoted(word.text), start, word.meaning) for word in found]
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


def _is_tenant(words: Sequence[str], names: Names) -> bool:
    """Whether a command of that tenant may follow."""
    return len(words) == 1 and words[0] in names.ids("tenants", words[0])


def _quoted(word: str) -> str:
    """As a word of a command, with the tilde for the shell to read."""
    return f"~/{shlex.quote(word[2:])}" if word[2:] and word.startswith("~/") else shlex.quote(word)


def _following(words: Sequence[str], begun: str, names: Names) -> Iterable[Word]:
    if words[0] in LEAVE:
        return ()
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
    call = open_call(text)
    if IN_TEXT.match(text):
        return _in_quotes(text, call, names)
    chain = CHAIN.search(text)
    if chain is None or not chain[0]:
        at = len(text)
        return _named(call, "", at, names) if text.strip() else _chained("", at, names.namespace)
    if chain.start() and text[chain.start() - 1] in ".)]":
        return []  # of a value that is not there before the line is run
    before = chain[0].rpartition(".")[0]
    found = _chained(chain[0], chain.start(), names.namespace)
    if before:
        return found
    found = _named(call, chain[0], chain.start(), names) + found
    known = [*keyword.kwlist, *(name for name in vars(builtins) if not name.startswith("_"))]
    rest = [name for name in known if name.startswith(chain[0]) and name not in names.namespace]
    return found + [Suggestion(name, chain.start()) for name in rest]


def _in_quotes(text: str, call: Call | None, names: Names) -> list[Suggestion]:
    """What the text may be that is still open."""
    if match := KEY.search(text):
        return [Suggestion(key, match.start("begun")) for key in _keys(match, names)]
    if call is None or call.begun is None:
        return []
    return [Suggestion(each, len(text) - len(call.begun)) for each in _values(call, names)]


def _keys(match: re.Match[str], names: Names) -> Iterable[str]:
    """The keys of a record, or of those in a list."""
    value = names.namespace.get(match["name"])
    if match["row"]:
        value = value[0] if isinstance(value, list) and value else None
    return [key for key in value if key.startswith(match["begun"])] if isinstance(value, Record) else []


def _values(call: Call, names: Names) -> Iterable[str]:
    """What an argument may be that is a text."""
    begun = call.begun or ""
    if call.chain in OPENING and call.position == 0:
        return names.ids("files", begun)
    parameters = list(_parameters(call, names))
    name = call.keyword or (parameters[call.position] if call.position < len(parameters) else "")
    if name == "status":
        return [status.value for status in Status if status.value.startswith(begun)]
    kind = "storages" if name == "name" and ".storages." in call.chain else KINDS.get(name)
    return names.ids(kind, begun) if kind else ()


def _named(call: Call | None, begun: str, start: int, names: Names) -> list[Suggestion]:
    """The arguments that may yet be named."""
    if call is None or call.keyword:
        return []
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    rest = list(_parameters(call, names).items())[call.position :]
    may_be = [name for name, each in rest if each.kind in by_name and name.startswith(begun)]
    return [Suggestion(f"{name}=", start) for name in may_be]


def _parameters(call: Call, names: Names) -> Mapping[str, inspect.Parameter]:
    """What is called is called with, as far as that is known."""
    try:
        function = resolve(call.chain, names.namespace)
    except LookupError:
        return {}
    if not inspect.isfunction(function):
        return {}
    found = dict(inspect.signature(function).parameters)
    found.pop("self", None)
    return found


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
