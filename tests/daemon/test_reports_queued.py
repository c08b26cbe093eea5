"""An application that has more to submit is posted to as fast as it answers, while something comes of it.

(Contract: reports.md, `queued`.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tests.support.application import Answer, Post
from tests.support.dispatching import TENANT
from tests.support.pacing import Pacing, pacing

POLL = 600.0
ROUNDS = 10
"""Posts in a row of which nothing comes, before they become rare."""


class Submitting:
    """An application with `left` messages, of which it submits one, in its own way, before each answer."""

    def __init__(self, app: Pacing, left: int, tenant_id: str = TENANT) -> None:
        self._app = app
        self._tenant_id = tenant_id
        self._submitted = 0
        self.left = left

    async def __call__(self, post: Post) -> Answer:
        self._app(post)
        if self.left:
            self.left -= 1
            self._submitted += 1
            await self._app.desk.rig.queue(f"{post.at}-{self._submitted}", tenant_id=self._tenant_id)
        return queued(self.left)


def queued(count: object) -> Answer:
    return Answer(body={"ok": True, "queued": count})


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Pacing]:
    async with pacing(database_url) as made:
        made.desk.reporter = made.desk.anew(send_loop_interval=POLL)
        yield made


async def test_while_it_submits_it_is_posted_to_as_fast_as_it_answers(app: Pacing) -> None:
    """Thirty messages, and not a second passes; then nothing until the next heartbeat."""
    app.desk.app.answer = submitting = Submitting(app, left=30)
    await app.run_now(app.key)
    assert (submitting.left, app.heard) == (0, [(app.now, 0)] * 30)
    await app.pass_until(app.now + 299)
    assert len(app.heard) == 30


async def test_an_answer_to_news_counts_likewise(app: Pacing) -> None:
    app.desk.app.answer = Submitting(app, left=5)
    await app.happen("m1", "deferred", "sent")
    await app.desk.work()
    assert app.heard == [(app.now, 2), *[(app.now, 0)] * 4]


async def test_one_that_submits_nothing_is_posted_to_less_and_less(app: Pacing) -> None:
    """After ten rounds: pauses grow to the interval, and no more than that is made of it."""
    app.answer = queued(3)
    await app.run_now(app.key)
    assert app.heard == [(app.now, 0)] * ROUNDS
    moments = [app.now]
    await app.pass_until(app.now + 3600)
    moments += [moment for moment, _ in app.heard[ROUNDS:]]
    pauses = [round(later - earlier) for earlier, later in pairwise(moments)]
    assert pauses == [10, 20, 40, 80, 160, *[300] * 10]


@pytest.mark.parametrize("old", [(), ("old",)], ids=["the first ever", "after others"])
async def test_it_goes_on_at_once_when_messages_come(app: Pacing, old: tuple[str, ...]) -> None:
    """The first post after that shows it: ten rounds more."""
    for each in old:
        await app.desk.rig.queue(each)
    app.answer = queued(3)
    await app.run_now(app.key)
    await app.pass_until(app.now + 25)
    assert len(app.heard) == ROUNDS + 1
    await app.desk.rig.queue("new")
    await app.pass_until(app.now + 10)
    assert len(app.heard) == ROUNDS + 1 + 1 + ROUNDS


async def test_messages_of_others_are_not_its_own(app: Pacing) -> None:
    """However many another tenant submits meanwhile."""
    await app.desk.add_tenant("other", None)
    app.desk.app.answer = Submitting(app, left=100, tenant_id="other")
    await app.run_now(app.key)
    assert len(app.heard) == ROUNDS


async def test_a_round_with_news_is_one_of_the_ten(app: Pacing) -> None:
    """What happens to old messages is not submitting; it is told at once all the same."""
    app.answer = queued(1)
    await app.happen("m1", "deferred")
    await app.desk.work()
    assert app.heard == [(app.now, 1), *[(app.now, 0)] * (ROUNDS - 1)]
    await app.happen("m1", "sent")
    await app.desk.work()
    assert app.heard[ROUNDS:] == [(app.now, 1)]


async def test_who_has_no_more_is_forgiven(app: Pacing) -> None:
    """The next time that it has, there are ten rounds again."""
    app.answer = queued(1)
    await app.run_now(app.key)
    app.answer = queued(0)
    await app.pass_until(app.now + 310)
    heard, app.answer = len(app.heard), queued(1)
    await app.run_now(app.key)
    assert len(app.heard) == heard + ROUNDS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "count", [0, -1, None, "many", [], True, 0.4, pytest.param(10**400, id="more than there can be")]
)
async def test_a_number_that_is_none_is_nothing(app: Pacing, count: object) -> None:
    app.answer = queued(count)
    await app.run_now(app.key)
    assert len(app.heard) == 1
