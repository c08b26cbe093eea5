"""Whose turn it is, how much is taken on, and when an account rests."""

from __future__ import annotations

import pytest

from mail_proxy.daemon.lanes import ByteBudget, Lane, Lanes, Turn
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict

NOW = 1_000.0
LOGIN_REFUSED = Deferred(reply="535 no", scope=Scope.ACCOUNT)
UNREACHABLE = Deferred(reply="cannot connect", scope=Scope.CONNECTION)
GREYLISTED = Deferred(reply="451 later", scope=Scope.RECIPIENT)
BUSY = Deferred(reply="450 busy", scope=Scope.MESSAGE)
REFUSED = Bounced(reply="550 no such user")
TAKEN = Delivered(reply="250 ok")


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


def granted(turns: list[Turn]) -> list[int]:
    """The places in the queue of those whose turn has come."""
    return [turn.seq for turn in turns if turn.comes.done() and turn.comes.result()]


def test_a_refused_login_makes_the_account_rest_at_once() -> None:
    """One is enough: the next would fail as well, and may lock the account."""
    lane = Lane(1)
    assert lane.learn(outcome(LOGIN_REFUSED), NOW) is True
    assert lane.resting_until == NOW + 30


def test_the_third_failure_to_connect_makes_it_rest() -> None:
    """A server may refuse a connection now and then."""
    lane = Lane(1)
    assert [lane.learn(outcome(UNREACHABLE), NOW) for _ in range(3)] == [False, False, True]
    assert lane.resting_until == NOW + 30


@pytest.mark.parametrize(
    "between", [outcome(TAKEN), outcome(REFUSED), outcome(GREYLISTED), outcome(BUSY, UNREACHABLE)]
)
def test_an_answer_of_the_server_ends_the_count(between: Outcome) -> None:
    """Whatever it said of a message, it was there and let us in."""
    lane = Lane(1)
    changes = [
        lane.learn(each, NOW)
        for each in (outcome(UNREACHABLE), outcome(UNREACHABLE), between, outcome(UNREACHABLE))
    ]
    assert not any(changes)


def test_each_rest_is_twice_as_long_up_to_a_quarter_of_an_hour() -> None:
    """30 s, then doubling to 15 min, as long as the probe fails."""
    lane, now, rests = Lane(1), NOW, []
    for _ in range(7):
        assert lane.learn(outcome(LOGIN_REFUSED), now) is True
        rests.append(lane.resting_until - now)
        now = lane.resting_until
    assert rests == [30, 60, 120, 240, 480, 900, 900]


def test_what_ends_during_a_rest_changes_nothing() -> None:
    """Conversations begun before neither lengthen a rest nor cut it short, and are not told."""
    lane = Lane(1)
    lane.learn(outcome(LOGIN_REFUSED), NOW)
    assert lane.learn(outcome(LOGIN_REFUSED), NOW + 1) is False
    assert lane.learn(outcome(TAKEN), NOW + 2) is False
    assert (lane.rest, lane.resting_until) == (30, NOW + 30)


def test_a_probe_that_succeeds_puts_the_account_back_to_work() -> None:
    """The change is told once, and the next rest begins at 30 s again."""
    lane = Lane(1)
    lane.learn(outcome(LOGIN_REFUSED), NOW)
    assert lane.learn(outcome(TAKEN), NOW + 30) is True
    assert lane.learn(outcome(TAKEN), NOW + 31) is False
    assert lane.rest == 0
    assert lane.is_idle
    lane.learn(outcome(LOGIN_REFUSED), NOW + 32)
    assert lane.rest == 30


def test_trouble_noted_in_an_earlier_life_ends_with_the_first_success() -> None:
    """A server that was restarted does not know of the rest, but of what was written down."""
    lane = Lane(1, is_ill=True)
    assert lane.learn(outcome(TAKEN), NOW) is True
    assert lane.is_ill is False


@pytest.mark.parametrize(
    ("under_way", "waiting", "room"), [(0, 0, 50), (20, 10, 30), (21, 11, 0), (50, 5, 0), (60, 0, 0)]
)
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


async def test_a_resting_lane_claims_nothing_and_then_one() -> None:
    """After a rest one message probes the account; the others follow when it has worked."""
    node = lanes()
    lane = opened(node)
    lane.learn(outcome(LOGIN_REFUSED), NOW)
    assert node.room(lane, NOW + 29) == 0
    assert node.next_ready(NOW + 29) == NOW + 30
    assert node.room(lane, NOW + 30) == 1
    fill(node, lane, claimed(1))
    assert node.room(lane, NOW + 31) == 0
    assert node.next_ready(NOW + 31) is None


async def test_a_lane_at_its_rate_limit_claims_nothing_until_a_slot_is_free() -> None:
    node = lanes()
    lane = opened(node)
    lane.limited_until = NOW + 10
    assert node.room(lane, NOW + 9) == 0
    assert node.next_ready(NOW + 9) == NOW + 10
    assert node.room(lane, NOW + 10) == 50


async def test_a_greedy_lane_leaves_a_fifth_of_what_there_is() -> None:
    """An account with a large batch size would otherwise have all that a node claims."""
    node = lanes(sends=100)
    rooms = []
    for number in range(3):
        lane = opened(node, number, quota=1_000)
        rooms.append(node.room(lane, NOW))
        fill(node, lane, *(claimed(seq) for seq in range(rooms[-1])))
    assert rooms == [320, 64, 12]


async def test_a_node_that_has_enough_says_so() -> None:
    """Then the end of any conversation, of whatever lane, is worth a new look."""
    node = lanes(sends=1)
    first, second = opened(node, 1), opened(node, 2)
    fill(node, first, *(claimed(seq) for seq in range(4)))
    assert (node.room(second, NOW), node.is_short) == (0, True)
    node.finish(first)
    assert node.room(second, NOW) == 1


async def test_turns_go_by_priority_then_by_place_in_the_queue() -> None:
    """First in, first out within a priority, whatever order they were claimed in."""
    node = lanes(sends=2)
    lane = opened(node)
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
    one, two = opened(node, 1), opened(node, 2)
    turns = fill(node, one, claimed(1), claimed(2)) + fill(node, two, claimed(3), claimed(4))
    node.admit()
    assert granted(turns) == [1, 3]  # one each: the lane with the fewest comes first
    node.sends = 3
    node.admit()
    assert len(granted(turns)) == 3
    node.sends = 1
    node.leave(one, turns[0])
    assert len(granted(turns)) == 3


async def test_immediate_messages_come_before_all_lanes_others() -> None:
    """Even those of the busiest lane."""
    node = lanes(sends=3)
    busy, calm = opened(node, 1), opened(node, 2)
    turns = fill(node, busy, claimed(1), claimed(2))
    node.admit()
    turns += fill(node, calm, claimed(3)) + fill(node, busy, claimed(4, priority=0))
    node.admit()
    assert sorted(granted(turns)) == [1, 2, 4]


async def test_one_stalled_lane_never_holds_every_conversation() -> None:
    """An account may ask for as many as it likes: a fifth is left for others."""
    node = lanes(sends=100, memory=10_000)
    greedy, other = opened(node, 1, conversations=1_000), opened(node, 2)
    turns = fill(node, greedy, *(claimed(seq) for seq in range(300)))
    node.admit()
    assert len(granted(turns)) == 80
    late = fill(node, other, claimed(999))
    node.admit()
    assert granted(late) == [999]


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
    failed.learn(outcome(UNREACHABLE), NOW)
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
