"""The terminal, as those find it who use it next."""

from __future__ import annotations

import shlex
import signal
import termios

import pytest

from tests.support.cli import PROGRAM, QuickCli
from tests.support.terminal import Terminal

MODES = slice(0, 4)  # input, output, control and local modes

ASKING = {
    "connect": "myserver>",
    "tenants add": "id:",
    "acme accounts add main --host smtp.acme.test --user bot --password-stdin": "password:",
    "top": "q quit",
}


@pytest.fixture
def myserver(quick: QuickCli) -> QuickCli:
    quick.instance("myserver")
    quick.ok("myserver", "tenants", "add", "acme")
    return quick


@pytest.mark.parametrize(
    ("words", "number"),
    [
        *((words, signal.SIGTERM) for words in ASKING),
        ("connect", signal.SIGHUP),
        ("top", signal.SIGQUIT),
    ],
)
def test_a_signal_that_ends_the_program(myserver: QuickCli, words: str, number: signal.Signals) -> None:
    """What is typed next is seen, the cursor too, and what is pasted is taken as it is."""
    with Terminal(myserver, "myserver", *words.split()) as terminal:
        keyboard = terminal.child.fileno()
        before = termios.tcgetattr(keyboard)
        terminal.wait_for(ASKING[words])
        terminal.until(lambda: termios.tcgetattr(keyboard)[MODES] != before[MODES], "keys to be awaited")
        terminal.child.kill(number)
        terminal.until(lambda: not terminal.is_alive, "the end")
        assert termios.tcgetattr(keyboard)[MODES] == before[MODES]
        assert terminal.end() == 128 + number
        for taken, given_back in (("1049h", "1049l"), ("25l", "25h"), ("2004h", "2004l")):
            assert terminal.output.rfind(f"\x1b[?{taken}") <= terminal.output.rfind(f"\x1b[?{given_back}")


def test_a_dialogue_that_is_stopped_for_a_while(myserver: QuickCli) -> None:
    """Ctrl+Z gives the terminal to the shell, and what is going on afterwards is the same question."""
    with Terminal(myserver, program=("/bin/bash", "--norc", "-i"), PS1="shell: ") as terminal:
        terminal.answer("shell: ", shlex.join([*PROGRAM, "myserver", "tenants", "add"]))
        terminal.until(lambda: terminal.line_to_cursor.startswith("id:"), "the question")
        terminal.type("be")
        terminal.until(lambda: terminal.line_to_cursor.endswith("be"), "what was typed")
        terminal.press("ctrl-z")
        terminal.answer("shell: ", "fg")
        terminal.until(lambda: terminal.line_to_cursor.endswith("be"), "the same question")
        terminal.enter("ta")
        terminal.wait_for("name")
        terminal.press("ctrl-c")
        terminal.answer("shell: ", "exit")
        terminal.end()
    assert "beta" not in myserver.ok("myserver", "tenants", "list")
