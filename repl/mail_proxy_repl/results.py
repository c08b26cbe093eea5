"""What calls give back: the API's objects as they are, which also know what they are, to be shown well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Literal

What = Literal[
    "accounts",
    "checks",
    "commands",
    "events",
    "instance",
    "messages",
    "removals",
    "stats",
    "status",
    "storages",
    "submissions",
    "suspensions",
    "tenants",
]


class Record(dict[str, Any]):
    """One object of the API, a dict with its names. `what` says of which kind."""

    def __init__(self, what: What, view: Mapping[str, object]) -> None:
        super().__init__({name: plain(value) for name, value in view.items()})
        self.what: What = what


class Rows(list[Record]):
    """Several of one kind. `cut` says that there are more than were asked for."""

    def __init__(self, what: What, views: Iterable[Mapping[str, object]], *, cut: bool = False) -> None:
        super().__init__(Record(what, view) for view in views)
        self.what: What = what
        self.cut = cut


def plain(value: object) -> object:
    """The value as JSON has it: of what is called by a word the word, of what is in a row a list."""
    match value:
        case Enum():
            return value.value
        case Mapping():
            return {name: plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
    return value
