"""The looks of what is typed."""

from __future__ import annotations

import re

import pytest

from mail_proxy_repl.prompt import HUES

ENOUGH = 3.6
"""Of 21, the contrast of black and white; what the eye has no trouble with begins at 3."""

COLOURS = sorted({colour for hue in HUES.values() for colour in re.findall("#[0-9a-f]{6}", hue)})


def lightness(colour: str) -> float:
    """As WCAG counts it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("ground", ["#000000", "#ffffff"])
def test_colours_are_easy_to_read_on_dark_and_on_light(colour: str, ground: str) -> None:
    darker, lighter = sorted(map(lightness, (colour, ground)))
    assert (lighter + 0.05) / (darker + 0.05) > ENOUGH
