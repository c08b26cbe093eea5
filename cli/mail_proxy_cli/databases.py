"""``db``: the instance's database, its schema, its copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mail_proxy.config import ENVIRONMENT, SETTINGS
from mail_proxy.daemon.process import keep_stopped
from mail_proxy.settings import without_password
from mail_proxy_cli.nodes import Group, example
from mail_proxy_cli.opening import wait_for
from mail_proxy_cli.output import confirm, echo_json, echo_record
from mail_proxy_cli.progress import progress
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.serving import prepare, settings_of

if TYPE_CHECKING:
    from mail_proxy.config import Config
    from mail_proxy.upkeep import DatabaseState, Move


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
    state = wait_for(_version(scope))
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
    before = wait_for(_version(scope))
    taken: list[str] = []
    with progress("upgrading", len(before.missing)) as advance:

        def took(step: str) -> None:
            taken.append(step)
            advance(1)

        after = wait_for(_upgrade(scope, took))
    for step in taken:
        click.echo(f"took step {step}")
    what = "has now" if taken else "already has"
    click.echo(f"database {after.where} {what} schema version {after.version}")


@example("mail-proxy myserver db backup backup.db")
@db.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-f", "--force", is_flag=True, help="Replace FILE without asking.")
@pass_scope
def backup(scope: Scope, *, file: Path, force: bool) -> None:
    """Write a copy of the database into FILE, while servers go on working.

    It holds all as it was at one moment, and is checked before it appears. It is a SQLite file, also of a
    PostgreSQL database. For a large PostgreSQL database pg_dump is the better tool.

    The encryption key is not in the backup, and without it no password in there can be read: keep
    encryption.key, or MAIL_PROXY_ENCRYPTION_KEY, somewhere else.

    To restore it, put FILE as mail_service.db into the directory of a new instance, with encryption.key and
    token; 'suspend' that before you start it, for what was sent since the backup still waits in there. 'db
    copy' takes it to PostgreSQL then.
    """
    config = scope.load_config()
    if file.exists():
        confirm(f"Replace {file}?", force=force)
    with _share("backing up") as tell:
        wait_for(_back_up(scope, config, file.absolute(), tell))
    click.echo(f"backed up to {file} ({file.stat().st_size / 2**20:.1f} MB)")
    key = scope.instance.key_file
    where = key if key.exists() and not config.uses_postgres else "its encryption key"
    click.echo(f"keep {where} as well, but not in the same place", err=True)


@example("mail-proxy myserver db copy --to copy.db")
@db.command("copy")
@click.option(
    "--to",
    "to",
    required=True,
    metavar="URL",
    help="postgresql://user@host/database, empty; or the path of a new SQLite file.",
)
@click.option("--switch", is_flag=True, help="Let the instance use the copy from now on.")
@pass_scope
def copy(scope: Scope, *, to: str, switch: bool) -> None:
    """Copy everything into another database: from SQLite to PostgreSQL, or the other way.

    The server must be stopped, and nobody else writes meanwhile. All is copied and compared, or nothing. The
    database copied from stays as it is: start no server on it any more, it would send what the other sends.

    A password need not stand in the URL, where others on this machine may see it: PGPASSWORD will do. With
    PostgreSQL, the encryption key is given to each server and command by MAIL_PROXY_ENCRYPTION_KEY_FILE.
    """
    config = scope.load_config()
    settings = _settings_of(to)
    target = scope.load_config(settings)
    instance = scope.instance
    with keep_stopped(instance):
        with _share("copying") as tell:
            done = wait_for(_move(scope, config, target, tell))
        click.echo(f"copied {done.rows} rows from {done.source} to {done.target}")
        if switch:
            prepare(instance, {key: without_password(str(value)) for key, value in settings.items()})
    for line in [*_of_use(scope, target, switched=switch), *_of_key(done)]:
        click.echo(line, err=True)


def _settings_of(to: str) -> dict[str, object]:
    settings = settings_of({"database_url": to})
    for key, value in settings.items():
        try:
            SETTINGS[key].read(value)
        except ValueError:
            shown, allowed = SETTINGS[key].shown(value), SETTINGS["database_url"].allowed
            raise click.UsageError(f"--to: '{shown}' is not allowed: use {allowed}, or a path") from None
    return settings


def _of_use(scope: Scope, target: Config, *, switched: bool) -> Iterator[str]:
    """Say what is left to do until the instance uses the copy."""
    name = scope.instance.name
    given = target.database_url or str(target.db_path)
    shown = without_password(given)
    if not switched:
        yield f"to let '{name}' use the copy: mail-proxy start {name} --database-url {shown}"
    current = scope.load_config()
    if (current.database_url, current.db_path) == (target.database_url, target.db_path):
        return
    if shown != given:
        yield "the password is not kept: give the whole URL as GMP_DATABASE_URL, or GMP_DATABASE_URL_FILE"
    for source in {current.source("database_url"), current.source("db_path")}:
        if source.startswith(ENVIRONMENT):
            yield f"{source} counts more than config.toml: change it, or take it out of the environment"


def _of_key(done: Move) -> Iterator[str]:
    if done.key_file is not None:
        yield (
            "with PostgreSQL the encryption key is given to each server and command: set "
            f"MAIL_PROXY_ENCRYPTION_KEY_FILE={done.key_file}, or MAIL_PROXY_ENCRYPTION_KEY to what it holds"
        )


@contextmanager
def _share(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done, in hundredths."""
    shown = 0
    with progress(label, 100) as advance:

        def tell(done: int, total: int) -> None:
            nonlocal shown
            now = 100 * done // max(1, total)
            advance(now - shown)
            shown = now

        yield tell


async def _version(scope: Scope) -> DatabaseState:
    from mail_proxy.upkeep import examine

    return await examine(scope.load_config(), scope.instance, thorough=False)


async def _back_up(scope: Scope, config: Config, file: Path, tell: Callable[[int, int], None]) -> None:
    from mail_proxy.upkeep import back_up

    await back_up(config, scope.instance, file, tell, replace=True)


async def _move(scope: Scope, config: Config, to: Config, tell: Callable[[int, int], None]) -> Move:
    from mail_proxy.daemon.identity import has_ended
    from mail_proxy.upkeep import move

    instance = scope.instance
    return await move(
        config, to, instance, scope.environ, tell, is_over=lambda node: has_ended(node, instance)
    )


async def _upgrade(scope: Scope, took: Callable[[str], None]) -> DatabaseState:
    from mail_proxy.upkeep import upgrade

    return await upgrade(scope.load_config(), scope.instance, took)


def _advice(state: DatabaseState, name: str) -> str | None:
    if state.version is not None and state.version > state.newest:
        return "a newer mail-proxy has written this database: upgrade mail-proxy"
    if state.missing:
        return f"'mail-proxy {name} db upgrade' takes the missing steps, as does the server when it starts"
    return None
