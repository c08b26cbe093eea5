"""The shop's own database: its orders, the mails these cause, and what became of each mail."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from mail_proxy.client import ReportEntry, webhooks

Json = Mapping[str, Any]

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another transaction."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id       INTEGER PRIMARY KEY,
    customer TEXT NOT NULL,
    item     TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS outbox (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,             -- by which mail-proxy knows the mail, too
    order_id INTEGER NOT NULL REFERENCES orders (id),
    message  TEXT NOT NULL,                    -- as it is handed in
    status   TEXT NOT NULL DEFAULT 'waiting',  -- then queued or rejected, then what reports say
    reason   TEXT
) STRICT;

CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (seq) WHERE status = 'waiting';

CREATE TABLE IF NOT EXISTS reports (
    event_id INTEGER NOT NULL,                 -- never repeats: what comes twice is known by it
    pk       TEXT NOT NULL,                    -- of the message: each mail-proxy counts events by itself
    mail_id  TEXT NOT NULL REFERENCES outbox (id),
    event    TEXT NOT NULL,
    PRIMARY KEY (event_id, pk)
) STRICT;
"""

log = logging.getLogger("shop.outbox")


class Outbox:
    """The database in one file, which threads and processes may share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)

    def place_order(self, customer: str, item: str) -> None:
        """Store an order and its mail in one transaction: there is never one without the other.

        No network is involved: whether mail-proxy is there or not, placing an order neither fails nor waits.
        """
        # The id is made once and stored, so that each submission of the mail carries the same one. It is not
        # the order's number: a database put back from a backup gives numbers again, and mail-proxy would take
        # the new mail for the old one.
        mail_id = uuid4().hex
        message = {
            "id": mail_id,
            "to": customer,
            "subject": f"Your order: {item}",
            "body": f"Thank you for your order. One {item} is on its way to you.\n",
        }
        with self._transaction() as db:
            order = db.execute("INSERT INTO orders (customer, item) VALUES (?, ?)", (customer, item))
            mail = (mail_id, order.lastrowid, json.dumps(message))
            db.execute("INSERT INTO outbox (id, order_id, message) VALUES (?, ?, ?)", mail)

    def waiting(self, limit: int) -> list[Json]:
        """Return the oldest mails that are still to be handed in."""
        statement = "SELECT message FROM outbox WHERE status = 'waiting' ORDER BY seq LIMIT ?"
        with self._open() as db:
            return [json.loads(row["message"]) for row in db.execute(statement, (limit,))]

    def mark(self, queued: Iterable[str], refused: Mapping[str, str]) -> None:
        """Record which mails mail-proxy has taken, and which it refused, with the reason."""
        marks: list[tuple[str, str | None, str]] = [("queued", None, mail_id) for mail_id in queued]
        marks += [("rejected", reason, mail_id) for mail_id, reason in refused.items()]
        # The report of a mail may be here before the answer that it is queued: then it stays.
        statement = "UPDATE outbox SET status = ?, reason = ? WHERE id = ? AND status = 'waiting'"
        with self._transaction() as db:
            db.executemany(statement, marks)

    def apply(self, entries: Iterable[ReportEntry]) -> Json:
        """Apply the entries of a delivery report, and return the answer to it; all of it is on disk then.

        Raises sqlite3.OperationalError when nothing could be stored.
        """
        failed: set[str] = set()
        unknown: set[str] = set()
        with self._transaction() as db:
            for entry in entries:
                if entry.id in failed:
                    continue  # it comes again with the one before it, which it must not overtake
                db.execute("SAVEPOINT entry")
                try:
                    if not _apply(db, entry):
                        unknown.add(entry.id)
                except sqlite3.OperationalError:
                    raise  # the whole database is in trouble
                except Exception:
                    log.exception("a report on mail %s cannot be applied: it is to come again", entry.id)
                    db.execute("ROLLBACK TO entry")
                    failed.add(entry.id)
                db.execute("RELEASE entry")
            queued = db.execute("SELECT count(*) FROM outbox WHERE status = 'waiting'").fetchone()[0]
        return webhooks.answer(error=failed, not_found=unknown, queued=queued)

    def mails(self, limit: int = 100) -> list[Json]:
        """Return the newest mails with their orders, for people to look at."""
        statement = """
            SELECT outbox.id, customer, item, status, reason
            FROM outbox JOIN orders ON orders.id = outbox.order_id ORDER BY seq DESC LIMIT ?"""
        with self._open() as db:
            return [dict(row) for row in db.execute(statement, (limit,))]

    def _open(self) -> closing[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
        db.row_factory = sqlite3.Row
        return closing(db)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit at the end of the block, unless it raises: then nothing of it has happened."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


def _apply(db: sqlite3.Connection, entry: ReportEntry) -> bool:
    """Apply one entry, once; return False for a mail that is not ours."""
    if db.execute("SELECT 1 FROM outbox WHERE id = ?", (entry.id,)).fetchone() is None:
        return False
    # Reports are delivered at least once, and those on one mail in order: what was seen before is dropped,
    # and the newest that was not decides.
    report = (entry.event_id, entry.pk, entry.id, entry.event)
    is_new = db.execute("INSERT INTO reports VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", report).rowcount
    if is_new and (outcome := _outcome(entry)):
        # Of a mail 'waiting', too: whoever handed it in died before writing that down.
        db.execute("UPDATE outbox SET status = ?, reason = ? WHERE id = ?", (*outcome, entry.id))
    return True


def _outcome(entry: ReportEntry) -> tuple[str, str | None] | None:
    """Return the status that an event leads to, and why; None if the mail's status stays as it is."""
    match entry.event:
        case "sent":
            return "sent", None
        case "deferred":
            return "deferred", entry.deferred_reason
        case "error":
            return "error", entry.error
        case "bounce" if entry.bounce_type == "hard":
            return "bounced", entry.bounce_reason
    return None  # a soft bounce, a receipt, a kind that is yet to come: kept in `reports`, and no more
