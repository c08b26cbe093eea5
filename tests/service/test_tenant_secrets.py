"""What a tenant's own token may do, and that a stored secret goes nowhere but where it was given for."""

from __future__ import annotations

import pytest

from mail_proxy.errors import Forbidden, InvalidInput
from mail_proxy.model.tenants import AuthMethod, ClientAuth
from mail_proxy.services.views import tenant_view
from tests.support.services import Desk

BEARER = {"method": "bearer", "token": "t0ken"}
BASIC = {"method": "basic", "user": "me", "password": "passw0rd"}


async def faults(asked: object) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        await asked  # type: ignore[misc]  # the coroutine of a service
    return {".".join(str(part) for part in fault.loc) for fault in caught.value.faults}


# A tenant's own token


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "New"},
        {"client_base_url": "https://new.example.org"},
        {"client_sync_path": "/new"},
        {"client_attachment_path": "/new"},
        {"client_auth": BASIC},
        {"webhook_secret": "new"},
        {"large_file_config": None},
    ],
)
async def test_what_a_tenant_may_change_of_itself(desk: Desk, fields: dict[str, object]) -> None:
    """Its name, its application, its secrets."""
    changed = await desk.services.tenants.update("acme", fields, by_tenant=True)
    view = tenant_view(changed)
    secret = {"webhook_secret": "***", "client_auth": BASIC | {"password": "***"}}
    assert {name: view[name] for name in fields} == {name: secret.get(name, fields[name]) for name in fields}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"active": False}, "active"),
        ({"rate_limits": {"hourly": 1}}, "rate_limits"),
        ({"api_key_expires_at": 5e9}, "api_key_expires_at"),
        ({"api_key": "mine"}, "api_key"),
        ({"report_nulls": False}, "report_nulls"),
        ({"suspended_batches": ["*"]}, "suspended_batches"),
        ({"active": False, "rate_limits": {"daily": 1}, "report_nulls": True}, "active, rate_limits"),
    ],
)
async def test_what_only_the_admin_may_change(desk: Desk, fields: dict[str, object], named: str) -> None:
    """Then nothing at all is changed."""
    with pytest.raises(Forbidden, match=f"^only the admin token may change {named}$"):
        await desk.services.tenants.update("acme", {"name": "New"} | fields, by_tenant=True)
    assert (await desk.services.tenants.get("acme")).name is None


@pytest.mark.parametrize(
    ("by_tenant", "given", "expected"),
    [
        (True, "https://theirs.example.org", True),
        (True, "https://app.example.org", False),
        (False, "https://theirs.example.org", False),
    ],
)
async def test_who_gave_the_address_is_remembered(
    desk: Desk, by_tenant: bool, given: str, expected: bool
) -> None:
    """A tenant that repeats the admin's address does not make it its own."""
    await desk.services.tenants.update("acme", {"client_base_url": "https://app.example.org"})

    tenant = await desk.services.tenants.update("acme", {"client_base_url": given}, by_tenant=by_tenant)

    assert tenant.by_tenant is expected


async def test_an_address_a_tenant_gave_stays_its_own(desk: Desk) -> None:
    """Whatever the admin changes besides; until the admin gives one."""
    url = {"client_base_url": "https://theirs.example.org"}
    await desk.services.tenants.update("acme", url, by_tenant=True)

    assert (await desk.services.tenants.update("acme", {"name": "x"})).by_tenant
    assert not (await desk.services.tenants.update("acme", url)).by_tenant


# Secrets


