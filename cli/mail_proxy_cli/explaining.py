"""Why a message waits, in words."""

from __future__ import annotations

from collections.abc import Callable

from mail_proxy.model.explanations import Cause, Explanation, Reason
from mail_proxy.model.messages import Status
from mail_proxy_cli.output import age, when

Words = Callable[[Explanation, Cause], str]


def told(explanation: Explanation, now: float) -> dict[str, str]:
    """Tell it a line at a time, each with its heading; `now` is Unix seconds."""
    decisive, *others = explanation.causes
    message = explanation.message
    lines: dict[str, str | None] = {
        "status": message.status.value,
        "why": _why(explanation, decisive),
        "since": _moment(decisive.since, now),
        "until": _moment(decisive.until, now),
        "and": "; ".join(f"{_why(explanation, each)}{_while(each, now)}" for each in others),
        "ahead": _ahead(explanation),
        "attempts": _attempts(explanation),
        "last words": message.last_error,
    }
    return {heading: line for heading, line in lines.items() if line}


def _why(explanation: Explanation, cause: Cause) -> str:
    return WORDS[cause.reason](explanation, cause)


def _suspended(_explanation: Explanation, cause: Cause) -> str:
    return "its tenant is suspended" if cause.detail is None else f"its batch '{cause.detail}' is suspended"


def _held(_explanation: Explanation, _cause: Cause) -> str:
    return (
        "it may have been sent, nobody knows: 'messages retry' sends it, perhaps for a second time, "
        "and 'messages delete' gives it up"
    )


def _rests(explanation: Explanation, cause: Cause) -> str:
    account_id = explanation.message.account_id
    how = "rests after failures" if cause.until is not None else "has failed, and one message tries it again"
    return f"its account '{account_id}' {how}" + (f": {cause.detail}" if cause.detail else "")


def _being_sent(explanation: Explanation, _cause: Cause) -> str:
    sender = explanation.sender
    who = "a server" if sender is None else f"server '{sender.name or sender.node_id}'"
    begun = sender is not None and sender.begun_at is not None
    return f"{who} is transmitting it" if begun else f"{who} has taken it to send it"


def _lost(explanation: Explanation, _cause: Cause) -> str:
    sender = explanation.sender
    who = "" if sender is None else f" '{sender.name or sender.node_id}'"
    return f"the server{who} that was sending it is gone; another takes it over"


def _done(explanation: Explanation, cause: Cause) -> str:
    how = {Status.ERROR: "it has failed", Status.BOUNCED: "it was returned"}
    return how.get(explanation.message.status, "it was sent") + (f": {cause.detail}" if cause.detail else "")


WORDS: dict[Reason, Words] = {
    Reason.UNKNOWN_OUTCOME_HELD: _held,
    Reason.SUSPENDED: _suspended,
    Reason.TENANT_INACTIVE: lambda *_: "its tenant is not active",
    Reason.INSTANCE_SUSPENDED: lambda *_: "the instance is suspended, and sends nothing",
    Reason.NO_RUNNING_SERVER: lambda *_: "no server is running that could send it",
    Reason.ACCOUNT_GONE: lambda *_: "its account was deleted, and it will fail",
    Reason.SENDER_LOST: _lost,
    Reason.SCHEDULED: lambda *_: "it is scheduled for later",
    Reason.RETRY: lambda *_: "an attempt has failed, and it is tried again",
    Reason.ACCOUNT: _rests,
    Reason.LIMIT: lambda _, cause: f"no slot is free in the rate limit of {cause.detail}",
    Reason.IN_LINE: lambda *_: "it is in line, and nothing keeps it",
    Reason.BEING_SENT: _being_sent,
    Reason.DONE: _done,
}


def _moment(moment: float | None, now: float) -> str | None:
    if moment is None:
        return None
    away = f"in {age(moment - now)}" if moment > now else f"{age(now - moment)} ago"
    return f"{when(moment)} ({away})"


def _while(cause: Cause, now: float) -> str:
    """The times of a further reason, in brackets."""
    times = (("since", cause.since), ("until", cause.until))
    said = ", ".join(f"{word} {_moment(moment, now)}" for word, moment in times if moment is not None)
    return f" [{said}]" if said else ""


def _ahead(explanation: Explanation) -> str | None:
    if explanation.ahead is None:
        return None
    count = f"{explanation.ahead:,}{'+' if explanation.is_more_ahead else ''}"
    noun = "message" if explanation.ahead == 1 else "messages"
    return f"{count} {noun} of account '{explanation.message.account_id}'"


def _attempts(explanation: Explanation) -> str:
    failed = f"{explanation.message.retry_count} failed"
    return failed if explanation.attempts_left is None else f"{failed}, {explanation.attempts_left} left"
