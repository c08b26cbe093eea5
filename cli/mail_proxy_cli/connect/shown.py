"""What a line of Python came to, shown: what the API's objects are as tables, anything else as Python."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pprint import pformat

import click

from mail_proxy_cli.output import Column, Row, certificates, echo_record, echo_table, when
from mail_proxy_repl.results import Record, Rows, What

TENANT = Column("tenant", lambda row: row["tenant_id"])
STORAGES = (Column("name", whole=True), Column("protocol"), Column("config"))
NAMES = {"commands": "requests in the log"}


def show(value: object, *, color: bool) -> None:
    """Print a value."""
    match value:
        case Rows():
            _show_rows(value, value.what, color=color)
            if value.cut:
                click.echo("(there are more: limit=… shows so many)", err=True)
        case Record():
            _show_record(value, color=color)
        case list() if (alike := _alike(value)) is not None:
            _show_rows(alike, alike.what, color=color)
        case _:
            click.echo(pformat(value, width=shutil.get_terminal_size().columns, sort_dicts=False))


def _alike(values: Sequence[object]) -> Rows | None:
    """What a list holds, if it is objects of one kind: what is left of a listing, for instance."""
    records = [each for each in values if isinstance(each, Record)]
    if not records or len(records) < len(values) or len({each.what for each in records}) > 1:
        return None
    return Rows(records[0].what, records)


def _show_rows(rows: Sequence[Row], what: What, *, color: bool) -> None:
    columns = _columns(what)
    if len({row.get("tenant_id") for row in rows}) > 1:
        columns = [TENANT, *columns]
    echo_table(rows, columns, color=color, empty=f"no {NAMES.get(what, what)}")


def _show_record(record: Record, *, color: bool) -> None:
    from mail_proxy_cli import messages, overview

    match record.what:
        case "stats":
            overview.echo_stats(record, color=color)
        case "messages":
            messages.echo_message(dict(record), color=color)
        case _:
            echo_record({name: _readable(name, value) for name, value in record.items()}, color=color)


def _readable(name: str, value: object) -> object:
    """A time, which the API gives in Unix seconds, as people read it; certificates by their number."""
    if name.endswith(("_at", "_ts", "_due")) or name == "ts":
        return when(value) if isinstance(value, int) else value
    if name == "tls_ca" and isinstance(value, str):
        return certificates(value)
    return value


def _columns(what: What) -> Sequence[Column]:
    """The columns that the command line shows of such a kind."""
    from mail_proxy_cli import accounts, command_log, messages, tenants

    known: Mapping[What, Sequence[Column]] = {
        "tenants": tenants.COLUMNS,
        "accounts": accounts.COLUMNS,
        "messages": messages.COLUMNS,
        "events": messages.EVENT_COLUMNS,
        "storages": STORAGES,
        "commands": command_log.COLUMNS,
    }
    return known[what]
