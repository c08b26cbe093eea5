"""What a measure found: figures, ratios beside their bounds, and the machine they hold for."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

LIBRARIES = ("uvicorn", "starlette", "aiosmtplib", "aiosqlite", "asyncpg", "uvloop", "httptools")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A number beside what it has to be: `relation` is ``>=`` or ``<=``."""

    name: str
    value: float
    relation: str
    limit: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.relation == ">=" else self.value <= self.limit


@dataclass(slots=True)
class Report:
    """The result of one measure; `texts` are titled sections such as query plans."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def figure(self, name: str, value: float, unit: str) -> None:
        self.figures.append(Figure(name, value, unit))

    def at_least(self, name: str, value: float, limit: float, unit: str = "") -> None:
        self.bounds.append(Bound(name, value, ">=", limit, unit))

    def at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        self.bounds.append(Bound(name, value, "<=", limit, unit))

    @property
    def holds(self) -> bool:
        """Whether every bound holds."""
        return all(bound.holds for bound in self.bounds)

    def as_json(self) -> str:
        """The report as one JSON object, with the facts about the machine."""
        bounds = [asdict(bound) | {"holds": bound.holds} for bound in self.bounds]
        return json.dumps(
            {
                "measure": self.name,
                "machine": machine(),
                "figures": [asdict(figure) for figure in self.figures],
                "bounds": bounds,
                "texts": dict(self.texts),
            },
            indent=2,
        )

    def as_markdown(self) -> str:
        """The report as a page of the documentation."""
        lines = [f"## {self.name[:1].upper()}{self.name[1:]}", "", "| | |", "|---|---:|"]
        lines += [f"| {row.name} | {_shown(row.value)} {row.unit} |" for row in self.figures]
        lines += [
            f"| {row.name} | {_shown(row.value)} {row.unit} ({row.relation} {_shown(row.limit)}) |"
            for row in self.bounds
        ]
        facts = ", ".join(f"{name} {value}" for name, value in machine().items())
        lines += ["", f"Measured with {facts}.", ""]
        for title, text in self.texts:
            lines += [f"### {title[:1].upper()}{title[1:]}", "", "```text", text, "```", ""]
        return "\n".join(lines)

    def as_text(self) -> str:
        """The report for a person."""
        facts = ", ".join(f"{name} {value}" for name, value in machine().items())
        lines = [f"== {self.name}", f"   {facts}"]
        names = [row.name for row in self.figures] + [row.name for row in self.bounds]
        width = max(map(len, names), default=0)
        lines += [f"   {row.name:<{width}}  {_shown(row.value):>10} {row.unit}" for row in self.figures]
        lines += [_bound_line(row, width) for row in self.bounds]
        for title, text in self.texts:
            lines += ["", f"-- {title}", text]
        return "\n".join(lines)


def _bound_line(row: Bound, width: int) -> str:
    verdict = "holds" if row.holds else "MISSED"
    wanted = f"{row.relation} {_shown(row.limit)} {row.unit}".rstrip()
    return f"   {row.name:<{width}}  {_shown(row.value):>10} {row.unit:<4} {wanted}: {verdict}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def machine() -> dict[str, str]:
    """Facts without which a figure says nothing."""
    facts = {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    for library in LIBRARIES:
        try:
            facts[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            facts[library] = "absent"
    return facts


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
