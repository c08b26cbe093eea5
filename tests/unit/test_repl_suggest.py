"""Completion: what may stand where the cursor is, as a pure function, line by line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from mail_proxy_repl.lines import Vocabulary
from mail_proxy_repl.proxy import Part
from mail_proxy_repl.results import Record, Rows
from mail_proxy_repl.suggest import Names, Word, public_names, suggest
from mail_proxy_repl.words import split

COMMANDS = {
    "info": "Show it.",
    "messages": "Messages.",
    "send": "Send.",
    "use": "Take.",
    "help": "Explain.",
    "exit": "Leave.",
}

IDS = {
    "tenants": ["acme", "apple"],
    "accounts": ["main"],
    "messages": ["order-1", "order-2"],
    "batches": ["spring"],
    "files": ["hello.eml"],
}

FOLLOWING = {
    ("messages",): ["list", "show"],
    ("messages", "list"): ["--status", "--account"],
    ("messages", "list", "--status"): ["sent", "error"],
    ("messages", "show"): ["order-1", "order-2"],
    ("send",): ["hello.eml", "my file.eml", "~/my file.eml"],
    ("acme", "messages"): ["list"],
    ("acme",): ["messages"],
}


class Inner(Part):
    """An inner part."""

    def __init__(self) -> None: ...

    def errors(self, limit: int = 1) -> None:
        """List errors."""

    def get(self, message_id: str, tenant_id: str | None = None) -> None:
        """Get one."""

    def delete(self, ids: list[str], *, status: str | None = None, force: bool = False) -> None:
        """Delete some."""

    def _hidden(self) -> None: ...


class Outer(Part):
    """What is called."""

    def __init__(self) -> None:
        self.messages = Inner()
        self._hidden = Inner()

    def stats(self) -> None:
        """Count."""


class Trap:
    """Whoever looks too closely sets it off."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(name)

    def __dir__(self) -> NoReturn:
        raise AssertionError("dir")

    @property
    def danger(self) -> NoReturn:
        raise AssertionError("property")


def follow(words: Sequence[str], begun: str) -> list[Word]:
    return [Word(each) for each in FOLLOWING.get(tuple(words), []) if each.startswith(begun)]


def ids(kind: str, begun: str) -> list[str]:
    return [each for each in IDS[kind] if each.startswith(begun)]


def names(**given: object) -> Names:
    namespace: dict[str, Any] = {
        "proxy": Outer(),
        "new_tenant": follow,
        "order": Record("messages", {"id": "order-1", "status": "sent"}),
        "rows": Rows("messages", [{"id": "order-1", "status": "sent"}]),
        "os": os,
        "trap": Trap(),
        **given,
    }
    known = Vocabulary(COMMANDS, of_tenants={"messages"}, names={"order", "trap"})
    return Names(COMMANDS, known, namespace, follow, ids)


