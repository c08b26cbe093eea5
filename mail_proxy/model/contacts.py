"""Whom to tell, and how an application stands when somebody begins to tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mail_proxy.model.reports import Reportable


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tenant that is due. Its application `is_failing` if it did not take the last post.

    Without news it is due for what was refused, or for a post of nothing.
    """

    tenant_id: str
    is_failing: bool
    has_news: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Who is due now, and when to look again at the latest (Unix seconds; None: nothing is foreseen).

    `retired` are tenants that get empty posts no more. `is_elsewhere`: another node has to do with some who
    are due; it may have seen less than there is.
    """

    due: tuple[Candidate, ...]
    retired: tuple[str, ...]
    next_at: float | None
    is_elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A tenant whose application this node alone may post to. Times are Unix seconds.

    `failures` are those since the last success. An empty post is due at `beat_at` if it is not None;
    `dnd_until` is until when the application wants none. `again_ts` is when an event that it refused is due
    again; 0: all are. `rounds` is how often in a row it had more to submit and submitted nothing after
    the message `seen_seq`.
    """

    tenant_id: str
    failures: int
    beat_at: float | None
    dnd_until: float | None
    again_ts: float | None
    rounds: int
    seen_seq: int


@dataclass(frozen=True, slots=True)
class News:
    """What an application is to be told next, in order; `has_more`: it is not all there is.

    `newest_seq` is the last message that anybody had queued when this was read.
    """

    events: Sequence[Reportable]
    has_more: bool
    newest_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What an application said to a post that it took, at `now`, and what follows from it.

    `told` and `refused` are numbers of events. Without a `dnd_until`, what it said before holds. The lease
    goes on until `lease_until`; None gives it back.
    """

    now: float
    told: Sequence[int]
    refused: Sequence[int]
    beat_at: float
    dnd_until: float | None
    rounds: int
    seen_seq: int
    lease_until: float | None
