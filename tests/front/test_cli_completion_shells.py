"""Tab in real shells, with the scripts of ``completions/``: what is typed, and what stands there then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.manual import COMPLETION_FILES, COMPLETIONS
from tests.support.cli import PROGRAM, Cli, QuickCli
from tests.support.terminal import Terminal

EML = "From: a@b.test\nTo: c@d.test\nSubject: s\n\nx\n"
PROMPT = "ready>"
PATIENCE = 20.0
LISTS_AFTER = {"bash": 2, "zsh": 1, "fish": 1}
"""How often one presses Tab to see what there is."""

STARTS = {
    "bash": ("bash", "--noprofile", "--norc", "-i"),
    "zsh": ("zsh", "--no-globalrcs", "-i"),
    "fish": ("fish", "--interactive"),
}
ODD = {
    "two words": "two",
    "third:2": "third:",
    "it's": "it",
    'a "b"': "a",
    "$HOME": "\\$H",
    "more\\:yet": "mo",
    "star*": "star",
    "x,y,z": "x,",
    "è東": "è",
    "s=1": "s=",
    "u@v": "u@",
    "(all)&;{of}[a]#!~kind": "\\(",
    "--dashes": "-- --d",
}
"""Ids that a shell would make something else of, and what one types to have them completed."""

LINES = [
    ("mail-proxy mys", "mail-proxy myserver "),
    ("mail-proxy stop mys", "mail-proxy stop myserver "),
    ("mail-proxy use myserver/a", "mail-proxy use myserver/acme "),
    ("mail-proxy myserver acm", "mail-proxy myserver acme "),
    ("mail-proxy myserver tenants show ac", "mail-proxy myserver tenants show acme "),
    ("mail-proxy myserver acme accounts show m", "mail-proxy myserver acme accounts show main "),
    ("mail-proxy myserver acme messages show ord", "mail-proxy myserver acme messages show order-1 "),
    (
        "mail-proxy myserver acme messages list --batch spr",
        "mail-proxy myserver acme messages list --batch spring ",
    ),
    (
        "mail-proxy myserver acme messages list --batch=spr",
        "mail-proxy myserver acme messages list --batch=spring ",
    ),
    (
        "mail-proxy myserver acme messages list --status bou",
        "mail-proxy myserver acme messages list --status bounced ",
    ),
    ("mail-proxy myserver acme messages list --sta", "mail-proxy myserver acme messages list --status "),
    ("mail-proxy myserver acme send lett", "mail-proxy myserver acme send letter.eml "),
    ("mail-proxy --tenant acme myserver acc", "mail-proxy --tenant acme myserver accounts "),
    ("mail-proxy myserver acme messages show 'two", "mail-proxy myserver acme messages show 'two words' "),
    ('mail-proxy myserver acme messages show "two', 'mail-proxy myserver acme messages show "two words" '),
    ("true; mail-proxy dem", "true; mail-proxy demo "),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """An instance with a tenant, an account and messages; the scripts in place; in the path a program that
    completes, and otherwise only shows the last word that it was given.
    """
    quick = QuickCli(tmp_path_factory.mktemp("shells"))
    quick.instance("myserver")
    quick.ok("myserver", "tenants", "add", "acme")
    quick.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    for name in ("order-1", *ODD):
        quick.ok("myserver", "acme", "send", "-", f"--id={name}", "--batch=spring", stdin=EML)
    (quick.root / "letter.eml").write_text(EML)
    _install(quick.root)
    path = f"{quick.root / 'bin'}:{quick.environ['PATH']}"
    return Cli(quick.root, quick.environ | {"PATH": path, "HISTFILE": "", "LC_ALL": "C.UTF-8"})


def _install(root: Path) -> None:
    program = root / "bin" / "mail-proxy"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nif [ -z "$_MAIL_PROXY_COMPLETE" ]; then for word; do :; done; echo "<$word>"; exit; fi\n'
        f"exec {' '.join(PROGRAM)}\n"
    )
    program.chmod(0o755)
    shutil.copy(COMPLETIONS / COMPLETION_FILES["zsh"], program.parent)
    (root / ".zshrc").write_text(
        f"PROMPT='{PROMPT} '; RPROMPT=; unset zle_bracketed_paste\n"
        f"fpath=({program.parent} $fpath); autoload -Uz compinit; compinit -u\n"
    )
    fish = root / ".config" / "fish"
    (fish / "completions").mkdir(parents=True)
    shutil.copy(COMPLETIONS / COMPLETION_FILES["fish"], fish / "completions")
    (fish / "config.fish").write_text(
        f"function fish_prompt; echo -n '{PROMPT} '; end\nset -g fish_greeting\n"
        "set -g fish_autosuggestion_enabled 0\n"
    )


class Shell:
    """A shell on a terminal that knows the program's completions."""

    def __init__(self, shop: Cli, name: str) -> None:
        self.name = name
        self.terminal = Terminal(shop, program=STARTS[name], columns=160, rows=60)
        if name == "bash":
            script = COMPLETIONS / COMPLETION_FILES["bash"]
            self.terminal.enter(f"PS1='{PROMPT} '; bind 'set enable-bracketed-paste off'; . {script}; clear")
        self.terminal.until(lambda: self.typed == "", "a prompt")

    @property
    def typed(self) -> str | None:
        """What stands behind the prompt, up to the cursor; None without a prompt."""
        line = self.terminal.line_to_cursor
        return line.removeprefix(f"{PROMPT} ") if line.startswith(f"{PROMPT} ") else None

    def complete(self, line: str, expected: str) -> None:
        """Type, press Tab, see what stands there, and wipe it away."""
        self.terminal.type(line)
        self.terminal.press("tab")
        try:
            self.terminal.until(lambda: self.typed == expected, repr(expected), timeout=PATIENCE)
        finally:
            self.wipe()

    def list(self, line: str, expected: str) -> None:
        """Type on an empty screen, and see what may follow."""
        self.terminal.enter("clear")
        self.terminal.until(lambda: self.typed == "", "an empty line", timeout=PATIENCE)
        self.terminal.type(line)
        self.terminal.press(*(["tab"] * LISTS_AFTER[self.name]))
        self.terminal.wait_for(expected, PATIENCE)

    def wipe(self) -> None:
        """Give up what was typed."""
        self.terminal.press("ctrl-u")
        self.terminal.until(lambda: self.typed == "", "an empty line", timeout=PATIENCE)


