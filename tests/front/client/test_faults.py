"""The Python client, in both its kinds, when a server does not answer as it should: a scripted one."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mail_proxy.client import (
    ApiError,
    MailProxyClientError,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from tests.support.application import Answer, Application
from tests.support.python_client import Driver, Kind, driven

HEALTHY = Answer(body={"ok": True, "status": "ok", "version": "9", "database": "ok"})
DROPPED = Answer(drop=True)
LATER = Answer(status=503, body={"ok": False, "error": "later"}, headers={"Retry-After": "0"})
LETTER = {"id": "m1", "to": "ann@example.test"}


@pytest.fixture
async def server() -> AsyncIterator[Application]:
    async with Application(HEALTHY) as running:
        yield running


@pytest.fixture
async def client(kind: Kind, server: Application) -> AsyncIterator[Driver]:
    async with driven(kind, server.url, token="a-token") as driver:
        yield driver


async def test_a_server_that_is_down_is_told_as_that(kind: Kind) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with driven(kind, url, retries=0) as driver:
            with pytest.raises(Unreachable, match=f"^{re.escape(url)} did not answer: .*refused") as caught:
                await driver(driver.client.health)
    assert not caught.value.was_sent
    assert not isinstance(caught.value, TimedOut)


@pytest.mark.parametrize(
    "answer", [Answer(hang=True), Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")]
)
async def test_a_server_that_never_answers_is_given_up(
    kind: Kind, server: Application, answer: Answer
) -> None:
    """After the time-out, as a TimeoutError too, and without asking again; half an answer is none."""
    server.answer = answer
    async with driven(kind, server.url, timeout=0.5 if answer.hang else 10, retries=0) as driver:
        with pytest.raises(Unreachable) as caught:
            await driver(driver.client.health)
    assert caught.value.was_sent
    assert isinstance(caught.value, TimeoutError) is answer.hang
    assert len(server.posts) == 1


async def test_a_time_out_is_not_repeated(kind: Kind, server: Application) -> None:
    server.answer = Answer(hang=True)
    async with driven(kind, server.url, timeout=0.5, retries=5) as driver:
        with pytest.raises(TimedOut, match=r"did not answer in 0\.5 s"):
            await driver(driver.client.health)
    assert len(server.posts) == 1


@pytest.mark.parametrize("fault", [DROPPED, LATER], ids=["dropped", "503"])
async def test_what_is_safe_to_repeat_is_repeated(client: Driver, server: Application, fault: Answer) -> None:
    """Reading, and handing in: the id tells the server that it is the same message."""
    server.script = [fault, fault]
    assert (await client(client.client.health)).version == "9"
    assert len(server.posts) == 3

    server.script = [fault, Answer(body={"ok": True, "queued": 1, "rejected": []})]
    assert (await client(client.client.messages.enqueue, LETTER)).queued == 1
    assert server.posts[-1] == server.posts[-2]


@pytest.mark.parametrize("fault", [DROPPED, LATER], ids=["dropped", "503"])
async def test_what_is_not_safe_to_repeat_is_not(client: Driver, server: Application, fault: Answer) -> None:
    """A new key would be told to nobody, were its answer lost and another made."""
    for method in (client.client.tenants.create, client.client.tenants.new_api_key):
        server.script = [fault]
        with pytest.raises(MailProxyClientError):
            await client(method, "acme")
    assert len(server.posts) == 2


async def test_repeating_comes_to_an_end(kind: Kind, server: Application) -> None:
    server.answer = LATER
    for retries in (0, 1):
        async with driven(kind, server.url, retries=retries) as driver:
            server.posts.clear()
            with pytest.raises(ApiError, match="later") as caught:
                await driver(driver.client.health)
            assert len(server.posts) == retries + 1
            assert caught.value.retry_after == 0


@pytest.mark.parametrize(
    ("status", "retry_after"), [(503, None), (503, "86400"), (429, "1"), (500, "1"), (503, "Sat, 1 Jan 2050")]
)
async def test_only_a_503_that_is_soon_over_is_waited_for(
    client: Driver, server: Application, status: int, retry_after: str | None
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    server.script = [Answer(status=status, body={"ok": False, "error": "no", "detail": "x"}, headers=headers)]
    with pytest.raises(ApiError) as caught:
        await client(client.client.health)
    assert (caught.value.status, caught.value.error, caught.value.detail) == (status, "no", "x")
    assert caught.value.retry_after == (float(retry_after) if retry_after and retry_after.isdigit() else None)
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>Welcome</html>"),
        Answer(body=b""),
        Answer(body=[]),
        Answer(body={"status": "ok"}),
        Answer(body={"ok": True}),
        Answer(status=302, headers={"Location": "/elsewhere"}),
        Answer(status=204),
        Answer(headers={"Content-Encoding": "gzip"}),
    ],
    ids=lambda answer: f"{answer.status} {answer.body!r} {dict(answer.headers)}",
)
async def test_what_is_not_mail_proxy_is_told_as_that(
    client: Driver, server: Application, answer: Answer
) -> None:
    """Redirects are not followed: whither the token would go is not the server's to say."""
    server.answer = answer
    with pytest.raises(UnexpectedAnswer):
        await client(client.client.health)
    assert len(server.posts) == 1


