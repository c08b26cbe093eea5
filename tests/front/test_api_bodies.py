"""Large bodies, all together: they have a bound in memory, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx2
import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from mail_proxy.api.app import create_app
from mail_proxy.api.bodies import READ_AT_A_TIME, SMALL, TURNS, Bodies, Lease
from mail_proxy.api.gate import Gate
from tests.support.api import ADMIN, Api, message, open_api
from tests.support.server import Server

LARGEST = 1024 * 1024
WHOLE = READ_AT_A_TIME * LARGEST
PATH = "/commands/add-messages"


@pytest.fixture
def bodies() -> Bodies:
    """Budgets of a node that has no time to wait."""
    return Bodies(LARGEST, patience=0.01)


@pytest.fixture
def patient() -> Bodies:
    return Bodies(LARGEST, patience=60.0)


async def holding(bodies: Bodies, size: int, holder: str | None = None) -> Lease:
    lease = bodies.lease(holder)
    await lease.hold(size)
    return lease


async def hold_briefly(bodies: Bodies, size: int, holder: str | None = None) -> None:
    with bodies.lease(holder) as lease:
        await lease.hold(size)


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_over_the_budget_is_503(bodies: Bodies) -> None:
    lease = await holding(bodies, WHOLE)
    with pytest.raises(HTTPException) as refused:
        await hold_briefly(bodies, SMALL + 1)
    assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "10"})
    with lease:
        pass
    await hold_briefly(bodies, WHOLE)


async def test_small_ones_neither_wait_nor_count(bodies: Bodies) -> None:
    with await holding(bodies, WHOLE):
        await hold_briefly(bodies, SMALL)
    with bodies.lease(None) as small:
        await small.hold(SMALL)
        await hold_briefly(bodies, WHOLE)


async def test_who_waits_comes_in_the_order_of_asking(patient: Bodies) -> None:
    """A smaller one behind a larger one does not overtake it for ever."""
    came = []

    async def ask(size: int) -> None:
        with patient.lease(None) as lease:
            await lease.hold(size)
            came.append(size)

    first = await holding(patient, WHOLE - LARGEST // 2)
    async with asyncio.TaskGroup() as tasks:
        for size in (WHOLE, LARGEST // 4, LARGEST // 8):
            tasks.create_task(ask(size))
        await settle()
        assert came == []
        with first:
            pass
    assert came == [WHOLE, LARGEST // 4, LARGEST // 8]


async def test_one_tenant_has_half_and_holds_nobody_else_up(bodies: Bodies, patient: Bodies) -> None:
    """However many connections it opens, declaring bodies that never come."""
    with await holding(bodies, WHOLE // 2, "acme"):
        with pytest.raises(HTTPException):
            await hold_briefly(bodies, SMALL + 1, "acme")
        await hold_briefly(bodies, WHOLE // 2, "other")
    with await holding(patient, WHOLE // 2, "acme"):
        waiting = asyncio.create_task(hold_briefly(patient, SMALL + 1, "acme"))
        await settle()
        await hold_briefly(patient, WHOLE // 2, "other")
        assert not waiting.done()
    await waiting


async def test_who_holds_some_does_not_wait_for_more(patient: Bodies) -> None:
    """Two bodies of unknown length would otherwise wait for each other."""
    with (
        await holding(patient, WHOLE - 2 * SMALL),
        await holding(patient, 2 * SMALL) as growing,
        pytest.raises(HTTPException),
    ):
        await growing.hold(3 * SMALL)


async def test_who_stops_waiting_leaves_no_trace(patient: Bodies) -> None:
    with await holding(patient, WHOLE):
        tasks = [asyncio.create_task(hold_briefly(patient, WHOLE)) for _ in range(3)]
        await settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(hold_briefly(patient, WHOLE), 60)


async def test_what_comes_in_the_moment_of_giving_up_is_given_back(patient: Bodies) -> None:
    lease = await holding(patient, WHOLE)
    waiting = asyncio.create_task(hold_briefly(patient, WHOLE))
    await settle()
    with lease:
        pass
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    await asyncio.wait_for(hold_briefly(patient, WHOLE), 60)


async def test_large_ones_are_worked_on_one_by_one(bodies: Bodies) -> None:
    """Another may be read meanwhile: what is worked on has left the budget of reading."""
    with await holding(bodies, LARGEST) as first:
        await first.begin_work()
        await hold_briefly(bodies, WHOLE)
        with await holding(bodies, LARGEST) as second, pytest.raises(HTTPException):
            await second.begin_work()
    with await holding(bodies, LARGEST) as third:
        await third.begin_work()


async def working(bodies: Bodies, count: int, holder: str | None = None) -> list[Lease]:
    leases = [bodies.lease(holder) for _ in range(count)]
    for each in leases:
        await each.begin_work()
    return leases


async def test_those_of_many_values_are_worked_on_a_few_at_a_time(bodies: Bodies) -> None:
    """One tenant has half of the turns."""
    leases = await working(bodies, TURNS // 2, "acme")
    with pytest.raises(HTTPException):
        await working(bodies, 1, "acme")
    leases += await working(bodies, TURNS // 2, "other")
    with pytest.raises(HTTPException):
        await working(bodies, 1)
    for each in leases:
        with each:
            pass
    await working(bodies, TURNS)


def filled(size: int = LARGEST, **fields: object) -> bytes:
    """A body of this size with one message."""
    body = json.dumps({"messages": [message(body="x", **fields)], "padding": ""})
    return body[:-2].encode() + b"p" * (size - len(body)) + b'"}'


class Caller:
    """Speaks ASGI to an application of one's own gate, so that a body can stop in the middle."""

    def __init__(self, api: Api, bodies: Bodies) -> None:
        self.gate = Gate(api.runtime.config, api.clock)
        self.gate.bodies = bodies
        self.app = create_app(api.runtime, gate=self.gate)
        self.asked = 0
        self.starved = asyncio.Event()
        """A request has asked for more than comes."""

    async def call(
        self, *messages: Message | Exception, length: int | None = None, token: str = ADMIN
    ) -> tuple[int, dict[str, str]]:
        """Send one request whose body comes in these pieces, then nothing for ever."""
        headers = [("x-api-token", token), ("content-type", "application/json")]
        if length is not None:
            headers.append(("content-length", str(length)))
        scope = {
            "type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        pieces, answer = iter(messages), dict[str, object]()

        async def receive() -> Message:
            self.asked += 1
            piece = next(pieces, None)
            if piece is None:
                self.starved.set()
                await asyncio.Event().wait()
            if isinstance(piece, Exception):
                raise piece
            assert piece is not None
            return piece

        async def send(event: Message) -> None:
            answer.update(event)

        await self.app(scope, receive, send)
        found = httpx2.Headers(answer["headers"])  # type: ignore[arg-type]  # as ASGI has them
        status = answer["status"]
        assert isinstance(status, int)
        return status, dict(found)


@asynccontextmanager
async def calling(database_url: str, bodies: Bodies) -> AsyncIterator[Caller]:
    async with open_api(database_url, {"GMP_MAX_BODY_MB": "1"}) as api:
        await api.add_account("default", "main")
        yield Caller(api, bodies)


@pytest.fixture
async def caller(sqlite_url: str, bodies: Bodies) -> AsyncIterator[Caller]:
    async with calling(sqlite_url, bodies) as caller:
        yield caller


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


async def test_a_busy_server_answers_503_before_it_reads_and_takes_small_ones(
    caller: Caller, bodies: Bodies
) -> None:
    with await holding(bodies, WHOLE):
        status, headers = await caller.call(piece(filled()), length=LARGEST)
        assert (status, headers["retry-after"], caller.asked) == (503, "10", 0)
        assert (await caller.call(piece(filled(1000)), length=1000))[0] == 200
        assert (await caller.call(piece(filled(1000))))[0] == 200
        chunks = [piece(b" " * SMALL, more=True), piece(b" " * SMALL, more=True)]
        assert (await caller.call(*chunks))[0] == 503


async def test_a_small_body_of_many_values_waits_for_its_turn(caller: Caller, bodies: Bodies) -> None:
    """A thousand of them in memory would be gigabytes; one of few values is taken meanwhile."""
    many = json.dumps({"messages": [message(), *[{}] * 5000]}).encode()
    leases = await working(bodies, TURNS)
    assert len(many) < SMALL
    assert (await caller.call(piece(many), length=len(many)))[0] == 503
    assert (await caller.call(piece(filled(1000)), length=1000))[0] == 200
    for each in leases:
        with each:
            pass
    assert (await caller.call(piece(many), length=len(many)))[0] == 413
    await working(bodies, TURNS)


@pytest.mark.parametrize(
    ("status", "length", "pieces"),
    [
        (200, LARGEST, [piece(filled())]),
        (200, LARGEST, [piece(filled()[:500_000], more=True), piece(filled()[500_000:])]),
        (200, None, [piece(filled()[:500_000], more=True), piece(filled()[500_000:])]),
        (400, LARGEST, [piece(filled(to=""))]),
        (422, LARGEST, [piece(b"[" * LARGEST)]),
        (413, None, [piece(b" " * LARGEST, more=True), piece(b" ")]),
        (413, LARGEST + 1, []),
        (499, LARGEST, [piece(b" " * 500_000, more=True), GONE]),
        (499, None, [piece(b" " * 500_000, more=True), GONE]),
        (500, LARGEST, [RuntimeError("of the server under it")]),
    ],
)
async def test_whatever_becomes_of_a_request_its_memory_is_given_back(
    caller: Caller, bodies: Bodies, status: int, length: int | None, pieces: list[Message | Exception]
) -> None:
    assert (await caller.call(*pieces, length=length))[0] == status
    with await holding(bodies, WHOLE):
        pass
    with await holding(bodies, LARGEST) as lease:
        await lease.begin_work()


async def test_a_request_that_is_cancelled_gives_its_memory_back(caller: Caller, bodies: Bodies) -> None:
    halves = [piece(b" " * 500_000, more=True)]
    request = asyncio.create_task(caller.call(*halves, length=LARGEST))
    await caller.starved.wait()
    with pytest.raises(HTTPException):
        await hold_briefly(bodies, WHOLE)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await hold_briefly(bodies, WHOLE)


async def test_without_a_valid_token_no_body_is_read(caller: Caller, bodies: Bodies) -> None:
    """Nor is memory kept for it."""
    with await holding(bodies, WHOLE):
        for token in ("", "wrong"):
            assert (await caller.call(piece(filled()), length=LARGEST, token=token))[0] == 401
    assert caller.asked == 0


async def test_a_dead_key_gets_no_large_body_read(sqlite_url: str, bodies: Bodies) -> None:
    """Even while this node remembers that it was good."""
    async with open_api(sqlite_url) as api:
        key = await api.add_tenant("acme", "main")
        caller = Caller(api, bodies)
        assert (await caller.call(piece(filled(1000)), length=1000, token=key))[0] == 200
        await api.runtime.store.tenants.set_key("acme", None, None, api.clock.now())
        caller.asked = 0
        assert (await caller.call(piece(filled()), length=LARGEST, token=key))[0] == 401
        assert (await caller.call(piece(filled()), token=key))[0] == 401
    assert caller.asked == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home: Path = tmp_path_factory.mktemp("bodies")
    made = Server(home, settings={"GMP_MAX_BODY_MB": "8", "GMP_START_ACTIVE": "false"}).start()
    made.client().post("/account", {"id": "main", "host": "sandbox"})
    yield made
    made.kill()


def spoken(server: Server, head: str) -> bytes:
    """All that the server says to a head whose body never comes, until it is silent or hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        said = b""
        while b"\r\n\r\n" not in said:
            piece = connection.recv(4096)
            if not piece:
                break
            said += piece
        return said


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\n"])
@pytest.mark.parametrize(("token", "status"), [("", b"401"), ("X-API-Token: wrong\n", b"401")])
def test_a_stranger_is_refused_without_its_body(
    server: Server, expect: str, token: str, status: bytes
) -> None:
    """At once, whether the body would have come or not; it is not asked for."""
    length = 1024 * 1024
    head = f"POST {PATH} HTTP/1.1\nHost: x\n{token}{expect}Content-Length: {length}\n\n"
    assert spoken(server, head).startswith(b"HTTP/1.1 " + status)


def test_who_may_hand_in_is_asked_for_the_body(server: Server) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\nHost: x\nX-API-Token: {server.token}\nExpect: 100-continue\n"
        "Content-Length: 2\n\n"
    )
    assert spoken(server, head).startswith(b"HTTP/1.1 100")


def test_a_declared_length_over_the_limit_is_not_asked_for(server: Server) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\nHost: x\nX-API-Token: {server.token}\nExpect: 100-continue\n"
        "Content-Length: 9000000\n\n"
    )
    assert spoken(server, head).startswith(b"HTTP/1.1 413")


def peak_mb(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_many_large_bodies_at_once_stay_within_bounds(server: Server) -> None:
    """Twenty of the largest, each character of which takes four bytes as text; unbounded they took 550 MB."""
    before = peak_mb(server)
    text = json.dumps({"messages": [message(body="😀" + "x" * 50_000)] * 160}, ensure_ascii=False).encode()

    def send(_: int) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
            headers = {"X-API-Token": server.token, "Content-Type": "application/json"}
            connection.request("POST", PATH, text, headers)
            return connection.getresponse().status

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(send, range(20)))
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    assert peak_mb(server) - before < 256
