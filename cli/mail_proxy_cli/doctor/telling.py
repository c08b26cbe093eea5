"""How findings are told: in groups, while the check-up goes on; or as JSON at its end."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

import click

from mail_proxy.model.findings import Finding, Level
from mail_proxy_cli.output import echo_json, one_line

SYMBOLS = {Level.OK: "✓", Level.NOTE: "•", Level.WARNING: "!", Level.FAILURE: "✗"}
COLORS = {Level.OK: "green", Level.NOTE: "blue", Level.WARNING: "yellow", Level.FAILURE: "red"}
WIDTH = max(len(level) for level in Level)
ADVICE = "→ "


class Told(NamedTuple):
    """A finding, and where it belongs; of the installation there is one."""

    instance: str | None
    topic: str
    finding: Finding


class Teller:
    """Collects findings and tells them."""

    def __init__(self, *, as_json: bool, color: bool) -> None:
        self._as_json = as_json
        self._color = color
        self._is_terminal = sys.stdout.isatty()
        self._told: list[Told] = []

    @property
    def worst(self) -> Level:
        return max(
            (each.finding.level for each in self._told), key=lambda level: level.rank, default=Level.OK
        )

    def section(self, instance: str | None, topic: str, findings: Iterable[Finding]) -> None:
        """Tell one group; nothing of an empty one."""
        group = [Told(instance, topic, finding) for finding in findings]
        self._told += group
        if self._as_json or not group:
            return
        self._echo(click.style(topic if instance is None else f"{instance}: {topic}", bold=True))
        for each in group:
            self._echo_finding(each.finding)

    def end(self) -> None:
        """Print the JSON, or one line that sums it up."""
        if self._as_json:
            findings = [_view(each) for each in self._told]
            echo_json({"level": self.worst.value, "findings": findings})
            return
        counts = [
            f"{count} {level}{'s' if count != 1 else ''}"
            for level in (Level.FAILURE, Level.WARNING, Level.NOTE)
            if (count := sum(each.finding.level is level for each in self._told))
        ]
        self._echo(", ".join(counts) if counts else "all is well")

    def _echo_finding(self, finding: Finding) -> None:
        said = one_line(f"{finding.subject}: {finding.found}" if finding.subject else finding.found)
        mark = click.style(self._mark(finding.level), fg=COLORS[finding.level])
        indent = len(f"  {click.unstyle(mark)} ")
        self._echo_hanging(f"  {mark} ", said, indent)
        if finding.advice:
            arrow = ADVICE if self._has_symbols else "to do: "
            self._echo_hanging(" " * indent + arrow, one_line(finding.advice), indent + len(arrow))

    def _echo_hanging(self, lead: str, said: str, indent: int) -> None:
        width = shutil.get_terminal_size().columns - indent if self._is_terminal else 0
        lines = textwrap.wrap(said, width, break_on_hyphens=False) if width > indent else [said]
        self._echo(lead + f"\n{' ' * indent}".join(lines))

    @property
    def _has_symbols(self) -> bool:
        return self._is_terminal and (sys.stdout.encoding or "").lower().startswith("utf")

    def _mark(self, level: Level) -> str:
        return SYMBOLS[level] if self._has_symbols else level.ljust(WIDTH)

    def _echo(self, text: str) -> None:
        click.echo(text, color=None if self._color else False)


def _view(told: Told) -> dict[str, object]:
    finding = told.finding
    return {
        "instance": told.instance,
        "topic": told.topic,
        "check": finding.check,
        "subject": finding.subject,
        "level": finding.level.value,
        "found": finding.found,
        "advice": finding.advice,
    }
