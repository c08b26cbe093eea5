"""Trying a storage: against a server that checks each signature, and against what a hostile one may do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from mail_proxy.addresses import AddressPolicy
from mail_proxy.attachments import trial
from mail_proxy.model.storages import Storage, StorageProtocol, StorageTrial
from mail_proxy.net import Resolver, resolve_by_system
from tests.support.s3_server import BUCKET, DROP, HANG, KEY_ID, MISMATCH, SECRET, S3Server, error
from tests.support.services import Desk

SOON = 0.3
METHODS = [
    pytest.param("PUT", "write", id="write"),
    pytest.param("GET", "read", id="read"),
    pytest.param("DELETE", "delete", id="delete"),
]


async def try_storage(
    storage: Storage,
    *,
    allowed: Sequence[str] = (),
    step_wait: float = 10,
    resolve: Resolver = resolve_by_system,
) -> StorageTrial:
    policy = AddressPolicy.of(allowed)
    return await trial.try_storage(storage, policy=policy, step_wait=step_wait, resolve=resolve)


def local(base: Path | str) -> Storage:
    return Storage(
        tenant_id="acme", name="files", protocol=StorageProtocol.LOCAL, config={"base_path": str(base)}
    )


def inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def on_s3(server: S3Server, **config: str) -> Storage:
    """The admin's storage on that server."""
    whole = {
        "bucket": BUCKET,
        "endpoint_url": server.url,
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
        **config,
    }
    return Storage(tenant_id="acme", name="cloud", protocol=StorageProtocol.S3, config=whole)


def outcome(found: StorageTrial) -> dict[str, str | None]:
    return {step.name: step.error for step in found.steps}


WORKS = {"write": None, "read": None, "delete": None}


async def test_a_directory_that_works(desk: Desk, tmp_path: Path) -> None:
    """What was written is gone afterwards, and nothing else is touched."""
    order = tmp_path / "files" / "order.pdf"
    order.parent.mkdir()
    order.write_bytes(b"%PDF")
    found = await desk.services.storage_check.check(local(order.parent))
    assert (outcome(found), found.error, found.left) == (WORKS, None, None)
    assert inside(order.parent) == [order]


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("/nowhere/files", "/nowhere/files: No such file or directory"),
        ("/etc/hostname", "/etc/hostname: Not a directory"),
        ("/proc", "/proc: No such file or directory"),  # nobody creates files there, not even root
    ],
)
async def test_a_directory_that_is_none_or_takes_no_files(base: str, reason: str) -> None:
    found = await try_storage(local(base))
    assert (outcome(found), found.left) == ({"write": reason}, None)


@pytest.mark.parametrize("prefix", [None, "mail/2026", "a b/ü%20/"])
async def test_a_bucket_that_works(desk: Desk, prefix: str | None) -> None:
    """Below the prefix, by requests that are signed, and without leaving anything."""
    async with S3Server().running() as server:
        storage = on_s3(server, **({} if prefix is None else {"prefix": prefix}))
        found = await desk.services.storage_check.check(storage)
    assert (outcome(found), found.left, server.objects) == (WORKS, None, {})
    assert [request.method for request in server.requests] == ["PUT", "GET", "DELETE"]
    assert all(0 <= step.seconds < 10 for step in found.steps)


async def test_nobody_can_guess_the_name_of_what_is_written() -> None:
    async with S3Server().running() as server:
        for _ in range(2):
            await try_storage(on_s3(server, prefix="mail"))
    names = {request.path for request in server.requests}
    assert len(names) == 2
    assert all(len(name.removeprefix(f"/{BUCKET}/mail/{trial.PROBE}")) == 32 for name in names)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"secret_access_key": "another"}, f"403 Forbidden: SignatureDoesNotMatch: {MISMATCH}"),
        ({"access_key_id": "NOBODY"}, f"403 Forbidden: SignatureDoesNotMatch: {MISMATCH}"),
        ({"bucket": "other"}, "404 Not Found: NoSuchBucket: The specified bucket does not exist"),
    ],
)
async def test_what_a_server_refuses_is_told_in_its_words(config: dict[str, str], reason: str) -> None:
    async with S3Server().running() as server:
        found = await try_storage(on_s3(server, **config))
    assert (outcome(found), found.left) == ({"write": reason}, None)


