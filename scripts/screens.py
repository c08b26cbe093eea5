"""``python -m scripts.screens``: capture docs/screens/ from the real program on a terminal; write the page.

With names it writes only these; all take about a minute. What differs from one machine to the next (where the
home lies, the machine's name, the port) is shown as on a machine of Ann's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyte.screens

from mail_proxy_cli.top.picture import BAR, BARS
from scripts.svg import INK, PAPER, Look, Run, color, drawing
from tests.support.cli import REPOSITORY, Cli, QuickCli
from tests.support.server import Client
from tests.support.sink import Knobs
from tests.support.sink_process import SinkProcess
from tests.support.terminal import Terminal

DOCS = REPOSITORY / "docs"
PAGE, PICTURES = DOCS / "screens.md", DOCS / "screens"

HOME = "/home/ann"
PACKAGES = f"{HOME}/venv/lib/python3.11/site-packages"
INTRODUCTION = """\
# Screens

What the program shows on a terminal. These pictures are captured from the real program by
`python -m scripts.screens`; nothing in them is drawn by hand.
"""

Play = Callable[[Terminal], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A picture: what was typed, in how many columns and rows, and a sentence for the page.

    `play` types on, and returns when the picture is to be taken; without it the program runs to its end.
    """

    name: str
    heading: str
    sentence: str
    words: tuple[str, ...]
    columns: int = 110
    rows: int = 60
    play: Play | None = None
    is_full: bool = False
    """The program takes the whole screen: the line that was typed is not seen any more."""


def _watch(terminal: Terminal) -> None:
    terminal.wait_for("sort: waiting")
    terminal.type("s")
    terminal.wait_for("sort: sent")
    terminal.until(lambda: _is_busy(terminal), "a minute of work", timeout=180)


def _is_busy(terminal: Terminal) -> bool:
    sent = next((line for line in terminal.lines if line.startswith("sent")), "")
    return sum(sent.count(bar) for bar in BARS) >= BURSTS


def _dialogue(terminal: Terminal) -> None:
    for question, answer in (
        ("provider [own]: ", "gmail"),
        ("id: ", "gmail"),
        ("SMTP server [smtp.gmail.com]: ", ""),
        ("port [587]: ", ""),
        ("encryption [starttls]: ", ""),
        ("address: ", "acme@gmail.com"),
        ("app password: ", "abcd efgh ijkl mnop"),
        ("none): ", ""),
        ("other limits? [y/N]: ", ""),
        ("try the login now? [Y/n]: ", "n"),
    ):
        terminal.reply(question, answer)
    terminal.until(lambda: terminal.line_to_cursor.endswith("[yes]: "), "the summary")


def _session(terminal: Terminal) -> None:
    for line, shown in (
        ("use acme", ""),
        ("accounts list", "newsletter"),
        ("proxy.messages.errors()", "no messages"),
        ("[m['id'] for m in proxy.messages.list(batch_code='orders')]", "['order-6'"),
        ("mesages list", "did you mean"),
    ):
        terminal.until(
            lambda: re.search(r"myserver(/\w+)?> *$", terminal.current_line) is not None, "a prompt"
        )
        terminal.enter(line)
        terminal.wait_for(shown)
    terminal.until(lambda: terminal.current_line.rstrip().endswith("acme>"), "a prompt")


BEFORE = (
    Screen(
        name="help",
        heading="Help",
        sentence="Commands by purpose, each with an example.",
        words=("--help",),
    ),
    Screen(
        name="accounts",
        heading="Accounts",
        sentence="Listings are tables on a terminal, aligned text in a pipe, and JSON with `--json`.",
        words=("myserver", "acme", "accounts", "list"),
    ),
)
"""What can be captured at once: a test does, and compares."""

TOP = Screen(
    name="top",
    heading="Watching a server",
    sentence="The queue, the rates, each account with its limits and its circuit, the newest errors.",
    words=("myserver", "top"),
    columns=120,
    rows=26,
    play=_watch,
    is_full=True,
)
"""While messages come."""

