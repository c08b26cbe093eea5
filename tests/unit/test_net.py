"""The guarded HTTP client: where it goes, what it sends, how much it reads, and how it fails."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

import pytest
import trustme

from mail_proxy.addresses import AddressPolicy
from mail_proxy.errors import InvalidConfig
from mail_proxy.net import RequestFailed, open_client
from tests.support.application import Answer, Application

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with Application() as application:
        yield application


def resolving_to(*addresses: str) -> tuple[Scripted, list[str]]:
    """A resolver that gives these addresses for every name, and the list of the names it was asked for."""
    resolver = Scripted(addresses)
    return resolver, resolver.asked


class Scripted:
    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.addresses


async def failure(url: str, *, trusted: bool = True, within: float = 5.0, max_response: int = 1000) -> str:
    """Post, and return the one line that says why it failed."""
    async with open_client() as client:
        with pytest.raises(RequestFailed) as failed:
            await client.post_json(url, b"{}", trusted=trusted, timeout=within, max_response=max_response)
    assert "\n" not in str(failed.value)
    return str(failed.value)


async def test_posts_the_document_and_returns_the_answer(app: Application) -> None:
    app.answer = Answer(status=201, body={"ok": True}, headers={"X-Thing": "Ü".encode().decode("latin-1")})
    async with open_client() as client:
        answer = await client.post_json(
            f"{app.url}/a/b?c=d", b'{"x": 1}', trusted=True, headers={"X-One": "1"}
        )
    assert (answer.status, answer.body) == (201, b'{"ok": true}')
    assert answer.headers["content-type"] == "application/json"
    (post,) = app.posts
    assert (post.method, post.target, post.body) == ("POST", "/a/b?c=d", b'{"x": 1}')
    assert post.headers["host"] == f"127.0.0.1:{app.port}"
    assert post.headers["content-type"] == "application/json"
    assert post.headers["x-one"] == "1"
    assert post.headers["user-agent"].startswith("mail-proxy/")
    assert "authorization" not in post.headers


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500, 503])
async def test_returns_any_status_and_follows_no_redirect(app: Application, status: int) -> None:
    app.answer = Answer(status=status, body=b"", headers={"Location": f"{app.url}/elsewhere"})
    async with open_client() as client:
        answer = await client.post_json(f"{app.url}/here", b"{}", trusted=True)
    assert answer.status == status
    assert [post.target for post in app.posts] == ["/here"]


class TestGuard:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "10.0.0.1",
            "224.0.0.1",
            "[fec0::1]",
        ],
    )
    async def test_a_tenant_reaches_no_private_address(self, app: Application, host: str) -> None:
        assert "is not a public address" in await failure(f"http://{host}:{app.port}/", trusted=False)
        assert app.connections == 0

    async def test_names_are_judged_by_what_they_resolve_to(self, app: Application) -> None:
        resolver, _ = resolving_to("10.0.0.1", "127.0.0.1")
        async with open_client(resolve=resolver) as client:
            with pytest.raises(RequestFailed, match=r"^innocent\.example is not a public address") as failed:
                await client.post_json(f"http://innocent.example:{app.port}/", b"{}", trusted=False)
        assert "10.0.0.1" not in str(failed.value)
        assert app.connections == 0

    async def test_allowed_networks_are_reached_by_tenants(self, app: Application) -> None:
        resolver, asked = resolving_to("10.0.0.1", "127.0.0.1")
        async with open_client(LOOPBACK, resolve=resolver) as client:
            await client.post_json(f"http://intranet.example:{app.port}/", b"{}", trusted=False)
        assert app.posts[0].headers["host"] == f"intranet.example:{app.port}"
        assert asked == ["intranet.example"], "the address that was checked is the one connected to"

    async def test_networks_can_be_allowed_later(self, app: Application) -> None:
        """And be taken away: a configuration that is read anew rules the next connection."""
        resolver, _ = resolving_to("127.0.0.1")
        async with open_client(resolve=resolver) as client:
            client.reconfigure(AddressPolicy.of(LOOPBACK))
            await client.post_json(f"http://intranet.example:{app.port}/", b"{}", trusted=False)
            client.reconfigure(AddressPolicy())
            with pytest.raises(RequestFailed, match="not a public address"):
                await client.post_json(f"http://other.example:{app.port}/", b"{}", trusted=False)
        assert len(app.posts) == 1

    async def test_what_the_admin_gave_is_reached_anywhere(self, app: Application) -> None:
        async with open_client() as client:
            answer = await client.post_json(f"http://localhost:{app.port}/", b"{}", trusted=True)
        assert answer.status == 200

    async def test_a_tenant_does_not_ride_on_the_admins_connection(self, app: Application) -> None:
        async with open_client() as client:
            await client.post_json(app.url, b"{}", trusted=True)
            with pytest.raises(RequestFailed, match="is not a public address"):
                await client.post_json(app.url, b"{}", trusted=False)
        assert len(app.posts) == 1

    async def test_the_next_address_is_tried_when_one_refuses(self, app: Application) -> None:
        resolver, _ = resolving_to("127.0.0.2", "127.0.0.1")
        async with open_client(resolve=resolver) as client:
            await client.post_json(f"http://two.example:{app.port}/", b"{}", trusted=True)
        assert len(app.posts) == 1

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "app.example/sync",
            "//app.example/",
            "http:///sync",
            "file:///etc/passwd",
            "ftp://app.example/",
            "ws://app.example/",
            "http://[::1",
            "http://0177.0.0.1/",
            "http://app.example:port/",
            "http://app.example:0/",
            "http://app.example:99999/",
            "http://app.example/\r\nX: 1",
            "http://app.example\x00/",
            "http://user:secret@app.example/",
            "http://app.example\\@10.0.0.1/",
            "http://" + "x" * 70000,
        ],
    )
    async def test_only_plain_http_urls_are_requested(self, url: str) -> None:
        reason = await failure(url)
        assert reason.startswith("the URL is not valid: ")
        assert "secret" not in reason

    async def test_the_environments_proxy_is_not_used(
        self, app: Application, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        async with open_client() as client:
            await client.post_json(app.url, b"{}", trusted=True)
        assert len(app.posts) == 1

    async def test_cookies_are_not_kept(self, app: Application) -> None:
        app.answer = Answer(headers={"Set-Cookie": "session=1; Path=/"})
        async with open_client() as client:
            await client.post_json(app.url, b"{}", trusted=True)
            await client.post_json(app.url, b"{}", trusted=True)
        assert ["cookie" in post.headers for post in app.posts] == [False, False]

    async def test_a_wrong_network_is_refused_at_once(self) -> None:
        with pytest.raises(InvalidConfig, match="'intranet' is not a network"):
            async with open_client(["intranet"]):
                pass


class TestLimits:
    async def test_an_answer_as_long_as_the_limit_is_read(self, app: Application) -> None:
        app.answer = Answer(body=b"x" * 1000)
        async with open_client() as client:
            answer = await client.post_json(app.url, b"{}", trusted=True, max_response=1000)
        assert answer.body == b"x" * 1000

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(body=b"x" * 1001),
            Answer(body=b"x" * 5_000_000),
            Answer(
                raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3e8\r\n" + b"x" * 1000 + b"\r\n" + b"1\r\nx\r\n0\r\n\r\n"
            ),
            Answer(raw=b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001),
        ],
        ids=["one over", "huge", "chunked", "until close"],
    )
    async def test_a_longer_one_is_not(self, app: Application, answer: Answer) -> None:
        app.answer = answer
        assert await failure(app.url) == f"127.0.0.1:{app.port} answered 200 with more than 1000 bytes"

    async def test_nothing_is_decompressed(self, app: Application) -> None:
        app.answer = Answer(body=gzip.compress(bytes(1_000_000)), headers={"Content-Encoding": "gzip"})
        reason = await failure(app.url, max_response=10_000)
        assert reason.endswith("answered 200, compressed (gzip) without being asked")
        assert app.posts[0].headers["accept-encoding"] == "identity"

    async def test_endless_headers_are_not_read(self, app: Application) -> None:
        app.answer = Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)
        assert "gave a broken answer" in await failure(app.url)

    @pytest.mark.parametrize("head", [b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"])
    async def test_endless_provisional_answers_are_not_read(self, app: Application, head: bytes) -> None:
        """One connection could keep a processor busy until the time-out."""
        app.answer = Answer(raw=head * (2_000_000 // len(head)))
        assert await failure(app.url) == f"127.0.0.1:{app.port} gave a broken answer: there is no end of it"

    async def test_some_are_passed_over(self, app: Application) -> None:
        answer = Answer(body=b"x" * 1000).encode()
        app.answer = Answer(raw=b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100 + answer)
        async with open_client() as client:
            assert (await client.post_json(app.url, b"{}", trusted=True)).status == 200

    async def test_each_answer_of_a_connection_may_be_as_long(self, app: Application) -> None:
        app.answer = Answer(body=b"x" * 100_000, headers={"X-Long": "y" * 40_000})
        async with open_client() as client:
            for _ in range(5):
                assert len((await client.post_json(app.url, b"{}", trusted=True)).body) == 100_000
        assert app.connections == 1

    async def test_crumbs_are_not_read_without_end(self, app: Application) -> None:
        """A chunk of one byte costs as much as one of many."""
        app.answer = Answer(body=b"x" * 5000, chunk=1)
        async with open_client() as client:
            answer = await client.post_json(app.url, b"{}", trusted=True, max_response=100_000)
        assert answer.body == b"x" * 5000
        app.answer = Answer(body=b"x" * 5001, chunk=1)
        reason = await failure(app.url, max_response=100_000)
        assert reason == f"127.0.0.1:{app.port} answered 200 in more than 5000 pieces"

    async def test_what_surrounds_the_crumbs_counts(self, app: Application) -> None:
        chunk = b"1;" + b"y" * 10_000 + b"\r\nx\r\n"
        app.answer = Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 500)
        reason = await failure(app.url, max_response=100_000)
        assert reason == f"127.0.0.1:{app.port} gave a broken answer: there is no end of it"

    async def test_silence_ends_with_the_timeout(self, app: Application) -> None:
        app.answer = Answer(hang=True)
        assert await failure(app.url, within=0.05) == f"127.0.0.1:{app.port} did not answer within 0.05 s"

    async def test_the_timeout_is_for_the_whole_answer(self) -> None:
        """A server that sends a byte now and then is no better than a silent one."""

        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.01)
            writer.close()

        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert "did not answer within 0.1 s" in await failure(f"http://127.0.0.1:{port}/", within=0.1)

    async def test_silent_servers_hold_up_no_other(self, app: Application) -> None:
        async with Application(Answer(hang=True)) as silent, open_client() as client:
            waiting = [
                asyncio.ensure_future(client.post_json(silent.url, b"{}", trusted=True)) for _ in range(40)
            ]
            await silent.wait_for(lambda posts: len(posts) == 40)
            answer = await client.post_json(app.url, b"{}", trusted=True)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert answer.status == 200

    async def test_a_connection_is_used_again(self, app: Application) -> None:
        async with open_client() as client:
            for _ in range(3):
                await client.post_json(app.url, b"{}", trusted=True)
        assert app.connections == 1


class TestFailures:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (Answer(drop=True), "closed the connection without an answer"),
            (Answer(raw=b"220 mail.example ESMTP\r\n\r\n"), "gave a broken answer"),
            (Answer(raw=b"\x16\x03\x01\x00"), "gave a broken answer"),
            (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"), "gave a broken answer"),
            (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "gave a broken answer"),
            (
                Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
                "gave a broken answer",
            ),
        ],
    )
    async def test_what_is_no_answer(self, app: Application, answer: Answer, reason: str) -> None:
        app.answer = answer
        assert (await failure(app.url)).startswith(f"127.0.0.1:{app.port} {reason}")

    async def test_connection_refused(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            reason = await failure(f"http://127.0.0.1:{port}/")
        assert reason == f"the connection to 127.0.0.1:{port} failed: Connection refused"

    @pytest.mark.parametrize("trusted", [True, False])
    async def test_a_name_that_does_not_resolve(self, *, trusted: bool) -> None:
        async def resolve(host: str, port: int) -> Sequence[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async with open_client(resolve=resolve) as client:
            with pytest.raises(
                RequestFailed, match=r"^gone\.example does not resolve: Name or service not known$"
            ):
                await client.post_json("http://gone.example/", b"{}", trusted=trusted)

    async def test_a_host_that_is_no_name(self) -> None:
        assert (await failure("http://..example/")) == "..example does not resolve: not a host name"

    @pytest.mark.parametrize(
        "host", ["my_app.xn--p1ai", "a--.xn--a", "}xn--a", ".xn--a", "xn--" + "a" * 1100]
    )
    async def test_a_host_that_only_looks_international(self, host: str) -> None:
        async def resolve(host: str, port: int) -> Sequence[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async with open_client(resolve=resolve) as client:
            with pytest.raises(RequestFailed) as failed:
                await client.post_json(f"http://{host}/", b"{}", trusted=False)
        assert str(failed.value) == f"{host} does not resolve: Name or service not known"

    async def test_closing_ends_what_is_under_way(self, app: Application) -> None:
        app.answer = Answer(hang=True)
        async with open_client() as client:
            task = asyncio.ensure_future(client.post_json(app.url, b"{}", trusted=True))
            await app.wait_for(lambda posts: len(posts) == 1)
        with pytest.raises(RequestFailed, match=r"broke|failed"):
            await task


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


class TestTls:
    @staticmethod
    def server(ca: trustme.CA, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        return context

    @staticmethod
    def trusting(ca: trustme.CA) -> ssl.SSLContext:
        context = ssl.create_default_context()
        ca.configure_trust(context)
        return context

    async def test_a_good_certificate_is_accepted(self, ca: trustme.CA) -> None:
        async with (
            Application(tls=self.server(ca, "127.0.0.1")) as app,
            open_client(tls=self.trusting(ca)) as client,
        ):
            answer = await client.post_json(app.url, b"{}", trusted=True)
        assert answer.status == 200

    async def test_the_name_is_verified_at_the_checked_address(self, ca: trustme.CA) -> None:
        resolver, _ = resolving_to("127.0.0.1")
        async with (
            Application(tls=self.server(ca, "app.example")) as app,
            open_client(LOOPBACK, resolve=resolver, tls=self.trusting(ca)) as client,
        ):
            await client.post_json(f"https://app.example:{app.port}/", b"{}", trusted=False)
            with pytest.raises(RequestFailed, match=r"^the certificate of other\.example:\d+ was refused: "):
                await client.post_json(f"https://other.example:{app.port}/", b"{}", trusted=False)
        assert len(app.posts) == 1

    async def test_a_host_that_tls_does_not_take(self, ca: trustme.CA) -> None:
        resolver, _ = resolving_to("127.0.0.1")
        async with (
            Application(tls=self.server(ca, "app.example")) as app,
            open_client(resolve=resolver, tls=self.trusting(ca)) as client,
        ):
            with pytest.raises(RequestFailed, match=r"^the URL is not valid: "):
                await client.post_json(f"https://.app.example:{app.port}/", b"{}", trusted=True)

    async def test_a_long_answer_holds_up_no_other(self, ca: trustme.CA) -> None:
        """Others have their turn while it is looked through, though all of it is there."""
        async with (
            Application(Answer(body=b"x" * 1_000_000), tls=self.server(ca, "127.0.0.1")) as app,
            open_client(tls=self.trusting(ca)) as client,
        ):
            reading = asyncio.ensure_future(client.post_json(app.url, b"{}", trusted=True))
            turns = 0
            while not reading.done():
                await asyncio.sleep(0)
                turns += 1
        assert turns > 1_000_000 / 16_384

    async def test_an_unknown_authority_is_refused(self, ca: trustme.CA) -> None:
        async with Application(tls=self.server(ca, "127.0.0.1")) as app:
            reason = await failure(app.url)
        assert reason.startswith(f"the certificate of 127.0.0.1:{app.port} was refused: ")
        assert app.posts == []

    async def test_a_server_without_tls(self) -> None:
        async def converse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            reason = await failure(f"https://127.0.0.1:{port}/")
        assert reason.startswith(f"TLS with 127.0.0.1:{port} failed: ")
