"""Settings that all nodes share, and the nodes themselves."""

from __future__ import annotations

import asyncio

import pytest

from mail_proxy.model.queue import NodeInfo
from tests.support.stores import NOW, Bench, open_bench, open_store


@pytest.mark.parametrize("value", [True, False, 0, "text ü", None, {"a": [1, "b"]}])
async def test_a_setting_comes_back(bench: Bench, value: object) -> None:
    """Any value of JSON."""
    await bench.store.settings.put("key", value)

    assert await bench.store.settings.get("key") == value


async def test_a_setting_that_was_never_set(bench: Bench) -> None:
    """Is none."""
    assert await bench.store.settings.get("key") is None


async def test_the_last_value_holds(bench: Bench) -> None:
    """Setting again replaces."""
    await bench.store.settings.put("key", 1)
    await bench.store.settings.put("key", 2)

    assert await bench.store.settings.get("key") == 2


async def test_the_first_of_many_nodes_decides(database_url: str) -> None:
    """A secret that is made at the first start is the same for all that start together."""
    async with open_bench(database_url) as one, open_store(database_url) as other:
        answers = await asyncio.gather(
            *(
                store.settings.put_once("secret", number)
                for number, store in enumerate([one.store, other] * 5)
            )
        )
        stored = await other.settings.get("secret")

    assert answers == [stored] * 10


def node(name: str, seen_at: float) -> NodeInfo:
    return NodeInfo(node_id=f"id-{name}", name=name, pid=42, version="1", started_at=NOW, seen_at=seen_at)


async def test_nodes_are_alive_while_they_are_seen(bench: Bench) -> None:
    """By name; one that leaves is gone at once, one that is silent after a while."""
    for each in (node("b", NOW), node("a", NOW + 5), node("c", NOW + 9)):
        await bench.store.nodes.seen(each, forget_before=0)
    await bench.store.nodes.gone("id-c")

    assert await bench.store.nodes.alive(NOW) == [node("a", NOW + 5), node("b", NOW)]
    assert await bench.store.nodes.alive(NOW + 1) == [node("a", NOW + 5)]


async def test_a_node_is_one_however_often_it_is_seen(bench: Bench) -> None:
    """And what was not seen for long is dropped."""
    await bench.store.nodes.seen(node("old", NOW), forget_before=0)
    await bench.store.nodes.seen(node("a", NOW), forget_before=0)
    await bench.store.nodes.seen(node("a", NOW + 100), forget_before=NOW + 50)

    assert await bench.store.nodes.alive(0) == [node("a", NOW + 100)]
