"""What becomes of a message, decided from what the server said to each of its recipients."""

from __future__ import annotations

from random import Random

import pytest

from mail_proxy.daemon.settlement import Attempt, RetryPolicy, settle, waited_too_long
from mail_proxy.model.accounts import OnUnknown
from mail_proxy.model.messages import EventType, Recipient, RecipientStatus, Status
from mail_proxy.model.queue import Claimed, NewEvent, Parking, Settlement
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope, Verdict

NOW = 1_000.0
ANN, BOB, CYD = "ann@example.net", "bob@example.net", "cyd@example.net"

TAKEN = Delivered(code="2.0.0", reply="250 2.0.0 queued as 1")
GREY = Deferred(code="4.7.1", reply="451 4.7.1 greylisted")
BUSY = Deferred(code="4.2.0", reply="450 4.2.0 busy")
TOO_MANY = Deferred(code="4.5.3", reply="452 4.5.3 too many recipients", scope=Scope.TRANSACTION)
NO_USER = Bounced(code="5.1.1", reply="550 5.1.1 no such user")
LOST = Deferred(reply="connection lost", scope=Scope.CONNECTION)
UNKNOWN = Deferred(reply="no reply to the final dot", scope=Scope.CONNECTION, unknown=True)
LOGIN = Deferred(code="5.7.8", reply="535 5.7.8 wrong password", scope=Scope.ACCOUNT)


class Middle(Random):
    """No jitter: always the middle of a range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


POLICY = RetryPolicy(delays=(60.0, 300.0), max_retries=2, max_account_wait=3_600.0, rng=Middle())


def message(
    *recipients: Recipient,
    retry_count: int = 0,
    is_limited: bool = False,
    is_unknown: bool = False,
    parked_for: Parking | None = None,
    parked_since: float | None = None,
) -> Claimed:
    return Claimed(
        seq=7,
        pk="pk",
        tenant_id="acme",
        id="m1",
        account_id="main",
        lane=1,
        priority=2,
        recipients=recipients or (Recipient(address=ANN),),
        envelope_from="shop@example.org",
        message_id="<m1@example.org>",
        retry_count=retry_count,
        size=1,
        created_at=NOW - 10,
        is_unknown=is_unknown,
        is_limited=is_limited,
        parked_for=parked_for,
        parked_since=parked_since,
    )


def people(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(address=address) for address in addresses)


def settled(
    claimed: Claimed,
    verdicts: dict[str, Verdict],
    *,
    on_unknown: OnUnknown = OnUnknown.RETRY,
    rests_until: float | None = None,
) -> Settlement:
    attempt = Attempt(
        outcome=Outcome(verdicts=verdicts), now=NOW, on_unknown=on_unknown, rests_until=rests_until
    )
    return settle(claimed, attempt, POLICY)


def only(settlement: Settlement) -> NewEvent:
    (event,) = settlement.events
    return event


def told(settlement: Settlement) -> list[EventType]:
    return [event.event_type for event in settlement.events]


def test_a_message_taken_is_sent() -> None:
    """One event, with the server's words and no list of recipients."""
    after = settled(message(), {ANN: TAKEN})
    assert (after.status, after.sent_ts, after.error, after.last_error) == (Status.SENT, NOW, None, None)
    assert after.recipients == (
        Recipient(address=ANN, status=RecipientStatus.SENT, code="2.0.0", reply="250 2.0.0 queued as 1"),
    )
    assert only(after) == NewEvent(
        event_type=EventType.SENT, event_ts=NOW, description="250 2.0.0 queued as 1", event_data=None
    )


def test_a_message_refused_is_an_error_with_the_servers_own_words() -> None:
    after = settled(message(), {ANN: NO_USER})
    assert (after.status, after.error_ts, after.sent_ts) == (Status.ERROR, NOW, None)
    assert after.error == "550 5.1.1 no such user"
    assert only(after).event_data == {"error": "550 5.1.1 no such user"}


