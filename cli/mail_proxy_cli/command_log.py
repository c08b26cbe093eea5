"""``mail-proxy <instance> command-log …``: what was asked of the API, and how that was answered."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mail_proxy.files import private_file
from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.model.messages import END_OF_TIME
from mail_proxy_cli.complete import tenants as complete_tenants
from mail_proxy_cli.moments import moment
from mail_proxy_cli.nodes import Group, example, with_options
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import Column, confirm, echo_json, echo_table, harmless_json, when
from mail_proxy_cli.paging import tell_more
from mail_proxy_cli.progress import Advance, progress
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

F = TypeVar("F", bound=Callable[..., object])

LIMIT = 100

STANDARD_OUTPUT = "-"

COLUMNS = (
    Column("time", lambda row: when(row["ts"])),
    Column("status", right=True),
    Column("tenant", lambda row: row["tenant_id"]),
    Column("endpoint"),
    Column("path", spare=1),
    Column("client", spare=2),
)


def which_commands(function: F) -> F:
    """The options that say which commands are meant."""
    options = (
        click.option(
            "--tenant",
            metavar="ID",
            shell_complete=complete_tenants,
            help="Only about this tenant, be it deleted since.",
        ),
        click.option("--since", metavar="WHEN", callback=moment, help="Asked then or later: -2h, a time."),
        click.option("--until", metavar="WHEN", callback=moment, help="Asked before then."),
        click.option(
            "--endpoint",
            metavar="NAME",
            help="Only of this endpoint: 'PUT /account/{id}', or a path for all methods.",
        ),
    )
    return with_options(function, options)


@click.group("command-log", cls=Group)
def command_log() -> None:
    """List, export and purge the log of what was asked of the API."""


@example("mail-proxy myserver command-log list --since -2h")
@command_log.command("list")
@which_commands
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def list_commands(scope: Scope, /, *, limit: int, as_json: bool, **options: object) -> None:
    """List requests that may have changed something, the newest first.

    The status is that of the answer; there is none if the server died before it answered.
    """
    from mail_proxy.services.views import command_view

    which = _filter(options)
    found = run(scope, lambda runtime: _newest(runtime, which, limit + 1))
    rows = [command_view(each) for each in found[:limit]]
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty="nothing was asked")
    if len(found) > limit:
        tell_more(limit, "newest")


@example("mail-proxy myserver command-log export commands.jsonl --force")
@command_log.command("export")
@click.argument("file", metavar="[FILE | -]", type=click.Path(dir_okay=False), default=STANDARD_OUTPUT)
@which_commands
@click.option("-f", "--force", is_flag=True, help="Replace the file without asking, if there is one.")
@pass_scope
def export_commands(scope: Scope, /, *, file: str, force: bool, **options: object) -> None:
    """Write the log as JSON lines, the oldest first, to a file or to standard output.

    The file is for its owner alone, and there once it is whole.
    """
    which = _filter(options)
    path = Path(file)
    if file != STANDARD_OUTPUT and path.is_file():
        confirm(f"Replace {path}?", force=force)
    count = run(scope, lambda runtime: _export(runtime, which, None if file == STANDARD_OUTPUT else path))
    if file != STANDARD_OUTPUT:
        what = "1 command" if count == 1 else f"{count} commands"
        click.echo(f"wrote {what} to {path}", err=True)


@example("mail-proxy myserver command-log purge --before -90d --force")
@command_log.command("purge")
@click.option("--before", metavar="WHEN", callback=moment, help="What was asked before then: -90d, a time.")
@click.option("--all", "every", is_flag=True, help="Everything.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def purge_commands(scope: Scope, *, before: float | None, every: bool, force: bool) -> None:
    """Delete what was asked before a time, or everything.

    The server does that by itself, with what is older than the setting command_log_retention_seconds.
    """
    if every == (before is not None):
        raise click.UsageError("which? name a time with --before, or give --all")
    end = END_OF_TIME if before is None else before
    total = run(scope, lambda runtime: runtime.services.command_log.count(CommandFilter(until=end)))
    what = "1 command" if total == 1 else f"{total} commands"
    since = "" if before is None else f" from before {when(before)}"
    if total:
        confirm(f"Delete {what}{since} from the log of '{scope.instance.name}'?", force=force)
    with progress("deleting", total) as advance:
        count = run(scope, lambda runtime: runtime.services.removal.forget_commands(end, told=advance))
    click.echo("1 command was deleted" if count == 1 else f"{count} commands were deleted")


def _filter(options: dict[str, object]) -> CommandFilter:
    from mail_proxy.services.command_log import endpoints_named

    tenant, endpoint = options["tenant"], options["endpoint"]
    since, until = options["since"], options["until"]
    return CommandFilter(
        tenant_id=None if tenant is None else str(tenant),
        endpoints=() if endpoint is None else endpoints_named(str(endpoint)),
        since=since if isinstance(since, float) else 0.0,
        until=until if isinstance(until, float) else END_OF_TIME,
    )


async def _newest(runtime: Runtime, which: CommandFilter, limit: int) -> list[Command]:
    return [each async for some in runtime.services.command_log.newest(which, limit) for each in some]


def _print(lines: bytes) -> None:
    sys.stdout.write(harmless_json(lines.decode()))


def _unseen(_count: int) -> None:
    """The lines themselves show how far it has come."""


async def _export(runtime: Runtime, which: CommandFilter, path: Path | None) -> int:
    """Write all to the file, or to standard output; return how many."""
    from mail_proxy.services.command_log import as_lines

    log = runtime.services.command_log
    count = 0
    write: Callable[[bytes], object]
    with ExitStack() as stack:
        if path is None:
            write = _print
            advance: Advance = _unseen
        else:
            write = stack.enter_context(private_file(path)).write
            advance = stack.enter_context(progress("writing", await log.count(which)))
        async for some in log.oldest(which):
            write(as_lines(some))
            advance(len(some))
            count += len(some)
    return count
