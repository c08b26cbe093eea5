"""Which argument of which call is being written, by the text before the cursor; nothing of it is run."""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""
    (?P<text>(?P<quote>\"{3}|'{3}|["'])(?:\\.|(?!(?P=quote)).)*(?P=quote))
    | (?P<open_text>\"{3}|'{3}|["'])(?P<begun>(?:\\.|[^\\])*)\Z
    | (?P<comment>\#[^\n]*)
    | (?P<chain>(?:[^\W\d]\w*\s*\.\s*)*[^\W\d]\w*)(?=\()
    | (?P<keyword>[^\W\d]\w*)\s*=(?!=)
    | (?P<opening>[(\[{]) | (?P<closing>[)\]}]) | (?P<comma>,)
    | \w+ | .
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class Call:
    """A bracket that is open: what is called (nothing: no call), and where in it the text ends.

    `begun` is the text in quotes that the argument, or a part of the list that it is, is to be.
    """

    chain: str
    position: int = 0
    keyword: str = ""
    begun: str | None = None


def open_call(text: str) -> Call | None:
    """The call whose argument, or a list of them, the text ends within."""
    brackets: list[Call] = []
    chain = ""
    for token in TOKEN.finditer(text):
        match token.lastgroup:
            case "opening":
                brackets.append(Call(chain))
            case "closing":
                brackets = brackets[:-1]
            case "comma" if brackets:
                brackets[-1].position += 1
                brackets[-1].keyword = ""
            case "keyword" if brackets:
                brackets[-1].keyword = token["keyword"]
            case "begun" if brackets:
                return _argument(brackets, token["begun"])
        chain = token["chain"] or ""
    return brackets[-1] if brackets and brackets[-1].chain else None


def _argument(brackets: list[Call], begun: str) -> Call | None:
    """Of a list, it is the call that the list is handed to."""
    called = next((each for each in brackets[-2:][::-1] if each.chain), None)
    if called is not None:
        called.begun = begun
    return called
