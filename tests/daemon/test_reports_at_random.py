"""Faults that change with every post: whatever the application does, in the end it has heard everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest

from mail_proxy.callbacks.poster import Poster
from mail_proxy.net import open_client
from tests.support.application import Answer, Post
from tests.support.reporting import Reporting, reporting
from tests.support.story import Entry, Story, broken_promises

HASTE = 0.1
LONGEST_BACKOFF = 300.0
POSTS = 40
MOST = 8
"""Stories that are told at a time."""

FAULTS = (
    Answer(status=500),
    Answer(status=302, headers={"Location": "/elsewhere"}),
    Answer(body=b"<html>"),
    Answer(body={"ok": False}),
    Answer(drop=True),
    Answer(drop=True, cut=60),
    Answer(hang=True),
    Answer(hang=True, cut=60),
    Answer(raw=b"\x00\x01\r\n\r\n"),
    Answer(body=b" " * (2**20 + 1)),
)


class Moody:
    """An application that does what it likes; `taken` are the entries that it has said it took, by posts."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.is_well = False
        self.taken: list[list[Entry]] = []

    def __call__(self, post: Post) -> Answer:
        chance = 1.0 if self.is_well else self.random.random()
        if chance < 0.5:
            return self.random.choice(FAULTS)
        ids = sorted({str(entry["id"]) for entry in post.entries})
        refused = self.random.sample(ids, len(ids) // 4) if chance < 0.8 else []
        self.taken.append([entry for entry in post.entries if entry["id"] not in refused])
        return Answer(body={"ok": True, "error": refused})


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made, open_client() as client:
        made.poster = Poster(client, timeout=HASTE)
        made.reporter = made.anew()
        yield made


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_application_does_it_hears_everything_in_order(desk: Reporting, seed: int) -> None:
    """Be it slow to restart, and the server restarted. What it has said that it took is in order, too:
    a message that it refused holds back its own later events.
    """
    moody, random = Moody(seed), Random(seed)
    desk.app.answer = moody
    stories: list[Story] = []
    while len(desk.app.posts) < POSTS:
        if len(stories) < MOST and random.random() < 0.3:
            stories.append(Story(desk.rig, 9, name=f"{len(stories)}."))
            await stories[-1].begin()
        for story in stories:
            if random.random() < 0.3:
                await story.go_on()
        if random.random() < 0.1:
            await desk.app.close()
            await desk.work()
            await desk.app.open()
        if random.random() < 0.1:
            desk.reporter = desk.anew()
        await desk.work()
        desk.rig.time.advance(random.choice([1, 10, 60, 300]))

    moody.is_well = True
    while await desk.pending():
        desk.rig.time.advance(LONGEST_BACKOFF)
        await desk.work()
    expected = {name: events for story in stories for name, events in story.expected.items()}
    assert len(moody.taken) < len(desk.app.posts)
    assert broken_promises([post.entries for post in desk.app.posts], expected) == []
    assert broken_promises(moody.taken, expected) == []
