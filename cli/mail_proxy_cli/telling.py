"""What ``send`` says while it works: ids on standard output, the rest on standard error."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from mail_proxy_cli.output import echo_json
from mail_proxy_cli.progress import error_console
from mail_proxy_cli.sending import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Teller:
    """Collects outcomes and tells them; as a context it shows a progress bar for several files."""

    def __init__(self, files: int, *, as_json: bool) -> None:
        self.outcomes: list[Outcome] = []
        self._files = files
        self._as_json = as_json
        self._bar: tuple[Progress, TaskID] | None = None
        self._held: list[tuple[str, bool]] = []

    def __enter__(self) -> Self:
        if self._files > 1 and sys.stderr.isatty():
            self._bar = _started_bar(self._files)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
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
        if self._bar is not None:
            progress, task = self._bar
            progress.advance(task)

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
        if self._bar is not None and (err or sys.stdout.isatty()):
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


def _started_bar(files: int) -> tuple[Progress, TaskID]:
    from rich.progress import BarColumn as Bar
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("queueing"),
        Bar(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=error_console(),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = progress.add_task("queueing", total=files)
    progress.start()
    return progress, task