@pytest.mark.parametrize(
    ("stored", "given", "expected"),
    [
        (BEARER, {"method": "bearer", "token": "***"}, ClientAuth(method=AuthMethod.BEARER, token="t0ken")),
        (
            BASIC,
            {"method": "basic", "user": "you", "password": "***"},
            ClientAuth(method=AuthMethod.BASIC, user="you", password="passw0rd"),
        ),
        (BASIC, {"method": "none"}, ClientAuth()),
        (BASIC, BEARER, ClientAuth(method=AuthMethod.BEARER, token="t0ken")),
        (
            BEARER,
            BASIC | {"token": "unused"},
            ClientAuth(method=AuthMethod.BASIC, user="me", password="passw0rd"),
        ),
    ],
)
async def test_three_stars_leave_a_secret_as_it_is(
    desk: Desk, stored: dict[str, object], given: dict[str, object], expected: ClientAuth
) -> None:
    """What answers show may be sent back; what a method does not use is not kept."""
    await desk.services.tenants.update("acme", {"client_auth": stored, "webhook_secret": "whsec"})

    tenant = await desk.services.tenants.update("acme", {"client_auth": given, "webhook_secret": "***"})

    assert (tenant.client_auth, tenant.webhook_secret) == (expected, "whsec")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"client_auth": {"method": "bearer", "token": "***"}}, "client_auth"),
        ({"client_auth": {"method": "basic", "user": "u", "password": "***"}}, "client_auth"),
        ({"webhook_secret": "***"}, "webhook_secret"),
    ],
)
async def test_three_stars_without_a_secret(desk: Desk, fields: dict[str, object], field: str) -> None:
    """Stand for nothing: they are not stored as if they were one, neither at creation nor later."""
    words = f"{field}: .* stands for the stored secret, and there is none"
    with pytest.raises(InvalidInput, match=words):
        await desk.services.tenants.update("acme", fields)
    with pytest.raises(InvalidInput, match=words):
        await desk.services.tenants.create({"id": "beta"} | fields)
    with pytest.raises(InvalidInput, match=words):
        await desk.services.tenants.replace({"id": "beta"} | fields)


async def test_replacing_with_three_stars_keeps_the_secret(desk: Desk) -> None:
    """A whole configuration, read and sent back."""
    await desk.services.tenants.create({"id": "beta", "client_auth": BEARER, "webhook_secret": "whsec"})

    masked = {"id": "beta", "client_auth": BEARER | {"token": "***"}, "webhook_secret": "***"}
    tenant, _ = await desk.services.tenants.replace(masked)

    assert (tenant.client_auth.token, tenant.webhook_secret) == ("t0ken", "whsec")


# Repointing


SAME = "https://app.example.org"


@pytest.mark.parametrize(
    "moved",
    [
        "https://evil.example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org.evil.example",
        "https://app.example.org:444/mail-proxy",
    ],
)
@pytest.mark.parametrize("by_tenant", [True, False])
async def test_a_stored_secret_does_not_follow_to_another_server(
    desk: Desk, moved: str, by_tenant: bool
) -> None:
    """Without it, with three stars, or with stars beside something that hides them."""
    await desk.services.tenants.update("acme", {"client_base_url": SAME, "client_auth": BASIC})

    auths: list[dict[str, object]] = [
        {},
        {"client_auth": BASIC | {"password": "***"}},
        {"client_auth": BASIC | {"password": "***", "token": "x"}},
    ]
    for auth in auths:
        given = {"client_base_url": moved, **auth}
        asked = desk.services.tenants.update("acme", given, by_tenant=by_tenant)
        assert await faults(asked) == {"client_auth"}
    tenant = await desk.services.tenants.get("acme")
    assert (tenant.client_base_url, tenant.client_auth.password) == (SAME, "passw0rd")


@pytest.mark.parametrize("same", [SAME, "https://app.example.org:443", "https://APP.example.org/other/path"])
async def test_a_move_within_a_server_keeps_the_secret(desk: Desk, same: str) -> None:
    """The origin is what counts: scheme, host, port."""
    await desk.services.tenants.update("acme", {"client_base_url": SAME, "client_auth": BEARER})

    tenant = await desk.services.tenants.update("acme", {"client_base_url": same})

    assert tenant.client_auth.token == "t0ken"


async def test_a_secret_does_not_follow_by_way_of_nowhere(desk: Desk) -> None:
    """Taking the address away and giving another is a move, too."""
    await desk.services.tenants.update("acme", {"client_base_url": SAME, "client_auth": BEARER})
    await desk.services.tenants.update("acme", {"client_base_url": None})

    asked = desk.services.tenants.update("acme", {"client_base_url": "https://evil.example.org"})

    assert await faults(asked) == {"client_auth"}


async def test_a_move_with_the_secret_given_again(desk: Desk) -> None:
    """Or with none is what it was asked to be."""
    await desk.services.tenants.update("acme", {"client_base_url": SAME, "client_auth": BEARER})
    moved = {"client_base_url": "https://new.example.org"}

    again = {**moved, "client_auth": BEARER | {"token": "new"}}
    assert (await desk.services.tenants.update("acme", again)).client_auth.token == "new"
    none = await desk.services.tenants.update(
        "acme", {"client_base_url": "https://third.example.org", "client_auth": {"method": "none"}}
    )
    assert none.client_auth == ClientAuth()
