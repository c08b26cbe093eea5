"""The session on a real terminal: typing, completing, remembering, and what interrupts it."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mail_proxy.encryption import generate_key
from tests.support.cli import PROGRAM, Cli, QuickCli
from tests.support.server import Server
from tests.support.terminal import Terminal

EML = "From: bot@acme.test\nTo: ann@example.test\nSubject: Hi\n\nHello\n"

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:[349][0-7]|[34]8;[0-9;]*)m")


@pytest.fixture
def shop(quick: QuickCli) -> Cli:
    """Instance 'myserver', stopped, with tenant 'acme', account 'main', message 'order-1'."""
    quick.instance("myserver")
    quick.ok("myserver", "tenants", "add", "acme", "--name", "Acme Ltd")
    quick.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    quick.ok("myserver", "acme", "send", "-", "--id", "order-1", "--batch", "spring", stdin=EML)
    (quick.root / "hello.eml").write_text(EML)
    return Cli(quick.root, quick.environ)


@pytest.fixture
def silent_port() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


def work(terminal: Terminal, line: str, shown: str) -> None:
    """Type a line at the prompt; wait for what it shows, and for the prompt to come again."""
    terminal.enter(line)

    def is_done() -> bool:
        _, typed, after = terminal.screen.rpartition(f"> {line[:30]}" if line else "...")
        return bool(typed) and shown in after and is_asking(terminal)

    terminal.until(is_done, f"{line!r} to show {shown!r}")


def is_asking(terminal: Terminal) -> bool:
    """Whether the cursor stands at an empty prompt."""
    return re.search(r"myserver(/\w+)?> *$", terminal.current_line) is not None


def wait_for_cancelled(terminal: Terminal, line: str) -> None:
    """Wait until a line that was typed is said to be interrupted, and the prompt comes again."""
    terminal.until(
        lambda: "\ninterrupted" in terminal.screen.rpartition(line)[2], f"{line!r} to be cancelled"
    )
    ready(terminal)


def ready(terminal: Terminal) -> Terminal:
    terminal.until(lambda: is_asking(terminal), "the prompt")
    return terminal


def test_commands_and_python_at_one_prompt(shop: Cli) -> None:
    """Commands, Python, a block, an error and going on; the toolbar says where one is; Ctrl+D leaves."""
    with Terminal(shop, "myserver", "connect") as terminal:
        ready(terminal)
        terminal.wait_for("myserver | server stopped | 1 waiting")
        work(terminal, "tenants list", "Acme Ltd")
        work(terminal, "use acme", "acme>")
        terminal.wait_for("myserver/acme | server stopped | 1 waiting")
        work(terminal, "messages list", "ann@example.test")
        work(terminal, '[m["id"] for m in proxy.messages.pending()]', "['order-1']")
        work(terminal, "messages show nope", "Error: no message 'nope'")
        work(terminal, "1 / 0", "Error: ZeroDivisionError: division by zero")
        work(terminal, "mesages list", "did you mean 'messages'?")
        work(terminal, "proxy.accounts.list()", "sandbox")
        terminal.enter("for m in proxy.messages.list():")
        terminal.until(lambda: terminal.current_line.rstrip().endswith("..."), "a line to go on")
        terminal.enter("print(m['id'], m['batch_code'])")
        work(terminal, "", "order-1 spring")
        work(terminal, "send hello.eml --id order-2", "order-2")
        terminal.wait_for("2 waiting")
        work(terminal, "proxy.messages.delete('order-2')['removed'] + 41", "42")
        work(terminal, "proxy.tenants.get?", "proxy.tenants.get(tenant_id=None)")
        assert "Traceback" not in terminal.output
        terminal.press("ctrl-d")
        assert terminal.end() == 0


def test_tab_completes(shop: Cli) -> None:
    """Commands, options, ids, attributes, files; what is one is filled in, of several a menu is shown."""
    with Terminal(shop, "myserver", "connect") as terminal:
        ready(terminal)
        for begun, completed in (
            ("use ac", "use acme"),
            ("tena", "tenants"),
            ("tenants show ac", "tenants show acme"),
            ("proxy.messages.events('or", "proxy.messages.events('order-1"),
            ("acme mess", "acme messages"),
        ):
            complete(terminal, begun, completed)
        work(terminal, "use acme", "acme>")
        for begun, completed in (
            ("messages list --sta", "messages list --status"),
            ("messages show ord", "messages show order-1"),
            ("messages list --batch s", "messages list --batch spring"),
            ("send he", "send hello.eml"),
            ("proxy.mess", "proxy.messages"),
            ("proxy.messages.err", "proxy.messages.errors"),
            ("proxy.messages.get('or", "proxy.messages.get('order-1"),
            ("proxy.messages.list(batch", "proxy.messages.list(batch_code="),
            ("proxy.messages.list(batch_code='", "proxy.messages.list(batch_code='spring"),
            ("open('hel", "open('hello.eml"),
        ):
            complete(terminal, begun, completed)
        terminal.type("proxy.a")
        terminal.press("tab")
        terminal.wait_for("SMTP accounts, each of a tenant.")
        terminal.wait_for("activate")
        assert "_server" not in terminal.screen
        terminal.press("ctrl-c", "ctrl-d")
        assert terminal.end() == 0


def complete(terminal: Terminal, begun: str, completed: str) -> None:
    terminal.type(begun)
    terminal.press("tab")
    terminal.until(lambda: terminal.current_line.rstrip().endswith(f"> {completed}"), completed)
    terminal.press("ctrl-c")
    ready(terminal)


def test_what_was_typed_is_remembered(shop: Cli) -> None:
    """Up, Ctrl+R and suggestions, in the next session too; never a line with a password."""
    secret = "accounts add second --host h --password hunter2"
    with Terminal(shop, "myserver", "connect") as terminal:
        ready(terminal)
        work(terminal, "use acme", "acme>")
        work(terminal, "proxy.stats()['messages']['pending'] + 41", "42")
        work(terminal, secret, "added account 'second'")
        terminal.press("ctrl-d")
        assert terminal.end() == 0
    kept = shop.root / "state" / "mail-proxy" / "history" / "myserver"
    assert "hunter2" not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    with Terminal(shop, "myserver", "connect") as terminal:
        ready(terminal)
        terminal.press("up")
        terminal.until(lambda: "> proxy.stats()" in terminal.current_line, "the last line that was kept")
        terminal.press("up")
        terminal.until(lambda: terminal.current_line.rstrip().endswith("> use acme"), "the one before")
        terminal.press("ctrl-c")
        ready(terminal)
        terminal.press("ctrl-r")
        terminal.type("pending")
        terminal.wait_for("> proxy.stats()['messages']['pending'] + 41")
        terminal.press("enter", "enter")
        terminal.wait_for("\n42")
        ready(terminal)
        terminal.type("use")
        terminal.wait_for("> use acme")  # in grey
        terminal.press("right", "enter")
        terminal.wait_for("acme>")
        terminal.press("ctrl-d")
        assert terminal.end() == 0


def test_ctrl_c_cancels_what_is_running_and_nothing_else(shop: Cli, silent_port: socket.socket) -> None:
    """A call, a command, a loop; on the line it drops the line. The session goes on."""
    port = silent_port.getsockname()[1]
    with Terminal(shop, "myserver", "connect") as terminal:
        ready(terminal)
        work(terminal, "use acme", "acme>")
        account = f"accounts add slow --host 127.0.0.1 --port {port} --tls none"
        work(terminal, account, "added account 'slow'")
        for line in ("proxy.accounts.test('slow')", "accounts test slow"):
            terminal.enter(line)
            connection, _ = silent_port.accept()
            with connection:
                terminal.press("ctrl-c")
                wait_for_cancelled(terminal, line)
        terminal.enter("print('begun')\nwhile True: pass")
        terminal.wait_for("\nbegun")
        terminal.press("ctrl-c")
        wait_for_cancelled(terminal, "while True: pass")
        terminal.type("messages delete order-1 --for")
        terminal.press("ctrl-c")
        ready(terminal)
        work(terminal, "proxy.messages.get('order-1')['status']", "'pending'")
        work(terminal, "6 * 7", "42")
        terminal.enter("exit()")
        assert terminal.end() == 0


def test_ctrl_z_leaves_it_in_the_background_of_the_shell(shop: Cli) -> None:
    """With what was typed so far."""
    with Terminal(shop, program=("/bin/bash", "--norc", "-i"), PS1="shell: ") as terminal:
        terminal.answer("shell: ", shlex.join([*PROGRAM, "myserver", "connect"]))
        ready(terminal)
        terminal.type("6 * ")
        terminal.until(lambda: terminal.current_line.rstrip().endswith("6 *"), "what was typed")
        terminal.press("ctrl-z")
        terminal.answer("shell: ", "fg")
        terminal.until(lambda: terminal.current_line.rstrip().endswith("6 *"), "the session")
        terminal.enter("7")
        terminal.wait_for("\n42")
        ready(terminal).press("ctrl-d")
        terminal.answer("shell: ", "exit")
        assert terminal.end() == 0


@pytest.mark.parametrize("columns", [60, 140])
def test_narrow_and_wide(shop: Cli, columns: int) -> None:
    """What is shown fits, with all of it that matters."""
    with Terminal(shop, "myserver", "connect", columns=columns) as terminal:
        ready(terminal)
        terminal.wait_for("myserver | server stopped | 1 waiting")
        work(terminal, "use acme", "acme>")
        work(terminal, "proxy.messages.list()", "order-1")
        assert ("what went wrong" in terminal.screen) is (columns > 60) or "narrow" in terminal.screen
        assert all(len(line) <= columns for line in terminal.lines)
        terminal.press("ctrl-d")
        assert terminal.end() == 0


def test_without_colours(shop: Cli) -> None:
    with Terminal(shop, "myserver", "connect", NO_COLOR="1") as terminal:
        ready(terminal)
        work(terminal, "tenants list", "Acme Ltd")
        work(terminal, "print('x')", "\nx")
        terminal.press("ctrl-d")
        assert terminal.end() == 0
        assert COLOUR.search(terminal.output) is None


def test_on_a_terminal_that_can_only_print(shop: Cli) -> None:
    """Not one escape code: lines are read as the terminal gives them."""
    with Terminal(shop, "myserver", "connect", TERM="dumb") as terminal:
        ready(terminal)
        work(terminal, "tenants list", "Acme Ltd")
        terminal.enter("for each in (1, 2):")
        terminal.enter("    print(each * 21)")
        work(terminal, "", "42")
        terminal.type("nonsense")
        terminal.press("ctrl-c")
        work(terminal, "1 / 0", "ZeroDivisionError")
        assert "\x1b" not in terminal.output
        terminal.press("ctrl-d")
        assert terminal.end() == 0


def test_the_wizards(shop: Cli) -> None:
    """They are called by name; Ctrl+C leaves one, not the session."""
    with Terminal(shop, "myserver", "connect") as terminal:
        ready(terminal)
        terminal.enter("new_tenant()")
        terminal.wait_for("\nid:")
        terminal.press("ctrl-c")
        terminal.wait_for("interrupted")
        ready(terminal)
        work(terminal, "use acme", "acme>")
        terminal.enter("new_account()")
        terminal.wait_for("provider [")
        terminal.press("ctrl-c")
        ready(terminal)
        terminal.enter("order = new_message()")
        terminal.answer("from: ", "shop")
        terminal.wait_for("address")
        terminal.press("ctrl-u")
        terminal.answer("from: ", "shop@acme.test")
        terminal.answer("to: ", "ann@example.test")
        terminal.answer("subject (empty: none): ", "Your order")
        terminal.answer("text (empty: that is all): ", "It is on its way.")
        terminal.answer("more text (empty: that is all): ", "")
        terminal.answer("file to attach (empty: none): ", "nowhere.pdf")
        terminal.wait_for("No such file")
        terminal.press("ctrl-u")
        terminal.answer("file to attach (empty: none): ", "hello.eml")
        terminal.answer("another file (empty: none): ", "")
        terminal.answer("queue this message?", "yes")
        ready(terminal)
        work(terminal, "order", "queued    1")
        work(terminal, "proxy.messages.list()[0]['recipients'][0]['address']", "'ann@example.test'")
        work(terminal, "proxy.messages.list()[0]['id'] in order['ids']", "True")
        terminal.press("ctrl-d")
        assert terminal.end() == 0


def test_with_a_server_that_runs(database_url: str, tmp_path: Path) -> None:
    """On either engine: over the services, and over the API as from elsewhere."""
    key = generate_key()
    url = database_url if "://" in database_url else None
    with Server(tmp_path / "home", "myserver", database_url=url, key=key) as server:
        known = {"MAIL_PROXY_ENCRYPTION_KEY": key, **({"GMP_DATABASE_URL": url} if url else {})}
        cli = Cli(tmp_path, known)
        (tmp_path / "hello.eml").write_text(EML)
        with Terminal(cli, "myserver", "connect") as terminal:
            ready(terminal)
            terminal.wait_for("myserver | server running | 0 waiting")
            work(terminal, "proxy.tenants.add('acme')['id']", "'acme'")
            work(terminal, "use acme", "acme>")
            work(terminal, "proxy.accounts.add('main', host='sandbox')['id']", "'main'")
            work(terminal, "send hello.eml --id o1 --wait", "sent")
            work(terminal, "proxy.suspend()['suspended_batches']", "['*']")
            terminal.enter("send hello.eml --id o2 --wait")
            terminal.wait_for("\no2")  # it waits for what is held back
            terminal.press("ctrl-c")
            terminal.wait_for("\ninterrupted")
            ready(terminal)
            work(terminal, "[m['id'] for m in proxy.messages.pending()]", "['o2']")
            terminal.press("ctrl-d")
            assert terminal.end() == 0
        with Terminal(cli, "connect", "--url", server.url, "--token-stdin") as terminal:
            terminal.answer("token: ", server.token)
            place = server.url.removeprefix("http://")
            terminal.wait_for(f"{place} | server running | 1 waiting")
            terminal.enter("messages list")
            terminal.wait_for("works on an instance of this machine")
            terminal.enter("use acme")
            terminal.wait_for(f"{place}/acme>")
            terminal.enter("[m['status'] for m in proxy.messages.sent()]")
            terminal.wait_for("['sent']")
            terminal.type("proxy.messages.get('o")
            terminal.press("tab")
            terminal.wait_for("o2")
            assert server.token not in terminal.output
            terminal.press("ctrl-c", "ctrl-d")
            assert terminal.end() == 0