def test_a_message_put_off_is_tried_again_later() -> None:
    """What went wrong for now is in `last_error`; `error` is for what is final."""
    after = settled(message(), {ANN: GREY})
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.DEFERRED, NOW + 60, 1)
    assert (after.error, after.error_ts, after.last_error) == (None, None, "451 4.7.1 greylisted")
    assert only(after).event_data == {
        "reason": "451 4.7.1 greylisted",
        "deferred_ts": NOW + 60,
        "retry_count": 1,
    }


@pytest.mark.parametrize(
    ("retries_before", "due"),
    [(0, NOW + 60), (1, NOW + 300), (2, None)],
    ids=["first", "second", "none left"],
)
def test_the_schedule_is_followed_to_its_end(retries_before: int, due: float | None) -> None:
    """After the last retry what was put off is an error."""
    after = settled(message(retry_count=retries_before), {ANN: BUSY})
    assert after.deferred_ts == due
    assert after.status is (Status.DEFERRED if due else Status.ERROR)
    assert after.error == (None if due else "450 4.2.0 busy")


def test_recipients_that_fare_differently_are_told_apart() -> None:
    """Taken, refused and put off: three events, each with its own recipients; only one is left to try."""
    after = settled(message(*people(ANN, BOB, CYD)), {ANN: TAKEN, BOB: NO_USER, CYD: GREY})
    assert (after.status, after.sent_ts, after.deferred_ts) == (Status.DEFERRED, NOW, NOW + 60)
    assert told(after) == [EventType.SENT, EventType.ERROR, EventType.DEFERRED]
    assert [each.status.value for each in after.recipients] == ["sent", "error", "deferred"]
    assert [event.event_data and event.event_data["recipients"] for event in after.events] == [
        [{"address": ANN, "status": "sent", "code": "2.0.0", "reply": "250 2.0.0 queued as 1"}],
        [{"address": BOB, "status": "error", "code": "5.1.1", "reply": "550 5.1.1 no such user"}],
        [{"address": CYD, "status": "deferred", "code": "4.7.1", "reply": "451 4.7.1 greylisted"}],
    ]


@pytest.mark.parametrize(
    ("verdict", "status", "event"),
    [
        (TAKEN, Status.SENT, EventType.SENT),
        (NO_USER, Status.SENT, EventType.ERROR),
        (GREY, Status.DEFERRED, EventType.DEFERRED),
    ],
)
def test_the_next_attempt_leaves_those_taken_before_alone(
    verdict: Verdict, status: Status, event: EventType
) -> None:
    """Their outcome stays and is not told again; a message somebody took never becomes an error."""
    before = (
        Recipient(address=ANN, status=RecipientStatus.SENT, reply="250 ok"),
        Recipient(address=BOB, status=RecipientStatus.DEFERRED, reply="451 later"),
    )
    after = settled(message(*before, retry_count=1), {BOB: verdict})
    assert after.status is status
    assert after.recipients[0] == before[0]
    assert told(after) == [event]
    assert after.error is None


def test_the_last_retry_of_some_ends_a_message_that_others_took() -> None:
    """It is sent; the ones left over are errors of their own."""
    before = (
        Recipient(address=ANN, status=RecipientStatus.SENT, reply="250 ok"),
        Recipient(address=BOB, status=RecipientStatus.DEFERRED, reply="451 later"),
    )
    after = settled(message(*before, retry_count=2), {BOB: GREY})
    assert (after.status, after.error, after.last_error) == (Status.SENT, None, "451 4.7.1 greylisted")
    assert told(after) == [EventType.ERROR]
    assert after.recipients[1].status is RecipientStatus.ERROR


def test_the_same_words_are_said_once() -> None:
    after = settled(message(*people(ANN, BOB, CYD)), {ANN: NO_USER, BOB: NO_USER, CYD: BUSY})
    assert after.events[0].description == "550 5.1.1 no such user"
    after = settled(message(*people(ANN, BOB)), {ANN: GREY, BOB: BUSY})
    assert after.last_error == "451 4.7.1 greylisted; 450 4.2.0 busy"