async def test_a_configuration_that_cannot_be_opened() -> None:
    async with S3Server().running() as server:
        found = await try_storage(on_s3(server, prefix="a//b"))
    assert outcome(found) == {"open": 'Could not parse path: Path "a//b" contained empty path segment'}
    assert server.requests == []


async def test_what_cannot_be_read_is_deleted_nevertheless() -> None:
    async with S3Server(
        {"GET": error("500 Oops", "InternalError", "Try\nagain").decode()}
    ).running() as server:
        found = await try_storage(on_s3(server))
    said = "500 Internal Server Error: InternalError: Try again"
    assert (outcome(found), found.left) == ({"write": None, "read": said, "delete": None}, None)
    assert server.objects == {}


async def test_what_cannot_be_deleted_is_named() -> None:
    async with S3Server(
        {"DELETE": error("403 No", "AccessDenied", "Not yours").decode()}
    ).running() as server:
        found = await try_storage(on_s3(server))
    assert outcome(found) == {"write": None, "read": None, "delete": "403 Forbidden: AccessDenied: Not yours"}
    assert [found.left] == list(server.objects)


async def test_other_content_than_was_written_is_no_success() -> None:
    changed = (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: e\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n"
    )
    async with S3Server({"GET": f"{changed}\r\nhi"}).running() as server:
        found = await try_storage(on_s3(server))
    assert outcome(found) == WORKS | {"read": "what was read is not what was written"}


@pytest.mark.parametrize(("method", "step"), METHODS)
async def test_a_server_that_hangs_is_given_up_at_that_step(method: str, step: str) -> None:
    """And the connection with it; what may be there now is named."""
    async with S3Server({method: HANG}).running() as server:
        found = await try_storage(on_s3(server), step_wait=SOON)
        await server.closed.wait()
    assert outcome(found)[step] == f"timed out: no answer within {SOON} s"
    assert (found.left is None) == (step == "read")


@pytest.mark.parametrize(("method", "step"), METHODS)
@pytest.mark.parametrize("answer", [DROP, "SSH-2.0-OpenSSH_9.2\r\n\r\n", "\r\n\r\n\0"])
async def test_a_server_that_hangs_up_or_speaks_something_else(method: str, step: str, answer: str) -> None:
    async with S3Server({method: answer}).running() as server:
        found = await try_storage(on_s3(server))
    assert outcome(found)[step] == "the connection broke, or what came was not HTTP"
    assert (found.left is None) == (step == "read")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n" + "{filler}", id="content"),
        pytest.param("HTTP/1.1 403 No\r\nContent-Length: 3000000\r\n" + "{filler}", id="fault"),
        pytest.param("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n" + "{filler}", id="chunks"),
    ],
)
async def test_what_a_server_says_is_bounded(answer: str) -> None:
    """Before it is in memory."""
    dated = "ETag: e\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n"
    filler = dated + ("20000\r\n" + "x" * 0x20000 + "\r\n" if "chunked" in answer else "x" * 0x20000) * 24
    async with S3Server({"GET": answer.replace("{filler}", filler)}).running() as server:
        found = await try_storage(on_s3(server))
    assert str(outcome(found)["read"]).endswith(" bytes")


async def test_a_long_fault_is_cut() -> None:
    page = "<html>" + "y" * 5000
    said = f"HTTP/1.1 502 Bad\r\nContent-Length: {len(page)}\r\n\r\n{page}"
    async with S3Server({"PUT": said}).running() as server:
        reason = outcome(await try_storage(on_s3(server)))["write"]
    assert str(reason).startswith("502 Bad Gateway: <html>yyy")
    assert len(str(reason)) < 400


async def test_what_a_server_repeats_of_a_secret_is_masked(desk: Desk) -> None:
    words = f"you said {SECRET}, \x1b[31m did you not"
    async with S3Server({"PUT": error("400 No", "InvalidRequest", words).decode()}).running() as server:
        found = await desk.services.storage_check.check(on_s3(server))
    assert found.error == "400 Bad Request: InvalidRequest: you said ***, [31m did you not"


