"""The instance as a whole: whether it dispatches, what it is, how it fares."""

from __future__ import annotations

import pytest

from mail_proxy import __version__
from mail_proxy.model.queue import NodeInfo
from mail_proxy.services.instance import NODE_TIMEOUT
from tests.support.services import NOW, Desk, message, open_desk


@pytest.mark.parametrize(("setting", "expected"), [("true", True), ("false", False)])
async def test_the_configuration_decides_until_somebody_does(
    sqlite_url: str, setting: str, expected: bool
) -> None:
    """Whether messages are dispatched."""
    async with open_desk(sqlite_url, GMP_SCHEDULER_ACTIVE=setting) as desk:
        assert await desk.services.instance.is_active() is expected


@pytest.mark.parametrize("active", [True, False])
async def test_the_last_decision_holds(sqlite_url: str, active: bool) -> None:
    """Against the configuration, and over a restart; everyone is woken."""
    async with open_desk(sqlite_url, GMP_SCHEDULER_ACTIVE=str(not active).lower()) as desk:
        desk.bell.rings.clear()
        await desk.services.instance.set_active(active)
        assert desk.bell.rings == [False]
        assert await desk.services.instance.is_active() is active
        assert (await desk.runtime.store.queue.look()).active is active


async def test_a_run_is_asked_for(desk: Desk) -> None:
    """The ring says so."""
    desk.bell.rings.clear()
    await desk.services.instance.run_now()

    assert desk.bell.rings == [True]


async def test_nodes_are_those_heard_of_lately(desk: Desk) -> None:
    """A silent one is gone after a while."""
    node = NodeInfo(node_id="n", name="a@host", pid=1, version="1", started_at=NOW, seen_at=NOW)
    await desk.runtime.store.nodes.seen(node, forget_before=0)

    assert await desk.services.instance.nodes() == [node]
    desk.clock.advance(NODE_TIMEOUT + 1)
    assert await desk.services.instance.nodes() == []


async def fill(desk: Desk) -> None:
    await desk.services.tenants.create({"id": "beta"})
    await desk.services.accounts.create("beta", {"id": "main", "host": "sandbox"})
    await desk.submit(message("a"), message("b", deferred_ts=NOW + 60))
    await desk.submit(message("c"), tenant_id="beta")


async def test_information_for_people(desk: Desk) -> None:
    """What there is, and how much."""
    await fill(desk)

    info = await desk.services.instance.info()

    assert str(info.pop("database")).endswith("mail_service.db")
    assert info == {
        "name": None,
        "version": __version__,
        "active": True,
        "tenants": 3,
        "accounts": 2,
        "pending_messages": 3,
        "nodes": [],
    }


async def test_the_database_is_named_without_its_password(postgres_url: str) -> None:
    """In everything that is shown."""
    with_password = postgres_url.replace("postgres@", "postgres:s3cret@")
    async with open_desk(with_password) as desk:
        shown = (await desk.services.instance.info())["database"]

    assert "s3cret" not in str(shown)
    assert str(shown).startswith("postgresql://postgres:***@127.0.0.1:")


@pytest.mark.parametrize(
    ("tenant_id", "counts", "accounts"),
    [
        (
            None,
            {"pending": 2, "deferred": 1},
            [("acme", "deferred", 1), ("acme", "pending", 1), ("beta", "pending", 1)],
        ),
        ("acme", {"pending": 1, "deferred": 1}, [("acme", "deferred", 1), ("acme", "pending", 1)]),
        ("beta", {"pending": 1, "deferred": 0}, [("beta", "pending", 1)]),
        ("default", {"pending": 0, "deferred": 0}, []),
    ],
)
async def test_statistics(
    desk: Desk, tenant_id: str | None, counts: dict[str, int], accounts: list[tuple[str, str, int]]
) -> None:
    """By state, and what waits by account; of one tenant nothing of others is counted."""
    await fill(desk)

    stats = await desk.services.instance.stats(tenant_id)

    assert stats["messages"] == {"sending": 0, "sent": 0, "error": 0, "bounced": 0, **counts}
    waiting = stats["waiting"]
    assert isinstance(waiting, list)
    assert sorted((each["tenant_id"], each["status"], each["count"]) for each in waiting) == accounts
    assert await desk.services.instance.pending_messages(tenant_id) == sum(counts.values())
