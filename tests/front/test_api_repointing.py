"""A stored secret goes nowhere but where it was given for (contract: security.md, Repointing)."""

from __future__ import annotations

import pytest

from tests.support.api import ADMIN, Api, Json

SECRET = "s3cret-of-these-tests"

ACCOUNT: Json = {
    "id": "main",
    "host": "smtp.example.org",
    "port": 587,
    "user": "ann",
    "password": SECRET,
    "imap_host": "imap.example.org",
    "imap_user": "ann",
    "imap_password": SECRET,
}
TENANT: Json = {
    "client_base_url": "https://app.example.org",
    "client_auth": {"method": "basic", "user": "ann", "password": SECRET},
}
MASKED: Json = {"client_auth": TENANT["client_auth"] | {"password": "***"}}

ACCOUNT_MOVES = [
    ({"host": "evil.example"}, "password"),
    ({"port": 2525}, "password"),
    ({"port": 465}, "password"),
    ({"tls": "none"}, "password"),
    ({"tls": "ssl"}, "password"),
    ({"tls_verify": False}, "password"),
    ({"imap_host": "evil.example"}, "imap_password"),
    ({"imap_host": None}, "imap_password"),
    ({"imap_port": 143}, "imap_password"),
    ({"imap_ssl": False}, "imap_password"),
]
TENANT_MOVES = [
    "https://evil.example",
    "http://app.example.org",
    "https://app.example.org:8443",
    "https://app.example.org.evil.example",
]


@pytest.fixture
async def tokens(api: Api) -> tuple[str, str]:
    """The key of tenant acme, and the admin's token: neither may."""
    return await api.add_tenant("acme"), ADMIN


@pytest.mark.parametrize(("move", "secret"), ACCOUNT_MOVES)
async def test_an_accounts_password_does_not_follow(
    api: Api, tokens: tuple[str, str], move: Json, secret: str
) -> None:
    """A change without it is refused, and so are a change and a replacement that claim to have it."""
    path = "/account/main?tenant_id=acme"
    await api.post("/account?tenant_id=acme", ACCOUNT)
    before = (await api.get(path)).body
    for token in tokens:
        stars = {**move, secret: "***"}
        answers = [
            await api.put(path, move, token=token),
            await api.put(path, stars, token=token),
            await api.post("/account?tenant_id=acme", ACCOUNT | stars, token=token),
        ]
        assert [(each.status, each.fields) for each in answers] == [(422, [secret])] * 3
        assert SECRET not in "".join(each.text for each in answers)
    assert (await api.get(path)).body == before
    kept = await api.runtime.services.accounts.get("acme", "main")
    assert (kept.password, kept.imap_password) == (SECRET, SECRET)

    assert (await api.put(path, {**move, secret: "another"}, token=tokens[0])).status == 200
    assert getattr(await api.runtime.services.accounts.get("acme", "main"), secret) == "another"


async def test_who_replaces_an_account_without_a_password_leaves_none(
    api: Api, tokens: tuple[str, str]
) -> None:
    await api.post("/account?tenant_id=acme", ACCOUNT)
    moved = {"id": "main", "host": "evil.example", "imap_host": "evil.example"}
    assert (await api.post("/account", moved, token=tokens[0])).status == 200
    account = await api.runtime.services.accounts.get("acme", "main")
    assert (account.password, account.imap_password) == (None, None)


@pytest.mark.parametrize("base_url", TENANT_MOVES)
async def test_a_tenants_login_does_not_follow(api: Api, tokens: tuple[str, str], base_url: str) -> None:
    """Nor by way of nowhere."""
    await api.put("/tenant/acme", TENANT)
    for start in (TENANT["client_base_url"], None):
        await api.put("/tenant/acme", {"client_base_url": start})
        for token in tokens:
            for moved in ({"client_base_url": base_url}, {"client_base_url": base_url, **MASKED}):
                answer = await api.put("/tenant/acme", moved, token=token)
                assert (answer.status, answer.fields) == (422, ["client_auth"])
                assert SECRET not in answer.text
        if start is not None:
            kept = await api.runtime.services.tenants.get("acme")
            assert (kept.client_base_url, kept.client_auth.password) == (start, SECRET)

    again = TENANT | {"client_base_url": base_url}
    assert (await api.put("/tenant/acme", again, token=tokens[0])).status == 200


@pytest.mark.parametrize("base_url", TENANT_MOVES)
async def test_nor_does_it_when_the_tenant_is_replaced(api: Api, base_url: str) -> None:
    await api.post("/tenant", {"id": "acme", **TENANT})
    moved = await api.post("/tenant", {"id": "acme", "client_base_url": base_url, **MASKED})
    assert (moved.status, moved.fields) == (422, ["client_auth"])
    assert (await api.get("/tenant/acme")).body["client_base_url"] == TENANT["client_base_url"]


async def test_within_the_same_server_nothing_has_to_be_given_again(
    api: Api, tokens: tuple[str, str]
) -> None:
    token, _ = tokens
    await api.put("/tenant/acme", TENANT, token=token)
    same = {"client_base_url": "https://app.example.org:443/elsewhere", "client_sync_path": "/other"}
    assert (await api.put("/tenant/acme", same, token=token)).status == 200
    await api.post("/account?tenant_id=acme", ACCOUNT, token=token)
    assert (await api.put("/account/main?tenant_id=acme", {"ttl": 60}, token=token)).status == 200
    assert (await api.runtime.services.accounts.get("acme", "main")).password == SECRET
