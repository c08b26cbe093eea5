"""Noticing that files have changed, by looking at them now and then."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("mail_proxy", "mail_proxy_cli", "mail_proxy_repl")
SUFFIXES = (".py", ".sql", ".html", ".css", ".js")

Seen = Mapping[Path, tuple[int, int]]
"""What was there at one moment: of each file when it was last written, and its size."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Source files below `directories`, and the `files`, which need not be there."""

    directories: Sequence[Path]
    files: Sequence[Path]

    def look(self) -> Seen:
        seen = {}
        for path in self._paths():
            try:
                status = path.stat()
            except OSError:  # gone meanwhile, or not there yet
                continue
            seen[path] = (status.st_mtime_ns, status.st_size)
        return seen

    def _paths(self) -> Iterator[Path]:
        yield from self.files
        for directory in self.directories:
            for folder, folders, names in os.walk(directory):
                folders[:] = [name for name in folders if name != "__pycache__"]
                yield from (Path(folder, name) for name in names if name.endswith(SUFFIXES))


def program() -> list[Path]:
    """The directories of the program's own source."""
    found = (find_spec(package) for package in PACKAGES)
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or ()]


def changed(before: Seen, after: Seen) -> list[Path]:
    """The files that were written, made or removed between two looks."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
