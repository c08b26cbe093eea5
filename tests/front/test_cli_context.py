"""``use``, ``current`` and the environment: what may be left out."""

from __future__ import annotations

import json

import pytest

from tests.support.cli import QuickCli


@pytest.fixture
def shop(quick: QuickCli) -> QuickCli:
    """Instances 'a', with a tenant 'acme', and 'b'."""
    quick.instance("a")
    quick.instance("b")
    quick.ok("a", "tenants", "add", "acme")
    return quick


def test_nothing_is_chosen_at_first(shop: QuickCli) -> None:
    """And it is said how to choose."""
    done = shop("current")
    assert (done.code, done.out) == (0, "")
    assert "mail-proxy use" in done.err


def test_the_instance_may_be_left_out(shop: QuickCli) -> None:
    """Its commands, and its tenants' names, come first then."""
    assert shop.ok("use", "a") == "using a\n"
    assert shop.ok("current") == "a\n"
    assert len(shop("tenants", "list", "--json").json()) == 2
    assert shop("info", "--json").json()["name"] == "a"
    assert shop("acme", "accounts", "list", "--json").json() == []
    assert shop("accounts", "list").code == 2


def test_the_tenant_may_be_left_out(shop: QuickCli) -> None:
    """The deepest level wins for what both have."""
    shop.ok("use", "a/acme")
    assert shop.ok("current") == "a/acme\n"
    assert shop("accounts", "list", "--json").json() == []
    assert shop("info", "--json").json()["id"] == "acme"
    assert len(shop("tenants", "list", "--json").json()) == 2


def test_a_word_that_is_given_counts(shop: QuickCli) -> None:
    """After the name of the instance its own commands are meant."""
    shop.ok("use", "a/acme")
    assert shop("a", "info", "--json").json()["name"] == "a"
    assert shop("b", "info", "--json").json()["name"] == "b"
    assert shop("a", "accounts", "list", "--json").json() == []
    assert shop("b", "accounts", "list").code == 2


def test_status_and_stop_know_the_instance(shop: QuickCli) -> None:
    """Commands that take its name as an argument do without."""
    assert shop("status").code == 2
    shop.ok("use", "a")
    assert shop("status", "--json").json()["name"] == "a"
    assert shop.ok("stop") == "'a' is not running\n"


def test_the_environment_counts_more(shop: QuickCli) -> None:
    """For one shell, or one command."""
    shop.ok("use", "b")
    env = {"MAIL_PROXY_INSTANCE": "a", "MAIL_PROXY_TENANT": "acme"}
    assert shop("current", env=env).out == "a/acme\n"
    assert shop("info", "--json", env=env).json()["id"] == "acme"
    assert shop("a", "accounts", "list", env={"MAIL_PROXY_TENANT": "acme"}).code == 0
    assert "counts instead" in shop("use", "b", env=env).err


@pytest.mark.parametrize(
    ("chosen", "lines"),
    [
        ("a/acme", ["export MAIL_PROXY_INSTANCE=a", "export MAIL_PROXY_TENANT=acme"]),
        ("a", ["export MAIL_PROXY_INSTANCE=a", "unset MAIL_PROXY_TENANT"]),
        (None, ["unset MAIL_PROXY_INSTANCE", "unset MAIL_PROXY_TENANT"]),
    ],
)
def test_exports_for_the_shell(shop: QuickCli, chosen: str | None, lines: list[str]) -> None:
    """What eval "$(mail-proxy current --export)" needs."""
    if chosen:
        shop.ok("use", chosen)
    assert shop.ok("current", "--export").splitlines() == lines


def test_as_json(shop: QuickCli) -> None:
    """Null is what is not chosen."""
    shop.ok("use", "a")
    shown = json.loads(shop.ok("current", "--json"))
    assert (shown["instance"], shown["tenant"]) == ("a", None)


def test_clear(shop: QuickCli) -> None:
    """The choice can be taken back."""
    shop.ok("use", "a")
    shop.ok("use", "--clear")
    assert shop("current").out == ""
    shop.ok("use", "--clear")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("use",), "give INSTANCE[/TENANT], or --clear"),
        (("use", "a", "--clear"), "give INSTANCE[/TENANT], or --clear"),
        (("use", "aa"), "no instance 'aa'; did you mean 'a'?"),
        (("use", "a/acne"), "no tenant 'acne'; did you mean 'acme'?"),
        (("use", "../a"), "no instance '..'"),
    ],
)
def test_what_cannot_be_chosen(shop: QuickCli, words: tuple[str, ...], said: str) -> None:
    """One line, and the choice stays as it was."""
    shop.ok("use", "b")
    done = shop(*words)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err
    assert shop("current").out == "b\n"


def test_a_typing_error_is_told_with_a_context_too(shop: QuickCli) -> None:
    """A first word that is nothing may have meant a tenant, a command or an instance."""
    shop.ok("use", "a/acme")
    assert "no tenant 'acne'; did you mean 'acme'?" in shop("acne", "info").err
    assert "no command 'tenant'; did you mean 'tenants'?" in shop("tenant", "list").err
    assert "no command 'acounts'; did you mean 'accounts'?" in shop("acounts", "list").err
    assert "no command 'sttop'; did you mean 'stop'?" in shop("sttop", "b").err
    shop.instance("office")
    assert "no instance 'ofice'; did you mean 'office'?" in shop("ofice", "info").err


def test_a_choice_that_is_gone(shop: QuickCli) -> None:
    """Deleting an instance takes the choice back; otherwise it is said who named it."""
    shop.ok("use", "b")
    shop.ok("delete", "b", "--force")
    assert shop("current").out == ""
    said = "Error: no instance 'b' (chosen by the environment): 'mail-proxy list' shows all\n"
    done = shop("info", env={"MAIL_PROXY_INSTANCE": "b"})
    assert (done.code, done.err) == (2, said)


@pytest.mark.parametrize("name", ["../a", "A", "a b", "-a"])
def test_the_environment_is_not_trusted(shop: QuickCli, name: str) -> None:
    """What cannot be a name leads nowhere."""
    done = shop("info", env={"MAIL_PROXY_INSTANCE": name})
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "cannot be a name" in done.err


def test_a_damaged_choice(shop: QuickCli) -> None:
    """It is told, with the way out."""
    shop.ok("use", "a")
    (shop.root / "state" / "mail-proxy" / "context.json").write_text("{")
    done = shop("info")
    assert done.code == 1
    assert "mail-proxy use --clear" in done.err
    shop.ok("use", "--clear")
