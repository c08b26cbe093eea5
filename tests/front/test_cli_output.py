"""How things are shown: to people, to pipes, to programs; and never what a terminal would obey."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from mail_proxy_cli.moments import parse_moment
from mail_proxy_cli.output import Column, age, echo_csv, echo_json, echo_record, echo_table, one_line, text
from tests.support.cli import Cli, QuickCli
from tests.support.quick_terminal import QuickTerminal
from tests.support.terminal import Terminal

ESCAPE = "\x1b"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        ([], "-"),
        (["a", "b"], "a, b"),
        ({"a": 1, "b": None}, "a=1, b=-"),
        ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], "a=1, b=2; a=3, b=4"),
        ("è 東京", "è 東京"),
        ("two\r\nlines", "two  lines"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u202ereversed", "\\u202ereversed"),
        ("a\x00b\x9bc", "a\\x00b\\x9bc"),
    ],
)
def test_values_for_people(value: object, shown: str) -> None:
    """On one line, with nothing that a terminal would obey."""
    assert text(value) == shown
    assert one_line(shown) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.9, "59s"), (61, "1m 1s"), (7200, "2h 0m"), (90061, "1d 1h"), (-5, "0s")],
)
def test_lengths_of_time(seconds: float, shown: str) -> None:
    """The two largest units."""
    assert age(seconds) == shown


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("+2h", 1_000_007_200),
        ("-30m", 999_998_200),
        ("+1d", 1_000_086_400),
        ("+1w", 1_000_604_800),
        ("+1h30m", 1_000_005_400),
        ("+90s", 1_000_000_090),
        ("2001-09-09T01:46:40Z", 1_000_000_000),
        ("2001-09-09T03:46:40+02:00", 1_000_000_000),
        ("1735689600", 1_735_689_600),
    ],
)
def test_moments(typed: str, moment: float) -> None:
    """Relative to now, ISO 8601, or Unix seconds."""
    assert parse_moment(typed, now=1_000_000_000) == moment


@pytest.mark.parametrize(
    "typed", ["", "2h", "+2", "+2x", "soon", "-999999999d", "9999999999999", "2001-13-01"]
)
def test_what_is_no_moment(typed: str) -> None:
    """Nothing is guessed."""
    with pytest.raises((ValueError, OverflowError)):
        parse_moment(typed, now=1_000_000_000)


def test_a_table_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns align by what characters take on a terminal, and no line ends in spaces."""
    rows: list[dict[str, object]] = [
        {"id": "東京", "n": 5},
        {"id": "a", "n": 12},
        {"id": "e\u0301", "n": None},
    ]
    echo_table(rows, [Column("id"), Column("n", right=True), Column("x")], color=True, empty="none")
    assert capsys.readouterr().out == "id     n  x\n東京   5  -\na     12  -\ne\u0301      -  -\n"


def test_a_record_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A field on each line."""
    echo_record({"id": "a", "last error": "x\ny"}, color=True)
    assert capsys.readouterr().out == "id          a\nlast error  x y\n"


HOSTILE = "\x1b]0;title\x07 \x9b31m \u202ereversed \x00 \x85 \u2028 \udc9b \r\nnext"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "iso-8859-15"])
def test_json_says_all_and_a_terminal_obeys_nothing(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Whatever is in a text, and whatever the locale can say, programs read the same."""
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding, errors="backslashreplace", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    value = {"error": HOSTILE, "name": "è 東京 😀 ¤"}
    echo_json(value)
    written = printed.getvalue().decode(encoding)
    assert json.loads(written) == value
    assert written.replace("\n", "").isprintable()


def test_readable_json_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but what does harm is escaped."""
    echo_json({"name": "è 東京"})
    assert capsys.readouterr().out == '{\n  "name": "è 東京"\n}\n'


def test_csv_that_goes_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A row is a line, and a terminal obeys nothing of it."""
    echo_csv([{"error": HOSTILE, "all": [HOSTILE], "n": 5}], ["error", "all", "n"])
    written = capsys.readouterr().out
    assert written.count("\n") == 2
    assert written.replace("\n", "").isprintable()


@pytest.fixture
def a(cli: Cli) -> Cli:
    """An instance 'a' with a tenant 'acme'."""
    quick = QuickCli(cli.root, cli.environ)
    quick.instance("a")
    quick.ok("a", "tenants", "add", "acme", "--name", "Acme")
    return cli


def test_a_table_on_a_terminal(a: Cli) -> None:
    """Lines and bold headings."""
    with Terminal(a, "a", "tenants", "list") as terminal:
        assert terminal.end() == 0
        assert "─" in terminal.screen
        assert f"{ESCAPE}[1m" in terminal.output


