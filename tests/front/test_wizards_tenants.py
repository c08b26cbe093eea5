"""``tenants add`` as a dialogue, on a real terminal."""

from __future__ import annotations

import re

import pytest

from tests.support.cli import Cli, QuickCli
from tests.support.terminal import Terminal

ADD = ("a", "tenants", "add")


@pytest.fixture
def a(cli: Cli) -> Cli:
    """An instance 'a'."""
    cli.instance("a")
    return cli


def tenant_ids(cli: Cli) -> list[str]:
    listed = QuickCli(cli.root, cli.environ)("a", "tenants", "list", "--json").json()
    return [tenant["id"] for tenant in listed]


def test_a_tenant_on_a_narrow_terminal(a: Cli) -> None:
    """Each wrong answer is refused at once; what is shown and agreed to is what is written."""
    with Terminal(a, *ADD, columns=60) as terminal:
        terminal.reply("id: ", "ac me")
        terminal.wait_for("must be 1 to 128 of")
        for wrong, fault in (("list", "'list' is a command"), ("default", "there is a tenant 'default'")):
            terminal.reply("id: ", wrong)
            terminal.wait_for(fault)
        terminal.reply("id: ", "acme")
        terminal.reply("name [acme]: ", "Acme")
        terminal.reply("URL of its application (empty: no reports): ", "shop.acme.test")
        terminal.wait_for("must be http://… or https://…")
        terminal.until(lambda: terminal.line_to_cursor.endswith("shop.acme.test"), "what is to be mended")
        terminal.press("ctrl-a")
        terminal.enter("https://")
        terminal.reply("path for reports [/mail-proxy/sync]: ", "")
        terminal.reply("[none]: ", "bsic")
        terminal.wait_for("did you mean basic?")
        terminal.until(lambda: terminal.line_to_cursor.endswith("[none]: "), "the question again")
        terminal.type("be")
        terminal.press("tab")
        terminal.until(lambda: terminal.line_to_cursor.endswith(": bearer"), "what Tab completes")
        terminal.press("enter")
        terminal.reply("token: ", "***")
        terminal.wait_for("'***' stands for a stored secret")
        terminal.reply("token: ", "sesame")
        terminal.reply("messages an hour [0]: ", "many")
        terminal.wait_for("must be an integer")
        terminal.reply("messages an hour [0]: ", "50")
        terminal.reply("messages a day [0]: ", "")
        terminal.wait_for("client_auth       method=bearer, token=***")
        terminal.reply("add this tenant? (yes, no, change) [yes]: ", "change")
        for question, answer in (
            ("id [acme]: ", ""),
            ("name [Acme]: ", "Acme Ltd"),
            ("ports): ", ""),
            ("path for reports [/mail-proxy/sync]: ", ""),
            ("[bearer]: ", ""),
            ("token [as before]: ", ""),
            ("messages an hour [50]: ", ""),
            ("messages a day [0]: ", "500"),
            ("[yes]: ", "y"),
        ):
            terminal.reply(question, answer)
        assert terminal.end() == 0
        assert len(re.findall(r"^[\w-]{43}$", terminal.screen, re.MULTILINE)) == 1
        assert "next: mail-proxy a acme accounts add" in terminal.screen
        assert "sesame" not in terminal.output
    tenant = a("a", "tenants", "show", "acme", "--json").json()
    assert (tenant["name"], tenant["client_base_url"]) == ("Acme Ltd", "https://shop.acme.test")
    assert tenant["client_auth"] == {"method": "bearer", "token": "***"}
    assert tenant["rate_limits"] == {"hourly": 50, "daily": 500}


@pytest.mark.parametrize(
    ("answers", "key"),
    [
        ([], "ctrl-c"),
        (["acme", "Acme", "https://acme.test", "", "bearer"], "ctrl-d"),
        (["acme", "", "", "", ""], "ctrl-c"),
    ],
    ids=["at the first question", "at a secret", "at the last question"],
)
def test_leaving_leaves_no_trace(a: Cli, answers: list[str], key: str) -> None:
    """Ctrl+C and Ctrl+D, wherever: no tenant, no traceback."""
    with Terminal(a, *ADD) as terminal:
        for answer in answers:
            terminal.reply(": ", answer)
        terminal.until(lambda: terminal.line_to_cursor.endswith(": "), "a question")
        terminal.press(key)
        assert terminal.end() == 130
        assert "interrupted" in terminal.screen
        assert "Traceback" not in terminal.screen
    assert tenant_ids(a) == ["default"]


def test_a_dumb_terminal(a: Cli) -> None:
    """The same questions, with nothing that such a terminal cannot show; a no writes nothing."""
    with Terminal(a, *ADD, "acme", TERM="dumb", NO_COLOR="1") as terminal:
        terminal.reply("name [acme]: ", "Acme")
        terminal.reply("no reports): ", "https://acme.test")
        terminal.reply("path for reports", "/../up")
        terminal.wait_for("must begin with '/' and hold no '..'")
        terminal.reply("path for reports", "/reports")
        terminal.reply("how to log in there", "basic")
        terminal.reply("user: ", "proxy")
        terminal.reply("password: ", "hunter2")
        terminal.reply("messages an hour [0]: ", "")
        terminal.reply("messages a day [0]: ", "")
        terminal.reply("add this tenant?", "no")
        assert terminal.end() == 1
        assert "nothing was done" in terminal.screen
        assert "hunter2" not in terminal.output
        assert "\x1b" not in terminal.output
    assert tenant_ids(a) == ["default"]


@pytest.mark.parametrize(
    "words",
    [
        ("a", "tenants", "add", "--name", "Acme"),
        ("a", "default", "accounts", "add", "main", "--port", "25"),
        ("a", "config", "bounce", "--interval", "5"),
    ],
    ids=["tenants", "accounts", "bounce"],
)
def test_with_any_option_nothing_is_asked(a: Cli, words: tuple[str, ...]) -> None:
    """On a terminal, too: what is missing is wrong usage."""
    with Terminal(a, *words) as terminal:
        assert terminal.end() == 2


def test_an_id_that_is_taken_is_refused_before_anything_is_asked(a: Cli) -> None:
    with Terminal(a, *ADD, "default") as terminal:
        assert terminal.end() == 1
        assert "there is a tenant 'default' already" in terminal.screen
