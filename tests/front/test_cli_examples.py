"""The example of every command, word for word: with the server stopped, while it runs, and on PostgreSQL."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Callable

import pytest

from mail_proxy.encryption import KEY_VARIABLE
from tests.support.cli import PROGRAM, TIMEOUT, QuickCli
from tests.support.terminal import Terminal
from tests.support.tree import Leaf, leaves
from tests.support.world import World

LAST = (
    "myserver acme storages delete",
    "myserver acme storages add",
    "myserver acme messages delete",
    "myserver acme accounts delete",
    "myserver tenants delete",
    "delete",
)
"""What leaves less than the others need, in this order."""

LEAVES = sorted(leaves(), key=lambda leaf: LAST.index(leaf.name) if leaf.name in LAST else -1)

STDIN = {"myserver config bounce": "sesame\n", "myserver connect": "tenants list\n"}
QUESTIONS = {"delete": "[y/N]:", "myserver rotate-key": "[y/N]:"}
"""What is asked on a terminal, and answered with y."""

PROCESSES = ("start", "stop", "restart", "serve")
"""What starts or ends processes, and so is no work for the tests' own."""

# What cannot be done, and what is said then.
WITHOUT_A_SERVER = {
    "myserver run-now": "instance 'myserver' is not running: mail-proxy start myserver",
    "myserver acme run-now": "instance 'myserver' is not running: mail-proxy start myserver",
    "myserver acme send": "is not running",
}
WITH_A_SERVER = {
    "serve": "is already being served",
    "delete": "is running",
    "myserver db copy": "is running",
}


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_help_shows_an_example(quick: QuickCli, leaf: Leaf) -> None:
    """Every command has one, and its help ends with it."""
    quick.instance("myserver")
    assert leaf.example is not None
    assert quick.ok(*leaf.words, "--help").endswith(f"Example:\n  {leaf.example}\n")


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_an_example_does_what_it_says(world: World, leaf: Leaf) -> None:
    """It succeeds; what is not possible now is refused in words that say what to do."""
    refusals = WITH_A_SERVER if world.is_running else WITHOUT_A_SERVER
    code, said = RUNNERS.get(leaf.name, run)(world, leaf)
    if leaf.name in refusals:
        assert (code, refusals[leaf.name] in said) == (1, True), said
    else:
        assert code == 0, said
    world.settle()


def test_a_shell_reads_the_examples_as_these_tests_do() -> None:
    """They split them into words themselves, which saves a shell for each."""
    for leaf in LEAVES:
        assert leaf.example is not None
        if leaf.name != "completion":
            show = f'mail-proxy() {{ printf "%s\\n" "$@"; }}; {leaf.example}'
            done = subprocess.run(["bash", "-c", show], capture_output=True, text=True, check=True)
            assert done.stdout.splitlines() == shlex.split(leaf.example)[1:]


def run(world: World, leaf: Leaf) -> tuple[int, str]:
    """Most examples: run to their end with nobody there; the exit code, and all that was printed."""
    assert leaf.example is not None
    if leaf.name in QUESTIONS:
        return _answer(world, leaf)
    if leaf.name in PROCESSES:
        done = world.cli(*shlex.split(leaf.example)[1:])
    else:
        done = world.run(leaf.example, stdin=STDIN.get(leaf.name, ""))
    return done.code, done.out + done.err


def _answer(world: World, leaf: Leaf) -> tuple[int, str]:
    assert leaf.example is not None
    with Terminal(world.cli, *shlex.split(leaf.example)[1:], columns=160) as terminal:
        terminal.until(lambda: QUESTIONS[leaf.name] in terminal.screen or not terminal.is_alive, "a question")
        terminal.enter("y")
        return terminal.end(), terminal.screen


def serve(world: World, leaf: Leaf) -> tuple[int, str]:
    """A server in the foreground: until it is told to end."""
    assert leaf.example is not None
    if world.is_running:
        return run(world, leaf)
    words = shlex.split(leaf.example)[1:]
    process = subprocess.Popen(
        [*PROGRAM, *words], env=world.cli.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        world.wait_until_served()
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=TIMEOUT)
    return process.returncode, said


def top(world: World, leaf: Leaf) -> tuple[int, str]:
    """A picture that is drawn again and again: until one presses q."""
    assert leaf.example is not None
    with Terminal(world.cli, *shlex.split(leaf.example)[1:]) as terminal:
        terminal.wait_for("myserver")
        terminal.type("q")
        return terminal.end(), terminal.output


def rotate_key(world: World, leaf: Leaf) -> tuple[int, str]:
    """Where the key is given by the environment, the new one is shown, to be given from now on."""
    code, said = _answer(world, leaf)
    if KEY_VARIABLE in world.cli.environ:
        world.use_key(said.splitlines()[0])
    return code, said


def completion(world: World, leaf: Leaf) -> tuple[int, str]:
    """A line for a start-up file of bash: the function is there then."""
    program = world.cli.root / "bin" / "mail-proxy"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    environ = world.cli.environ | {"PATH": f"{program.parent}:{world.cli.environ['PATH']}"}
    line = f"{leaf.example}; complete -p mail-proxy"
    done = subprocess.run(
        ["bash", "-c", line], env=environ, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    return done.returncode, done.stderr


def demo(world: World, leaf: Leaf) -> tuple[int, str]:
    """It has a world of its own, so that once is enough; the README's own test runs it, too."""
    assert leaf.example is not None
    if world.is_running:
        return 0, ""
    done = world.cli(*shlex.split(leaf.example)[1:])
    return done.code, done.out + done.err


RUNNERS: dict[str, Callable[[World, Leaf], tuple[int, str]]] = {
    "serve": serve,
    "completion": completion,
    "demo": demo,
    "myserver rotate-key": rotate_key,
    "myserver top": top,
}
