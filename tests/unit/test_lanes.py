"""Whose turn it is, how much is taken on, and what attempts say of their account."""

from __future__ import annotations

import pytest

from mail_proxy.daemon.lanes import ByteBudget, Lane, Lanes, Sign, Turn
from mail_proxy.model.accounts import Rest
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict

NOW = 1_000.0
LOGIN_REFUSED = Deferred(reply="535 no", scope=Scope.ACCOUNT)
UNREACHABLE = Deferred(reply="cannot connect", scope=Scope.CONNECTION)
GREYLISTED = Deferred(reply="451 later", scope=Scope.RECIPIENT)
BUSY = Deferred(reply="450 busy", scope=Scope.MESSAGE)
REFUSED = Bounced(reply="550 no such user")
TAKEN = Delivered(reply="250 ok")
REST = Rest(seconds=30, until=NOW + 30)


def outcome(*verdicts: Verdict) -> Outcome:
    return Outcome(verdicts={f"r{number}@example.net": verdict for number, verdict in enumerate(verdicts)})


def claimed(seq: int, *, priority: int = 2, size: int = 1) -> Claimed:
    return Claimed(
        seq=seq,
        pk=str(seq),
        tenant_id="acme",
        id=str(seq),
        account_id="main",
        lane=1,
        priority=priority,
        recipients=(),
        envelope_from=None,
        message_id="<a@b>",
        retry_count=0,
        size=size,
        created_at=NOW,
        is_unknown=False,
    )


def lanes(sends: int = 100, memory: int = 1_000) -> Lanes:
    return Lanes(sends, ByteBudget(memory))


def opened(node: Lanes, number: int = 1, *, quota: int = 50, conversations: int = 10) -> Lane:
    lane = node.open(number)
    lane.quota, lane.conversations = quota, conversations
    return lane


def fill(node: Lanes, lane: Lane, *messages: Claimed) -> list[Turn]:
    return [node.enqueue(lane, message) for message in messages]


def claim_for(node: Lanes, number: int) -> list[Turn]:
    """What this lane may claim of an endless queue."""
    lane = opened(node, number)
    return fill(node, lane, *(claimed(seq) for seq in range(node.room(lane, NOW))))


def healthy_goes(node: Lanes) -> bool:
    """Whether a message of one more account would go at once."""
    turns = claim_for(node, 1_000)
    node.admit()
    return bool(granted(turns))


def granted(turns: list[Turn]) -> list[int]:
    """The places in the queue of those whose turn has come."""
    return [turn.seq for turn in turns if turn.comes.done() and turn.comes.result()]


def test_a_refused_login_says_at_once_that_the_account_fails() -> None:
    """One is enough: the next would fail as well, and may lock the account."""
    assert Lane(1).learn(outcome(LOGIN_REFUSED)) is Sign.FAILING


def test_the_third_failure_to_connect_says_that_it_fails() -> None:
    """A server may refuse a connection now and then."""
    lane = Lane(1)
    assert [lane.learn(outcome(UNREACHABLE)) for _ in range(3)] == [None, None, Sign.FAILING]


@pytest.mark.parametrize(
    "between", [outcome(TAKEN), outcome(REFUSED), outcome(GREYLISTED), outcome(BUSY, UNREACHABLE)]
)
def test_an_answer_of_the_server_ends_the_count(between: Outcome) -> None:
    """Whatever it said of a message, it was there and let us in."""
    lane = Lane(1)
    told = [
        lane.learn(each)
        for each in (outcome(UNREACHABLE), outcome(UNREACHABLE), between, outcome(UNREACHABLE))
    ]
    assert told == [None] * 4


UNTOLD = Outcome(
    verdicts={"r@example.net": Deferred(reply="internal error: KeyError", scope=Scope.MESSAGE)},
    tells_of_server=False,
)


