"""Which line is a command and which is Python, and where what is typed or read ends."""

from __future__ import annotations

import pytest

from mail_proxy_repl.lines import Kind, Vocabulary, chunks, kind_of, needs_more

COMMAND, HELP, NOTHING, PYTHON = Kind.COMMAND, Kind.HELP, Kind.NOTHING, Kind.PYTHON

COMMANDS = {"info", "stats", "send", "messages", "tenants", "token", "run-now", "logs", "use", "help", "exit"}
KNOWN = Vocabulary(COMMANDS, of_tenants={"info", "send", "messages"})


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("", NOTHING),
        ("   ", NOTHING),
        ("# send = 3", NOTHING),
        ("info", COMMAND),
        ("  info", COMMAND),
        ("stats --json", COMMAND),
        ("messages list --status error", COMMAND),
        ("send hello.eml --wait", COMMAND),
        ("send -", COMMAND),
        ('send "my file.eml"', COMMAND),
        ("send 'unfinished", COMMAND),
        ("run-now", COMMAND),
        ("logs -f", COMMAND),
        ("help tenants", COMMAND),
        ("use acme", COMMAND),
        ("exit", COMMAND),
        ("acme info", COMMAND),
        ("acme messages list", COMMAND),
        ("exit()", PYTHON),
        ("help(proxy)", PYTHON),
        ("send = 3", PYTHON),
        ("send += 1", PYTHON),
        ("send: int = 3", PYTHON),
        ("info.x", PYTHON),
        ("messages[0]", PYTHON),
        ("proxy.stats()", PYTHON),
        ("list", PYTHON),
        ("acme", PYTHON),
        ("not info", PYTHON),
        ("del send", PYTHON),
        ("import send", PYTHON),
        ("a if info else b", PYTHON),
        ("mesages list", PYTHON),
        ("for m in proxy.messages.list():", PYTHON),
        ("print('why?')", PYTHON),
        ("proxy?", HELP),
        ("proxy.messages.errors?", HELP),
        ("messages list?", HELP),
        ("?proxy", HELP),
        ("proxy.stats()??", HELP),
        ("?", HELP),
        ("x = 1  # why?", PYTHON),
        ("for x in y:  # why?", PYTHON),
    ],
)
def test_lines(line: str, kind: Kind) -> None:
    assert kind_of(line, KNOWN) is kind


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("stats", PYTHON),
        ("stats + 1", PYTHON),
        ("stats --json", PYTHON),
        ("stats list", COMMAND),
        ("info", COMMAND),
    ],
)
def test_a_name_that_was_given_a_value_is_python_where_that_is_possible(line: str, kind: Kind) -> None:
    assert kind_of(line, Vocabulary(COMMANDS, names={"stats"})) is kind


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("1 + 1", False),
        ("messages list", False),
        ("send 'unfinished", False),
        ("f(1,", True),
        ("f(1,\n2)", False),
        ("'''a", True),
        ("for x in y:", True),
        ("for x in y:\n    print(x)", True),
        ("for x in y:\n    print(x)\n", False),
        ("for x in y:\n    print(x)\n    ", False),
        ("for x in y: print(x)", False),
        ("if x:\n    y\nelse:", True),
        ("@f", True),
        ("1 +* 1", False),
        ("await f(", True),
        ("x?", False),
    ],
)
def test_enter_goes_on_where_python_is_not_complete(text: str, more: bool) -> None:
    assert needs_more(text, KNOWN) is more


SCRIPT = """\
# a comment
info

x = [
    1,

    2]
for each in x:
    print(each)
    # a comment within

    print(-each)
else:
    print()
messages list  \t
if x:
    stats

async def f():
    pass
await f()
text = '''
info
'''
proxy?
match x:
    case []:
        pass
stats"""


def test_a_script_is_parted_into_commands_and_statements() -> None:
    parts = list(chunks(iter(SCRIPT.splitlines(keepends=True)), lambda: KNOWN))
    assert [(part.kind, part.line, part.text.partition("\n")[0]) for part in parts] == [
        (COMMAND, 2, "info"),
        (PYTHON, 4, "x = ["),
        (PYTHON, 8, "for each in x:"),
        (COMMAND, 15, "messages list"),
        (PYTHON, 16, "if x:"),
        (PYTHON, 19, "async def f():"),
        (PYTHON, 21, "await f()"),
        (PYTHON, 22, "text = '''"),
        (HELP, 25, "proxy?"),
        (PYTHON, 26, "match x:"),
        (COMMAND, 29, "stats"),
    ]


def test_what_ran_before_decides_what_a_line_is() -> None:
    names: set[str] = set()
    kinds = []
    for part in chunks(iter(["stats", "stats = 1", "stats"]), lambda: Vocabulary(COMMANDS, names=names)):
        kinds.append(part.kind)
        if part.text == "stats = 1":
            names.add("stats")
    assert kinds == [COMMAND, PYTHON, PYTHON]


def test_no_more_of_a_script_is_read_than_is_needed() -> None:
    """A command in it may read what follows from the same input."""
    lines = iter(["info", "x = 1", "y"])
    parts = chunks(lines, lambda: KNOWN)
    assert [next(parts).text, next(parts).text, next(lines)] == ["info", "x = 1", "y"]


@pytest.mark.parametrize(
    "line", ["(" * 5000, "\0", "x" * 100_000, "\ud800", "1" * 5000, "lambda: (yield)", ":"]
)
def test_nothing_that_is_typed_breaks_it(line: str) -> None:
    assert kind_of(line, KNOWN) is PYTHON
    assert needs_more(line, KNOWN) in (True, False)
    assert next(part.line for part in chunks(iter([line, "info"]), lambda: KNOWN)) == 1
