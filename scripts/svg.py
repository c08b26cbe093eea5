"""Drawings of a terminal's screen: SVG that needs no fonts, no style sheets and nothing from elsewhere."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 8.4, 18
"""Of a character, in pixels."""

EDGE = 14
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
SVG = "http://www.w3.org/2000/svg"

PAPER, INK = "#1b1f27", "#d7dae0"
COLORS = {
    "black": "#3b4048",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#d8b26a",  # what a terminal calls yellow
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d7dae0",
    "brightblack": "#7f848e",
    "brightred": "#ff7b86",
    "brightgreen": "#b5e08f",
    "brightbrown": "#f0cd86",
    "brightblue": "#7fc4ff",
    "brightmagenta": "#dd92f2",
    "brightcyan": "#74d2de",
    "brightwhite": "#ffffff",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How a run of characters is drawn: colours as SVG writes them; a `paper` of None is the screen's."""

    ink: str = INK
    paper: str | None = None
    is_bold: bool = False
    is_underlined: bool = False


Run = tuple[str, Look]
"""A text and its look."""


def color(name: str) -> str | None:
    """The colour that a terminal calls so: a name or six digits; None is its own."""
    if name == "default":
        return None
    return COLORS.get(name, f"#{name}")


def drawing(title: str, lines: Sequence[Sequence[Run]], columns: int) -> str:
    """Draw a screen of these lines."""
    width, height = columns * WIDTH + 2 * EDGE, len(lines) * HEIGHT + 2 * EDGE
    body = itertools.chain.from_iterable(_line(y, runs) for y, runs in enumerate(lines))
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    font = f'font-family="{FONT}" font-size="14"'
    head = (
        f'<svg xmlns="{SVG}" {size} {font}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
    )
    return "\n".join((*head, *body, "</svg>\n"))


def _line(y: int, runs: Iterable[Run]) -> Iterator[str]:
    """Papers first, then each word at its own place, whatever font there is: some viewers drop spaces."""
    top = EDGE + y * HEIGHT
    x, words = 0, []
    for text, look in runs:
        if look.paper:
            box = f'x="{_left(x):g}" y="{top}" width="{len(text) * WIDTH:g}" height="{HEIGHT}"'
            yield f'<rect {box} fill="{look.paper}"/>'
        words += [_word(match[0], x + match.start(), look) for match in re.finditer(r"\S+", text)]
        x += len(text)
    yield f'<text y="{top + HEIGHT - 5}">{"".join(words)}</text>'


def _word(text: str, x: int, look: Look) -> str:
    weight = ' font-weight="bold"' if look.is_bold else ""
    line = ' text-decoration="underline"' if look.is_underlined else ""
    place = f'x="{_left(x):g}" textLength="{len(text) * WIDTH:g}"'
    return f'<tspan {place} fill="{look.ink}"{weight}{line}>{escape(text)}</tspan>'


def _left(x: int) -> float:
    return EDGE + x * WIDTH


def text_of(svg: str) -> list[str]:
    """The lines of a drawing, as text."""
    root = ET.fromstring(svg)  # noqa: S314 - a file of our own
    return [_text_of(line) for line in root.iter(f"{{{SVG}}}text")]


def _text_of(line: ET.Element) -> str:
    text = ""
    for word in line:
        text = text.ljust(round((float(word.attrib["x"]) - EDGE) / WIDTH)) + str(word.text)
    return text
