"""What ``send`` says while it works: ids on standard output, the rest on standard error."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import click

from mail_proxy_cli.output import echo_json
from mail_proxy_cli.progress import Advance, progress
from mail_proxy_cli.send.queueing import Outcome


class Teller:
    """Collects outcomes and tells them; as a context it shows a progress bar for several files."""

    def __init__(self, files: int, *, as_json: bool) -> None:
        self.outcomes: list[Outcome] = []
        self._files = files
        self._as_json = as_json
        self._bar = ExitStack()
        self._advance: Advance | None = None
        self._held: list[tuple[str, bool]] = []

    def __enter__(self) -> Self:
        if self._files > 1 and sys.stderr.isatty():
            self._advance = self._bar.enter_context(progress("queueing", self._files))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._advance = None
        for line, err in self._held:
            click.echo(line, err=err)
        self._held.clear()
        if kind is not None and self.outcomes:
            self.sum_up()

    @property
    def all_good(self) -> bool:
        return all(outcome.is_good for outcome in self.outcomes)

    def queued(self, outcome: Outcome) -> None:
        """Tell the id of a message that is in the queue, or why a file is not."""
        self.outcomes.append(outcome)
        if outcome.error is not None:
            self.notice(f"Error: {outcome.file}: {outcome.error}")
        elif not self._as_json:
            self._say(str(outcome.id), err=False)
        if self._advance is not None:
            self._advance(1)

    def waited(self, position: int, outcome: Outcome) -> None:
        """Tell what became of a message in the end."""
        self.outcomes[position] = outcome
        if outcome.error is None:
            self.notice(f"{outcome.id}: {outcome.status}")
        else:
            self.notice(f"Error: {outcome.file}: {outcome.error}")

    def notice(self, line: str) -> None:
        self._say(line, err=True)

    def _say(self, line: str, *, err: bool) -> None:
        """Print now, or when the bar is gone if both would meet on the terminal."""
        if self._advance is not None and (err or sys.stdout.isatty()):
            self._held.append((line, err))
        else:
            click.echo(line, err=err)

    def sum_up(self) -> None:
        """Close the account: JSON if asked for, else a line when there was more than one file."""
        if self._as_json:
            echo_json(
                [{"file": o.file, "id": o.id, "status": o.status, "error": o.error} for o in self.outcomes]
            )
        elif self._files > 1:
            queued = sum(outcome.id is not None for outcome in self.outcomes)
            failed = sum(not outcome.is_good for outcome in self.outcomes)
            unread = self._files - len(self.outcomes)
            self.notice(f"{queued} queued, {failed} failed" + (f", {unread} not tried" if unread else ""))
