"""``db``: the instance's database, its schema, its copies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from mail_proxy_cli.nodes import Group, example
from mail_proxy_cli.output import echo_json, echo_record
from mail_proxy_cli.progress import progress
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from mail_proxy.upkeep import DatabaseState


@click.group("db", cls=Group)
def db() -> None:
    """Show the database's version, upgrade it, back it up, move it to another."""


@example("mail-proxy myserver db version")
@db.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def version(scope: Scope, *, as_json: bool) -> None:
    """Show the version of the database's schema, and what this program knows.

    The database is only looked at: one that is older stays as it is, and one that is not there is not made.
    """
    state = asyncio.run(_version(scope))
    if as_json:
        echo_json(
            {
                "database": state.where,
                "engine": state.server,
                "version": state.version,
                "newest": state.newest,
                "missing": list(state.missing),
                "problems": list(state.problems),
            }
        )
        return
    echo_record(
        {
            "database": state.where,
            "engine": state.server,
            "schema version": "none: it is empty" if state.version is None else state.version,
            "this program": state.newest,
            "missing": state.missing,
        }
        | ({"problems": state.problems} if state.problems else {}),
        color=scope.invocation.color,
    )
    if advice := _advice(state, scope.instance.name):
        click.echo(advice, err=True)


@example("mail-proxy myserver db upgrade")
@db.command("upgrade")
@pass_scope
def upgrade(scope: Scope) -> None:
    """Bring the database's schema to the version of this program.

    A server does the same when it starts. Others may go on working meanwhile, as long as they are not older
    than this program. A schema is never taken back to an older version: make a backup before, with 'db
    backup'.
    """
    before = asyncio.run(_version(scope))
    taken: list[str] = []
    with progress("upgrading", len(before.missing)) as advance:

        def took(step: str) -> None:
            taken.append(step)
            advance(1)

        after = asyncio.run(_upgrade(scope, took))
    for step in taken:
        click.echo(f"took step {step}")
    what = "has now" if taken else "already has"
    click.echo(f"database {after.where} {what} schema version {after.version}")


async def _version(scope: Scope) -> DatabaseState:
    from mail_proxy.upkeep import examine

    return await examine(scope.load_config(), scope.instance, thorough=False)


async def _upgrade(scope: Scope, took: Callable[[str], None]) -> DatabaseState:
    from mail_proxy.upkeep import upgrade

    return await upgrade(scope.load_config(), scope.instance, took)


def _advice(state: DatabaseState, name: str) -> str | None:
    if state.version is not None and state.version > state.newest:
        return "a newer mail-proxy has written this database: upgrade mail-proxy"
    if state.missing:
        return f"'mail-proxy {name} db upgrade' takes the missing steps, as does the server when it starts"
    return None
