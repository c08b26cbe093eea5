"""The accounts of ``top``: as many columns as there is room for, and shorter ones where there is little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from mail_proxy.model.activity import AccountActivity, LimitUse, Order, Outcome
from mail_proxy.model.messages import Status
from mail_proxy_cli.output import NOTHING, age, one_line
from mail_proxy_cli.top.style import BAD, FAINT, STRONG, WARNING, clock_time

BETWEEN = 2

NAME = 16
"""Columns of a terminal that an account's name may be broken to, before others go."""

WORDS = 24
"""Columns below which it is no use to tell an account's last error."""

SPANS = {60: "a minute", 3600: "an hour", 86_400: "a day"}

Cell = Callable[[AccountActivity, float], Text]


@dataclass(frozen=True, slots=True)
class _Column:
    """`cells` are ways to say it, the shortest last; where that is too long, the highest `spare` goes."""

    heading: str
    cells: tuple[Cell, ...]
    spare: int = 0
    right: bool = True
    order: Order | None = None


def table(accounts: Sequence[AccountActivity], now: float, columns: int, order: Order) -> Iterator[Text]:
    """Give a line of headings and one for each account, none wider than `columns`."""
    for shown in _choices():
        cells = [[column.cells[0](account, now) for column in shown] for account in accounts]
        widths = [
            max([len(column.heading), *(line[i].cell_len for line in cells)])
            for i, column in enumerate(shown)
        ]
        room = columns - sum(widths[1:]) - BETWEEN * len(widths[1:])
        if room >= min(widths[0], NAME):
            break
    widths[0] = max(1, min(widths[0], room))
    words = columns - sum(widths) - BETWEEN * len(widths)
    yield _line([_heading(column, order) for column in shown], shown, widths)
    for account, line in zip(accounts, cells, strict=True):
        yield Text.assemble(_line(line, shown, widths), _last_error(account, words))


def _choices() -> Iterator[list[_Column]]:
    """What may be shown: all in full, all in short, and then less and less."""
    shown = list(COLUMNS)
    yield shown
    while any(len(column.cells) > 1 for column in shown):
        shown = [_shorter(column) for column in shown]
        yield shown
    while spare := max(column.spare for column in shown):
        shown = [column for column in shown if column.spare != spare]
        yield shown


def _shorter(column: _Column) -> _Column:
    return _Column(column.heading, column.cells[1:] or column.cells, column.spare, column.right, column.order)


def _line(cells: Sequence[Text], shown: Sequence[_Column], widths: Sequence[int]) -> Text:
    padded = []
    for cell, column, width in zip(cells, shown, widths, strict=True):
        cell.truncate(width, overflow="ellipsis")
        cell.align("right" if column.right else "left", width)
        padded.append(cell)
    return Text(" " * BETWEEN).join(padded)


def _heading(column: _Column, order: Order) -> Text:
    return Text(column.heading, style=f"{STRONG} underline" if column.order is order else STRONG)


def _last_error(account: AccountActivity, room: int) -> Text:
    """Why the account rests, if it does and there is room to say so."""
    state = account.state
    if state is None or not state.last_error or room < WORDS:
        return Text()
    words = Text(" " * BETWEEN + one_line(state.last_error), style=BAD)
    words.truncate(room + BETWEEN, overflow="ellipsis")
    return words


def _name(account: AccountActivity, _now: float) -> Text:
    return Text(f"{account.tenant_id}/{account.account_id}")


def _waiting(account: AccountActivity, _now: float) -> Text:
    return _number(sum(account.waiting.values()))


def _deferred(account: AccountActivity, _now: float) -> Text:
    return _number(account.waiting.get(Status.DEFERRED, 0), WARNING)


def _sent(account: AccountActivity, _now: float) -> Text:
    return _number(account.done.get(Outcome.SENT, 0))


def _failed(account: AccountActivity, _now: float) -> Text:
    return _number(account.done.get(Outcome.FAILED, 0), BAD)


def _number(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style=style if number else FAINT)


def _oldest(account: AccountActivity, now: float) -> Text:
    if account.state is None or account.state.waits_since is None:
        return Text(NOTHING, style=FAINT)
    return Text(age(now - account.state.waits_since))


def _circuit(account: AccountActivity, now: float) -> Text:
    """Until when the account rests; after that one message tries it."""
    state = account.state
    if state is not None and state.resting_until is not None:
        until = state.resting_until
        return Text(f"open until {clock_time(until, now)}" if until > now else "open, being tried", style=BAD)
    return _short_circuit(account, now)


def _short_circuit(account: AccountActivity, _now: float) -> Text:
    if account.state is None:
        return Text("deleted", style=FAINT)
    return Text("closed") if account.state.resting_until is None else Text("open", style=BAD)


def _limits(account: AccountActivity, _now: float) -> Text:
    uses = account.state.limits if account.state else ()
    return Text(", ").join(map(_use, uses)) if uses else Text(NOTHING, style=FAINT)


def _fullest_limit(account: AccountActivity, now: float) -> Text:
    uses = account.state.limits if account.state else ()
    return _use(max(uses, key=_share)) if uses else _limits(account, now)


def _share_of_limit(account: AccountActivity, now: float) -> Text:
    uses = account.state.limits if account.state else ()
    if not uses:
        return _limits(account, now)
    share = max(map(_share, uses))
    return Text(f"{share:.0%}", style=WARNING if share >= 1 else "")


def _use(use: LimitUse) -> Text:
    return Text(
        f"{use.used:,}/{use.limit:,} {SPANS[use.seconds]}", style=WARNING if use.used >= use.limit else ""
    )


def _share(use: LimitUse) -> float:
    return use.used / use.limit


COLUMNS = (
    _Column("account", (_name,), right=False, order=Order.NAME),
    _Column("waiting", (_waiting,), spare=4, order=Order.WAITING),
    _Column("deferred", (_deferred,)),
    _Column("sent", (_sent,), order=Order.SENT),
    _Column("failed", (_failed,), spare=3, order=Order.FAILED),
    _Column("oldest", (_oldest,), spare=5),
    _Column("limits", (_limits, _fullest_limit, _share_of_limit), spare=2, right=False),
    _Column("circuit", (_circuit, _short_circuit), spare=1, right=False),
)
