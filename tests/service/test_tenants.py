"""Tenants: creating, replacing, changing, what a tenant's own token may do, and where secrets may go."""

from __future__ import annotations

import asyncio
import base64
import re

import pytest

from mail_proxy.errors import Conflict, InvalidInput, NotFound
from mail_proxy.model.tenants import AuthMethod, ClientAuth, RateLimits
from mail_proxy.services.inputs import TenantInput
from mail_proxy.store.tenants import CHUNK
from tests.support.services import NOW, Desk, message

BEARER = {"method": "bearer", "token": "t0ken"}
BASIC = {"method": "basic", "user": "me", "password": "passw0rd"}

FULL = {
    "id": "beta",
    "name": "Beta S.p.A.",
    "client_base_url": "https://app.example.org",
    "client_sync_path": "/sync",
    "client_attachment_path": "/files",
    "client_auth": BEARER,
    "rate_limits": {"hourly": 5, "daily": 50},
    "large_file_config": {"enabled": True},
    "webhook_secret": "whsec",
    "report_nulls": False,
    "active": False,
}


def encoded(size: int) -> str:
    return base64.b64encode(b"k" * size).decode()


async def faults(asked: object) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        await asked  # type: ignore[misc]  # the coroutine of a service
    return {".".join(str(part) for part in fault.loc) for fault in caught.value.faults}


# Creating and replacing


async def test_a_new_tenant_gets_a_key(desk: Desk) -> None:
    """43 characters, shown this once; without configuration it has the defaults."""
    tenant, key = await desk.services.tenants.create({"id": "beta"})

    assert len(key) == 43
    assert (tenant.id, tenant.active, tenant.client_base_url, tenant.client_auth) == (
        "beta", True, None, ClientAuth(),
    )  # fmt: skip
    assert (tenant.client_sync_path, tenant.client_attachment_path) == (
        "/mail-proxy/sync", "/mail-proxy/attachments",
    )  # fmt: skip
    assert tenant.created_at == NOW


async def test_a_whole_tenant(desk: Desk) -> None:
    """Every field."""
    tenant, _ = await desk.services.tenants.create(FULL)

    assert (tenant.name, tenant.client_base_url, tenant.client_sync_path, tenant.client_attachment_path) == (
        "Beta S.p.A.", "https://app.example.org", "/sync", "/files",
    )  # fmt: skip
    assert tenant.client_auth == ClientAuth(method=AuthMethod.BEARER, token="t0ken")
    assert (tenant.rate_limits, tenant.large_file_config) == (
        RateLimits(hourly=5, daily=50),
        {"enabled": True},
    )
    assert (tenant.webhook_secret, tenant.report_nulls, tenant.active) == ("whsec", False, False)


async def test_an_id_is_given_once(desk: Desk) -> None:
    """Creating again is a conflict, replacing is not."""
    with pytest.raises(Conflict, match="tenant 'acme' exists already"):
        await desk.services.tenants.create({"id": "acme"})


async def test_replacing_resets_what_is_left_out(desk: Desk) -> None:
    """Configuration takes its default; key, suspensions and the moment of creation stay."""
    _, key = await desk.services.tenants.replace(FULL)
    assert key is not None
    desk.clock.advance(9)

    tenant, again = await desk.services.tenants.replace({"id": "beta", "name": "New"})

    assert again is None
    assert (tenant.name, tenant.client_base_url, tenant.client_auth, tenant.webhook_secret) == (
        "New", None, ClientAuth(), None,
    )  # fmt: skip
    assert (tenant.active, tenant.report_nulls, tenant.rate_limits) == (True, True, RateLimits())
    assert (tenant.created_at, tenant.updated_at) == (NOW, NOW + 9)
    assert (await desk.services.authentication.identify(key)).tenant_id == "beta"


async def test_replacing_at_once_creates_once(desk: Desk) -> None:
    """Ten requests for a tenant that is not there: one key, no conflict."""
    answers = await asyncio.gather(*(desk.services.tenants.replace({"id": "beta"}) for _ in range(10)))

    assert len([key for _, key in answers if key is not None]) == 1


