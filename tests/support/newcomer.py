"""Somebody who has never seen mail-proxy, at a terminal, from the first command to a delivered message.

The page ``docs/newcomer.md`` shows what this walk leaves on the screen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.cli import Cli
from tests.support.terminal import Terminal

SHELL = ("bash", "--noprofile", "--norc", "-i")
PROMPT = "$ "
COLUMNS = 100
PATIENCE = 300.0
"""Seconds for a command: pip takes its time."""

USER, PASSWORD = "shop@example.com", "correct horse"
LETTER = r"printf 'From: shop@example.com\nTo: ann@example.org\nSubject: Hello\n\nIt works.\n' > hello.eml"

SHOWN_AS = (
    (r"http://127\.0\.0\.1:\d+ \(pid \d+\)", "http://127.0.0.1:8000 (pid 4711)"),
    (r"(?m)^[\w-]{43}$", "k3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk"),
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        "019aa4f0-52c1-7d29-86df-31db045f9c6c",
    ),
    (r"\(starttls, \d+\.\d s\)", "(starttls, 0.1 s)"),
)
"""What is another at each walk, and what stands for it."""


@dataclass
class Walk:
    """At a shell on a terminal; `port` is that of the mail server, whose certificate lies in ``ca.pem``."""

    cli: Cli
    port: int
    screens: dict[str, str] = field(default_factory=dict)
    """What each stretch of the walk showed."""

    def go(self, before: Sequence[str] = ()) -> dict[str, str]:
        """Walk; `before` are commands that come first, as the stretch ``install``."""
        with Terminal(self.cli, columns=COLUMNS, rows=50, program=SHELL, PS1=PROMPT) as terminal:
            self._at_prompt(terminal)
            self._stretch(terminal, "install", before)
            self._stretch(terminal, "start", ["mail-proxy start myserver"])
            self._tenant(terminal)
            self._account(terminal)
            self._stretch(terminal, "send", [LETTER, "mail-proxy myserver acme send hello.eml --wait"])
            self._stretch(terminal, "stop", ["mail-proxy stop myserver"])
        return self.screens

    def _tenant(self, terminal: Terminal) -> None:
        begun = len(terminal.transcript)
        terminal.reply(PROMPT, "mail-proxy myserver tenants add")
        terminal.reply("id: ", "acme ltd")
        terminal.reply("id: ", "acme")
        terminal.reply("name [acme]: ", "Acme Ltd")
        terminal.reply("no reports): ", "")
        terminal.reply("messages an hour [0]: ", "")
        terminal.reply("messages a day [0]: ", "")
        terminal.reply("[yes]: ", "")
        self._end(terminal, "tenant", begun)

    def _account(self, terminal: Terminal) -> None:
        begun = len(terminal.transcript)
        terminal.reply(PROMPT, "mail-proxy myserver acme accounts add")
        terminal.until(lambda: terminal.line_to_cursor == "provider [own]: ", "the first question")
        terminal.type("gm")
        terminal.press("tab")
        terminal.until(lambda: terminal.line_to_cursor.endswith("gmail"), "what Tab completes")
        terminal.press("enter")
        terminal.reply("id [main]: ", "")
        terminal.reply("SMTP server [smtp.gmail.com]: ", "localhost")
        terminal.reply("port [587]: ", str(self.port))
        terminal.reply("encryption [starttls]: ", "")
        terminal.reply("address: ", USER)
        terminal.reply("app password: ", "battery staple")
        terminal.reply("none): ", "")
        terminal.reply("other limits? [y/N]: ", "")
        terminal.reply("try the login now? [Y/n]: ", "")
        terminal.reply("what now [change]: ", "trust")
        terminal.reply("(PEM): ", "ca.pem")
        terminal.reply("what now [login]: ", "")
        terminal.reply(f"address [{USER}]: ", "")
        terminal.reply("app password [as before]: ", PASSWORD)
        terminal.reply("[yes]: ", "")
        self._end(terminal, "account", begun)

    def _stretch(self, terminal: Terminal, name: str, commands: Sequence[str]) -> None:
        begun = len(terminal.transcript)
        for command in commands:
            terminal.reply(PROMPT, command)
            self._at_prompt(terminal)
        self._end(terminal, name, begun)

    def _end(self, terminal: Terminal, name: str, begun: int) -> None:
        self._at_prompt(terminal)
        shown = "\n".join(terminal.transcript[begun - 1 : -1])
        self.screens[name] = self._normal(shown)

    def _at_prompt(self, terminal: Terminal) -> None:
        terminal.until(lambda: terminal.line_to_cursor == PROMPT, "the shell's prompt", PATIENCE)

    def _normal(self, shown: str) -> str:
        """What would be the same at every walk."""
        normal = shown.replace(str(self.cli.home), "/home/me/.mail-proxy")
        normal = re.sub(rf"\b{self.port}\b", "2587", normal)
        for pattern, standing in SHOWN_AS:
            normal = re.sub(pattern, standing, normal)
        return normal
