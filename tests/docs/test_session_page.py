"""The page of the interactive session: what it shows is what comes, and it names every verb."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mail_proxy.client import MailProxyClient
from mail_proxy_repl.place import Place
from mail_proxy_repl.proxy import Part, Proxy
from mail_proxy_repl.remote import RemoteServer
from mail_proxy_repl.suggest import public_names
from tests.support.cli import REPOSITORY, Cli, QuickCli
from tests.support.terminal import Terminal

PAGE = (REPOSITORY / "docs" / "session.md").read_text("utf-8")
EML = "From: bot@acme.test\nTo: ann@example.test\nSubject: Hi\n\nHello\n"

_BLOCK = re.compile(r"^```(text|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TYPED = re.compile(r"^myserver(?:/\w+)?> (.*)$", re.MULTILINE)
_ROW = re.compile(r"^\| `(proxy(?:\.\w+)?)` \| (.*) \|$", re.MULTILINE)

SESSION, OUTCOME, SCRIPT = (content for _kind, content in _BLOCK.findall(PAGE))


@pytest.fixture
def shop(tmp_path: Path) -> QuickCli:
    """Instance 'myserver', stopped, with what the page speaks of."""
    quick = QuickCli(tmp_path)
    quick.instance("myserver")
    quick.ok("myserver", "tenants", "add", "acme", "--name", "Acme Ltd")
    quick.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    quick.ok("myserver", "acme", "send", "-", "--id", "order-1", "--batch", "spring", stdin=EML)
    (quick.root / "hello.eml").write_text(EML)
    return quick


def test_what_is_typed_shows_what_it_shows(shop: QuickCli) -> None:
    with Terminal(Cli(shop.root, shop.environ), "myserver", "connect", TERM="dumb", rows=70) as terminal:
        for line in _TYPED.findall(SESSION):
            terminal.until(lambda: re.search(r"myserver(/\w+)?> *$", terminal.current_line) is not None, line)
            terminal.enter(line)
        assert terminal.end() == 0
        shown = "\n".join(terminal.lines[1:])
    pattern = re.escape(SESSION.strip()).replace("…", ".*")
    assert re.fullmatch(pattern, shown.strip()), shown


def test_the_script_comes_to_what_is_said(shop: QuickCli) -> None:
    done = shop("myserver", "connect", stdin=SCRIPT)
    _command, *lines = OUTCOME.splitlines()
    assert (done.out + done.err).splitlines() == lines
    assert done.code == 1


def test_every_verb_is_named() -> None:
    """And none that is not there."""
    named = {part: set(re.findall(r"`(\w+)`", text)) for part, text in _ROW.findall(PAGE)}
    with MailProxyClient("http://127.0.0.1:8000") as client:
        proxy = Proxy(RemoteServer(client), Place("myserver"))
    parts = {name: each for name, each in public_names(proxy).items() if isinstance(each, Part)}
    there = {f"proxy.{name}": set(public_names(type(each))) for name, each in parts.items()}
    assert named == there | {"proxy": set(public_names(Proxy))}