def test_an_account_at_fault_lets_the_message_wait_in_its_place_and_costs_no_retry() -> None:
    """It is pending, parked until the account is tried again, and says so."""
    after = settled(message(retry_count=2), {ANN: LOGIN}, rests_until=NOW + 30)
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.PENDING, NOW + 30, 2)
    assert (after.parked_for, after.parked_since) == (Parking.ACCOUNT, NOW)
    assert after.last_error == "535 5.7.8 wrong password"
    assert told(after) == [EventType.DEFERRED]
    assert only(after).event_data == {
        "reason": "535 5.7.8 wrong password",
        "deferred_ts": NOW + 30,
        "retry_count": 2,
    }


def test_a_message_that_waits_for_its_account_says_so_once() -> None:
    """However often it has tried it; and it has waited since the first time."""
    waiting = message(parked_for=Parking.ACCOUNT, parked_since=NOW - 60)
    after = settled(waiting, {ANN: LOGIN}, rests_until=NOW + 60)
    assert (after.status, after.deferred_ts, after.parked_since) == (Status.PENDING, NOW + 60, NOW - 60)
    assert told(after) == []


def test_one_that_waited_for_a_rate_limit_says_that_it_waits_for_its_account_now() -> None:
    limited = message(parked_for=Parking.LIMIT, parked_since=NOW - 60)
    after = settled(limited, {ANN: LOGIN}, rests_until=NOW + 30)
    assert (after.parked_since, told(after)) == (NOW, [EventType.DEFERRED])


def test_an_account_that_was_changed_meanwhile_is_tried_again_at_once() -> None:
    """It does not rest, for what failed is not what is there now."""
    after = settled(message(), {ANN: LOGIN})
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.PENDING, NOW, 0)


def test_a_message_whose_account_could_not_be_used_for_too_long_is_an_error() -> None:
    """Reported, with what was wrong with the account."""
    waiting = message(parked_for=Parking.ACCOUNT, parked_since=NOW - 3_600)
    after = settled(waiting, {ANN: LOGIN}, rests_until=NOW + 30)
    text = "its account could not be used for 1 h: 535 5.7.8 wrong password"
    assert (after.status, after.error, after.error_ts, after.deferred_ts) == (Status.ERROR, text, NOW, None)
    assert (after.parked_for, after.parked_since) == (None, None)
    assert only(after).event_type is EventType.ERROR
    assert only(after).event_data == {"error": text}


@pytest.mark.parametrize(
    ("seconds", "span"), [(86_400, "24 h"), (5_400, "1.5 h"), (60, "1 min"), (59, "59 s"), (0.5, "0.5 s")]
)
def test_how_long_an_account_could_not_be_used_is_said_in_a_fitting_unit(seconds: float, span: str) -> None:
    assert waited_too_long(seconds, "why") == f"its account could not be used for {span}: why"


def test_a_server_that_cannot_be_reached_costs_a_retry_until_its_account_rests() -> None:
    """Until then it may be this connection's bad luck."""
    after = settled(message(), {ANN: LOST})
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.DEFERRED, NOW + 60, 1)
    after = settled(message(), {ANN: LOST}, rests_until=NOW + 30)
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.PENDING, NOW + 30, 0)


@pytest.mark.parametrize(
    "verdicts",
    [{ANN: LOGIN, BOB: GREY}, {ANN: UNKNOWN, BOB: UNKNOWN}],
    ids=["not only the account", "unknown"],
)
def test_other_failures_cost_a_retry_though_the_account_rests(verdicts: dict[str, Verdict]) -> None:
    after = settled(message(*people(ANN, BOB)), verdicts, rests_until=NOW + 30)
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.DEFERRED, NOW + 60, 1)
    assert after.parked_for is None