def test_ids_stay_in_one_piece_on_a_terminal(a: Cli, tmp_path: Path) -> None:
    """They are there to be copied: rather the other columns are broken."""
    name = "01a1fde9-0363-7d29-86df-31db045f9c6c"
    letter = tmp_path / "letter.eml"
    letter.write_text(f"From: a@b.test\nTo: {'x' * 60}@c.test\nSubject: s\n\nhi\n")
    a.ok("a", "acme", "accounts", "add", "main", "--host", "sandbox")
    a.ok("a", "acme", "send", letter, "--id", name)
    with Terminal(a, "a", "acme", "messages", "list", columns=120) as wide:
        assert wide.end() == 0
        assert name in wide.screen
        assert "priority" in wide.screen
    with Terminal(a, "a", "acme", "messages", "list", columns=80) as narrow:
        assert narrow.end() == 0
        assert name in narrow.screen
        assert "(the terminal is too narrow for: account, priority, created)" in narrow.screen
    with Terminal(a, "list", columns=60) as instances:
        assert instances.end() == 0
        assert "127.0.0.1" in instances.screen
        assert "(the terminal is too narrow for: database)" in instances.screen
    with Terminal(a, "a", "acme", "messages", "list", columns=60) as narrow:
        assert narrow.end() == 0
        assert re.search(rf"{name} +pending", narrow.screen)


def test_long_values_on_a_narrow_terminal(a: Cli) -> None:
    """Fields go on below themselves, between words; what is one word is whole; headings are not broken."""
    url = "https://application.internal.acme-limited.example/mail-proxy"
    name = "Acme Limited, purveyors of anvils and heavy goods"
    a.ok("a", "tenants", "update", "acme", "--name", name, "--base-url", url)
    with Terminal(a, "a", "tenants", "show", "acme", columns=60) as record:
        assert record.end() == 0
        assert "name                    Acme Limited, purveyors of anvils\n" in record.screen
        assert "\n                        and heavy goods\n" in record.screen
        assert url in record.output
    with Terminal(a, "a", "tenants", "list", columns=60) as listing:
        assert listing.end() == 0
        assert listing.lines[1].split() == ["id", "name", "client_base_url", "active"]
        assert "(the terminal is too narrow for: suspended_batches)" in listing.screen
    assert f"name                    {name}\n" in a.ok("a", "tenants", "show", "acme")


@pytest.mark.parametrize(
    ("words", "variable"),
    [(("--no-color", "a", "tenants", "list"), ""), (("a", "tenants", "list"), "1")],
)
def test_no_colours(a: Cli, words: tuple[str, ...], variable: str) -> None:
    """The option and the variable are honoured: no colour codes."""
    with Terminal(a, *words, NO_COLOR=variable) as terminal:
        assert terminal.end() == 0
        assert re.search(rf"{ESCAPE}\[[0-9;]*3\dm", terminal.output) is None


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_question_before_something_is_lost(a: Cli, answer: str, code: int) -> None:
    """Only a yes deletes."""
    with Terminal(a, "a", "tenants", "delete", "acme") as terminal:
        terminal.answer("Delete tenant 'acme' with its accounts and messages? [y/N]:", answer)
        assert terminal.end() == code
    assert (a("a", "acme", "info").code == 0) == (code == 1)


def test_a_password_for_standard_input_is_typed_unseen(a: Cli) -> None:
    """Nobody pipes anything: then a person is asked, and the screen keeps the secret."""
    words = ("a", "acme", "accounts", "add", "main", "--host", "smtp.acme.test", "--user", "bot")
    with Terminal(a, *words, "--password-stdin") as terminal:
        terminal.answer("password:", "hunter2")
        assert terminal.end() == 0
        assert "hunter2" not in terminal.output
    assert a("a", "acme", "accounts", "show", "main", "--json").json()["user"] == "bot"


def test_a_progress_bar_for_several_files(a: Cli) -> None:
    """On a terminal one sees how far it is; the ids are all there."""
    a.ok("a", "acme", "accounts", "add", "main", "--host", "sandbox")
    names = []
    for number in range(60):
        names.append(str(a.root / f"{number}.eml"))
        (a.root / f"{number}.eml").write_text("From: a@b.test\nTo: c@d.test\nSubject: s\n\nx\n")
    with Terminal(a, "a", "acme", "send", *names) as terminal:
        assert terminal.end() == 0
        assert "queueing" in terminal.output
        assert "60 queued, 0 failed" in terminal.screen
        assert len(set(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", terminal.output))) == 60


def test_a_progress_bar_for_what_is_deleted(a: Cli) -> None:
    """Messages, and a tenant with all it has; nothing is left of the bar, and there is none in a pipe."""
    terminal = QuickTerminal(a.root, a.environ)
    quick = QuickCli(a.root, a.environ)
    quick.ok("a", "acme", "accounts", "add", "main", "--host", "sandbox")
    (a.root / "a.eml").write_text("From: a@b.test\nTo: c@d.test\nSubject: s\n\nx\n")
    for number in range(4):
        quick.ok("a", "acme", "send", "a.eml", "--id", f"m{number}")
    assert "2/2" in terminal("a", "acme", "messages", "delete", "m0", "m1", "--yes").out
    assert quick("a", "acme", "messages", "delete", "m2", "--yes").err == ""
    assert re.search(r"deleting.* 1\b", terminal("a", "tenants", "delete", "acme", "--force").out)
