"""``tenants list|show|add|update|delete|api-key``."""

from __future__ import annotations

import pytest

from tests.support.cli import QuickCli


@pytest.fixture
def a(quick: QuickCli) -> QuickCli:
    """A program with an instance 'a'."""
    quick.instance("a")
    return quick


def test_add_prints_the_key_alone(a: QuickCli) -> None:
    """Standard output holds the API key and nothing else, for whoever keeps it."""
    done = a("a", "tenants", "add", "acme", "--name", "Acme Ltd")
    assert done.code == 0
    assert len(done.out.strip()) == 43
    assert "shown this once" in done.err
    assert done.out.strip() not in a.ok("a", "tenants", "show", "acme")


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (("--name", "Acme è"), {"name": "Acme è", "active": True}),
        (("--inactive",), {"active": False}),
        (("--base-url", "https://acme.test"), {"client_base_url": "https://acme.test"}),
        (
            ("--sync-path", "/s"),
            {"client_sync_path": "/s", "client_attachment_path": "/mail-proxy/attachments"},
        ),
        (
            ("--sync-url", "https://acme.test/s", "--attachment-url", "https://acme.test/f"),
            {
                "client_base_url": "https://acme.test",
                "client_sync_path": "/s",
                "client_attachment_path": "/f",
            },
        ),
        (("--auth-method", "none"), {"client_auth": {"method": "none"}}),
        (("--auth-token", "t"), {"client_auth": {"method": "bearer", "token": "***"}}),
        (
            ("--auth-method", "basic", "--auth-user", "u", "--auth-password", "p"),
            {"client_auth": {"method": "basic", "user": "u", "password": "***"}},
        ),
        (("--webhook-secret", "an own one"), {"webhook_secret": "***"}),
        (("--rate-limit-hourly", "5"), {"rate_limits": {"hourly": 5, "daily": 0}}),
        (("--rate-limit-daily", "9"), {"rate_limits": {"hourly": 0, "daily": 9}}),
    ],
)
def test_options_become_fields(a: QuickCli, options: tuple[str, ...], fields: dict[str, object]) -> None:
    """What was given shows under the API's names, secrets masked."""
    a.ok("a", "tenants", "add", "acme", *options)
    shown = a("a", "tenants", "show", "acme", "--json").json()
    assert {name: shown[name] for name in fields} == fields


def test_the_id_may_be_an_option(a: QuickCli) -> None:
    """--id is an alias of the argument."""
    a.ok("a", "tenants", "add", "--id", "acme")
    assert a("a", "tenants", "show", "acme", "--json").json()["id"] == "acme"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add",), 2, "which id?"),
        (("add", "acme", "--id", "other"), 2, "the id is given twice"),
        (("add", "no spaces"), 2, "ID: must be 1 to 128"),
        (("add", "default"), 1, "default"),
        (("add", "acme", "--base-url", "ftp://x"), 2, "--base-url: must be http://"),
        (("add", "acme", "--sync-path", "relative"), 2, "--sync-path: must begin with '/'"),
        (("add", "acme", "--auth-method", "bearer"), 2, "--auth-method: method bearer needs a token"),
        (("add", "acme", "--auth-method", "bearer", "--auth-user", "u"), 2, "--auth-user does not go with"),
        (("add", "acme", "--auth-token", "t", "--auth-user", "u"), 2, "--auth-token is for bearer"),
        (("add", "acme", "--webhook-secret", "whsec_short"), 2, "--webhook-secret: must have 24 to 64 bytes"),
        (("add", "acme", "--webhook-secret", ""), 2, "--webhook-secret: "),
        (("add", "acme", "--webhook-secret-stdin"), 2, "standard input holds no webhook secret"),
        (("add", "acme", "--webhook-secret", "s", "--no-webhook-secret"), 2, "contradict each other"),
        (("add", "acme", "--name", "two\nlines"), 2, "--name: may not hold control characters"),
        (("update", "default"), 2, "nothing to change"),
        (("update", "nobody", "--name", "x"), 2, "no tenant 'nobody'"),
        (("show", "nobody"), 2, "no tenant 'nobody'"),
        (("delete", "default", "--force"), 1, "cannot be deleted"),
        (("delete", "nobody", "--force"), 2, "no tenant 'nobody'"),
        (("api-key", "default", "--revoke", "--expires-at", "+1d"), 2, "--revoke makes no key"),
        (("api-key", "default", "--expires-at", "soon"), 2, "'soon' is no time"),
        (("api-key", "default", "--expires-at", "-90d"), 2, "--expires-at: that is over already"),
    ],
)
def test_what_is_refused(a: QuickCli, words: tuple[str, ...], code: int, said: str) -> None:
    """One line in terms of the options, and the right exit code."""
    done = a("a", "tenants", *words)
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert said in done.err


