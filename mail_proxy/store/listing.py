"""Lists of messages, newest first, found by index whatever they are filtered by and however many there are.

The messages of a tenant in one state, of one account or of one batch, stand in an index in the order of
lists: a branch. A list is merged from its branches, each read from the page's begin on and about as far as
the page needs. So a page costs its own length and a step for each branch, never what lies between or behind.

A parked message is stored as pending and shown as deferred: those of an account, or of a batch, are a branch
with an index of their own, and the branch of the pending passes over them within its index.

What is left: branches are as many as there are tenants times accounts times states that the filter allows, so
lists of all tenants cost something for each account of the instance; and an account's messages within a batch
are found by reading through the batch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mail_proxy.model.messages import MessageFilter, Place, Status
from mail_proxy.store.database import Call, Work
from mail_proxy.store.queries import load

SQL = load("messages")

AHEAD = 8
"""How much more than a page is read at first: few branches are all read as far as the page can reach."""

FURTHER = 8
"""How much further a branch is read when the page used all that was read of it."""

PARKED = "parked"
"""The state of a branch whose messages are stored as pending and shown as deferred."""


class _Branch(NamedTuple):
    """`state` is a stored status, or `PARKED`.

    `within` is an account; or the batch, when the list is filtered by one.
    """

    tenant_id: str
    state: str
    within: str


class _Found(NamedTuple):
    place: Place
    branch: _Branch


def places(which: MessageFilter) -> Work[list[Place]]:
    """Find where the messages of a page stand, newest first."""
    branches = yield from _branches(which)
    found: list[_Found] = []
    each = max(1, AHEAD * which.limit // max(1, len(branches)))
    while branches:
        each = min(each, which.limit)
        more = yield from _newest(which, branches, each)
        found = sorted(found + more, reverse=True)[: which.limit]
        used = Counter(one.branch for one in found)
        branches = [branch for branch in branches if used[branch] == each < which.limit]
        again = set(branches)
        found = [one for one in found if one.branch not in again]
        each *= FURTHER
    return [one.place for one in found]


def _branches(which: MessageFilter) -> Work[list[_Branch]]:
    """Tell which branches may hold messages of the list; without an account, those that do hold messages."""
    if which.tenant_id is None:
        tenants = [row["id"] for row in (yield Call(SQL["tenant_ids"], {}))]
    else:
        tenants = [which.tenant_id]
    states = [*which.statuses, *([PARKED] if Status.DEFERRED in which.statuses else [])]
    within = which.account_id if which.batch_code is None else which.batch_code
    if within is not None and (which.batch_code is not None or which.tenant_id is not None):
        return [_Branch(each, state, within) for each in tenants for state in states]
    params = {"tenants": json.dumps(tenants), "statuses": json.dumps(which.statuses)}
    rows = yield Call(SQL["branches"], params)
    found = [_Branch(row["tenant_id"], row["status"], row["account_id"]) for row in rows]
    if PARKED in states:
        rows = yield Call(SQL["parked_branches"], {"tenants": json.dumps(tenants)})
        found += [_Branch(row["tenant_id"], PARKED, row["account_id"]) for row in rows]
    return [branch for branch in found if which.account_id in (None, branch.within)]


def _newest(which: MessageFilter, branches: Sequence[_Branch], each: int) -> Work[list[_Found]]:
    """Read at most `each` of every branch, and of all these what can be on the page."""
    first = Place(which.until, 0)  # no message has the seq 0, so what was queued at `until` is left out
    begin = first if which.after is None else min(first, which.after)
    params: dict[str, object] = {
        "branches": json.dumps(branches, ensure_ascii=False),
        "since": which.since,
        "before": begin.created_at,
        "below": begin.seq,
        "each": each,
        "limit": which.limit,
    }
    if which.batch_code is None:
        rows = yield Call(SQL["newest_of_accounts"], params)
    else:
        rows = yield Call(SQL["newest_of_batches"], params | {"account_id": which.account_id})
    return [_Found(Place(row["created_at"], row["seq"]), branches[row["branch"]]) for row in rows]
