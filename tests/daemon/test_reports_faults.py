"""An application that misbehaves for a while and recovers has heard of everything, in order.

(Contract: reports.md, "anything else".)
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest

from mail_proxy.callbacks.poster import Poster
from mail_proxy.model.reports import SyncState
from mail_proxy.net import MAX_RESPONSE, TIMEOUT, open_client
from tests.support.application import Answer, Application, full_house
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting
from tests.support.story import LONGEST, Story, broken_promises

HASTE = 0.2
"""Seconds for which the silent ones are waited for here."""

LONGEST_BACKOFF = 300.0
OK = b'{"ok": true}'
FULL = OK + b" " * (MAX_RESPONSE - len(OK))
"""The longest answer that is read."""

PADDED = {"ok": True, "pad": "x" * 1000}
HEAD_END = 150
"""In the body of an answer that is `PADDED`."""


def answers(status: int, **headers: str) -> Answer:
    return Answer(status=status, headers=headers)


REFUSALS = [
    pytest.param(answers(400), "400 Bad Request", id="400"),
    pytest.param(answers(401), "401 Unauthorized; check client_auth", id="401"),
    pytest.param(answers(404), "404 Not Found", id="404"),
    pytest.param(answers(429), "429 Too Many Requests", id="429"),
    pytest.param(answers(500), "500 Internal Server Error", id="500"),
    pytest.param(answers(503), "503 Service Unavailable", id="503"),
    pytest.param(Answer(status=204, body=b""), "204 with something that is not JSON", id="204"),
    pytest.param(Answer(body={"ok": False, "error": "locked"}), "ok: false: locked", id="ok false"),
]
NONSENSE = [
    pytest.param(Answer(body=b""), "not JSON", id="nothing"),
    pytest.param(Answer(body=b"<html>it works</html>"), "not JSON", id="HTML"),
    pytest.param(Answer(body=b'{"ok": true'), "not JSON", id="half of a JSON"),
    pytest.param(Answer(body=b'{"ok": "\xff"}'), "not JSON", id="not UTF-8"),
    pytest.param(Answer(body=b'{"ok": NaN}'), "not JSON", id="NaN"),
    pytest.param(Answer(body=b"[" * 50_000), "not JSON", id="nested without end"),
    pytest.param(Answer(body=[{"ok": True}]), "not an object", id="a list"),
    pytest.param(Answer(body="ok"), "not an object", id="a string"),
    pytest.param(Answer(raw=b"\x00\x01\x02\r\n\r\n"), "broken answer", id="garbage"),
    pytest.param(Answer(raw=b"ok\r\n\r\n"), "broken answer", id="no HTTP"),
    pytest.param(Answer(raw=b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000), "broken answer", id="endless head"),
    pytest.param(
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + OK),
        "broken answer",
        id="chunks that are none",
    ),
]
TOO_MUCH = [
    pytest.param(Answer(body=FULL + b" "), f"more than {MAX_RESPONSE} bytes", id="too long by one"),
    pytest.param(
        Answer(body=FULL + b" ", chunk=60_000), f"more than {MAX_RESPONSE} bytes", id="too long in chunks"
    ),
    pytest.param(
        Answer(body=gzip.compress(FULL), headers={"Content-Encoding": "gzip"}),
        "compressed (gzip) without being asked",
        id="compressed",
    ),
]
CLOSED = [
    pytest.param(Answer(drop=True), "closed the connection without an answer", id="no answer"),
    pytest.param(Answer(drop=True, cut=20), "closed the connection without", id="amid the head"),
    pytest.param(Answer(body=PADDED, drop=True, cut=HEAD_END), "broken answer", id="amid the body"),
    pytest.param(
        Answer(body=PADDED, chunk=10, drop=True, cut=HEAD_END), "broken answer", id="amid the chunks"
    ),
]
SILENCE = [
    pytest.param(Answer(hang=True), id="no answer"),
    pytest.param(Answer(hang=True, cut=20), id="amid the head"),
    pytest.param(Answer(body=PADDED, hang=True, cut=HEAD_END), id="amid the body"),
    pytest.param(Answer(body=PADDED, drip=0.05), id="byte by byte"),
    pytest.param(Answer(body=PADDED, chunk=1, drip=0.05), id="chunk by chunk"),
]
GOOD = [
    pytest.param(Answer(body=FULL), id="1 MiB"),
    pytest.param(Answer(body=FULL, chunk=60_000), id="1 MiB in chunks"),
    pytest.param(Answer(chunk=1), id="a chunk for each byte"),
    pytest.param(Answer(drip=0.001), id="byte by byte"),
    pytest.param(Answer(status=201), id="201"),
    pytest.param(Answer(status=202, body={}), id="ok left out"),
    pytest.param(Answer(body={"ok": None, "stored": 3}), id="ok of no meaning"),
    pytest.param(Answer(body={"ok": True, "error": [], "not_found": [], "queued": 0}), id="with all fields"),
    pytest.param(Answer(closes=True), id="closes without a word"),
    pytest.param(Answer(headers={"Connection": "close"}), id="says that it closes"),
    pytest.param(Answer(raw=b"HTTP/1.0 200 OK\r\n\r\n" + OK), id="HTTP/1.0"),
    pytest.param(
        Answer(raw=b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + OK),
        id="after an interim answer",
    ),
]


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made:
        yield made


@pytest.fixture
async def hasty(desk: Reporting) -> AsyncIterator[Reporting]:
    """A reporter that does not wait for long."""
    async with open_client() as client:
        desk.poster = Poster(client, timeout=HASTE)
        desk.reporter = desk.anew()
        yield desk


async def state(desk: Reporting) -> SyncState:
    states = await desk.rig.store.reports.sync_states()
    return next(each for each in states if each.tenant_id == TENANT)


async def suffer(desk: Reporting, story: Story, reason: str) -> None:
    """Report while more and more happens, and nothing of it is taken, for the reason given."""
    await story.begin()
    for failures in range(1, LONGEST + 1):
        await story.go_on()
        await desk.work()
        found = await state(desk)
        assert (found.failures, found.last_sync_ts) == (failures, None)
        assert reason in str(found.last_error)
        assert found.pending == sum(len(events) for events in story.expected.values())
        desk.rig.time.advance(LONGEST_BACKOFF)


async def recover(desk: Reporting, story: Story) -> None:
    """Report to an application that is well again: all is told, once, and nothing of it is wrong."""
    while await desk.pending():
        before = await desk.pending()
        await desk.work()
        assert await desk.pending() < before
    assert broken_promises([post.entries for post in desk.app.posts], story.expected) == []
    found = await state(desk)
    assert (found.failures, found.last_error, found.last_sync_ts) == (0, None, desk.rig.clock.now())


@pytest.mark.parametrize(("answer", "reason"), [*REFUSALS, *NONSENSE, *TOO_MUCH, *CLOSED])
async def test_what_was_answered_wrongly_is_told_again(desk: Reporting, answer: Answer, reason: str) -> None:
    """Nothing of it counts as told, and why is written down."""
    story = Story(desk.rig)
    desk.app.answer = answer
    await suffer(desk, story, reason)
    assert len(desk.app.posts) == LONGEST
    desk.app.answer = Answer()
    await recover(desk, story)


def test_an_answer_may_take_half_a_minute_and_have_a_mebibyte() -> None:
    """What the other tests here shorten, or rely on."""
    assert (TIMEOUT, MAX_RESPONSE) == (30, 2**20)


@pytest.mark.parametrize("answer", SILENCE)
async def test_what_was_not_answered_in_time_is_told_again(hasty: Reporting, answer: Answer) -> None:
    """Whatever came of the answer: it is the whole exchange that has a time."""
    story = Story(hasty.rig)
    hasty.app.answer = answer
    await suffer(hasty, story, f"did not answer within {HASTE} s")
    hasty.app.answer = Answer()
    await recover(hasty, story)


@pytest.mark.parametrize("answer", GOOD)
async def test_whatever_is_a_yes_is_taken_for_one(desk: Reporting, answer: Answer) -> None:
    """A 2xx with a JSON object in which `ok` is not false, however it comes: no event is told twice."""
    story = Story(desk.rig)
    desk.app.answer = answer
    await story.begin()
    for _ in range(LONGEST):
        await story.go_on()
        await desk.work()
        assert (await state(desk)).failures == 0
        assert await desk.pending() == 0
    assert len(desk.app.posts) == LONGEST
    assert broken_promises([post.entries for post in desk.app.posts], story.expected) == []


async def test_an_application_that_is_not_there_is_told_when_it_is(desk: Reporting) -> None:
    """It comes back on its port."""
    story = Story(desk.rig)
    await desk.app.close()
    await suffer(desk, story, "Connection refused")
    await desk.app.open()
    await recover(desk, story)


async def test_a_machine_that_gives_no_connection_is_not_waited_for(hasty: Reporting) -> None:
    """As one that is switched off, or is behind a firewall."""
    story = Story(hasty.rig)
    await hasty.app.close()
    with full_house(hasty.app.port):
        await suffer(hasty, story, "within")
    await hasty.app.open()
    await recover(hasty, story)


async def test_an_application_that_reads_nothing_is_not_waited_for(hasty: Reporting) -> None:
    """It has given the connection, and does not look at what comes over it."""
    story = Story(hasty.rig)
    hasty.app.is_deaf = True
    await suffer(hasty, story, f"did not answer within {HASTE} s")
    hasty.app.is_deaf = False
    await recover(hasty, story)


async def test_an_application_that_restarts_between_posts_misses_nothing(desk: Reporting) -> None:
    """The connection that was kept is dead, and no post is wasted on it."""
    story = Story(desk.rig)
    await story.begin()
    for _ in range(LONGEST):
        await story.go_on()
        await desk.work()
        assert await desk.pending() == 0
        await desk.app.close()
        await desk.app.open()
    assert (len(desk.app.posts), desk.app.connections) == (LONGEST, LONGEST)
    await recover(desk, story)


async def test_a_kept_connection_that_closes_under_a_post_costs_one_more(desk: Reporting) -> None:
    """The application had had enough of it at the same moment."""
    story = Story(desk.rig)
    desk.app.script = [Answer(), Answer(drop=True)]
    await story.begin()
    await story.go_on()
    await desk.work()
    await story.go_on()
    await desk.work()
    assert (await state(desk)).failures == 1
    await story.go_on()
    desk.rig.time.advance(10)
    await recover(desk, story)
    assert desk.app.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(desk: Reporting, status: int) -> None:
    """Neither to another application nor to another page of this one."""
    async with Application() as elsewhere:
        story = Story(desk.rig)
        desk.app.script = [
            answers(status, Location=f"{where}/there") for where in (elsewhere.url, "", desk.app.url)
        ]
        await suffer(desk, story, "redirects are not followed, set the URL it leads to")
        await recover(desk, story)
        assert (elsewhere.connections, elsewhere.posts) == (0, [])
    assert {post.target for post in desk.app.posts} == {"/mail-proxy/sync"}
