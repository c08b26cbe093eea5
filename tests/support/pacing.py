"""A tenant's application over hours of a clock that the test moves, with the API beside the reporter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.api import Caller, Json, caller_of
from tests.support.application import Answer, Post
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting

STEP = 0.001
"""Seconds by which the clock is set beyond a moment, at least."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A post, when it came, and what was answered."""

    at: float
    post: Post
    answer: Answer


@dataclass(slots=True)
class Pacing:
    """The application answers `answer` and keeps a `log`; `key` is the tenant's token.

    `happened` counts the events.
    """

    desk: Reporting
    api: Caller
    key: str
    answer: Answer = field(default_factory=Answer)
    log: list[Heard] = field(default_factory=list)
    happened: int = 0

    def __call__(self, post: Post) -> Answer:
        self.log.append(Heard(self.now, post, self.answer))
        return self.answer

    @property
    def now(self) -> float:
        return self.desk.rig.clock.now()

    @property
    def heard(self) -> list[tuple[float, int]]:
        """When it was posted to, and how many entries it got."""
        return [(each.at, len(each.post.entries)) for each in self.log]

    @property
    def beats(self) -> list[float]:
        """When it was posted to without news."""
        return [moment for moment, entries in self.heard if not entries]

    async def happen(self, message_id: str, *types: str) -> None:
        """Let events happen to a message, queued if it is not there."""
        await self.desk.happen(message_id, *types)
        self.happened += len(types)

    async def pass_until(self, end: float) -> None:
        """Let time pass up to there, and the reporter look whenever it said that it would."""
        while self.now < end:
            await self.desk.work()
            pause = await self.desk.work()  # what came of the posts rings for another look
            self.desk.rig.time.advance(min(max(pause, STEP), end - self.now))
        await self.desk.work()

    async def run_now(self, token: str, query: str = "") -> None:
        answer = await self.api.post(f"/commands/run-now{query}", token=token)
        assert answer.status == 200, answer.text
        await self.desk.work()

    async def status(self, tenant_id: str = TENANT) -> Json:
        """What GET /tenants/sync-status tells of a tenant."""
        answer = await self.api.get("/tenants/sync-status")
        assert answer.status == 200, answer.text
        found: Json = next(each for each in answer.body["tenants"] if each["id"] == tenant_id)
        return found


@asynccontextmanager
async def pacing(database_url: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[Pacing]:
    """Put all this over a database; `settings` are environment variables."""
    async with reporting(database_url, settings) as desk, caller_of(desk.rig.runtime) as api:
        answer = await api.post(f"/tenant/{TENANT}/api-key")
        assert answer.status == 200, answer.text
        desk.app.answer = made = Pacing(desk, api, answer.body["api_key"])
        yield made