def test_an_unknown_outcome_is_tried_again_and_says_so() -> None:
    """The final dot was sent and no reply came: the application hears of a possible duplicate."""
    after = settled(message(), {ANN: UNKNOWN})
    assert (after.status, after.is_unknown, after.deferred_ts) == (Status.DEFERRED, True, NOW + 60)
    data = only(after).event_data
    assert data is not None
    assert data["possible_duplicate"] is True


def test_an_unknown_outcome_is_held_if_the_account_says_so() -> None:
    """No moment to try again: a person decides."""
    after = settled(message(), {ANN: UNKNOWN}, on_unknown=OnUnknown.HOLD)
    assert (after.status, after.is_unknown, after.deferred_ts) == (Status.DEFERRED, True, None)
    data = only(after).event_data
    assert data is not None
    assert (data["deferred_ts"], data["possible_duplicate"]) == (None, True)


def test_an_unknown_outcome_at_the_last_retry_is_an_error_that_may_have_arrived() -> None:
    after = settled(message(retry_count=2), {ANN: UNKNOWN})
    assert after.status is Status.ERROR
    assert only(after).event_type is EventType.ERROR
    data = only(after).event_data
    assert data is not None
    assert data["possible_duplicate"] is True


def test_only_those_in_doubt_are_called_possible_duplicates() -> None:
    """Who was refused before the content was sent is in no doubt."""
    after = settled(message(*people(ANN, BOB)), {ANN: UNKNOWN, BOB: NO_USER})
    data = {event.event_type: event.event_data or {} for event in after.events}
    assert data[EventType.DEFERRED]["possible_duplicate"] is True
    assert "possible_duplicate" not in data[EventType.ERROR]


@pytest.mark.parametrize("is_limited", [True, False])
def test_a_slot_of_a_rate_limit_is_settled_with_the_message(is_limited: bool) -> None:
    assert settled(message(is_limited=is_limited), {ANN: TAKEN}).is_limited is is_limited


@pytest.mark.parametrize("retry_count", [0, 2], ids=["deferred", "error"])
def test_a_doubt_about_an_earlier_attempt_stays(retry_count: int) -> None:
    """The message may have arrived then, so it must not be replaced, whatever the server says now."""
    assert settled(message(retry_count=retry_count, is_unknown=True), {ANN: GREY}).is_unknown
    assert not settled(message(retry_count=retry_count), {ANN: GREY}).is_unknown
    assert not settled(message(retry_count=retry_count, is_unknown=True), {ANN: TAKEN}).is_unknown


@pytest.mark.parametrize("other", [TOO_MANY, GREY], ids=["too-many", "greylisted"])
def test_whom_a_full_transaction_left_out_goes_in_the_next_at_once(other: Deferred) -> None:
    """Also after the last retry: with each somebody gets it, so that they come to an end."""
    claimed = message(*people(ANN, BOB, CYD), retry_count=POLICY.max_retries)
    after = settled(claimed, {ANN: TAKEN, BOB: other, CYD: TOO_MANY})
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.DEFERRED, NOW, POLICY.max_retries)
    assert told(after) == [EventType.SENT, EventType.DEFERRED]


def test_a_transaction_that_is_full_before_it_took_anybody_costs_a_retry() -> None:
    after = settled(message(*people(ANN, BOB)), {ANN: TOO_MANY, BOB: TOO_MANY})
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.DEFERRED, NOW + 60, 1)


def test_what_was_not_sent_since_we_slept_is_sent_anew_at_once() -> None:
    """Also after the last retry: it is no fault of the message, nor of the server."""
    slept = Deferred(reply="the lease ran out", scope=Scope.NODE)
    after = settled(message(*people(ANN, BOB), retry_count=POLICY.max_retries), {ANN: slept, BOB: slept})
    assert (after.status, after.deferred_ts, after.retry_count) == (Status.DEFERRED, NOW, POLICY.max_retries)
    assert not after.is_unknown
