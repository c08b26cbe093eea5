"""``suspend`` and ``activate``: of the instance, of a tenant, of a batch; what they say, and what it does."""

from __future__ import annotations

import time

import pytest

from tests.support.cli import Cli, QuickCli

EML = "From: shop@example.org\nTo: ann@example.net\nSubject: s\n\nbody\n"
STOPPED = "but not yet, for 'myserver' is not running: mail-proxy start myserver"
INSTANCE_OFF = "but 'myserver' sends nothing for anybody: mail-proxy myserver activate"


@pytest.fixture
def shop(quick: QuickCli, database_url: str) -> QuickCli:
    """Instance 'myserver' on either engine, tenant acme; order-1 is of no batch, order-2 of 'spring'."""
    if "://" in database_url:
        quick.environ["GMP_DATABASE_URL"] = database_url
    quick.instance("myserver")
    fill(quick)
    return quick


def fill(cli: Cli) -> None:
    cli.ok("myserver", "tenants", "add", "acme")
    cli.ok("myserver", "acme", "accounts", "add", "main", "--host", "sandbox")
    cli.ok("myserver", "acme", "send", "-", "--id", "order-1", stdin=EML)
    cli.ok("myserver", "acme", "send", "-", "--id", "order-2", "--batch", "spring", stdin=EML)


def reasons(cli: Cli, message_id: str) -> list[str]:
    explained = cli("myserver", "acme", "messages", "explain", message_id, "--json").json()
    return [each["reason"] for each in explained["reasons"]]


def test_the_instance(shop: QuickCli) -> None:
    """It says what that means, how many messages wait, and what else keeps them."""
    done = shop("myserver", "suspend")
    assert (done.code, done.err) == (0, "")
    assert done.out == "'myserver' sends nothing until it is activated; 2 messages wait\n"
    assert shop("myserver", "info", "--json").json()["active"] is False
    shop.ok("myserver", "acme", "suspend", "--batch", "spring")

    done = shop("myserver", "activate")
    assert (done.code, done.out) == (0, "'myserver' sends what is due; 2 messages wait\n")
    assert done.err.splitlines() == ["tenant 'acme' stays suspended: batch spring", STOPPED]
    assert shop("myserver", "info", "--json").json()["active"] is True


def test_a_tenant(shop: QuickCli) -> None:
    """All of it is held, and goes on, batches that were suspended for themselves too."""
    shop.ok("myserver", "acme", "suspend", "--batch", "spring")
    assert shop.ok("myserver", "acme", "suspend") == "tenant 'acme' is suspended; 2 messages wait\n"
    assert reasons(shop, "order-1")[0] == reasons(shop, "order-2")[0] == "suspended"

    done = shop("myserver", "acme", "activate")
    assert (done.code, done.out) == (0, "tenant 'acme' is no longer suspended; 2 messages wait\n")
    assert done.err.splitlines() == [STOPPED]
    assert reasons(shop, "order-1") == reasons(shop, "order-2") == ["no_running_server"]


def test_a_batch(shop: QuickCli) -> None:
    """Nothing else is held."""
    done = shop("myserver", "acme", "suspend", "--batch", "spring")
    assert done.out == "batch 'spring' of tenant 'acme' is suspended; 1 message waits\n"
    assert reasons(shop, "order-2")[0] == "suspended"
    assert reasons(shop, "order-1") == ["no_running_server"]

    shop.ok("myserver", "acme", "suspend", "--batch", "summer")
    done = shop("myserver", "acme", "activate", "--batch", "spring")
    assert done.out == "batch 'spring' of tenant 'acme' is no longer suspended; 1 message waits\n"
    assert done.err.splitlines() == ["still suspended: batch summer", STOPPED]
    assert reasons(shop, "order-2") == ["no_running_server"]


def test_a_batch_of_a_tenant_that_is_suspended(shop: QuickCli) -> None:
    shop.ok("myserver", "acme", "suspend")
    done = shop("myserver", "acme", "suspend", "--batch", "spring")
    assert (done.code, done.err) == (0, "as before, for all of the tenant is suspended\n")
    done = shop("myserver", "acme", "activate", "--batch", "spring")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: all of tenant 'acme' is suspended: a single batch cannot be activated\n"


def test_a_tenant_of_an_instance_that_is_suspended(shop: QuickCli) -> None:
    """Activating it alone is not enough, and that is said."""
    shop.ok("myserver", "suspend")
    shop.ok("myserver", "acme", "suspend")
    assert shop("myserver", "acme", "activate").err.splitlines() == [INSTANCE_OFF, STOPPED]


@pytest.mark.parametrize("word", ["suspend", "activate"])
@pytest.mark.parametrize("code", ["", "*", "x" * 500, "a\nb"])
def test_what_no_batch_can_be_called_never_means_everything(shop: QuickCli, word: str, code: str) -> None:
    done = shop("myserver", "acme", word, "--batch", code)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert done.err.startswith("Error: --batch: ")
    assert shop("myserver", "tenants", "show", "acme", "--json").json()["suspended_batches"] == []


def test_the_deepest_level_of_the_context_wins(shop: QuickCli) -> None:
    """And a name that is given counts more than the context."""
    shop.environ |= {"MAIL_PROXY_INSTANCE": "myserver", "MAIL_PROXY_TENANT": "acme"}
    assert shop.ok("suspend").startswith("tenant 'acme' is suspended")
    assert shop.ok("activate").startswith("tenant 'acme' is no longer suspended")
    assert shop.ok("suspend", "--batch", "spring").startswith("batch 'spring' of tenant 'acme'")
    assert shop.ok("myserver", "suspend").startswith("'myserver' sends nothing")
    assert shop.ok("--tenant", "acme", "suspend").startswith("tenant 'acme' is suspended")
    del shop.environ["MAIL_PROXY_TENANT"]
    assert shop.ok("activate").startswith("'myserver' sends what is due")


def test_an_unknown_tenant(shop: QuickCli) -> None:
    done = shop("myserver", "acne", "suspend")
    assert (done.code, done.err) == (2, "Error: no tenant 'acne'; did you mean 'acme'?\n")


def test_a_running_server_obeys_at_once(cli: Cli) -> None:
    """What is held stays, the rest leaves; once activated, that leaves too."""
    cli.instance("myserver")
    cli.ok("start", "myserver", "--port", "0")
    cli.ok("myserver", "suspend")
    fill(cli)
    cli.ok("myserver", "acme", "suspend", "--batch", "spring")
    done = cli("myserver", "activate")
    assert done.err == "tenant 'acme' stays suspended: batch spring\n"
    assert _settled(cli, "order-1") == "sent"
    assert cli("myserver", "acme", "messages", "show", "order-2", "--json").json()["status"] == "pending"
    assert cli("myserver", "acme", "activate", "--batch", "spring").err == ""
    assert _settled(cli, "order-2") == "sent"


def _settled(cli: Cli, message_id: str) -> str:
    """Wait until the message waits no longer; its status."""
    end = time.monotonic() + 30
    while True:
        status = str(cli("myserver", "acme", "messages", "show", message_id, "--json").json()["status"])
        if status not in ("pending", "sending") or time.monotonic() > end:
            return status
