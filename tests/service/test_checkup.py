"""What a check-up finds in an instance's queue, reports, secrets, accounts and senders."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mail_proxy.model.findings import Finding, Level
from mail_proxy.services.checkup import (
    check_domains,
    check_logins,
    check_queue,
    check_reports,
    check_secrets,
    check_senders,
)
from mail_proxy.services.services import Services
from tests.support.api import Api, open_api
from tests.support.dns_server import HOST, DnsServer
from tests.support.smtp_server import SmtpServer
from tests.support.untold import GIVEN_UP, LONG_AGO, REFUSED, happen, mark, run, stand


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The instance, with tenant acme and its account main."""
    async with open_api(database_url) as opened:
        await opened.add_tenant("acme", "main")
        yield opened


def levels(found: list[Finding]) -> dict[tuple[str, str | None], Level]:
    """By what was checked, and of which."""
    return {(each.check, each.subject): each.level for each in found}


def nothing(_count: int) -> None:
    """Nobody looks at how far it has come."""


async def test_of_an_instance_at_rest_all_is_well(api: Api) -> None:
    services = api.runtime.services
    found = [
        *await check_queue(services, is_served=False),
        *await check_reports(services),
        *await check_secrets(services),
        *await check_logins(services, nothing),
    ]
    assert {each.level for each in found} == {Level.OK}
    assert [each.found for each in found] == [
        "no message waits",
        "applications take what they are told",
        "every stored secret can be read",
        "sandbox: mail is kept here",
    ]


async def test_what_waits_needs_a_server(api: Api) -> None:
    await api.queue("acme", ["m1"], account_id="main")
    found = await check_queue(api.runtime.services, is_served=False)
    assert levels(found) == {("queue", None): Level.WARNING}
    assert found[0].found == "1 message to send, and no server runs"
    assert levels(await check_queue(api.runtime.services, is_served=True)) == {("queue", None): Level.OK}


async def test_what_waits_for_long_is_told(api: Api) -> None:
    """Though a server runs."""
    await api.queue("acme", ["m1", "m2"], account_id="main")
    api.clock.ahead = 3600
    [found] = await check_queue(api.runtime.services, is_served=True)
    assert found.level is Level.WARNING
    assert found.found == "2 messages to send; the first has waited for 60 min"


async def test_a_suspended_instance_and_a_resting_account_are_told(api: Api) -> None:
    """With what the account's server said."""
    services = api.runtime.services
    await services.instance.set_active(active=False)
    account = await services.accounts.get("acme", "main")
    await api.runtime.store.circuits.trip(account, "535 no", api.clock.now())
    found = await check_queue(services, is_served=True)
    assert levels(found) == {
        ("active", None): Level.WARNING,
        ("queue", None): Level.OK,
        ("circuit", "acme/main"): Level.WARNING,
    }
    assert found[2].found == "it rests after failures: 535 no"


async def test_applications_that_do_not_take_reports_are_told(api: Api) -> None:
    """Which, how often, and what it said; what was refused, or has nobody to be told; what was given up."""
    services = api.runtime.services
    for tenant in ("beta", "gamma"):
        await api.add_tenant(tenant, "main")
    for tenant in ("acme", "beta"):
        await api.put(f"/tenant/{tenant}", {"client_base_url": "https://app.example.org"})
    await happen(api, "acme", "m1", LONG_AGO)
    await stand(api, "acme", failures=3, last_error="answered 500", next_try_ts=api.clock.now() + 60)
    await happen(api, "beta", "m1", LONG_AGO)
    await mark(api, "beta", "m1", REFUSED, api.clock.now() + 60)
    await happen(api, "gamma", "m1", LONG_AGO)
    found = {each.subject: each for each in await check_reports(services)}
    assert {name: each.level for name, each in found.items()} == {
        "acme": Level.WARNING,
        "beta": Level.WARNING,
        "gamma": Level.NOTE,
    }
    assert found["acme"].found == "its application did not take the last 3 posts: answered 500"
    assert found["beta"].found == "its application did not take 1 of the events it was told"
    assert found["gamma"].found == "it has no application to be told: 1 events wait"
    await mark(api, "gamma", "m1", GIVEN_UP)
    assert levels(await check_reports(services))["given_up", None] is Level.WARNING


