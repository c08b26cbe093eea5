"""The way out of what speaks to object stores: only for who knows its password, to what is permitted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from mail_proxy.addresses import AddressPolicy
from mail_proxy.attachments.gate import Gate
from mail_proxy.net import resolve_by_system
from tests.support.s3_server import S3Server


def new_gate(allowed: Sequence[str] = (), limit: int = 100_000) -> Gate:
    return Gate(AddressPolicy.of(allowed), resolve_by_system, limit)


async def asked(gate: Gate, request: str) -> bytes:
    """What is answered until the connection ends; `{key}` in the request is the gate's own."""
    url = urlsplit(gate.url)
    key = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    with contextlib.closing(writer):
        writer.write(request.replace("{key}", key).encode("latin-1"))
        return await reader.read()


@pytest.mark.parametrize("authorization", ["", "Proxy-Authorization: Basic bWFpbC1wcm94eTo=\r\n"])
@pytest.mark.parametrize("first", ["CONNECT 127.0.0.1:{port}", "GET http://127.0.0.1:{port}/x"])
async def test_others_on_the_machine_get_nowhere(first: str, authorization: str) -> None:
    async with S3Server().running() as server, new_gate(["127.0.0.0/8"]).opened() as gate:
        request = f"{first.replace('{port}', str(server.port))} HTTP/1.1\r\n{authorization}\r\n"
        assert (await asked(gate, request)).startswith(b"HTTP/1.1 407 ")
    assert server.requests == []


@pytest.mark.parametrize(
    "first",
    [
        "GET / HTTP/1.1", "GET ftp://127.0.0.1/ HTTP/1.1", "GET http:///x HTTP/1.1", "CONNECT :443 HTTP/1.1",
        "CONNECT 127.0.0.1:99999 HTTP/1.1", "CONNECT [::1 HTTP/1.1", "GET", "\xff\xfe a b", "",
    ],
)  # fmt: skip
async def test_what_is_no_request_of_a_proxys_client_gets_nowhere(first: str) -> None:
    async with new_gate(["127.0.0.0/8"]).opened() as gate:
        answer = await asked(gate, f"{first}\r\nProxy-Authorization: Basic {{key}}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 407 ")


async def test_a_head_without_end_is_not_kept() -> None:
    async with new_gate().opened() as gate:
        with contextlib.suppress(ConnectionResetError):
            assert await asked(gate, "GET http://a/ HTTP/1.1\r\nX: " + "y" * 200_000) == b""


async def test_plain_requests_are_passed_on_as_servers_expect_them() -> None:
    """Without what concerned the gate alone."""
    async with S3Server().running() as server, new_gate(["127.0.0.0/8"]).opened() as gate:
        lines = (
            f"GET http://127.0.0.1:{server.port}/files/a?b=c HTTP/1.1",
            "Proxy-Authorization: Basic {key}",
            "Connection: keep-alive",
            "X-Amz-Date: now",
            "Host: s3.acme.test",
            "",
            "",
        )
        url = urlsplit(gate.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        with contextlib.closing(writer):
            key = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
            writer.write("\r\n".join(lines).replace("{key}", key).encode())
            assert await reader.readline() == b"HTTP/1.1 403 Forbidden\r\n"
    [request] = server.requests
    assert (request.method, request.path) == ("GET", "/files/a?b=c")
    assert request.headers == {"x-amz-date": "now", "host": "s3.acme.test", "connection": "close"}


@pytest.mark.parametrize("target", ["127.0.0.1:{port}", "[::ffff:7f00:1]:{port}", "169.254.169.254:80"])
async def test_a_tunnel_leads_to_no_address_that_is_not_permitted(target: str) -> None:
    async with S3Server().running() as server, new_gate().opened() as gate:
        where = target.replace("{port}", str(server.port))
        answer = await asked(gate, f"CONNECT {where} HTTP/1.1\r\nProxy-Authorization: Basic {{key}}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert "is not a public address" in str(gate.fault)