def test_what_no_server_has_said_does_not_end_the_count() -> None:
    """A bug of ours, or a message that no server was asked about, is no sign that the server was there."""
    lane = Lane(1)
    told = [
        lane.learn(each)
        for each in (outcome(UNREACHABLE), outcome(UNREACHABLE), UNTOLD, outcome(UNREACHABLE))
    ]
    assert told == [None, None, None, Sign.FAILING]


def test_what_no_server_has_said_leaves_a_lane_that_works_as_it_is() -> None:
    """It is no failure of the account either, and what waits for a connection does not come back."""
    lane = Lane(1)
    lane.learn(outcome(TAKEN))
    assert [lane.learn(UNTOLD) for _ in range(3)] == [None] * 3
    assert (lane.is_known, lane.failures, lane.recalls) == (True, 0, 0)


def test_a_probe_that_reached_no_server_says_nothing_of_the_account() -> None:
    """It rests as before, and the next has to try it."""
    lane = Lane(1, rest=REST)
    assert lane.learn(UNTOLD) is None
    assert (lane.is_known, lane.rest) == (False, REST)


def test_a_probe_that_cannot_connect_says_that_the_account_fails_still() -> None:
    """It needs no three tries again."""
    assert Lane(1, rest=REST).learn(outcome(UNREACHABLE)) is Sign.FAILING


def test_a_probe_that_the_server_answers_says_that_the_account_works() -> None:
    """Also when it refuses this message; after that success is no news."""
    lane = Lane(1, rest=REST, limited_until=NOW + 5)
    assert lane.learn(outcome(REFUSED)) is Sign.WORKING
    lane.recover()
    assert (lane.learn(outcome(TAKEN)), lane.limited_until) == (None, 0.0)


@pytest.mark.parametrize(("under_way", "waiting", "room"), [(0, 0, 50), (35, 25, 25), (36, 26, 0)])
async def test_a_lane_claims_up_to_its_quota_when_little_waits(
    under_way: int, waiting: int, room: int
) -> None:
    """In large portions: a claim for each message that ends would cost more than it brings."""
    node = lanes()
    lane = opened(node)
    turns = fill(node, lane, *(claimed(seq) for seq in range(under_way)))
    lane.waiting = turns[:waiting]
    assert node.room(lane, NOW) == room


async def test_urgent_messages_find_room_in_a_full_lane() -> None:
    """What was claimed before may take long; the urgent ones have a pass of their own."""
    node = lanes()
    lane = opened(node, quota=2, conversations=3)
    fill(node, lane, claimed(1), claimed(2))
    assert node.room(lane, NOW) == 0
    assert node.room(lane, NOW, is_urgent=True) == 3
    fill(node, lane, *(claimed(seq) for seq in range(3, 6)))
    assert node.room(lane, NOW, is_urgent=True) == 0


@pytest.mark.parametrize(("at", "room"), [(NOW + 29.9, 0), (NOW + 30, 1), (NOW - 1, 0), (NOW - 90, 1)])
async def test_a_lane_claims_nothing_while_it_rests_and_then_one(at: float, room: int) -> None:
    """After a rest one message probes the account; a clock that was set back far makes no rest longer."""
    lane = opened(node := lanes())
    lane.rest = REST
    assert node.room(lane, at) == room


async def test_conversations_that_hang_leave_room_for_a_probe() -> None:
    """They were begun before the rest, and may take long; only the account's own bound counts."""
    lane = opened(node := lanes(), conversations=3)
    fill(node, lane, claimed(1), claimed(2))
    node.admit()
    lane.rest = REST
    assert node.room(lane, NOW + 30) == 1
    fill(node, lane, claimed(3))
    assert node.room(lane, NOW + 30) == 0


async def test_a_lane_at_its_rate_limit_claims_nothing_until_a_slot_is_free() -> None:
    node = lanes()
    lane = opened(node)
    lane.limited_until = NOW + 10
    assert node.room(lane, NOW + 9) == 0
    assert node.next_ready(NOW + 9) == NOW + 10
    assert node.room(lane, NOW + 10) == 50


