"""An account that fails rests, on all nodes; one message tries it; the others wait and lose nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from mail_proxy.daemon.circuits import CircuitKeeper
from mail_proxy.daemon.leases import Leases
from mail_proxy.model.accounts import Account, Circuit
from mail_proxy.model.messages import EventType
from tests.support.dispatching import OWNER, Dispatching, dispatching, running
from tests.support.faults import speak_to
from tests.support.faulty_server import FaultyServer
from tests.support.scripted_server import Fault
from tests.support.smtp_server import SmtpServer, Stage

BARRED = "535 5.7.8 not you"
TURNED_AWAY = "554 5.7.1 no service here"
DAY = 86_400


async def test_a_refused_login_lets_the_account_rest_and_costs_no_retry(
    server: SmtpServer, rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    """One attempt, not one for each message; all wait in their places and say so once; it is logged once."""
    server.users = {"shop": "right"}
    await rig.execute("UPDATE accounts SET login = 'shop', max_concurrent = 1")
    await _set_password(rig, "wrong")
    await rig.queue("m1", "m2", "m3")

    await rig.work(3)

    for each in ("m1", "m2", "m3"):
        message = await rig.message(each)
        assert (message.status, message.retry_count) == ("deferred", 0)
        assert message.deferred_ts == rig.clock.now() + 30
        assert await rig.happened(each) == ["queued", "deferred"]
    assert server.connections == 1
    account = await _account(rig)
    refused = await rig.message("m1")
    assert (account.circuit, account.last_error) == (Circuit.OPEN, refused.last_error)
    assert str(refused.last_error).startswith("535")
    assert (await rig.last("m2", EventType.DEFERRED))["reason"] == (
        f"waiting for the account, which rests: {refused.last_error}"
    )
    assert _warnings(caplog) == [f"account acme/main rests for 30 s: {refused.last_error}"]


async def test_a_rest_ends_with_one_probe_and_then_all_goes_on(
    server: SmtpServer, rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    """While it is tried nobody else tries; when it has worked, the trouble is forgotten and told once."""
    caplog.set_level(logging.INFO)
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue(*(f"m{number}" for number in range(25)))
    await rig.work()
    connections = server.connections

    rig.time.advance(28)
    assert await rig.dispatcher.step() == 2
    assert server.connections == connections

    rig.time.advance(2)
    held = asyncio.Event()
    server.at = {Stage.MAIL: [held]}
    await rig.dispatcher.step()
    await server.wait_at(Stage.MAIL)
    await rig.dispatcher.step()
    assert rig.agent.at_once == 1
    held.set()
    await rig.dispatcher.idle()
    account = await _account(rig)
    assert (account.circuit, account.last_error, account.ill_since) == (Circuit.CLOSED, None, None)

    await rig.work(2)
    assert [await rig.status(f"m{number}") for number in range(25)] == ["sent"] * 25
    assert caplog.messages.count("account acme/main works again") == 1


async def test_a_dispatcher_that_runs_drains_the_backlog_as_soon_as_the_probe_has_worked(
    server: SmtpServer, rig: Dispatching
) -> None:
    """It waits for no poll: settling the probe wakes it."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue(*(f"m{number}" for number in range(60)))
    await rig.work()
    server.at = {}
    rig.time.advance(30)
    async with running(rig.node(OWNER, send_loop_interval=600.0)):
        await server.wait_for(60)


async def test_only_one_of_three_nodes_probes(server: SmtpServer, rig: Dispatching) -> None:
    """The others leave the account alone until that has ended, and then see how it went."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue(*(f"m{number}" for number in range(9)))
    await rig.work()
    nodes = [rig.dispatcher, rig.node("node-b"), rig.node("node-c")]
    rig.time.advance(30)
    held = asyncio.Event()
    server.at = {Stage.MAIL: [held]}

    await asyncio.gather(*(node.step() for node in nodes))
    await server.wait_at(Stage.MAIL)
    for node in nodes:
        await node.step()
    assert rig.agent.at_once == 1

    held.set()
    for node in nodes:
        await node.idle()
    rig.time.advance(5)
    for node in nodes:
        await node.step()
        await node.idle()
    assert len(server.received) == 9


async def test_a_node_that_has_not_failed_itself_keeps_to_the_rest_too(
    server: SmtpServer, rig: Dispatching
) -> None:
    """What it had claimed and not begun goes back, to wait with the others."""
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("m1", "m2", "m3")
    held = asyncio.Event()
    server.at = {Stage.MAIL: [held]}
    await rig.dispatcher.step()
    await server.wait_at(Stage.MAIL)
    assert [await rig.status(f"m{number}") for number in (1, 2, 3)] == ["sending"] * 3

    await rig.store.circuits.trip(await _account(rig), BARRED, rig.clock.now())
    await rig.queue("m4")
    await rig.dispatcher.step()
    await _tend(rig)
    assert [await rig.status(f"m{number}") for number in (1, 2, 3, 4)] == ["sending"] + ["deferred"] * 3

    held.set()
    await rig.work()
    assert (await rig.status("m1"), (await _account(rig)).circuit) == ("sent", Circuit.OPEN)
    assert len(server.received) == 1


async def test_a_restart_does_not_end_a_rest(server: SmtpServer, rig: Dispatching) -> None:
    """Nor does it lengthen it: the node in its new life probes when it is over."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1")
    await rig.work()
    anew = rig.node("node-a")
    rig.time.advance(27)
    assert await anew.step() == 3
    await anew.idle()
    assert server.connections == 1
    rig.time.advance(3)
    await anew.step()
    await anew.idle()
    assert server.connections == 2