AFTER = (
    Screen(
        name="list",
        heading="Instances",
        sentence="All instances on this machine, and whether their servers run.",
        words=("list",),
    ),
    Screen(
        name="status",
        heading="One server",
        sentence="Where it runs, what waits, and what went wrong last.",
        words=("status", "myserver"),
    ),
    Screen(
        name="messages",
        heading="Messages",
        sentence="The newest first; `--status`, `--account`, `--batch` and more choose.",
        words=("myserver", "acme", "messages", "list", "--batch", "orders"),
    ),
    Screen(
        name="explain",
        heading="Why a message waits",
        sentence="For what, since when, until when, and what else would keep it.",
        words=("myserver", "acme", "messages", "explain", "order-3"),
    ),
    Screen(
        name="doctor",
        heading="Doctor",
        sentence="What is wrong, and what to do about it.",
        words=("doctor", "myserver"),
    ),
    Screen(
        name="wizard",
        heading="Adding an account",
        sentence="Without options it asks; providers are known, each answer is checked at once.",
        words=("myserver", "acme", "accounts", "add"),
        play=_dialogue,
    ),
    Screen(
        name="session",
        heading="A session",
        sentence="Commands and Python at one prompt; the last line says where one is.",
        words=("myserver", "connect"),
        rows=20,
        play=_session,
    ),
)

SCREENS = (TOP, *AFTER, *BEFORE)
"""In the order of the page."""

NAMED = {screen.name: screen for screen in SCREENS}

BURSTS = 12
LOAD = (3, 8, 14, 6, 11, 17, 9, 4, 12, 16, 7, 10, 13, 5, 9)
"""Messages of acme that are sent every five seconds, again and again."""


@contextmanager
def home() -> Iterator[Cli]:
    """A program in a home of its own, whose path is as long as Ann's: columns stay where they are."""
    root = Path("/tmp") / secrets.token_hex(2)  # noqa: S108 - made for this user alone, or not at all
    root.mkdir(mode=0o700)
    cli = Cli(root, {"MAIL_PROXY_HOME": str(root / ".mail-proxy")})
    try:
        yield cli
    finally:
        cli.end_servers()
        shutil.rmtree(root)


def furnish(cli: Cli) -> QuickCli:
    """Tenants and accounts, and no server yet."""
    quick = QuickCli(cli.root, cli.environ)
    quick.instance("myserver")
    for tenant, name in (("acme", "Acme Ltd"), ("beta", "Beta Books")):
        quick.ok("myserver", "tenants", "add", tenant, "--name", name)
    add = ("myserver", "acme", "accounts", "add")
    quick.ok(*add, "main", "--host", "sandbox", "--limit-minute", "120", "--limit-hour", "3000")
    quick.ok(*add, "newsletter", "--host", "sandbox", "--limit-day", "10000")
    quick.ok(*add, "office", "--host", "localhost", "--port", "2525")
    return quick


def capture(cli: Cli, screen: Screen) -> str:
    """Run it on a terminal, and draw what is seen."""
    with Terminal(cli, *screen.words, columns=screen.columns, rows=screen.rows) as terminal:
        if screen.play is None:
            terminal.end()
        else:
            screen.play(terminal)
        lines = [list(_runs(_as_at_anns(line, cli))) for line in terminal.cells]
    typed = [[("$ ", Look(ink="#7f848e")), (shown_words(screen), Look(is_bold=True))]]
    return drawing(screen.heading, lines if screen.is_full else [*typed, *lines], screen.columns)


def shown_words(screen: Screen) -> str:
    return " ".join(("mail-proxy", *screen.words))


Char = pyte.screens.Char


def _runs(line: Sequence[Char]) -> Iterator[Run]:
    """Characters that look alike, together; without the spaces at the end."""
    for look, chars in itertools.groupby(line, _look):
        yield "".join(char.data for char in chars), look


def _look(char: Char) -> Look:
    ink, paper = color(char.fg), color(char.bg)
    if char.reverse:
        ink, paper = paper or PAPER, ink or INK
    return Look(ink or INK, paper, is_bold=char.bold, is_underlined=char.underscore)


