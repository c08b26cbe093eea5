"""Removal: messages that somebody deletes, and those that have had their time.

Contract: messages.md, Retention.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mail_proxy.model.messages import Status
from mail_proxy.model.removal import Deleted, Kept, Removal
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.queries import load

SQL = load("removal")

CHUNK = 200
"""Messages deleted in one transaction, so that none lasts long."""

CHUNK_BYTES = 8 * 1024 * 1024
"""Bytes of contents from which on no further message is deleted in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A tenant, and whether there is an application to tell: its own, or one that servers post to for it."""

    tenant_id: str
    has_address: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One way through a tenant's messages that may have had their time, and how far it has come.

    Through those told of by `before`, or with `is_untold` those of which nobody was told since
    `untold_before`: what was to be told longer ago than that counts as told, be it given up or not yet. Times
    are Unix seconds.
    `is_over` when there is nothing left.
    """

    tenant_id: str
    before: float
    untold_before: float
    is_untold: bool
    moment: float = -1.0
    seq: int = 0
    removed: int = 0
    is_over: bool = False


class Removals:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete(
        self, ids: Sequence[str], tenant_id: str | None, *, force: bool, tells_all: bool
    ) -> Removal:
        """Delete messages by their ids, which are all different; without a tenant, where an id has one owner.

        What is being sent stays, and without `force` what is sent and not yet reported. `tells_all`: there
        is somebody to report to also for tenants without an application of their own; who asks need not know
        of one that servers have planned posts to.
        """
        return await self._database.write(self._delete, ids, tenant_id, force, tells_all)

    async def foreign(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids some tenant has."""
        return await self._database.read(self._foreign, ids)

    async def owners(self) -> list[Owner]:
        """Every tenant."""
        return await self._database.read(self._owners)

    async def sweep(self, sweep: Sweep) -> Sweep:
        """Go a step on, and delete what has had its time; return how far it has come."""
        return await self._database.write(self._sweep, sweep)

    def _delete(
        self, ids: Sequence[str], tenant_id: str | None, force: bool, tells_all: bool
    ) -> Work[Removal]:
        given = {"ids": json.dumps(ids)}
        if tenant_id is None:
            rows = yield Call(SQL["of_anybody"], given)
        else:
            rows = yield Call(SQL["of_tenant"], given | {"tenant_id": tenant_id})
        # Asked once they are locked: what has happened to them meanwhile counts.
        due = yield Call(SQL["due"], {"seqs": json.dumps([row["seq"] for row in rows])})
        untold = {row["seq"] for row in due}
        found = Counter(row["id"] for row in rows)
        kept: dict[str, Kept] = {}
        going: list[Row] = []
        for row in rows:
            is_guarded = not force and row["seq"] in untold and (row["has_address"] or tells_all)
            why = Kept.AMBIGUOUS if found[row["id"]] > 1 else _why_kept(row, is_guarded=is_guarded)
            if why is None:
                going.append(row)
            else:
                kept[row["id"]] = why
        yield Call(SQL["delete"], {"seqs": json.dumps([row["seq"] for row in going])})
        return Removal(
            removed=tuple(Deleted(tenant_id=row["tenant_id"], id=row["id"], pk=row["pk"]) for row in going),
            not_found=tuple(each for each in ids if each not in found),
            kept=kept,
        )

    def _foreign(self, ids: Sequence[str]) -> Work[set[str]]:
        rows = yield Call(SQL["known"], {"ids": json.dumps(ids)})
        return {row["id"] for row in rows}

    def _owners(self) -> Work[list[Owner]]:
        rows = yield Call(SQL["owners"], {})
        return [Owner(tenant_id=row["id"], has_address=bool(row["has_address"])) for row in rows]

    def _sweep(self, sweep: Sweep) -> Work[Sweep]:
        place = {"tenant_id": sweep.tenant_id, "moment": sweep.moment, "seq": sweep.seq, "limit": CHUNK}
        if sweep.is_untold:
            rows = yield Call(SQL["untold_before"], place | {"before": sweep.untold_before})
        else:
            rows = yield Call(SQL["told_before"], place | {"before": sweep.before})
        some = _up_to(rows, CHUNK_BYTES)
        if not some:
            return replace(sweep, is_over=True)
        gone = yield Call(
            SQL["delete_done"],
            {
                "seqs": json.dumps([row["seq"] for row in some]),
                "before": sweep.before,
                "untold_before": sweep.untold_before,
            },
        )
        return replace(
            sweep,
            moment=some[-1]["moment"],
            seq=some[-1]["seq"],
            removed=sweep.removed + len(gone),
            is_over=len(some) == len(rows) < CHUNK,
        )


def _why_kept(row: Row, *, is_guarded: bool) -> Kept | None:
    """`is_guarded`: somebody is still to be told of it, and nobody said that this does not matter."""
    if row["status"] == Status.SENDING:
        return Kept.BEING_SENT
    if is_guarded and row["sent_ts"] is not None:
        return Kept.NOT_REPORTED
    return None


def _up_to(rows: Sequence[Row], limit: int) -> Sequence[Row]:
    """Take so many that their contents have at most `limit` bytes, but one at least."""
    size = 0
    for count, row in enumerate(rows):
        size += row["size"]
        if size > limit:
            return rows[: max(1, count)]
    return rows