def test_update_changes_only_what_it_names(a: QuickCli) -> None:
    """The other half of a limit, and stored credentials, stay."""
    a.ok(
        "a", "tenants", "add", "acme", "--rate-limit-hourly", "5", "--auth-user", "u", "--auth-password", "p"
    )
    a.ok("a", "tenants", "update", "acme", "--rate-limit-daily", "9", "--auth-user", "v", "--inactive")
    shown = a("a", "tenants", "show", "acme", "--json").json()
    assert shown["rate_limits"] == {"hourly": 5, "daily": 9}
    assert shown["client_auth"] == {"method": "basic", "user": "v", "password": "***"}
    assert not shown["active"]


def test_the_secret_of_the_reports(a: QuickCli) -> None:
    """It need not be seen in the list of processes; it stays until it is replaced, or wanted no more."""
    a.ok("a", "tenants", "add", "acme", "--webhook-secret-stdin", stdin="an own one\n")
    for options, shown in [
        (("--name", "Acme"), "***"),
        (("--webhook-secret", "another"), "***"),
        (("--no-webhook-secret",), None),
    ]:
        a.ok("a", "tenants", "update", "acme", *options)
        assert a("a", "tenants", "show", "acme", "--json").json()["webhook_secret"] == shown


def test_list(a: QuickCli) -> None:
    """All tenants, or those that are active; the default one is always there."""
    a.ok("a", "tenants", "add", "acme", "--inactive")
    assert [row["id"] for row in a("a", "tenants", "list", "--json").json()] == ["acme", "default"]
    active = a("a", "tenants", "list", "--active-only", "--json").json()
    assert [row["id"] for row in active] == ["default"]
    assert a.ok("a", "tenants", "list").splitlines()[1].split() == ["acme", "-", "-", "no", "-"]


def test_delete_asks(a: QuickCli) -> None:
    """Without a terminal only --force deletes."""
    a.ok("a", "tenants", "add", "acme")
    assert a("a", "tenants", "delete", "acme").code == 2
    assert a("a", "acme", "info").code == 0
    a.ok("a", "tenants", "delete", "acme", "--force")
    assert a("a", "acme", "info").code == 2


def test_api_key(a: QuickCli) -> None:
    """A new key each time; it may expire, and be revoked."""
    first = a.ok("a", "tenants", "add", "acme")
    second = a.ok("a", "tenants", "api-key", "acme", "--expires-at", "2030-01-01T00:00:00Z")
    assert first != second
    assert a("a", "tenants", "show", "acme", "--json").json()["api_key_expires_at"] == 1893456000
    assert "no API key any more" in a.ok("a", "tenants", "api-key", "acme", "--revoke")


def test_info_of_a_tenant(a: QuickCli) -> None:
    """Its configuration, its accounts, and how many messages it has in which state."""
    a.ok("a", "tenants", "add", "acme")
    shown = a("a", "acme", "info", "--json").json()
    assert (shown["id"], shown["accounts"], shown["pending_messages"]) == ("acme", [], 0)
    assert shown["messages"]["sent"] == 0
