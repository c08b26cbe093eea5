"""The live check of an account over HTTP, against real servers (contract: http-api.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mail_proxy.services import account_check
from tests.support.api import Answer, Api, Json, open_api
from tests.support.dovecot import HOST, PASSWORD, USER, Dovecot
from tests.support.imap_server import HANG as IMAP_HANG
from tests.support.imap_server import ImapServer
from tests.support.scripted_server import DROP, HANG, ScriptedServer
from tests.support.smtp_server import SmtpServer, Stage
from tests.support.works import ask

SECRET = "p4ssw0rd-of-the-tests"


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with open_api(sqlite_url) as api:
        await api.add_tenant("acme")
        yield api


def at(server: SmtpServer | ScriptedServer, **fields: object) -> Json:
    """An account of this server, with a login."""
    tls = server.tls if isinstance(server, SmtpServer) else None
    authorities = server.ca_pem if isinstance(server, SmtpServer) and tls else None
    return {
        "id": "main",
        "host": server.host,
        "port": server.port,
        "user": "ann",
        "password": SECRET,
        "tls": tls or "none",
        "tls_ca": authorities,
        **fields,
    }


async def checked(api: Api, account: Json) -> Answer:
    """Store the account, and check it; whatever comes of that, the request was done."""
    stored = await api.post("/account", {"tenant_id": "acme", **account})
    assert stored.status == 200, stored.text
    answer = await api.post("/account/main/test?tenant_id=acme")
    assert (answer.status, answer.body["ok"]) == (200, True), answer.text
    assert SECRET not in answer.text
    return answer


async def smtp_of(api: Api, account: Json) -> Json:
    smtp: Json = (await checked(api, account)).body["smtp"]
    assert set(smtp) == {"ok", "error", "tls", "seconds"}
    assert smtp["ok"] is (smtp["error"] is None)
    return smtp


@pytest.mark.parametrize("tls", [None, "starttls", "ssl"])
async def test_a_login_that_works(api: Api, tls: str | None) -> None:
    """Nothing is sent: the server is asked for a sign of life, and left."""
    server = SmtpServer(tls=tls, users={"ann": SECRET})  # type: ignore[arg-type]  # the three it knows
    async with server.running():
        smtp = await smtp_of(api, at(server))
        await server.wait_closed()
    assert (smtp["ok"], smtp["tls"]) == (True, tls or "none")
    assert 0 <= smtp["seconds"] < 10
    assert (server.logins, server.commands[-2:]) == (1, ["NOOP", "QUIT"])
    assert not any(command.startswith("MAIL") for command in server.commands)


async def test_the_sandbox_always_works(api: Api) -> None:
    answer = await checked(api, {"id": "main", "host": "sandbox"})
    smtp, imap = answer.body["smtp"], answer.body["imap"]
    assert (smtp["ok"], smtp["error"], imap) == (True, None, None)


async def test_a_wrong_password_is_told_in_the_servers_words(api: Api) -> None:
    async with SmtpServer(tls="starttls", users={"ann": "another"}).running() as server:
        smtp = await smtp_of(api, at(server))
        await server.wait_closed()
    assert smtp["error"].startswith("535 5.7.8")


async def test_a_certificate_that_is_not_accepted(api: Api) -> None:
    async with SmtpServer(tls="ssl", users={"ann": SECRET}).running() as server:
        smtp = await smtp_of(api, at(server, tls_ca=None))
        assert smtp["error"].startswith("certificate not accepted")
        assert (await smtp_of(api, at(server, tls_ca=None, tls_verify=False)))["ok"]
        await server.wait_closed()


async def test_a_port_where_nobody_listens(api: Api) -> None:
    async with SmtpServer().running() as server:
        account = at(server)
    error = (await smtp_of(api, account))["error"]
    assert error.startswith("cannot connect: ")
    assert error.endswith(": Connection refused")


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO, Stage.AUTH])
@pytest.mark.parametrize("fault", [HANG, DROP])
async def test_a_server_that_hangs_or_drops(
    api: Api, monkeypatch: pytest.MonkeyPatch, stage: Stage, fault: object
) -> None:
    if fault is HANG:
        monkeypatch.setattr(account_check, "STEP_WAIT", 0.2)
    async with SmtpServer(users={"ann": SECRET}, at={stage: fault}).running() as server:  # type: ignore[dict-item]  # either is a Fault
        smtp = await smtp_of(api, at(server))
        await server.wait_closed()
    assert smtp["error"].startswith("timed out" if fault is HANG else "connection lost")


async def test_a_server_that_logs_in_and_no_more(api: Api) -> None:
    async with SmtpServer(users={"ann": SECRET}, at={Stage.NOOP: DROP}).running() as server:
        smtp = await smtp_of(api, at(server))
        await server.wait_closed()
    assert "NOOP" in smtp["error"]


async def test_the_whole_has_its_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a server is slow at every step; both logins are tried side by side, and end."""
    monkeypatch.setattr(account_check, "WAIT", 0.3)
    async with (
        SmtpServer(users={"ann": SECRET}, at={Stage.AUTH: HANG}).running() as server,
        ImapServer({"LOGIN": IMAP_HANG}).running() as mailbox,
    ):
        async with asyncio.timeout(60):
            answer = await checked(api, at(server, **imap(mailbox.port)))
        await server.wait_closed()
        await mailbox.closed.wait()
    for each in (answer.body["smtp"], answer.body["imap"]):
        assert (each["ok"], each["error"]) == (False, "timed out: it took more than 0.3 s in all")