async def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = await try_storage(on_s3(S3Server(port=port)))
    assert outcome(found) == {"write": f"cannot connect to 127.0.0.1:{port}: Connection refused"}
    assert found.left is None


async def test_a_name_that_does_not_resolve() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    found = await try_storage(on_s3(S3Server(), endpoint_url="https://s3.acme.test"), resolve=resolve)
    assert outcome(found) == {"write": "s3.acme.test does not resolve: Name or service not known"}


async def test_a_name_server_that_is_silent() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    found = await try_storage(
        on_s3(S3Server(), endpoint_url="https://s3.acme.test"), resolve=resolve, step_wait=SOON
    )
    assert outcome(found) == {"write": f"cannot connect to s3.acme.test:443 within {SOON} s"}
    assert found.left is None


async def test_a_bucket_behind_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's authorities are believed, and only the server hears what is said."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with S3Server(tls=context).running() as server:
        found = await try_storage(replace(on_s3(server), by_tenant=True), allowed=["127.0.0.1/32"])
    assert outcome(found) == WORKS


async def test_a_certificate_of_an_unknown_authority() -> None:
    """Is not accepted; nothing is said to who shows it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with S3Server(tls=context).running() as server:
        found = await try_storage(on_s3(server))
    assert outcome(found) == {"write": "the certificate of the server was refused: UnknownIssuer"}
    assert server.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:7f00:1]"])
async def test_what_a_tenant_gave_leads_to_no_private_address(host: str) -> None:
    async with S3Server().running() as server:
        storage = replace(on_s3(server, endpoint_url=f"http://{host}:{server.port}"), by_tenant=True)
        found = await try_storage(storage)
    reason = f"{host.strip('[]')} is not a public address; GMP_ALLOWED_NETWORKS can permit private networks"
    assert (outcome(found), server.requests) == ({"write": reason}, [])


async def test_a_tenant_reaches_the_networks_that_are_allowed() -> None:
    """By whichever of the name's addresses is in them."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.1.2.3", "127.0.0.1"]

    async with S3Server().running() as server:
        url = f"http://s3.acme.test:{server.port}"
        storage = replace(on_s3(server, endpoint_url=url), by_tenant=True)
        found = await try_storage(storage, allowed=["127.0.0.0/8"], resolve=resolve)
    assert outcome(found) == WORKS
    assert server.requests[0].headers["host"] == f"s3.acme.test:{server.port}"


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("http", "it leads on to another server, and nothing goes there in clear"),
        ("https", "127.0.0.2 is not a public address; GMP_ALLOWED_NETWORKS can permit private networks"),
    ],
)
async def test_a_redirect_leads_to_no_private_address(scheme: str, reason: str) -> None:
    """The address that it is about is checked as the first one was."""
    async with S3Server(host="127.0.0.2").running() as inner:
        to = f"{scheme}://127.0.0.2:{inner.port}/latest/meta-data"
        moved = f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        async with S3Server({"GET": moved}).running() as server:
            storage = replace(on_s3(server), by_tenant=True)
            found = await try_storage(storage, allowed=["127.0.0.1/32"])
    assert (outcome(found), inner.requests) == (WORKS | {"read": reason}, [])


async def test_what_the_environment_says_of_keys_does_not_mix_with_those_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the machine's session token went to whatever server a tenant names."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION"):
        monkeypatch.setenv(f"AWS_{name}", "of-the-machine")
    async with S3Server().running() as server:
        found = await try_storage(on_s3(server))
    assert outcome(found) == WORKS
    assert "of-the-machine" not in str(server.requests)


async def test_the_machines_own_keys_are_used_where_the_admin_gives_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    async with S3Server().running() as server:
        config = {"bucket": BUCKET, "endpoint_url": server.url}
        found = await try_storage(replace(on_s3(server), config=config))
    assert outcome(found) == WORKS


async def test_a_configuration_that_cannot_be_decrypted_is_not_tried(desk: Desk) -> None:
    storage = replace(local("/srv"), config={}, is_unreadable=True)
    found = await desk.services.storage_check.check(storage)
    assert found.error == "not tried: the stored configuration cannot be decrypted, give it again"