@pytest.fixture(scope="module", params=STARTS)
def shell(shop: Cli, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Each shell in turn; one session walks through all tests."""
    if shutil.which(STARTS[request.param][0]) is None:
        pytest.skip(f"{request.param} is not installed (Debian: apt-get install {request.param})")
    opened = Shell(shop, request.param)
    with opened.terminal:
        yield opened


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_tab(shell: Shell, line: str, expected: str) -> None:
    """Commands, ids, options and their values, files."""
    shell.complete(line, expected)


@pytest.mark.parametrize("name", ODD)
def test_odd_names_arrive_as_they_are(shell: Shell, name: str) -> None:
    """Whatever the shell makes of the line that Tab has completed, the program is given the id."""
    line = f"mail-proxy myserver acme messages show {ODD[name]}"
    shell.terminal.type(line)
    shell.terminal.press("tab")
    shell.terminal.until(lambda: (shell.typed or line) not in (line, ""), "more than was typed", PATIENCE)
    shell.terminal.press("enter")
    shell.terminal.wait_for(f"<{name}>", PATIENCE)


def test_descriptions(shell: Shell) -> None:
    """Zsh and fish say what the commands are for, whole sentences; bash has but the words."""
    shell.list("mail-proxy st", "status")
    if shell.name != "bash":
        shell.terminal.wait_for("Start an instance's server, making the instance if it is new.", PATIENCE)
        shell.terminal.wait_for("Show one server: where it runs, its queue, its last error.", PATIENCE)
    shell.wipe()


def test_ids_that_would_be_options_are_not_offered(shell: Shell) -> None:
    """Without ``--`` before them they could not be given."""
    shell.list("mail-proxy myserver acme messages show ", "order-1")
    assert "--dashes" not in shell.terminal.screen
    shell.wipe()