async def test_secrets_that_the_key_does_not_open_are_failures(api: Api) -> None:
    """Each by its place; the rest is read."""
    await run(api, "UPDATE accounts SET enc_password = 'ENC:damaged' WHERE id = 'main'")
    await run(api, "UPDATE tenants SET enc_webhook_secret = 'ENC:damaged' WHERE id = 'acme'")
    config = {"bucket": "b", "secret_access_key": "s", "access_key_id": "k"}
    await api.runtime.services.storages.create("acme", {"name": "s", "protocol": "s3", "config": config})
    await run(api, "UPDATE storages SET enc_config = 'ENC:damaged'")
    await api.runtime.services.instance_settings.change_bounce({"bounce_imap_password": "s"})
    await run(api, "UPDATE settings SET value = REPLACE(value, 'ENC:', 'ENC:x') WHERE key = 'instance'")
    found = await check_secrets(api.runtime.services)
    assert {each.subject for each in found} == {"acme/main", "acme", "acme/s", "bounce mailbox"}
    assert {each.level for each in found} == {Level.FAILURE}


async def add(services: Services, server: SmtpServer, account_id: str, **fields: object) -> None:
    await services.accounts.create(
        "acme", {"id": account_id, "host": server.host, "port": server.port, "tls": "none", **fields}
    )


async def test_each_login_is_tried(api: Api) -> None:
    """Of more accounts than are tried at a time, none is left out; a server's refusal is in its own words."""
    services = api.runtime.services
    server = SmtpServer(users={"ann": "right"}, hidden=frozenset({"STARTTLS"}))
    done: list[int] = []
    async with server.running():
        for i in range(7):
            await add(services, server, f"good{i}", user="ann", password="right")
        await add(services, server, "bad", user="ann", password="wrong")
        found = await check_logins(services, done.append)
    by_subject = {each.subject: each for each in found}
    assert len(found) == sum(done) == 9
    assert [name for name, each in by_subject.items() if each.level is not Level.OK] == ["acme/bad"]
    assert by_subject["acme/bad"].level is Level.FAILURE
    assert "535" in by_subject["acme/bad"].found
    assert by_subject["acme/good0"].found == f"{server.host}:{server.port}: the login of ann works"


async def test_the_domains_of_senders_are_asked_about_once_each(api: Api) -> None:
    """What the sandbox keeps concerns no receiver; what has no sender is said to be unknown."""
    services = api.runtime.services
    server, mail = DnsServer({"acme.test": ["v=spf1 -all"], "beta.test": []}), SmtpServer(port=2525)
    await services.accounts.update("acme", "main", {"from_address": "x@kept.test"})
    for i, sender in enumerate(["Bot <bot@Acme.test>", "shop@acme.test", "a@beta.test", None]):
        await add(services, mail, f"a{i}", from_address=sender)
    async with server.running():
        found = await check_senders(services, (), (HOST, server.port))
    assert {each.subject for each in found} == {"acme.test", "beta.test", None}
    assert server.asked.count("_dmarc.acme.test") == 1
    assert found[-1].found == "no from_address, so the domains they send from are not known: acme/a3"


async def test_domains_and_selectors_can_be_named() -> None:
    server = DnsServer({"acme.test": ["v=spf1 -all"], "own._domainkey.acme.test": ["v=DKIM1; p=MIIB"]})
    async with server.running():
        found = await check_domains(["ACME.test.", "acme.test"], ["own"], (HOST, server.port))
    assert [(each.subject, each.check, each.level) for each in found] == [
        ("acme.test", "spf", Level.OK),
        ("acme.test", "dkim", Level.OK),
        ("acme.test", "dmarc", Level.WARNING),
    ]
