"""Which line is what: commands and Python share one prompt, and this alone decides.

A line is a command when its first word is one: ``stats``, ``messages list --status error``. What begins
with the id of a tenant and a command of tenants is one, too, unless it is Python: ``acme info``. Python
comes first in two cases only, both when the line parses as Python: it gives the word a value (``send = 3``),
or the word has been given one in this session (``stats = proxy.stats()``, then ``stats``).
"""

from __future__ import annotations

import ast
import codeop
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from enum import Enum, auto

ASSIGNMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign)
GOES_ON = re.compile(r"(else|elif|except|finally)\b")
HELP = re.compile(r"\?+[\w.() -]*\?*|[\w.() -]+\?+")


class Kind(Enum):
    NOTHING = auto()
    COMMAND = auto()
    HELP = auto()
    PYTHON = auto()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that are commands, those that a tenant's id may stand before, and the names given values."""

    commands: Container[str]
    of_tenants: Container[str] = ()
    names: Container[str] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is worked on at one go: a command, or a Python statement with its block; it began at `line`."""

    kind: Kind
    text: str
    line: int


def kind_of(text: str, known: Vocabulary) -> Kind:
    """Decide what a text is by its first line, as this module's docstring says."""
    line = text.strip().partition("\n")[0].rstrip()
    if not line or line.startswith("#"):
        return Kind.NOTHING
    if HELP.fullmatch(line):
        return Kind.HELP
    words = line.split(maxsplit=2)
    tree = _parsed(line)
    if words[0] in known.commands:
        if tree is None:
            return Kind.COMMAND
        is_assignment = isinstance(tree.body[0], ASSIGNMENTS)
        return Kind.PYTHON if is_assignment or words[0] in known.names else Kind.COMMAND
    if tree is None and len(words) > 1 and words[1] in known.of_tenants and words[0] not in known.names:
        return Kind.COMMAND
    return Kind.PYTHON


def needs_more(text: str, known: Vocabulary) -> bool:
    """Whether a person who presses Enter here wants to write on: Python that is not complete.

    A block goes on until an empty line.
    """
    if kind_of(text, known) is not Kind.PYTHON:
        return False
    if _is_incomplete(text):
        return True
    tree = _parsed(text)
    last = text.rpartition("\n")[2]
    return "\n" in text and bool(last.strip()) and tree is not None and _is_block(tree)


def chunks(lines: Iterator[str], vocabulary: Callable[[], Vocabulary]) -> Iterator[Chunk]:
    """Part a script into what is worked on at one go. Comments and blank lines between are left out.

    `vocabulary` is asked at each line, for what ran before may have given values to names.
    """
    source = _Source(lines)
    while (line := source.next()) is not None:
        began = source.number
        kind = kind_of(line, vocabulary())
        if kind is Kind.PYTHON:
            line = _statement(line, source)
        if kind is not Kind.NOTHING:
            yield Chunk(kind, line if kind is Kind.PYTHON else line.strip(), began)


class _Source:
    """Lines to be taken one by one, or looked at before; no more are read than are needed."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._ahead: list[str] = []
        self.number = 0

    def next(self) -> str | None:
        line = self._ahead.pop(0) if self._ahead else self._read()
        self.number += line is not None
        return line

    def peek(self, at: int = 0) -> str | None:
        while len(self._ahead) <= at:
            line = self._read()
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[at]

    def _read(self) -> str | None:
        line = next(self._lines, None)
        return None if line is None else line.rstrip("\r\n")


def _statement(first: str, source: _Source) -> str:
    """Take the lines of a statement that begins so; all that is left if it never ends."""
    text = first
    while _is_incomplete(text) or _is_continued(text, source):
        line = source.next()
        if line is None:
            break
        text += f"\n{line}"
    return text


def _is_continued(text: str, source: _Source) -> bool:
    """Whether the next lines belong to the block that the text ends with."""
    tree = _parsed(text)
    if tree is None or not _is_block(tree):
        return False
    at = 0
    while (line := source.peek(at)) is not None:
        if line.strip() and not line.lstrip().startswith("#"):
            return line[0].isspace() or GOES_ON.match(line) is not None
        at += 1
    return False


def _is_block(tree: ast.Module) -> bool:
    return bool(tree.body) and (hasattr(tree.body[-1], "body") or hasattr(tree.body[-1], "cases"))


def _parsed(text: str) -> ast.Module | None:
    """The syntax tree; None for what is not Python, or says nothing."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if tree.body else None


def _is_incomplete(text: str) -> bool:
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        return compiler(text, symbol="exec") is None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