async def test_changing_touches_only_what_it_names(desk: Desk) -> None:
    """Null empties what may be empty."""
    await desk.services.tenants.create(FULL)

    tenant = await desk.services.tenants.update("beta", {"name": None, "active": True})

    assert (tenant.name, tenant.active, tenant.client_base_url, tenant.client_auth.token) == (
        None, True, "https://app.example.org", "t0ken",
    )  # fmt: skip


async def test_a_change_wakes_dispatch_and_reporting(desk: Desk) -> None:
    """A tenant that is active again, or reachable, does not wait for the back-up poll."""
    desk.bell.rings.clear()
    await desk.services.tenants.update("acme", {"active": True})

    assert desk.bell.rings == [False]


async def test_the_list_may_leave_out_inactive_ones(desk: Desk) -> None:
    """By id."""
    await desk.services.tenants.create(FULL)

    tenants = desk.services.tenants
    assert [each.id for each in await tenants.list()] == ["acme", "beta", "default"]
    assert [each.id for each in await tenants.list(active_only=True)] == ["acme", "default"]


async def test_a_large_tenant_is_deleted_in_steps_that_may_be_taken_up_again(desk: Desk) -> None:
    """Nobody waits for all of it; after the first step nothing of it is taken or sent."""
    await desk.submit(*(message(f"m{number}") for number in range(CHUNK + 1)))
    tenants = desk.runtime.store.tenants
    await tenants.close("acme", NOW)  # and then the server dies
    assert await tenants.empty("acme")
    assert sum(each.count for each in await desk.services.instance.waiting()) == 1
    assert not (await desk.services.tenants.get("acme")).active
    assert [fault.loc for fault in (await desk.refusal(message("late"))).errors] == [("tenant_id",)]

    steps: list[int] = []
    await desk.services.tenants.delete("acme", told=steps.append)
    assert await desk.services.instance.waiting() == []
    assert steps == [1]


async def test_a_tenant_is_deleted_with_its_key(desk: Desk) -> None:
    """But never the one that always exists."""
    await desk.services.tenants.delete("acme")

    for asked in (desk.services.tenants.get("acme"), desk.services.tenants.delete("acme")):
        with pytest.raises(NotFound, match="no tenant 'acme'"):
            await asked
    with pytest.raises(Conflict, match="the tenant 'default' cannot be deleted"):
        await desk.services.tenants.delete("default")


async def test_keys_of_a_tenant_that_is_not_there(desk: Desk) -> None:
    """Are given to nobody."""
    for asked in (desk.services.tenants.new_api_key("none"), desk.services.tenants.revoke_api_key("none")):
        with pytest.raises(NotFound):
            await asked


