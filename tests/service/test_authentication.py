"""Who shows a token: the admin, a tenant, or nobody we know."""

from __future__ import annotations

import pytest

from mail_proxy.encryption import hash_token
from mail_proxy.errors import Unauthorized
from mail_proxy.services.authentication import Principal
from tests.support.services import NOW, Desk, open_desk

ADMIN = "the-admins-token"


async def test_the_admins_token_opens_everything(sqlite_url: str) -> None:
    """It belongs to no tenant."""
    async with open_desk(sqlite_url, GMP_API_TOKEN=ADMIN) as desk:
        principal = await desk.services.authentication.identify(ADMIN)

    assert (principal, principal.is_admin) == (Principal(None), True)


async def test_a_tenants_key_is_its_own(desk: Desk) -> None:
    """It leads to its tenant and to no other."""
    _, key = await desk.services.tenants.create({"id": "beta"})

    principal = await desk.services.authentication.identify(key)

    assert (principal.tenant_id, principal.is_admin) == ("beta", False)


@pytest.mark.parametrize(
    "token", ["", " ", "unknown", "the-admins-toke", "the-admins-token ", "\ud800", "é" * 99]
)
async def test_an_unknown_token(sqlite_url: str, token: str) -> None:
    """Is refused, whatever it is made of."""
    async with open_desk(sqlite_url, GMP_API_TOKEN=ADMIN) as desk:
        with pytest.raises(Unauthorized):
            await desk.services.authentication.identify(token)


async def test_without_an_admin_token_nobody_is_admin(desk: Desk) -> None:
    """An empty token is not the one that is not there."""
    for token in ("", "None"):
        with pytest.raises(Unauthorized):
            await desk.services.authentication.identify(token)


async def test_a_new_key_ends_the_old_one_at_once(desk: Desk) -> None:
    """And a revoked one opens nothing."""
    _, old = await desk.services.tenants.create({"id": "beta"})
    new = await desk.services.tenants.new_api_key("beta")
    assert new != old
    assert (await desk.services.authentication.identify(new)).tenant_id == "beta"
    with pytest.raises(Unauthorized):
        await desk.services.authentication.identify(old)

    await desk.services.tenants.revoke_api_key("beta")
    with pytest.raises(Unauthorized):
        await desk.services.authentication.identify(new)


async def test_a_key_expires(desk: Desk) -> None:
    """At its moment, not before."""
    key = await desk.services.tenants.new_api_key("acme", NOW + 60)

    desk.clock.advance(59)
    assert (await desk.services.authentication.identify(key)).tenant_id == "acme"
    desk.clock.advance(1)
    with pytest.raises(Unauthorized, match="unknown or expired"):
        await desk.services.authentication.identify(key)


async def test_a_hash_is_no_key(desk: Desk) -> None:
    """Who reads the database cannot speak for a tenant."""
    _, key = await desk.services.tenants.create({"id": "beta"})

    with pytest.raises(Unauthorized):
        await desk.services.authentication.identify(hash_token(key))