async def test_a_tenants_slow_servers_hold_up_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has used up its share is told so after a while; the others have their turn at once."""
    monkeypatch.setattr(account_check, "TURN_WAIT", 0.2)
    await api.add_tenant("other", "mine")
    async with SmtpServer(at={Stage.CONNECT: HANG}).running() as server:
        stored = await api.post("/account", {"tenant_id": "acme", **at(server, **imap(server.port))})
        assert stored.status == 200, stored.text
        checks = [
            asyncio.create_task(api.post("/account/main/test?tenant_id=acme"))
            for _ in range(account_check.AT_ONCE)
        ]
        done: set[asyncio.Task[Answer]] = set()
        waiting = set(checks)
        while len(waiting) > account_check.SHARE:
            told, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= told
        for each in done:
            found = each.result().body
            assert [found[name]["error"] for name in ("smtp", "imap")] == [account_check.BUSY] * 2
        assert (await api.post("/account/mine/test")).body["smtp"]["ok"]
        assert not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await server.wait_closed()


def imap(port: int, **fields: object) -> Json:
    """A mailbox that is read without TLS."""
    return {
        "imap_host": HOST, "imap_port": port, "imap_ssl": False, "imap_user": "ann", "imap_password": SECRET,
        **fields,
    }  # fmt: skip


async def test_the_mailbox_is_tried_too(api: Api, dovecot: Dovecot) -> None:
    """Over TLS by default, with the account's own authorities."""
    fields: Json = {
        "id": "main", "host": "sandbox", "tls_ca": dovecot.ca_pem, "imap_host": HOST,
        "imap_port": dovecot.tls_port, "imap_user": USER, "imap_password": PASSWORD,
    }  # fmt: skip
    found = (await checked(api, fields)).body["imap"]
    assert (found["ok"], found["error"], found["tls"]) == (True, None, "ssl")
    answer = await checked(api, {**fields, "imap_folder": "Nowhere"})
    assert (answer.body["imap"]["ok"], answer.body["smtp"]["ok"]) == (False, True)
    assert PASSWORD not in answer.text
    found = (await checked(api, {**fields, "imap_password": None})).body["imap"]
    assert "no password" in found["error"]