# Validation


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"id": None}, {"id"}),
        ({"id": ""}, {"id"}),
        ({"id": "no spaces"}, {"id"}),
        ({"id": "-dash"}, {"id"}),
        ({"id": "ünï"}, {"id"}),
        ({"id": "a/b"}, {"id"}),
        ({"id": "x" * 129}, {"id"}),
        ({"id": 7}, {"id"}),
        ({"name": "a\nb"}, {"name"}),
        ({"client_base_url": "app.example.org"}, {"client_base_url"}),
        ({"client_base_url": "ftp://app.example.org"}, {"client_base_url"}),
        ({"client_base_url": "file:///etc/passwd"}, {"client_base_url"}),
        ({"client_base_url": "https://"}, {"client_base_url"}),
        ({"client_base_url": "https://me:pw@app.example.org"}, {"client_base_url"}),
        ({"client_base_url": "https://app.example.org:99999"}, {"client_base_url"}),
        ({"client_base_url": "https://app.example.org:0"}, {"client_base_url"}),
        ({"client_base_url": "https://app.example.org/#x"}, {"client_base_url"}),
        ({"client_base_url": "https://app.example.org/?x=1"}, {"client_base_url"}),
        ({"client_base_url": "https://app example.org"}, {"client_base_url"}),
        ({"client_base_url": "https://app.example.org\r\nX: 1"}, {"client_base_url"}),
        ({"client_base_url": "https://[::1"}, {"client_base_url"}),
        ({"client_sync_path": "sync"}, {"client_sync_path"}),
        ({"client_sync_path": "/a/../b"}, {"client_sync_path"}),
        ({"client_sync_path": "/a/%2e%2E/b"}, {"client_sync_path"}),
        ({"client_sync_path": "/..;/b"}, {"client_sync_path"}),
        ({"client_sync_path": "/a/..%2Fb"}, {"client_sync_path"}),
        ({"client_sync_path": "/a\\..\\b"}, {"client_sync_path"}),
        ({"client_attachment_path": ""}, {"client_attachment_path"}),
        ({"client_auth": "bearer"}, {"client_auth"}),
        ({"client_auth": {"method": "digest"}}, {"client_auth.method"}),
        ({"client_auth": {"method": "bearer"}}, {"client_auth"}),
        ({"client_auth": {"method": "basic", "user": "me"}}, {"client_auth"}),
        ({"client_auth": {"method": "basic", "user": "a:b", "password": "p"}}, {"client_auth.user"}),
        ({"client_auth": {"method": "bearer", "token": "a\nb"}}, {"client_auth.token"}),
        ({"client_auth": {"method": "bearer", "token": ""}}, {"client_auth.token"}),
        ({"rate_limits": {"hourly": -1, "daily": "x"}}, {"rate_limits.hourly", "rate_limits.daily"}),
        ({"rate_limits": {"hourly": True}}, {"rate_limits.hourly"}),
        ({"rate_limits": {"daily": 10**12}}, {"rate_limits.daily"}),
        ({"large_file_config": []}, {"large_file_config"}),
        ({"large_file_config": {"a": "\ud800"}}, {"large_file_config"}),
        ({"large_file_config": {"a": "x" * 20_000}}, {"large_file_config"}),
        ({"webhook_secret": ""}, {"webhook_secret"}),
        ({"webhook_secret": "a\0"}, {"webhook_secret"}),
        ({"webhook_secret": "\ud800"}, {"webhook_secret"}),
        ({"webhook_secret": "x" * 4097}, {"webhook_secret"}),
        ({"webhook_secret": "whsec_"}, {"webhook_secret"}),
        ({"webhook_secret": "whsec_not of base64, but of another kind"}, {"webhook_secret"}),
        ({"webhook_secret": "whsec_" + "A" * 28}, {"webhook_secret"}),
        ({"webhook_secret": "whsec_" + "A" * 88}, {"webhook_secret"}),
        ({"active": "yes"}, {"active"}),
        ({"active": 1}, {"active"}),
        ({"report_nulls": None}, {"report_nulls"}),
        (
            {"id": None, "name": 7, "active": 7, "client_sync_path": 7},
            {"id", "name", "active", "client_sync_path"},
        ),
    ],
)
async def test_a_fault_names_its_field(desk: Desk, fields: dict[str, object], faulty: set[str]) -> None:
    """All at once; nothing is created."""
    assert await faults(desk.services.tenants.create({"id": "beta"} | fields)) == faulty
    assert [each.id for each in await desk.services.tenants.list()] == ["acme", "default"]


@pytest.mark.parametrize("raw", [None, [], "beta", 7])
async def test_what_is_no_configuration_at_all(desk: Desk, raw: object) -> None:
    """Said of the whole."""
    with pytest.raises(InvalidInput, match=r"^must be an object$"):
        await desk.services.tenants.create(raw)  # type: ignore[arg-type]  # what a caller may hand in


@pytest.mark.parametrize(
    "secret", ["s", "whsec", "WHSEC_a", "è" * 4096, *("whsec_" + encoded(size) for size in (24, 25, 63, 64))]
)
async def test_what_can_be_a_webhook_secret(desk: Desk, secret: str) -> None:
    """A key as Standard Webhooks writes it, or any line of text; the API's description agrees."""
    tenant = await desk.services.tenants.update("acme", {"webhook_secret": secret})
    assert tenant.webhook_secret == secret
    described = TenantInput.model_json_schema()["properties"]["webhook_secret"]["anyOf"][0]
    assert re.search(described["pattern"], secret)
    assert [size for size in (1, 23, 65) if re.search(described["pattern"], "whsec_" + encoded(size))] == []


async def test_a_refusal_does_not_repeat_a_secret(desk: Desk) -> None:
    """It may end in a log."""
    given = {
        "id": "beta",
        "webhook_secret": "s3cret\n",
        "client_auth": {"method": "bearer", "token": "s3cret\0"},
    }
    with pytest.raises(InvalidInput) as caught:
        await desk.services.tenants.create(given)

    assert "s3cret" not in str(caught.value)