async def test_a_probe_that_fails_doubles_the_rest_up_to_a_quarter_of_an_hour(
    server: SmtpServer, rig: Dispatching
) -> None:
    """And the message says no more than that it waits."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1")
    for rest in (30, 60, 120, 240, 480, 900, 900):
        await rig.work()
        assert (await rig.message("m1")).deferred_ts == rig.clock.now() + rest
        rig.time.advance(rest)
    assert await rig.happened("m1") == ["queued", "deferred"]
    assert rig.counted("gmp_deferred_total") == 1


async def test_a_server_that_cannot_be_reached_gets_three_tries(rig: Dispatching, server: SmtpServer) -> None:
    """Then its account rests: two follow the schedule, the others wait in their places."""
    server.at = {Stage.CONNECT: Fault.DROP}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue(*(f"m{number}" for number in range(6)))
    await rig.work()
    assert server.connections == 3
    assert [(await rig.message(f"m{number}")).retry_count for number in range(6)] == [1, 1, 0, 0, 0, 0]
    assert [await rig.status(f"m{number}") for number in range(6)] == ["deferred"] * 6

    server.at = {}
    rig.time.advance(30)
    await rig.work(3)
    assert [await rig.status(f"m{number}") for number in range(6)] == ["deferred"] * 2 + ["sent"] * 4
    rig.time.advance(30)
    await rig.work()
    assert [await rig.status(f"m{number}") for number in range(6)] == ["sent"] * 6


@pytest.mark.parametrize("how", ["changed", "mended"])
async def test_after_a_rest_it_takes_three_failures_again_whoever_has_ended_it(
    rig: Dispatching, server: SmtpServer, how: str
) -> None:
    """Also on a node that was told of the end: whoever changed the account, or another that probed it."""
    server.at = {Stage.CONNECT: TURNED_AWAY}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("m1", "m2", "m3")
    await rig.work()
    assert (await _account(rig)).circuit is Circuit.OPEN

    rig.time.advance(30)
    if how == "changed":
        await _set_password(rig, "another")
    else:
        server.at = {}
        other = rig.node("node-b")
        await other.step()
        await other.idle()
        await rig.agent.close_account("acme", "main")
        server.at = {Stage.CONNECT: TURNED_AWAY}
        await rig.queue("m4")
    connections = server.connections
    await rig.work()
    assert server.connections == connections + 1
    assert (await _account(rig)).circuit is Circuit.CLOSED


async def test_a_message_on_which_the_server_breaks_off_keeps_no_other_from_probing(
    rig: Dispatching, server: SmtpServer
) -> None:
    """Each time another has its turn, so that one that is at fault itself does not stand before all."""
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    server.at = {Stage.CONNECT: [BARRED], Stage.MAIL: [Fault.DROP]}
    await rig.queue("poison", "m2", "m3")
    await rig.work()
    rig.time.advance(30)
    await rig.work()  # poison probes, and its connection breaks
    assert (await _account(rig)).circuit is Circuit.OPEN
    assert server.received == []
    rig.time.advance(60)
    await rig.work()
    assert await rig.status("m2") == "sent"


async def test_many_messages_on_which_the_server_breaks_off_do_not_keep_the_others_from_probing(
    database_url: str,
) -> None:
    """The turn goes through the whole line, more urgent ones included, and not back to the first."""
    refusals = {"poison": "421 4.7.0 not with me"}
    async with FaultyServer(refusals=refusals).running() as server, dispatching(database_url) as rig:
        await speak_to(rig, server, max_concurrent=1)
        for number in range(2):
            await rig.queue(f"urgent{number}", to=["poison@example.net"], priority="high")
            await rig.queue(f"poison{number}", to=["poison@example.net"])
        await rig.queue("healthy", "healthy too")
        await rig.store.circuits.trip(await _account(rig), BARRED, rig.clock.now())
        for rest in (30, 60, 120, 240, 480):
            rig.time.advance(rest)
            assert server.accepted == []
            await rig.work()
        assert await rig.status("healthy") == "sent"
        assert (await _account(rig)).circuit is Circuit.CLOSED


async def test_a_changed_account_is_tried_at_once(server: SmtpServer, rig: Dispatching) -> None:
    """Whoever has corrected the password does not wait for the rest to end."""
    server.users = {"shop": "right"}
    await rig.execute("UPDATE accounts SET login = 'shop'")
    await _set_password(rig, "wrong")
    await rig.queue("m1", "m2")
    await rig.work()
    assert (await _account(rig)).circuit is Circuit.OPEN

    await _set_password(rig, "right")
    assert (await _account(rig)).last_error is None
    await rig.work()
    assert [await rig.status(each) for each in ("m1", "m2")] == ["sent", "sent"]


async def test_an_account_that_is_given_again_as_it_is_rests_on(server: SmtpServer, rig: Dispatching) -> None:
    """An application may do so with each message: each would cost a refused login, until it is locked out."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1")
    await rig.work()
    rested = await _account(rig)
    rig.time.advance(1)
    await _set_password(rig, rested.password)
    assert await _account(rig) == rested
    await rig.work()
    assert server.connections == 1


