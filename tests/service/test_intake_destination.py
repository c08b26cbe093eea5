"""To which tenant and account a message goes (http-api.md, Authentication)."""

from __future__ import annotations

import pytest

from tests.support.services import Desk, message


async def test_the_only_account_is_taken(desk: Desk) -> None:
    """Whatever it is called."""
    assert (await desk.submit(message())).queued == 1


async def test_of_several_accounts_the_one_called_default(desk: Desk) -> None:
    """Without one, the message must say which."""
    await desk.services.accounts.create("acme", {"id": "second", "host": "sandbox"})
    refusal = await desk.refusal(message())
    assert refusal.reason == (
        "account_id: the tenant has several accounts and none is called 'default': say which"
    )

    await desk.services.accounts.create("acme", {"id": "default", "host": "sandbox"})
    await desk.submit(message("a"), message("b", account_id="second"))

    found = [(await desk.services.messages.get("acme", each)).account_id for each in "ab"]
    assert found == ["default", "second"]


async def test_a_tenant_without_accounts(desk: Desk) -> None:
    """Can send nothing."""
    await desk.services.tenants.create({"id": "bare"})

    assert (await desk.refusal(message(), "bare")).reason == "account_id: the tenant has no account"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "default"),
        ({"tenant_id": "acme"}, "acme"),
        ({"account_id": "main"}, "acme"),
        ({"account_id": "shared", "tenant_id": "beta"}, "beta"),
    ],
)
async def test_the_tenant_of_a_message_of_the_admin(
    desk: Desk, fields: dict[str, object], expected: str
) -> None:
    """The one named, else the owner of the account, else `default`."""
    await desk.services.accounts.create("default", {"id": "shared", "host": "sandbox"})
    await desk.services.tenants.create({"id": "beta"})
    await desk.services.accounts.create("beta", {"id": "shared", "host": "sandbox"})

    assert (await desk.submit(message(**fields), tenant_id=None)).rejected == ()
    assert (await desk.services.messages.find("m")).tenant_id == expected


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"tenant_id": "nobody"}, "tenant_id", "no such tenant"),
        (
            {"account_id": "shared"},
            "tenant_id",
            "several tenants have an account 'shared': say which by tenant_id",
        ),
        ({"account_id": "nobody"}, "account_id", "the tenant has no account 'nobody'"),
        ({"tenant_id": "acme", "account_id": "shared"}, "account_id", "the tenant has no account 'shared'"),
    ],
)
async def test_a_destination_that_is_not_clear(
    desk: Desk, fields: dict[str, object], field: str, words: str
) -> None:
    """Nothing is guessed, and no tenant is given another's account."""
    for tenant_id in ("default", "beta"):
        if tenant_id == "beta":
            await desk.services.tenants.create({"id": "beta"})
        await desk.services.accounts.create(tenant_id, {"id": "shared", "host": "sandbox"})

    assert (await desk.refusal(message(**fields), None)).reason == f"{field}: {words}"


async def test_a_tenants_token_speaks_for_its_tenant_alone(desk: Desk) -> None:
    """Naming it is fine; naming another is refused the same, whether it exists or not."""
    await desk.services.tenants.create({"id": "beta"})
    reasons = [(await desk.refusal(message(tenant_id=each))).reason for each in ("beta", "nobody")]

    assert reasons == ["tenant_id: is not the tenant of this token"] * 2
    assert (await desk.submit(message(tenant_id="acme"))).queued == 1


async def test_an_inactive_tenant_is_refused(desk: Desk) -> None:
    """A suspended one is not."""
    await desk.services.tenants.update("acme", {"active": False})

    assert (await desk.refusal(message())).reason == "tenant_id: the tenant is not active"