async def test_a_lane_at_a_limit_is_asked_again_within_a_minute() -> None:
    """However late the next slot is: somebody may have raised the limit."""
    node = lanes()
    lane = opened(node)
    lane.limit(NOW + 3600, NOW)
    assert [bool(node.room(lane, NOW + after)) for after in (59, 60)] == [False, True]


async def test_a_lane_at_a_limit_is_asked_when_the_clock_was_put_back() -> None:
    """It would wait for hours until the old time comes again."""
    node = lanes()
    lane = opened(node)
    lane.limit(NOW + 30, NOW)
    assert node.room(lane, NOW - 7200) == 50


@pytest.mark.parametrize(("is_known", "rooms"), [(False, [80, 16, 3]), (True, [240, 48, 9])])
async def test_a_greedy_lane_leaves_a_fifth_of_what_there_is(is_known: bool, rooms: list[int]) -> None:
    """An account with a large batch size would otherwise have all that a node claims."""
    node = lanes(sends=100)
    claims = []
    for number in range(3):
        lane = opened(node, number, quota=1_000)
        lane.is_known = is_known
        claims.append(node.room(lane, NOW))
        fill(node, lane, *(claimed(seq) for seq in range(claims[-1])))
    assert claims == rooms


async def test_a_node_that_has_enough_says_so() -> None:
    """Then the end of any conversation, of whatever lane, is worth a new look."""
    node = lanes(sends=1)
    first, second = opened(node, 1), opened(node, 2)
    fill(node, first, *(claimed(seq) for seq in range(5)))
    assert (node.room(second, NOW), node.is_short) == (0, True)
    node.finish(first)
    assert node.room(second, NOW) == 1


async def test_turns_go_by_priority_then_by_place_in_the_queue() -> None:
    """First in, first out within a priority, whatever order they were claimed in."""
    node = lanes(sends=2)
    lane = opened(node)
    lane.is_known = True
    turns = fill(node, lane, claimed(3), claimed(1), claimed(2, priority=0), claimed(4, priority=1))
    node.admit()
    assert sorted(granted(turns)) == [2, 4]
    node.leave(lane, turns[2])
    assert sorted(granted(turns)) == [1, 2, 4]


async def test_a_lane_has_at_most_its_conversations() -> None:
    node = lanes()
    lane = opened(node, conversations=2)
    turns = fill(node, lane, *(claimed(seq) for seq in range(5)))
    node.admit()
    assert granted(turns) == [0, 1]
    node.leave(lane, turns[0])
    assert granted(turns) == [0, 1, 2]


async def test_a_node_has_at_most_its_conversations_and_takes_new_limits() -> None:
    """`sends` may change at any time; what is under way stays."""
    node = lanes(sends=2)
    turns = [fill(node, opened(node, number), claimed(number))[0] for number in range(4)]
    node.admit()
    assert granted(turns) == [0, 1]
    node.sends = 3
    node.admit()
    assert granted(turns) == [0, 1, 2]
    node.sends = 1
    node.leave(opened(node, 0), turns[0])
    assert granted(turns) == [0, 1, 2]


async def test_immediate_messages_come_before_all_lanes_others() -> None:
    """Even those of the busiest lane."""
    node = lanes(sends=3)
    busy, calm = opened(node, 1), opened(node, 2)
    busy.is_known = True
    turns = fill(node, busy, claimed(1), claimed(2))
    node.admit()
    turns += fill(node, calm, claimed(3)) + fill(node, busy, claimed(4, priority=0))
    node.admit()
    assert sorted(granted(turns)) == [1, 2, 4]