async def test_what_fails_with_the_old_settings_says_nothing_of_the_new(
    server: SmtpServer, rig: Dispatching
) -> None:
    """A conversation may have begun before the account was corrected."""
    held = asyncio.Event()
    server.at = {Stage.AUTH: [held]}
    server.users = {"shop": "right"}
    await rig.execute("UPDATE accounts SET login = 'shop'")
    await _set_password(rig, "wrong")
    await rig.queue("m1")
    await rig.dispatcher.step()
    await server.wait_at(Stage.AUTH)
    rig.time.advance(1)
    await _set_password(rig, "right")
    held.set()
    await rig.dispatcher.idle()
    assert (await _account(rig)).circuit is Circuit.CLOSED
    await rig.work()
    assert await rig.status("m1") == "sent"


async def test_a_clock_that_is_set_back_does_not_lengthen_a_rest(
    server: SmtpServer, rig: Dispatching
) -> None:
    """It ends at once rather than an hour late."""
    server.at = {Stage.CONNECT: [BARRED]}
    await rig.queue("m1")
    await rig.work()
    rig.time.advance(-3_600)
    await rig.work()
    assert await rig.status("m1") == "sent"


async def test_what_comes_while_the_account_rests_says_that_it_waits(
    server: SmtpServer, rig: Dispatching
) -> None:
    """When it is looked after next, and once."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1")
    await rig.work()
    rig.time.advance(10)
    await rig.queue("m2")
    for _ in range(2):
        await _tend(rig)
        assert await rig.happened("m2") == ["queued", "deferred"]
    assert (await rig.message("m2")).deferred_ts == rig.clock.now() + 20


async def test_what_has_waited_for_a_day_fails_and_is_reported(
    server: SmtpServer, rig: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it has tried the account itself or only stood in line; what came later waits on.

    As long as nobody has tried the account since, nothing fails.
    """
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue(*(f"m{number}" for number in range(60)))
    await rig.work()
    rig.time.advance(DAY / 2)
    await _tend(rig)
    await rig.queue("late")
    rig.time.advance(DAY / 2)

    await _tend(rig)
    assert await rig.status("m1") == "deferred"
    await rig.work()
    await _tend(rig)

    text = f"its account could not be used for 24 h: {(await _account(rig)).last_error}"
    for each in ("m0", "m1", "m49", "m50", "m59"):
        message = await rig.message(each)
        assert (message.status, message.error) == ("error", text)
        assert (await rig.last(each, EventType.ERROR)) == {"error": text}
        assert [recipient.status.value for recipient in message.recipients] == ["error"]
    assert await rig.status("late") in ("pending", "deferred")
    assert rig.counted("gmp_errors_total") == 60
    assert _warnings(caplog)[-1] == f"59 messages of account acme/main have failed: {text}"

    rig.time.advance(DAY / 2)
    await rig.work()
    await _tend(rig)
    assert await rig.status("late") == "error"


async def test_a_probe_that_has_waited_for_a_day_fails_with_its_attempt(database_url: str) -> None:
    """Nobody need look after it."""
    async with (
        SmtpServer(at={Stage.CONNECT: BARRED}).running() as server,
        dispatching(database_url, {"GMP_MAX_ACCOUNT_WAIT": "60"}) as rig,
    ):
        await rig.add_account(server)
        await rig.queue("m1")
        await rig.work()
        rig.time.advance(60)
        await rig.work()
        message = await rig.message("m1")
        assert (message.status, str(message.error).split(":")[0]) == (
            "error",
            "its account could not be used for 1 min",
        )


