"""What commands print: tables for people, aligned text for pipes, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import click

Row = Mapping[str, object]

NOTHING = "-"

# In columns of a terminal:
LONGEST_WHOLE = 40  # a UUID fits, and leaves room for the others
NARROWEST = 10  # half of a date and time
BETWEEN = 3


class Column(NamedTuple):
    """One column of a listing: its heading, and what it shows of a row (by default that value)."""

    heading: str
    show: Callable[[Row], object] | None = None
    right: bool = False
    whole: bool = False
    """Rather break the other columns than this one: what people copy."""
    spare: int = 0
    """On a narrow terminal those with the highest number are left out first; 0 is always shown."""

    def text(self, row: Row) -> str:
        value = self.show(row) if self.show else row.get(self.heading)
        return text(value)


def text(value: object) -> str:
    """Render one value for a person, on one line, with nothing that a terminal would obey."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return one_line(", ".join(f"{key}={text(inner)}" for key, inner in value.items())) or NOTHING
        case list() | tuple():
            between = "; " if any(isinstance(inner, Mapping) for inner in value) else ", "
            return one_line(between.join(text(inner) for inner in value)) or NOTHING
    return one_line(str(value))


def one_line(value: str) -> str:
    """Replace line breaks by spaces, spell out control characters: the text may come from anywhere."""
    if value.isprintable():
        return value
    return "".join(_harmless(character) for character in value).strip()


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    return character.encode("unicode_escape").decode("ascii")


def when(value: object) -> str:
    """Render Unix seconds, or a time in ISO 8601, in local time, to the second."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value).timestamp()
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def certificates(pem: str) -> str:
    """How many there are, in place of lines that nobody reads."""
    count = pem.count("-----BEGIN CERTIFICATE-----")
    return "1 certificate" if count == 1 else f"{count} certificates"


def age(seconds: float) -> str:
    """Render a length of time by its two largest units: ``3d 4h``, ``12m 5s``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount or parts:
            parts.append(f"{amount}{unit}")
    return " ".join(parts[:2]) or "0s"


def echo_json(value: object) -> None:
    """Print JSON, readable, with what `harmless_json` lets stand."""
    click.echo(harmless_json(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def harmless_json(written: str) -> str:
    """Escape in lines of JSON what a terminal would obey, and what standard output cannot encode.

    It says the same as before. JSON itself lets stand C1 controls, and those of the direction of writing.
    """
    return "\n".join(
        line if _is_harmless(line) else "".join(_harmless_in_json(character) for character in line)
        for line in written.split("\n")
    )


def _harmless_in_json(character: str) -> str:
    return character if _is_harmless(character) else json.dumps(character)[1:-1]


def _is_harmless(written: str) -> bool:
    try:
        written.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return written.isprintable()


def echo_table(rows: Iterable[Row], columns: Sequence[Column], *, color: bool, empty: str) -> None:
    """Print a listing: a table on a terminal, aligned text in a pipe; or `empty`, when there is nothing."""
    lines = [[column.text(row) for column in columns] for row in rows]
    if not lines:
        click.echo(empty, err=True)
    elif sys.stdout.isatty():
        _echo_rich(lines, columns, color=color)
    else:
        _echo_plain([[column.heading for column in columns], *lines], columns)


def echo_record(values: Mapping[str, object], *, color: bool) -> None:
    """Print one thing, a field on each line; on a terminal what is longer goes on below, by whole words."""
    width = max((_width(key) for key in values), default=0)
    room = shutil.get_terminal_size().columns - width - 2 if sys.stdout.isatty() else 0
    for key, value in values.items():
        name = key.ljust(width)
        shown = click.style(name, bold=True) if color and sys.stdout.isatty() else name
        first, *rest = _wrapped(text(value), room)
        click.echo(f"{shown}  {first}", color=None if color else False)
        for line in rest:
            click.echo(f"{'':{width}}  {line}")


def _wrapped(value: str, room: int) -> list[str]:
    """Break it between words; one that is longer than a line is left to the terminal, to be copied whole."""
    if room < 2 * NARROWEST:
        return [value]
    lines = [""]
    for word in value.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _width(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _echo_plain(lines: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = [
            _pad(cell, width, right=column.right)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _echo_rich(lines: Sequence[Sequence[str]], columns: Sequence[Column], *, color: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(no_color=not color, highlight=False)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    shown = _that_fit(lines, columns, console.width)
    is_roomy = sum(_needed(lines, columns, i) for i in shown) <= console.width
    for i in shown:
        table.add_column(
            columns[i].heading,
            justify="right" if columns[i].right else "left",
            overflow="fold",
            min_width=_width(columns[i].heading) if is_roomy else None,
            no_wrap=columns[i].whole and _longest(lines, i) <= LONGEST_WHOLE,
        )
    for line in lines:
        table.add_row(*(Text(line[i]) for i in shown))
    console.print(table)
    if left_out := [column.heading for i, column in enumerate(columns) if i not in shown]:
        click.echo(f"(the terminal is too narrow for: {', '.join(left_out)})", err=True)


def _that_fit(lines: Sequence[Sequence[str]], columns: Sequence[Column], width: int) -> list[int]:
    """Choose the columns that can be read side by side: all, or all but some that can be spared."""
    shown = list(range(len(columns)))
    for i in sorted(shown, key=lambda i: -columns[i].spare):
        if not columns[i].spare or sum(_needed(lines, columns, i) for i in shown) <= width:
            break
        shown.remove(i)
    return shown


def _needed(lines: Sequence[Sequence[str]], columns: Sequence[Column], i: int) -> int:
    """How wide a column must be to be read, its heading whole."""
    enough = min(_longest(lines, i), LONGEST_WHOLE if columns[i].whole else NARROWEST)
    return max(_width(columns[i].heading), enough) + BETWEEN


def _longest(lines: Sequence[Sequence[str]], i: int) -> int:
    return max(_width(line[i]) for line in lines)


def _pad(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(cell: str) -> int:
    """How many columns of a terminal the text takes."""
    if cell.isascii():
        return len(cell)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell
    )


def confirm(question: str, *, force: bool, option: str = "--force") -> None:
    """Ask before something is lost; without a terminal only the option will do. Raises Abort on no."""
    if force:
        return
    require_terminal(question, option=option)
    try:
        is_agreed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # Ctrl+C and Ctrl+D leave the cursor behind the question
        raise
    if not is_agreed:
        raise click.Abort


def require_terminal(question: str, *, option: str = "--force") -> None:
    """Raise UsageError if there is no terminal to ask on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{question} There is no terminal to ask on: give {option} to go ahead")


def echo_csv(rows: Iterable[Row], fields: Sequence[str]) -> None:
    """Print CSV with a line of headings, the same names as in JSON; what is nested is JSON.

    A row is one line, with nothing that a terminal would obey: it may go to one, by a pipe too.
    """
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        writer.writerow([_cell(row.get(field)) for field in fields])


def _cell(value: object) -> object:
    if isinstance(value, list | tuple | Mapping):
        return harmless_json(json.dumps(value, ensure_ascii=False))
    if isinstance(value, str):
        return one_line(value)
    return "" if value is None else value
