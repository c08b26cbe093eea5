"""Why a message waits, in words for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mail_proxy.model.accounts import Circuit, Rest
from mail_proxy.model.explanations import Cause, Condition, Explanation, Reason, Sender
from mail_proxy.model.messages import Message, Status
from mail_proxy_cli.explaining import WORDS, told
from mail_proxy_cli.output import when

NOW = 1_000_000.0

MESSAGE = Message(
    seq=1, pk="p", tenant_id="acme", id="m1", account_id="main", status=Status.PENDING, priority=2,
    batch_code=None, recipients=(), envelope_from=None, message_id="<m1@x>", is_pec=False, metadata=None,
    size=1, created_at=NOW, updated_at=NOW, deferred_ts=None, sent_ts=None, error_ts=None, error=None,
    last_error=None, retry_count=0, reported_ts=None, bounce_type=None, bounce_code=None,
    bounce_reason=None, bounce_ts=None,
)  # fmt: skip

CONDITION = Condition(account_id="main", rest=Rest(30, NOW + 30), ill_since=NOW, last_error="535 no")

SENDER = Sender(node_id="n1", name="first", is_alive=True, lease_until=NOW + 30, begun_at=None)


def explanation(*causes: Cause, **changes: object) -> Explanation:
    blank = Explanation(
        message=MESSAGE,
        causes=causes,
        ahead=None,
        is_more_ahead=False,
        attempts_left=6,
        condition=CONDITION,
        windows=(),
        sender=None,
    )
    return replace(blank, **changes)  # type: ignore[arg-type]  # the caller names fields of Explanation


REST = Cause(reason=Reason.ACCOUNT, until=NOW + 30, detail="535 no")
SENDING = Cause(reason=Reason.BEING_SENT)
LOST = Cause(reason=Reason.SENDER_LOST)
DONE = Cause(reason=Reason.DONE)


@pytest.mark.parametrize(
    ("cause", "changes", "line"),
    [
        (Cause(reason=Reason.UNKNOWN_OUTCOME_HELD), {}, "it may have been sent, nobody knows: 'messages"),
        (Cause(reason=Reason.SUSPENDED), {}, "its tenant is suspended"),
        (Cause(reason=Reason.SUSPENDED, detail="spring"), {}, "its batch 'spring' is suspended"),
        (Cause(reason=Reason.TENANT_INACTIVE), {}, "its tenant is not active"),
        (Cause(reason=Reason.INSTANCE_SUSPENDED), {}, "the instance is suspended, and sends nothing"),
        (Cause(reason=Reason.NO_RUNNING_SERVER), {}, "no server is running that could send it"),
        (Cause(reason=Reason.ACCOUNT_GONE), {}, "its account was deleted, and it will fail"),
        (Cause(reason=Reason.SCHEDULED), {}, "it is scheduled for later"),
        (Cause(reason=Reason.RETRY), {}, "an attempt has failed, and it is tried again"),
        (REST, {}, "its account 'main' rests after failures: 535 no"),
        (replace(REST, until=None, detail=None), {}, "its account 'main' has failed, and one message tries"),
        (
            Cause(reason=Reason.LIMIT, detail="x: 1 a day"),
            {},
            "no slot is free in the rate limit of x: 1 a day",
        ),
        (Cause(reason=Reason.IN_LINE), {}, "it is in line, and nothing keeps it"),
        (SENDING, {"sender": SENDER}, "server 'first' has taken it to send it"),
        (SENDING, {"sender": replace(SENDER, begun_at=NOW)}, "server 'first' is transmitting it"),
        (SENDING, {"sender": replace(SENDER, name=None)}, "server 'n1' has taken it to send it"),
        (SENDING, {}, "a server has taken it to send it"),
        (LOST, {"sender": SENDER}, "the server 'first' that was sending it is gone; another takes it over"),
        (DONE, {"message": replace(MESSAGE, status=Status.SENT)}, "it was sent"),
        (
            replace(DONE, detail="550 no"),
            {"message": replace(MESSAGE, status=Status.ERROR)},
            "it has failed: 550 no",
        ),
        (DONE, {"message": replace(MESSAGE, status=Status.BOUNCED)}, "it was returned"),
    ],
)
def test_every_reason_has_its_words(cause: Cause, changes: dict[str, object], line: str) -> None:
    assert told(explanation(cause, **changes), NOW)["why"].startswith(line)


def test_no_reason_is_without_words() -> None:
    assert set(WORDS) == set(Reason)


def test_times_are_told_with_how_far_away_they_are() -> None:
    """Those of further reasons in brackets behind them."""
    limit = Cause(reason=Reason.LIMIT, until=NOW + 90, detail="account main: 1 a minute")
    lines = told(explanation(replace(REST, since=NOW - 60), limit), NOW)
    assert lines["since"] == f"{when(NOW - 60)} (1m 0s ago)"
    assert lines["until"] == f"{when(NOW + 30)} (in 30s)"
    assert lines["and"] == (
        f"no slot is free in the rate limit of account main: 1 a minute [until {when(NOW + 90)} (in 1m 30s)]"
    )


@pytest.mark.parametrize(
    ("ahead", "is_more", "line"),
    [
        (0, False, "0 messages of account 'main'"),
        (1, False, "1 message of account 'main'"),
        (1000, True, "1,000+ messages of account 'main'"),
    ],
)
def test_how_many_go_before_it(ahead: int, is_more: bool, line: str) -> None:
    found = explanation(Cause(reason=Reason.IN_LINE), ahead=ahead, is_more_ahead=is_more)
    assert told(found, NOW)["ahead"] == line


def test_what_there_is_nothing_to_tell_of_has_no_line() -> None:
    sent = replace(MESSAGE, status=Status.SENT, retry_count=2, last_error="450 later")
    lines = told(explanation(DONE, message=sent, attempts_left=None), NOW)
    assert lines == {
        "status": "sent",
        "why": "it was sent",
        "attempts": "2 failed",
        "last words": "450 later",
    }


def test_an_account_with_a_rest_has_an_open_circuit() -> None:
    assert CONDITION.circuit is Circuit.OPEN
    assert replace(CONDITION, rest=None).circuit is Circuit.CLOSED