@pytest.mark.parametrize(("is_known", "most"), [(False, 25), (True, 75)], ids=["unknown", "known"])
async def test_one_stalled_lane_never_holds_every_conversation(is_known: bool, most: int) -> None:
    """An account may ask for as many as it likes: a quarter is kept for others, and more before it works."""
    node = lanes(sends=100, memory=10_000)
    greedy, other = opened(node, 1, conversations=1_000), opened(node, 2)
    greedy.is_known = is_known
    turns = fill(node, greedy, *(claimed(seq) for seq in range(300)))
    node.admit()
    assert len(granted(turns)) == most
    late = fill(node, other, claimed(999))
    node.admit()
    assert granted(late) == [999]


STALLED = 40


async def test_dozens_of_stalled_accounts_that_come_together_leave_room_for_a_healthy_one() -> None:
    """Each of them could have ten conversations, and forty times ten are more than there are."""
    node = lanes(sends=100, memory=10_000)
    for number in range(STALLED):
        claim_for(node, number)
    node.admit()
    assert healthy_goes(node)


async def test_dozens_of_stalled_accounts_that_come_one_after_another_leave_room_for_a_healthy_one() -> None:
    """Those that come first have more, and not so much that none is left."""
    node = lanes(sends=100, memory=10_000)
    for number in range(STALLED):
        claim_for(node, number)
        node.admit()
    assert healthy_goes(node)


async def test_accounts_that_stall_after_they_have_worked_leave_room_for_a_healthy_one() -> None:
    """A provider may stop answering in the middle of the day, and all that goes to it with it."""
    node = lanes(sends=100, memory=10_000)
    for number in range(20):
        opened(node, number).is_known = True
        claim_for(node, number)
        node.admit()
    assert healthy_goes(node)


async def test_a_message_that_does_not_fit_into_memory_holds_up_only_its_own_lane() -> None:
    """It waits without a conversation, and gets its turn when there is room."""
    node = lanes(memory=100)
    large, small = opened(node, 1), opened(node, 2)
    turns = fill(node, large, claimed(1, size=80), claimed(2, size=80)) + fill(node, small, claimed(3))
    node.admit()
    assert granted(turns) == [1, 3]
    node.leave(large, turns[0])
    assert granted(turns) == [1, 2, 3]


async def test_what_is_dismissed_gets_no_turn() -> None:
    """Its places are returned, to be given back to the queue; what has its turn keeps it."""
    node = lanes()
    lane = opened(node, conversations=1)
    turns = fill(node, lane, *(claimed(seq) for seq in (3, 1, 2)))
    node.admit()
    assert node.dismiss() == [2, 3]
    assert [turn.comes.result() for turn in turns] == [False, True, False]
    node.leave(lane, turns[1])
    assert granted(turns) == [1]


async def test_a_turn_nobody_waits_for_goes_to_the_next() -> None:
    """A task that was cancelled takes no conversation with it."""
    node = lanes(sends=1)
    lane = opened(node)
    turns = fill(node, lane, claimed(1), claimed(2))
    turns[0].comes.cancel()
    node.admit()
    assert turns[1].comes.result() is True


async def test_idle_lanes_are_forgotten_and_others_are_not() -> None:
    """Who has something under way, or a failure to remember, stays."""
    node = lanes()
    busy, failed = opened(node, 1), opened(node, 2)
    opened(node, 3).quota = 7
    fill(node, busy, claimed(1))
    failed.learn(outcome(UNREACHABLE))
    node.forget_idle()
    assert node.open(1) is busy
    assert node.open(2) is failed
    assert node.open(3).quota == 1


def test_memory_is_taken_and_given_back() -> None:
    memory = ByteBudget(100)
    memory.take(60)
    assert memory.fits(40)
    assert not memory.fits(41)
    memory.give_back(60)
    assert memory.fits(100)


def test_a_message_larger_than_the_memory_goes_but_one_at_a_time() -> None:
    """It would never fit; the small ones beside it are not held up, nor do they keep it out for ever."""
    memory = ByteBudget(100)
    memory.take(99)
    assert memory.fits(500)
    memory.take(500)
    assert not memory.fits(500)
    assert memory.fits(1)
    memory.give_back(500)
    assert memory.fits(500)