async def test_a_resting_account_keeps_no_other_waiting(rig: Dispatching, server: SmtpServer) -> None:
    async with SmtpServer(at={Stage.CONNECT: BARRED}).running() as refusing:
        await rig.add_account(refusing, "barred")
        await rig.queue("b1", "b2", account_id="barred")
        await rig.work()
        await rig.queue("m1")
        await rig.work()
        assert await rig.status("m1") == "sent"


async def test_an_unwritable_message_says_nothing_of_its_account(
    rig: Dispatching, server: SmtpServer
) -> None:
    """It was never tried, so a resting account does not seem to work again; and the next may probe."""
    server.at = {Stage.CONNECT: [BARRED]}
    await rig.queue("m1", "m2")
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.work()
    await rig.execute("DELETE FROM payloads WHERE seq = (SELECT MIN(seq) FROM payloads)")
    rig.time.advance(30)
    await rig.work()
    assert await rig.status("m1") == "error"
    assert (await _account(rig)).last_error is not None
    await rig.work()
    assert await rig.status("m2") == "sent"


async def test_a_probe_without_an_address_that_can_be_said_says_nothing_of_its_account(
    rig: Dispatching, server: SmtpServer
) -> None:
    """No server was asked: the message fails alone, the rest does not end with it, and the next may probe."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1", to=["unsayable@example.net"])
    await rig.queue("m2")
    await rig.work()
    connections = server.connections
    await _make_unsayable(rig)
    rig.time.advance(30)
    await rig.work()
    assert await rig.status("m1") == "error"
    assert (await _account(rig)).circuit is not Circuit.CLOSED
    assert server.connections == connections
    server.at = {}
    await rig.work()
    assert await rig.status("m2") == "sent"
    assert (await _account(rig)).circuit is Circuit.CLOSED


async def test_a_probe_that_fails_by_a_bug_of_ours_says_nothing_of_its_account(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The account neither works again nor rests for longer; who comes next tries it."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue("m1", "m2")
    await rig.work()
    server.at = {}
    rest = (await _account(rig)).rest
    await rig.execute("UPDATE accounts SET port = 70000")  # which no socket has: it stands for all bugs
    rig.time.advance(30)
    await rig.work()
    assert (await rig.message("m1")).last_error == "internal error: OverflowError"
    assert (await _account(rig)).rest == rest
    await rig.execute(f"UPDATE accounts SET port = {server.port}")
    await rig.work()
    assert await rig.status("m2") == "sent"
    assert (await _account(rig)).circuit is Circuit.CLOSED


async def test_a_message_that_no_server_was_asked_about_does_not_end_the_count_of_failures(
    rig: Dispatching, server: SmtpServer
) -> None:
    """Three times in a row no server answered, whatever became of a message that asked none."""
    server.at = {Stage.CONNECT: Fault.DROP}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("m1", "m2")
    await rig.queue("m3", to=["unsayable@example.net"])
    await rig.queue("m4", "m5")
    await _make_unsayable(rig)
    await rig.work()
    assert await rig.status("m3") == "error"
    assert server.connections == 3
    assert (await _account(rig)).circuit is Circuit.OPEN
    assert (await rig.message("m5")).retry_count == 0


async def test_a_rest_costs_nothing_while_it_lasts(server: SmtpServer, rig: Dispatching) -> None:
    """However much waits: no transaction, and the next look is when it ends."""
    server.at = {Stage.CONNECT: BARRED}
    await rig.queue(*(f"m{number}" for number in range(200)))
    await rig.work()
    rig.time.advance(26)
    transactions = rig.database.transactions
    for _ in range(5):
        assert await rig.dispatcher.step() == 4
    assert rig.database.transactions == transactions


async def _tend(rig: Dispatching, max_wait: float = DAY) -> None:
    """What a node does every ten seconds."""
    leases = Leases(rig.store.queue, rig.clock, OWNER)
    keeper = CircuitKeeper(rig.store.circuits, rig.clock, leases, rig.metrics, lambda: None)
    keeper.reconfigure(replace(rig.runtime.config, max_account_wait=max_wait))
    await keeper.tend()


async def _make_unsayable(rig: Dispatching) -> None:
    """Spoil an address behind everybody's back: intake lets none through that no server could be told."""
    await rig.execute(
        "UPDATE messages SET recipients = REPLACE(recipients, 'unsayable@example.net', 'no one')"
    )


async def _account(rig: Dispatching) -> Account:
    return await rig.store.accounts.get("acme", "main")


async def _set_password(rig: Dispatching, password: str | None) -> None:
    await rig.store.accounts.change(
        "acme", "main", lambda account: replace(account, password=password), rig.clock.now()
    )


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("mail_proxy")
    ]