def _as_at_anns(line: Sequence[Char], cli: Cli) -> list[Char]:
    """The same line on Ann's machine."""
    chars = list(line)
    for pattern, instead in (
        (re.escape(str(cli.root)), HOME),
        (re.escape(str(REPOSITORY / "cli")), PACKAGES),
        (rf"(?<=@){re.escape(socket.gethostname())}\b", "ann"),
        (r"\b80\d\d\b", "8000"),
    ):
        text = "".join(char.data for char in chars)
        for match in reversed(list(re.finditer(pattern, text))):
            look = chars[match.start()]
            chars[match.start() : match.end()] = [look._replace(data=letter) for letter in instead]
    while chars and chars[-1].data == " " and not chars[-1].reverse and chars[-1].bg == "default":
        del chars[-1]
    return chars


def page() -> str:
    """The page that shows the pictures."""
    parts = [
        f"## {screen.heading}\n\n{screen.sentence}\n\n"
        f"![{shown_words(screen)}]({PICTURES.name}/{screen.name}.svg)\n"
        for screen in SCREENS
    ]
    return "\n".join((INTRODUCTION, *parts))


@contextmanager
def working(cli: Cli) -> Iterator[None]:
    """Let messages come to the server, more and fewer, while this lasts."""
    server = json.loads(cli.ok("status", "myserver", "--json"))
    client = Client(server["host"], server["port"], cli.ok("myserver", "token").strip())
    add(client, *(order(number) for number in (1, 2, 4, 5)))
    add(client, order(3, account_id="office"), order(6, deferred_ts=int(time.time()) + 7200))
    is_over = threading.Event()

    def work() -> None:
        for burst, size in enumerate(itertools.cycle(LOAD)):
            begun = time.monotonic()
            for number in range(size):
                name = f"{burst}-{number}"
                add(client, message(f"news-{name}", "acme", "newsletter" if number % 3 else "main"))
                if number % 4 == 0:
                    add(client, message(f"book-{name}", "beta", "main"))
            add(client, message(f"letter-{burst}", "acme", "office"))
            if is_over.wait(BAR - (time.monotonic() - begun)):
                return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        is_over.set()
        worker.join()
        client.close()


def order(number: int, **fields: object) -> dict[str, object]:
    return {**message(f"order-{number}", "acme", "main"), "batch_code": "orders", **fields}


def message(message_id: str, tenant_id: str, account_id: str) -> dict[str, object]:
    return {
        "id": message_id,
        "tenant_id": tenant_id,
        "account_id": account_id,
        "from": f"shop@{tenant_id}.example",
        "to": ["ann@example.net"],
        "subject": "Your order",
        "body": "It is on its way.",
    }


def add(client: Client, *messages: dict[str, object]) -> None:
    client.post("/commands/add-messages", {"messages": list(messages)})


def named(name: str) -> Screen:
    """The screen of that name. Raises ValueError."""
    if name not in NAMED:
        raise ValueError(name)
    return NAMED[name]


def main() -> None:
    """Write all of them, or those that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.screens", description="Capture pictures for docs."
    )
    parser.add_argument("screens", nargs="*", type=named, metavar="NAME", help=", ".join(NAMED))
    chosen = parser.parse_args().screens or SCREENS
    PICTURES.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
    with home() as cli:
        quick = furnish(cli)
        write(cli, [screen for screen in BEFORE if screen in chosen])
        if others := [screen for screen in (TOP, *AFTER) if screen in chosen]:
            write_served(cli, quick, others)


def write_served(cli: Cli, quick: QuickCli, screens: Sequence[Screen]) -> None:
    knobs = Knobs(fail_every=9, fail_at="rcpt", fail_reply="550 5.1.1 no such user")
    with SinkProcess(knobs) as sink:
        to_sink = ("--host", "localhost", "--port", str(sink.port), "--tls", "none")
        quick.ok("myserver", "beta", "accounts", "add", "main", *to_sink)
        cli.ok("start", "myserver")
        with working(cli):
            write(cli, [screen for screen in screens if screen is TOP])
        write(cli, [screen for screen in screens if screen is not TOP])


def write(cli: Cli, screens: Iterable[Screen]) -> None:
    for screen in screens:
        (PICTURES / f"{screen.name}.svg").write_text(capture(cli, screen), "utf-8")


if __name__ == "__main__":
    main()