def offered(text: str) -> list[str]:
    """What the text may become, the offers put in their places."""
    return [text[: each.start] + each.text for each in suggest(text, names())]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("me", ["messages", "memoryview"]),
        ("inf", ["info"]),
        ("isin", ["isinstance"]),
        ("pro", ["proxy", "property"]),
        ("new", ["new_tenant"]),
        ("messages ", ["messages list", "messages show"]),
        ("messages l", ["messages list"]),
        ("messages list --s", ["messages list --status"]),
        ("messages list --status e", ["messages list --status error"]),
        ("messages show order-", ["messages show order-1", "messages show order-2"]),
        ("messages nonsense ", []),
        ("acme messages li", ["acme messages list"]),
        ("send h", ["send hello.eml"]),
        ("send m", ["send 'my file.eml'"]),
        ("send 'my f", ["send 'my file.eml'"]),
        ('send "my f', ["send 'my file.eml'"]),
        ("send my\\ f", ["send 'my file.eml'"]),
        ("use a", ["use acme", "use apple"]),
        ("use acme ", []),
        ("help me", ["help messages"]),
        ("help messages l", ["help messages list"]),
        ("help proxy.m", ["help proxy.messages"]),
        ("proxy.", ["proxy.stats", "proxy.messages"]),
        ("proxy.m", ["proxy.messages"]),
        ("proxy._", []),
        ("proxy.messages.", ["proxy.messages.errors", "proxy.messages.get", "proxy.messages.delete"]),
        ("proxy.messages.errors.", []),
        ("proxy.nowhere.", []),
        ("nowhere.", []),
        ("x = proxy.st", ["x = proxy.stats"]),
        ("[m for m in proxy.messages.e", ["[m for m in proxy.messages.errors"]),
        ("for m in proxy.m", ["for m in proxy.messages"]),
        ("for m in x:\n    proxy.m", ["for m in x:\n    proxy.messages"]),
        ("for m in x:\n    mess", []),
        ("proxy.stats().", []),
        ("x[0].m", []),
        ("print('proxy.m", []),
        ("print('it') + proxy.m", ["print('it') + proxy.messages"]),
        ('proxy.messages.get("ord', ['proxy.messages.get("order-1', 'proxy.messages.get("order-2']),
        (
            "proxy.messages.delete(['ord",
            ["proxy.messages.delete(['order-1", "proxy.messages.delete(['order-2"],
        ),
        ("proxy.messages.delete(['a', 'order-2", ["proxy.messages.delete(['a', 'order-2"]),
        ("proxy.messages.get('order-1', 'ac", ["proxy.messages.get('order-1', 'acme"]),
        ("proxy.messages.get('(', 'ac", ["proxy.messages.get('(', 'acme"]),
        ("print(proxy.messages.get('x'), '", []),
        ("x = [proxy.messages.get('order-2", ["x = [proxy.messages.get('order-2"]),
        ("proxy.messages.errors('", []),
        (
            "proxy.messages.delete('x', status='se",
            [
                "proxy.messages.delete('x', status='sending",
                "proxy.messages.delete('x', status='sent",
            ],
        ),
        ("proxy.messages.delete('x', batch_code='", ["proxy.messages.delete('x', batch_code='spring"]),
        ("proxy.messages.delete('x', forc", ["proxy.messages.delete('x', force="]),
        (
            "proxy.messages.delete('x', ",
            ["proxy.messages.delete('x', status=", "proxy.messages.delete('x', force="],
        ),
        ("proxy.messages.get(tenan", ["proxy.messages.get(tenant_id="]),
        ("proxy.messages.get(tenant_id=tenan", []),
        ("proxy.messages.get(')', tenan", ["proxy.messages.get(')', tenant_id="]),
        ("open('hel", ["open('hello.eml"]),
        ("print('hel", []),
        ("acme ", ["acme messages"]),
        ("acme mess", ["acme messages"]),
        ("apricot ", []),
        ("exit ", []),
        ("send ~/my", ["send ~/'my file.eml'"]),
        ("rows[0]['st", ["rows[0]['status"]),
        ("rows[0]['st']['", []),
        ("proxy.messages.list(tenant_id='ac", ["proxy.messages.list(tenant_id='acme"]),
        ("order['s", ["order['status"]),
        ("os['s", []),
        ("os.getpi", ["os.getpid"]),
        ("trap.d", ["trap.danger"]),
        ("trap.danger.x", []),
        ("trap.nowhere.x", []),
        ("impor", ["import"]),
        ("send = proxy.st", ["send = proxy.stats"]),
        ("1 +", []),
    ],
)
def test_offers(text: str, found: list[str]) -> None:
    assert offered(text) == found


def test_an_empty_line_may_become_anything_that_is_for_users() -> None:
    assert offered("") == [*COMMANDS, "proxy", "new_tenant", "order", "rows", "os", "trap"]


def test_offers_say_what_they_are() -> None:
    assert [each.meaning for each in suggest("me", names())] == ["Messages.", ""]
    assert [(each.text, each.meaning) for each in suggest("proxy.", names())] == [
        ("stats", ""),
        ("messages", ""),
    ]  # this part is not of the program: its words are not shown


def test_names_that_are_not_for_users_are_not_offered() -> None:
    assert [name for name in public_names(Outer()) if name.startswith("_")] == []
    assert list(public_names(Outer)) == ["stats"]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("", ([], "", 0)),
        ("a", ([], "a", 0)),
        ("a ", (["a"], "", 2)),
        ("a  b", (["a"], "b", 3)),
        ("a 'b c' d", (["a", "b c"], "d", 8)),
        ("a 'b c", (["a"], "b c", 2)),
        ('a "b \\" c', (["a"], 'b " c', 2)),
        ("a b\\ c", (["a"], "b c", 2)),
        ("a b\\", (["a"], "b", 2)),
        ("a --x='b c", (["a"], "--x=b c", 2)),
        ("a ''", (["a"], "", 2)),
    ],
)
def test_words_are_parted_as_a_shell_does(line: str, parts: tuple[list[str], str, int]) -> None:
    assert split(line) == parts
