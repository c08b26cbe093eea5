"""``list``, ``status`` and ``delete``: instances seen from outside."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING

import click

from mail_proxy.config import load_config
from mail_proxy.daemon.process import ServerInfo, is_locked, keep_stopped, last_port, running
from mail_proxy.errors import AlreadyRunning, MailProxyError
from mail_proxy.instance import Instance
from mail_proxy.instance import list_instances as find_instances
from mail_proxy_cli.complete import instances as complete_instances
from mail_proxy_cli.context import clear_context, read_context
from mail_proxy_cli.grammar import chosen_by, existing_instance
from mail_proxy_cli.nodes import command
from mail_proxy_cli.output import Column, age, confirm, echo_json, echo_record, echo_table
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

COLUMNS = (
    Column("name"),
    Column("state"),
    Column("host"),
    Column("port", right=True),
    Column("pid", right=True),
    Column("uptime", lambda row: _uptime(row["uptime_seconds"]), right=True),
    Column("database", spare=1),
)


@command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def list_instances(scope: Scope, *, as_json: bool) -> None:
    """Show all instances and their servers."""
    rows = [describe(scope, instance) for instance in find_instances(scope.home)]
    if as_json:
        echo_json(rows)
    else:
        empty = "no instances yet: 'mail-proxy start NAME' makes one"
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty=empty)


@command("status")
@click.argument("name", metavar="INSTANCE", required=False, shell_complete=complete_instances)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def status(scope: Scope, name: str | None, *, as_json: bool) -> None:
    """Show one server: where it runs, its queue, its last error."""
    instance = chosen_instance(scope, name)
    row = describe(scope, instance)
    view = {"running": row["state"] == "running", **row, **_queue(scope.at(instance))}
    if as_json:
        echo_json(view)
        return
    shown = {name: view[name] for name in ("name", "state", "url", "pid", "database")}
    if view.get("active") is False:
        shown["sending"] = f"suspended: mail-proxy {instance.name} activate"
    shown["uptime"] = _uptime(view["uptime_seconds"])
    shown["queue"] = view.get("queue")
    shown["last error"] = view.get("error") or view.get("last_error")
    echo_record(shown, color=scope.invocation.color)


@command("delete")
@click.argument("name", metavar="INSTANCE", shell_complete=complete_instances)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def delete(scope: Scope, name: str, *, force: bool) -> None:
    """Delete an instance's directory and all that is in it.

    That is its configuration, its token, its encryption key, its SQLite database. A PostgreSQL database
    is left alone. A running instance is not deleted: stop it first.
    """
    instance = existing_instance(scope, name)
    if is_locked(instance):
        raise AlreadyRunning(f"instance '{name}' is running: mail-proxy stop {name}")
    confirm(f"Delete instance '{name}' with everything in {instance.directory}?", force=force)
    with keep_stopped(instance):
        shutil.rmtree(instance.directory)
    with contextlib.suppress(MailProxyError):
        if read_context({}).instance == name:
            clear_context()
    click.echo(f"deleted '{name}'")


def chosen_instance(scope: Scope, name: str | None) -> Instance:
    """The instance named, else the context's."""
    if name is None:
        context = read_context(scope.environ)
        if context.instance is None:
            raise click.UsageError("which instance? Name one, or choose it with 'mail-proxy use INSTANCE'")
        return existing_instance(scope, context.instance, hint=chosen_by(context))
    return existing_instance(scope, name)


def describe(scope: Scope, instance: Instance) -> dict[str, object]:
    """What files and processes tell of an instance, without asking its server or its database."""
    state, info = _state(instance)
    row: dict[str, object] = {
        "name": instance.name,
        "state": state,
        "host": info.host if info else None,
        "port": info.port if info else None,
        "pid": info.pid if info else None,
        "url": info.url if info else None,
        "started_at": info.started_at if info else None,
        "uptime_seconds": round(time.time() - info.started_at) if info else None,
        "database": None,
    }
    try:
        config = load_config(instance.directory, scope.environ)
    except MailProxyError as error:
        return {**row, "database": "?", "error": str(error)}
    row["database"] = "postgresql" if config.uses_postgres else "sqlite"
    if info is None:
        default = config.source("port") == "default"
        row |= {"host": config.host, "port": (last_port(instance) if default else None) or config.port}
    return row


def _state(instance: Instance) -> tuple[str, ServerInfo | None]:
    try:
        info = running(instance)
        if info is not None:
            return "running", info
        return ("starting" if is_locked(instance) else "stopped"), None
    except (MailProxyError, OSError):  # its lock is held elsewhere, or its directory is another user's
        return "unknown", None


def _queue(scope: Scope) -> dict[str, object]:
    """The queue and the last error, from the database; or why it does not tell."""
    from mail_proxy_cli.opening import run

    try:
        return run(scope, _ask)
    except (MailProxyError, OSError) as error:
        return {"error": str(error)}


async def _ask(runtime: Runtime) -> dict[str, object]:
    waiting = await runtime.services.instance.waiting()
    queue: dict[str, int] = {}
    for each in waiting:
        queue[each.status.value] = queue.get(each.status.value, 0) + each.count
    accounts = await runtime.services.accounts.list()
    troubles = [f"{each.tenant_id}/{each.id} rests: {each.last_error}" for each in accounts if each.rest]
    return {
        "active": await runtime.services.instance.is_active(),
        "queue": queue,
        "pending_messages": sum(queue.values()),
        "last_error": "; ".join(troubles) or None,
    }


def _uptime(seconds: object) -> str | None:
    return age(seconds) if isinstance(seconds, int) else None
