"""``generate-key`` and ``rotate-key``: the encryption key."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mail_proxy.daemon.process import ServerInfo, keep_stopped, running, stop
from mail_proxy.errors import KeyMismatch, NotRunning
from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import check_database, wait_for
from mail_proxy_cli.output import confirm, require_terminal
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.serving import DRAIN_TIMEOUT, START_TIMEOUT, Place, start_background

if TYPE_CHECKING:
    from mail_proxy.config import Config
    from mail_proxy.upkeep import KeyChange


@command("generate-key")
def generate_key() -> None:
    """Print a new encryption key.

    It is base64 of 32 random bytes, for MAIL_PROXY_ENCRYPTION_KEY or a secret file.
    """
    from mail_proxy.encryption import generate_key as make

    click.echo(make())


@command("rotate-key")
@click.option(
    "--new-key-stdin", is_flag=True, help="Read the new key from standard input, in place of making one."
)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=DRAIN_TIMEOUT,
    show_default=True,
    help="Seconds to wait for what the server is sending.",
)
@pass_scope
def rotate_key(scope: Scope, *, new_key_stdin: bool, force: bool, timeout: float) -> None:
    """Encrypt every secret anew, with a new key.

    All passwords, tokens and configurations of storages, in one transaction. The instance's server is stopped
    for it, and started again; other servers on the same PostgreSQL must be stopped before.

    Where the key is the instance's own file encryption.key, the new one is put into it. Otherwise the new key
    is printed before anything is changed, and you give it to all servers in place of the old one, by
    MAIL_PROXY_ENCRYPTION_KEY or the secret file.

    Backups made before need the old key: keep it with them.
    """
    config, name = scope.load_config(), scope.instance.name
    given = sys.stdin.readline().strip() if new_key_stdin else None
    server = running(scope.instance)
    change = wait_for(_prepare(scope, config, given, server))
    question = f"Encrypt all secrets of '{name}' anew?" + (" Its server is restarted." if server else "")
    if change.key_file is None and given is None:
        if not force:
            require_terminal(question)
        click.echo(change.new_text)
        click.echo(f"This new key will replace the one from {change.origin}: keep it now.", err=True)
    confirm(question, force=force)
    count = _rotate(scope, config, change, server, timeout)
    secrets = "1 secret" if count == 1 else f"{count} secrets"
    if change.key_file is not None:
        click.echo(f"encrypted {secrets} anew; the new key is in {change.key_file}", err=True)
    else:
        click.echo(
            f"encrypted {secrets} anew; each server and command needs the new key from now on, in place of "
            f"that from {change.origin}",
            err=True,
        )


def _rotate(
    scope: Scope, config: Config, change: KeyChange, server: ServerInfo | None, timeout: float
) -> int:
    """Do it while the instance's server is stopped; that is started again whatever comes of it."""
    if server is not None:
        with contextlib.suppress(NotRunning):  # it has just ended by itself
            stop(scope.instance, timeout=timeout, warn=lambda line: click.echo(line, err=True))
    try:
        with keep_stopped(scope.instance):
            return wait_for(_change(scope, config, change, server))
    finally:
        if server is not None:
            _start_again(scope, change, server)


def _start_again(scope: Scope, change: KeyChange, before: ServerInfo) -> None:
    """Start the server where it was, with the key that the database has now: the new one, or the old."""
    with_new = _with_environ(scope, change.environ)
    try:
        check_database(with_new)
        scope = with_new
    except KeyMismatch:
        pass
    place = Place(before.host, before.port, is_asked_for=True)
    info = start_background(scope, scope.instance, place, START_TIMEOUT)
    click.echo(f"'{scope.instance.name}' is running: {info.url} (pid {info.pid})", err=True)


def _with_environ(scope: Scope, environ: Mapping[str, str]) -> Scope:
    return replace(scope, invocation=replace(scope.invocation, environ=environ))


async def _prepare(scope: Scope, config: Config, given: str | None, server: ServerInfo | None) -> KeyChange:
    from mail_proxy.daemon.identity import has_ended
    from mail_proxy.upkeep import prepare_key_change

    instance, pid = scope.instance, server.pid if server else None
    return await prepare_key_change(
        config, instance, scope.environ, given, is_over=lambda node: has_ended(node, instance, pid)
    )


async def _change(scope: Scope, config: Config, change: KeyChange, server: ServerInfo | None) -> int:
    from mail_proxy.daemon.identity import has_ended
    from mail_proxy.upkeep import change_key

    instance, pid = scope.instance, server.pid if server else None
    return await change_key(
        config, instance, scope.environ, change, is_over=lambda node: has_ended(node, instance, pid)
    )