@pytest.mark.parametrize("secret", ["p4ssword", "p4'ss\"wörd\\"])
async def test_a_password_that_the_server_repeats_is_not_told(api: Api, secret: str) -> None:
    async with (
        SmtpServer(users={"ann": "another"}, at={Stage.AUTH: f"535 5.7.8 not {secret}"}).running() as server,
        ImapServer(
            {
                "CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK done",
                "AUTHENTICATE": f"{{tag}} NO not {secret}",
            }
        ).running() as mailbox,
    ):
        fields = imap(mailbox.port, imap_password=secret)
        answer = await checked(api, at(server, password=secret, **fields))
        await server.wait_closed()
    assert answer.body["smtp"]["error"] == "535 5.7.8 not ***"
    assert answer.body["imap"]["error"].endswith("not ***")


@pytest.mark.parametrize(("settings", "may"), [({}, False), ({"GMP_ALLOWED_NETWORKS": "127.0.0.0/8"}, True)])
async def test_a_tenants_servers_must_be_public(sqlite_url: str, settings: dict[str, str], may: bool) -> None:
    """Unless the configuration permits their network; nobody learns what listens inside of it."""
    async with (
        open_api(sqlite_url, settings) as api,
        SmtpServer(users={"ann": SECRET}).running() as server,
        ImapServer().running() as mailbox,
    ):
        key = await api.add_tenant("acme")
        await api.post("/account", at(server, **imap(mailbox.port)), token=key)
        answer = await api.post("/account/main/test", token=key)
        for each in (answer.body["smtp"], answer.body["imap"]):
            assert each["ok"] is may, each
            assert may or "is not a public address" in each["error"]
        assert (server.connections, bool(mailbox.lines)) == (int(may), may)
        await server.wait_closed()


async def test_networks_permitted_meanwhile_count(api: Api) -> None:
    """As after SIGHUP, which hands the new configuration on."""
    async with SmtpServer(users={"ann": SECRET}).running() as server:
        key = await api.add_tenant("beta")
        await api.post("/account", at(server), token=key)
        assert not (await api.post("/account/main/test", token=key)).body["smtp"]["ok"]
        fresh = replace(api.runtime.config, allowed_networks=("127.0.0.0/8",))
        api.runtime.services.account_check.reconfigure(fresh)
        assert (await api.post("/account/main/test", token=key)).body["smtp"]["ok"]
        await server.wait_closed()


async def test_accounts_are_found_as_elsewhere(api: Api) -> None:
    key = await api.add_tenant("beta", "main")
    assert (await api.post("/account/main/test")).status == 200
    assert (await api.post("/account/main/test", token=key)).body["smtp"]["ok"]
    await api.add_account("acme", "main")
    assert (await api.post("/account/main/test")).status == 409
    assert (await api.post("/account/absent/test")).status == 404
    assert (await api.post("/account/absent/test", token=key)).status == 404
    for tenant_id in ("acme", "absent"):
        assert (await api.post(f"/account/main/test?tenant_id={tenant_id}", token=key)).status == 401


async def test_passwords_that_cannot_be_decrypted(api: Api) -> None:
    """The check says what is wrong and what to do, and speaks to no server."""
    server = SmtpServer(users={"ann": SECRET})
    async with server.running():
        mailbox = {"imap_host": "localhost", "imap_user": "ann", "imap_password": SECRET}
        assert (await api.post("/account", {"tenant_id": "acme", **at(server), **mailbox})).status == 200
        damage = "UPDATE accounts SET enc_password = 'ENC:AAAA', enc_imap_password = 'ENC:AAAA'"
        await api.runtime.store.database.write(ask, damage)
        checked = (await api.post("/account/main/test?tenant_id=acme")).body
    assert checked["smtp"]["error"] == (
        "the account cannot be used as it is: its password cannot be decrypted: give it again"
    )
    assert checked["imap"]["error"] == "not tried: the stored password cannot be decrypted, give it again"
    assert server.connections == 0
