"""The pictures in docs/screens.md: each is there, tells nothing of the machine it was made on, is true."""

from __future__ import annotations

import re
import socket

import pytest

from scripts.screens import BEFORE, PAGE, PICTURES, SCREENS, Screen, capture, furnish, home, page
from scripts.svg import SVG, Look, drawing, text_of

TIMES = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?|\d\d:\d\d:\d\d")
NAMES = [screen.name for screen in SCREENS]


def picture(name: str) -> str:
    return (PICTURES / f"{name}.svg").read_text("utf-8")


def test_the_page_shows_every_picture() -> None:
    """And there are no others; ``python -m scripts.screens`` writes both."""
    assert PAGE.read_text("utf-8") == page()
    assert sorted(path.name for path in PICTURES.iterdir()) == sorted(f"{name}.svg" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_stands_alone(name: str) -> None:
    """It asks for nothing from elsewhere, and holds no codes for terminals."""
    drawn = picture(name)

    assert len(text_of(drawn)) > 3
    assert {character for character in drawn if not character.isprintable()} == {"\n"}
    assert not re.search(r"@import|url\(|href|<script|<image|<style", drawn)
    assert re.findall(r'"(https?:[^"]*)"', drawn) == [SVG]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_tells_nothing_of_the_machine(name: str) -> None:
    """It is a machine of Ann's: no other home, no other name."""
    said = "\n".join(text_of(picture(name)))

    assert not re.search(r"(?<!\w)/(?!home/ann\b)(tmp|root|work|home|Users|var)\b", said)
    assert not re.search(rf"@{re.escape(socket.gethostname())}\b", said)


@pytest.mark.parametrize("screen", BEFORE, ids=lambda screen: screen.name)
def test_a_picture_is_what_is_seen(screen: Screen) -> None:
    """Captured again, it says the same; but for times."""
    with home() as cli:
        furnish(cli)
        again = capture(cli, screen)

    assert [TIMES.sub("#", line) for line in text_of(again)] == [
        TIMES.sub("#", line) for line in text_of(picture(screen.name))
    ]


def test_a_drawing_keeps_columns_and_looks() -> None:
    """Every word stands at its own place; what would be markup is text."""
    red = Look(ink="#e06c75", paper="#ffffff", is_bold=True, is_underlined=True)
    drawn = drawing("<a>", [[("  a & b   ", Look()), ("<c>", red)], [], [("d", Look())]], 20)

    assert text_of(drawn) == ["  a & b   <c>", "", "d"]
    assert (
        '<tspan x="98" textLength="25.2" fill="#e06c75" font-weight="bold" text-decoration="underline">'
        in drawn
    )
    assert '<rect x="98" y="14" width="25.2" height="18" fill="#ffffff"/>' in drawn
