"""What ``top`` shows: from what was seen, and the room there is, to lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from mail_proxy.model.activity import SPAN, Activity, Failure, Order, Outcome
from mail_proxy_cli.output import NOTHING, age, one_line
from mail_proxy_cli.top.style import BAD, FAINT, GOOD, STRONG, WARNING, clock_time
from mail_proxy_cli.top.table import BETWEEN, table

BARS = "▁▂▃▄▅▆▇█"
NONE = "·"

BAR = 5
"""Seconds to a bar."""

LABEL = 10
FEW = 3
"""Errors that are shown when accounts need the room, too."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that may be seen at a moment.

    `server` is what files and processes tell of it; `trouble` is why `activity`, what was seen last, is not
    of now; `keys` is the last line of a screen.
    """

    server: Mapping[str, object]
    tenant_id: str | None
    activity: Activity | None
    order: Order = Order.WAITING
    trouble: str | None = None
    keys: str | None = None


def picture(scene: Scene, columns: int, rows: int | None = None) -> list[Text]:
    """Draw it: as many lines as a screen has rows, or all there are; none is wider than `columns`."""
    keys = [Text(scene.keys, style=FAINT)] if scene.keys else []
    room = None if rows is None else max(0, rows - len(keys))
    lines = _parts(scene, columns, room)
    if room is not None:
        lines = [*lines[:room], *(Text() for _ in range(room - len(lines)))]
    lines += keys
    for line in lines:
        line.truncate(max(1, columns), overflow="ellipsis")
    return lines


def _parts(scene: Scene, columns: int, room: int | None) -> list[Text]:
    """Share the room: first the head, then the rates if there is enough, accounts, and what room is left."""
    lines = list(_head(scene, columns))
    activity = scene.activity
    if activity is None:
        return lines
    rates = [Text(), *_rates(activity, columns)]
    if room is None or len(lines) + len(rates) + FEW < room:
        lines += rates
    failures = [Text(), *_failures(activity.failures, activity.ts)] if activity.failures else []
    if room is None:
        return [*lines, *_accounts(scene.order, activity, columns, None), *failures]
    kept = min(len(failures), FEW + 2) if room - len(lines) > 3 * FEW else 0
    lines += _accounts(scene.order, activity, columns, room - len(lines) - kept)
    return lines + failures if room - len(lines) > 2 else lines


def _head(scene: Scene, columns: int) -> Iterator[Text]:
    activity = scene.activity
    yield _first_line(scene.server, activity, columns)
    if scene.tenant_id is not None:
        yield _labelled("tenant", Text(scene.tenant_id))
    if scene.trouble is not None:
        yield _labelled("trouble", Text(one_line(scene.trouble), style=BAD))
    if activity is None:
        return
    if scene.trouble is not None:
        yield _labelled("", Text(f"what follows was seen at {clock_time(activity.ts)}", style=BAD))
    yield _labelled("nodes", Text(", ".join(one_line(node.name) for node in activity.nodes) or NOTHING))
    queue = Text("   ".join(f"{count:,} {status}" for status, count in activity.queue.items()))
    if not activity.is_active:
        queue.append("   suspended", style=WARNING)
    yield _labelled("queue", queue)


def _first_line(server: Mapping[str, object], activity: Activity | None, columns: int) -> Text:
    name, state, uptime = str(server["name"]), str(server["state"]), server["uptime_seconds"]
    line = Text(name.ljust(LABEL - BETWEEN) + " " * BETWEEN, style=STRONG)
    if state == "running":
        line.append("running", style=GOOD)
        line.append(f", up {age(uptime)}" if isinstance(uptime, int) else "", style="not bold")
        line.append(f", {server['url']}", style="not bold")
    else:
        line.append("not running" if state == "stopped" else state, style=WARNING)
    if activity is not None:
        moment = clock_time(activity.ts)
        line.truncate(columns - len(moment) - 1, overflow="ellipsis", pad=True)
        line.append(f" {moment}", style="not bold")
    return line


def _labelled(label: str, text: Text) -> Text:
    return Text.assemble(label.ljust(LABEL), text)


def _rates(activity: Activity, columns: int) -> Iterator[Text]:
    """A bar for every few seconds, up to now; what is not known is left blank."""
    known = min(SPAN, math.ceil(activity.ts - activity.since))
    cells = {
        outcome: (f"{sum(counts[-60:]):,}", f"{sum(counts):,}")
        for outcome, counts in activity.seconds.items()
    }
    headings = ("per minute", f"in {_length(known)}")
    widths = [max(map(len, column)) for column in zip(headings, *cells.values(), strict=True)]
    bars = max(1, min(SPAN // BAR, columns - LABEL - sum(widths) - BETWEEN * len(widths)))
    drawn = Text(f"last {_length(bars * BAR)}")
    yield Text.assemble(_beside("", drawn, bars, headings, widths), style=FAINT)
    for outcome, counts in activity.seconds.items():
        drawn = Text(_sparkline(counts, bars, known), style=STYLES[outcome])
        yield _beside(outcome.value, drawn, bars, cells[outcome], widths)


STYLES = {Outcome.SENT: GOOD, Outcome.DEFERRED: WARNING, Outcome.FAILED: BAD}


def _length(seconds: float) -> str:
    return age(seconds).removesuffix(" 0s")


def _beside(label: str, drawn: Text, width: int, cells: Sequence[str], widths: Sequence[int]) -> Text:
    drawn.truncate(width, pad=True)
    padded = [" " * BETWEEN + cell.rjust(size) for cell, size in zip(cells, widths, strict=True)]
    return Text.assemble(label.ljust(LABEL), drawn, *padded)


def _sparkline(counts: Sequence[int], bars: int, known: float) -> str:
    """The newest at the right, the highest bar for the highest number."""
    sums = [sum(counts[at : at + BAR]) for at in range(len(counts) - bars * BAR, len(counts), BAR)]
    highest = max(sums)
    blank = max(0, bars - math.ceil(known / BAR))
    return " " * blank + "".join(_bar(number, highest) for number in sums[blank:])


def _bar(number: int, highest: int) -> str:
    return BARS[math.ceil(number * len(BARS) / highest) - 1] if number else NONE


def _accounts(order: Order, activity: Activity, columns: int, room: int | None) -> Iterator[Text]:
    """A line for each account, as far as there is room, and how many more there are."""
    accounts = activity.accounts
    if room is not None and room - 2 < activity.accounts_total:
        accounts = accounts[: max(0, room - 3)]
    if accounts:
        yield Text()
        yield from table(accounts, activity.ts, columns, order)
    elif not activity.accounts_total:
        yield Text()
        yield Text("no accounts", style=FAINT)
    if more := activity.accounts_total - len(accounts):
        yield Text(f"and {more:,} more accounts", style=FAINT)


def _failures(failures: Sequence[Failure], now: float) -> Iterator[Text]:
    yield Text("newest errors", style=STRONG)
    for failure in failures:
        yield Text.assemble(
            clock_time(failure.ts, now),
            f"  {failure.tenant_id}/{failure.account_id}  {one_line(failure.id)}  ",
            (one_line(failure.text), BAD),
        )
