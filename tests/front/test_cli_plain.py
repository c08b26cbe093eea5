"""No escape code ever gets into a pipe; on a terminal without colours there are none."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.support.quick_terminal import QuickTerminal
from tests.support.tree import Leaf, leaves
from tests.support.world import World

ESCAPE = "\x1b"
COLOR = re.compile(rf"{ESCAPE}\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")

COLORFUL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
FORCED = COLORFUL | {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "PY_COLORS": "1"}
"""What other programs take as a wish for colours in pipes: here a pipe is a pipe."""

ELSEWHERE = {
    "serve",
    "start",
    "stop",
    "restart",
    "delete",
    "demo",
    "completion",
    "myserver connect",
    "myserver rotate-key",
}
"""What starts or ends processes or asks, and what a shell reads: their own tests look at what they print."""

LEAVES = [leaf for leaf in leaves() if leaf.name not in ELSEWHERE]
ON_TERMINALS = [leaf for leaf in LEAVES if leaf.name != "myserver top"]
"""`top` takes the whole of a terminal, and is tried on one in its own tests."""

LEVELS: list[tuple[str, ...]] = [(), ("myserver",), ("myserver", "acme"), ("myserver", "acme", "messages")]
REFUSED = {"myserver run-now", "myserver acme run-now", "myserver acme send", "myserver acme storages add"}
"""What needs a server, or what is there already: an error line is looked at."""

STDIN = {"myserver config bounce": "sesame\n"}


@pytest.fixture(scope="module")
def paper(stopped: World) -> QuickTerminal:
    """The same world, on a terminal."""
    return QuickTerminal(stopped.quick.root, stopped.quick.environ)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_a_pipe_gets_text_alone(stopped: World, leaf: Leaf) -> None:
    """On either stream, whatever the terminal is, and whatever wishes for colours the environment holds."""
    for environ in (COLORFUL, FORCED):
        stopped.restore()
        done = stopped.quick(*_words(leaf), stdin=STDIN.get(leaf.name, ""), env=environ)
        assert done.code == (1 if leaf.name in REFUSED else 0), done.err
        assert done.out + done.err
        assert ESCAPE not in done.out + done.err


@pytest.mark.parametrize("leaf", ON_TERMINALS, ids=lambda leaf: leaf.name)
def test_a_dumb_terminal_gets_text_alone(stopped: World, paper: QuickTerminal, leaf: Leaf) -> None:
    """It could make nothing of escape codes, of whatever kind."""
    stopped.restore()
    done = paper(*_words(leaf), stdin=STDIN.get(leaf.name, ""), env={"TERM": "dumb"})
    assert done.out
    assert ESCAPE not in done.out


@pytest.mark.parametrize("leaf", ON_TERMINALS, ids=lambda leaf: leaf.name)
def test_a_terminal_without_colours_gets_none(stopped: World, paper: QuickTerminal, leaf: Leaf) -> None:
    """By the variable, and by the option."""
    for environ, option in (({"NO_COLOR": "1"}, ()), ({}, ("--no-color",))):
        stopped.restore()
        words = (*_words(leaf), *option)
        done = paper(*words, stdin=STDIN.get(leaf.name, ""), env={**COLORFUL, **environ})
        assert done.out
        assert COLOR.search(done.out) is None


@pytest.mark.parametrize("words", [*LEVELS, *(leaf.words for leaf in leaves())], ids=" ".join)
def test_help_is_plain_where_it_should_be(
    stopped: World, paper: QuickTerminal, words: tuple[str, ...]
) -> None:
    """As all output is."""
    assert ESCAPE not in stopped.quick.ok(*words, "--help")
    for environ in ({"TERM": "dumb"}, {**COLORFUL, "NO_COLOR": "1"}):
        done = paper(*words, "--help", env=environ)
        assert done.out
        assert ESCAPE not in done.out


def test_colours_are_there_otherwise(paper: QuickTerminal) -> None:
    """So that the tests above would see them."""
    assert ESCAPE in paper("--help", env=COLORFUL).out
    assert COLOR.search(paper("doctor", env=COLORFUL).out) is not None


def _words(leaf: Leaf) -> list[str]:
    assert leaf.example is not None
    return shlex.split(leaf.example)[1:]