async def test_a_refusal_by_something_in_between_is_one_all_the_same(
    client: Driver, server: Application
) -> None:
    server.answer = Answer(status=502, body=b"<html>Bad Gateway</html>")
    with pytest.raises(ApiError) as caught:
        await client(client.client.health)
    assert (caught.value.status, caught.value.detail, caught.value.faults) == (502, None, ())


async def test_what_a_newer_server_adds_is_passed_over(client: Driver, server: Application) -> None:
    health = {"ok": True, "status": "busy", "version": "99", "database": "ok", "mood": ["good"]}
    server.answer = Answer(body=health)
    assert (await client(client.client.health)).status == "busy"

    server.answer = Answer(body={"ok": True, "status": "ok", "version": "0"})
    with pytest.raises(UnexpectedAnswer, match="'database'"):
        await client(client.client.health)


async def test_connections_are_kept(client: Driver, server: Application) -> None:
    for _ in range(3):
        await client(client.client.health)
    assert (len(server.posts), server.connections) == (3, 1)


async def test_the_server_may_lie_below_a_path(kind: Kind, server: Application) -> None:
    """As behind a proxy that serves other things too."""
    for url in (f"{server.url}/mail", f"{server.url}/mail/"):
        async with driven(kind, url) as driver:
            await driver(driver.client.health)
    assert [post.target for post in server.posts] == ["/mail/health"] * 2


async def test_the_token_and_a_name_are_sent(client: Driver, server: Application) -> None:
    await client(client.client.health)
    [post] = server.posts
    assert post.headers["x-api-token"] == "a-token"
    assert post.headers["user-agent"].startswith("mail-proxy-client/")


def command(number: int, **more: Any) -> dict[str, Any]:
    return {"command_id": number, "ts": 1, "endpoint": "POST /account", "path": "/account", **more}


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in values)


async def test_an_export_is_parted_by_line_feeds_alone(client: Driver, server: Application) -> None:
    """What else Unicode has for line ends is content."""
    server.answer = Answer(body=lines(command(1, path="/\u2028\x85\x1c\r"), command(2, status=200)))
    first, second = await client.all(client.client.command_log.export)
    assert (first.path, second.status) == ("/\u2028\x85\x1c\r", 200)


async def test_an_export_that_breaks_off_is_not_taken_for_the_whole(
    client: Driver, server: Application
) -> None:
    """Whether the server says so in a last line, or goes away in the middle."""
    server.answer = Answer(body=lines(command(1), {"ok": False, "error": "the database is away"}))
    with pytest.raises(Unreachable, match="broke off: the database is away"):
        await client.all(client.client.command_log.export)

    server.answer = Answer(body=lines(command(1))[:-1])
    with pytest.raises(Unreachable, match="in the middle of a line"):
        await client.all(client.client.command_log.export)

    server.answer = Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + lines(command(1)))
    with pytest.raises(Unreachable):
        await client.all(client.client.command_log.export)
