"""``mail-proxy <instance> <tenant> messages …``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from mail_proxy.errors import Conflict, MailProxyError, NotFound
from mail_proxy.model.messages import END_OF_TIME, Message, MessageFilter, Status
from mail_proxy_cli.complete import accounts as complete_accounts
from mail_proxy_cli.complete import batches as complete_batches
from mail_proxy_cli.complete import messages as complete_messages
from mail_proxy_cli.errors import FAILED, OK, describe
from mail_proxy_cli.explaining import told
from mail_proxy_cli.moments import duration, moment
from mail_proxy_cli.nodes import Group, example, near
from mail_proxy_cli.opening import is_served, run, unserved
from mail_proxy_cli.output import Column, age, confirm, echo_csv, echo_json, echo_record, echo_table, when
from mail_proxy_cli.paging import tell_more, up_to
from mail_proxy_cli.progress import Advance, progress
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from mail_proxy.model.explanations import Explanation
    from mail_proxy.runtime import Runtime

View = dict[str, object]

LIMIT = 100

NEWEST = 500
"""Among so many of the newest messages the id that was meant is looked for."""

FEW = 10

LIKE = 0.8
"""How like an id must be: those that the program makes begin alike."""

TIMES = ("created_at", "updated_at", "deferred_ts", "sent_ts", "error_ts", "reported_ts", "bounce_ts")

CSV_FIELDS = (
    "id",
    "status",
    "account_id",
    "priority",
    "batch_code",
    "recipients",
    *TIMES,
    "retry_count",
    "error",
    "last_error",
    "bounce_type",
    "bounce_code",
    "bounce_reason",
    "message_id",
    "pk",
    "tenant_id",
    "tenant_name",
    "is_pec",
    "metadata",
)


def _addresses(row: Mapping[str, object]) -> str:
    recipients = row["recipients"]
    return ", ".join(str(each["address"]) for each in recipients) if isinstance(recipients, list) else ""


COLUMNS = (
    Column("id", whole=True),
    Column("status", whole=True),
    Column("account", lambda row: row["account_id"], spare=1),
    Column("priority", right=True, spare=3),
    Column("created", lambda row: when(row["created_at"]), spare=2),
    Column("recipients", _addresses),
    Column("what went wrong", lambda row: row["error"] or row["last_error"]),
)

EVENT_COLUMNS = (
    Column("event_id", right=True),
    Column("time", lambda row: when(row["event_ts"])),
    Column("event", lambda row: row["event_type"]),
    Column("description"),
)


@click.group(cls=Group)
def messages() -> None:
    """List messages, show them, explain why they wait, try them again, delete them."""


@example("mail-proxy myserver acme messages list --status error --since -2d")
@messages.command("list")
@click.option(
    "--status", type=click.Choice([each.value for each in Status]), help="Only those in this state."
)
@click.option("--account", metavar="ID", shell_complete=complete_accounts, help="Only those of this account.")
@click.option("--batch", metavar="CODE", shell_complete=complete_batches, help="Only those of this batch.")
@click.option("--since", metavar="WHEN", callback=moment, help="Queued then or later: -2h, a time.")
@click.option("--until", metavar="WHEN", callback=moment, help="Queued before then.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@pass_scope
def list_messages(
    scope: Scope,
    *,
    status: str | None,
    account: str | None,
    batch: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List messages, the newest first."""
    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    which = MessageFilter(
        tenant_id=scope.tenant,
        status=Status(status) if status else None,
        account_id=account,
        batch_code=batch,
        since=since or 0.0,
        until=END_OF_TIME if until is None else until,
    )
    rows, is_cut = run(scope, lambda runtime: _list(runtime, which, limit))
    if as_json:
        echo_json(rows)
    elif as_csv:
        echo_csv(({**row, "recipients": _addresses(row)} for row in rows), CSV_FIELDS)
    else:
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty="no messages")
    if is_cut:
        tell_more(limit, "newest")


@example("mail-proxy myserver acme messages show order-1")
@messages.command("show")
@click.argument("message_id", metavar="ID", shell_complete=complete_messages)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def show_message(scope: Scope, message_id: str, *, as_json: bool) -> None:
    """Show one message: its state, its recipients one by one, what it carries."""
    view = run(scope, lambda runtime: _show(runtime, scope.tenant, message_id))
    if as_json:
        echo_json(view)
    else:
        echo_message(view, color=scope.invocation.color)


def echo_message(view: View, *, color: bool) -> None:
    """Print one message for people."""
    content = view.pop("message", None)
    recipients = view.pop("recipients")
    record = {name: when(value) if name in TIMES else value for name, value in view.items()}
    if isinstance(content, Mapping):
        record |= {f"message.{name}": value for name, value in content.items()}
    echo_record(record, color=color)
    click.echo()
    columns = [Column(name) for name in ("address", "status", "code", "reply")]
    rows = recipients if isinstance(recipients, list) else []
    echo_table(rows, columns, color=color, empty="no recipients")


@example("mail-proxy myserver acme messages events order-1")
@messages.command("events")
@click.argument("message_id", metavar="ID", shell_complete=complete_messages)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def message_events(scope: Scope, message_id: str, *, as_json: bool) -> None:
    """Tell what happened to a message, in order."""
    rows = run(scope, lambda runtime: _events(runtime, scope.tenant, message_id))
    if as_json:
        echo_json(rows)
    else:
        echo_table(rows, EVENT_COLUMNS, color=scope.invocation.color, empty="no events")


@example("mail-proxy myserver acme messages explain order-1")
@messages.command("explain")
@click.argument("message_id", metavar="ID", shell_complete=complete_messages)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def explain_message(scope: Scope, message_id: str, *, as_json: bool) -> None:
    """Explain why a message waits, for what, and until when.

    Several things may keep it at once: the first is what decides, the others follow.
    """
    from mail_proxy.services.views import explanation_view

    explanation, now = run(scope, lambda runtime: _explain(runtime, scope.tenant, message_id))
    if as_json:
        echo_json(explanation_view(explanation))
    else:
        echo_record(told(explanation, now), color=scope.invocation.color)


@example("mail-proxy myserver acme messages retry order-2 --at +2h")
@messages.command("retry")
@click.argument("message_ids", metavar="ID…", nargs=-1, required=True, shell_complete=complete_messages)
@click.option("--at", metavar="WHEN", callback=moment, help="Then, not now: +2h, 2026-03-01T09:00.")
@pass_scope
def retry_messages(scope: Scope, message_ids: tuple[str, ...], *, at: float | None) -> int:
    """Let messages that wait or have failed be sent now, or at another time.

    What nobody knows the outcome of is sent again, too, and may arrive twice. What is suspended stays held.
    """
    failures, served = run(scope, lambda runtime: _retry(scope, runtime, message_ids, at))
    code = _tell_each(message_ids, failures, "is due now" if at is None else f"is due {when(at)}")
    if not served and len(failures) < len(set(message_ids)):
        click.echo(unserved(scope, "in the queue only"), err=True)
    return code


@example("mail-proxy myserver acme messages delete order-1 --yes")
@messages.command("delete")
@click.argument("message_ids", metavar="ID…", nargs=-1, required=True, shell_complete=complete_messages)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-f", "--force", is_flag=True, help="Do not ask, and delete what is sent and unreported, too.")
@pass_scope
def delete_messages(scope: Scope, message_ids: tuple[str, ...], *, yes: bool, force: bool) -> int:
    """Delete messages, with all that is known of them. What waits is thereby cancelled.

    What is being sent stays, and so does what was sent and not yet reported to the application.
    """
    what = f"message '{message_ids[0]}'" if len(message_ids) == 1 else f"{len(message_ids)} messages"
    confirm(f"Delete {what} of tenant '{scope.tenant}'?", force=yes or force, option="--yes")
    with progress("deleting", len(set(message_ids))) as advance:
        failures = run(
            scope, lambda runtime: _delete(runtime, scope.tenant, message_ids, force=force, told=advance)
        )
    return _tell_each(message_ids, failures, "was deleted")


@example("mail-proxy myserver acme messages cleanup --older-than 30d --force")
@messages.command("cleanup")
@click.option(
    "--older-than",
    metavar="TIME",
    callback=duration,
    help="How long ago the application was told: 30d, 12h, seconds.  [default: the retention]",
)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def clean_up_messages(scope: Scope, *, older_than: float | None, force: bool) -> None:
    """Delete now what has left, and was told of, long enough ago.

    Never what has still to leave, nor what the application is still to be told of.
    """
    seconds = older_than
    if seconds is None:
        seconds = scope.load_config().delivery_report_retention_seconds
    confirm(f"Delete what tenant '{scope.tenant}' was told of more than {age(seconds)} ago?", force=force)
    with progress("deleting") as advance:
        count = run(
            scope, lambda runtime: runtime.services.removal.cleanup(scope.tenant, seconds, told=advance)
        )
    click.echo("1 message was deleted" if count == 1 else f"{count} messages were deleted")


@example("mail-proxy myserver acme messages receipts order-1")
@messages.command("receipts")
@click.argument("message_id", metavar="ID", shell_complete=complete_messages)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def message_receipts(scope: Scope, message_id: str, *, as_json: bool) -> None:
    """Show the PEC receipts of a message, as they came. None are collected yet."""
    found = run(scope, lambda runtime: _receipts(runtime, scope.tenant, message_id))
    if as_json:
        echo_json(found)
    elif not found:
        click.echo("no receipt has arrived: PEC receipts are not collected yet", err=True)


def _tell_each(message_ids: Sequence[str], failures: Mapping[str, MailProxyError], done: str) -> int:
    """Say what became of each; the exit code of a single one is its own, of several that of a failure."""
    for message_id in dict.fromkeys(message_ids):
        if message_id in failures:
            click.echo(f"Error: {describe(failures[message_id])[0]}", err=True)
        else:
            click.echo(f"message '{message_id}' {done}")
    if not failures:
        return OK
    return FAILED if len(message_ids) > 1 else describe(failures[message_ids[0]])[1]


async def _list(runtime: Runtime, which: MessageFilter, limit: int) -> tuple[list[View], bool]:
    """Return as many as are wanted, and whether there are more."""
    from dataclasses import replace

    from mail_proxy.services.views import message_view

    service = runtime.services.messages
    name = (await runtime.services.tenants.get(which.tenant_id or "")).name

    async def pages(size: int, cursor: str | None) -> tuple[Sequence[Message], str | None]:
        page = await service.list(replace(which, limit=size), cursor)
        return page.messages, page.next_cursor

    found, is_cut = await up_to(limit, pages)
    if not found and which.account_id is not None:
        await _check_account(runtime, which.tenant_id or "", which.account_id)
    return [message_view(message, tenant_name=name) for message in found], is_cut


async def _show(runtime: Runtime, tenant_id: str, message_id: str) -> View:
    from mail_proxy.services.views import message_view

    message = await _find(runtime, tenant_id, message_id)
    payload = await runtime.services.messages.payload(message)
    return message_view(message, payload, (await runtime.services.tenants.get(tenant_id)).name)


async def _events(runtime: Runtime, tenant_id: str, message_id: str) -> list[View]:
    from mail_proxy.services.views import event_view

    message = await _find(runtime, tenant_id, message_id)
    return [event_view(event) for event in await runtime.services.messages.events(message)]


async def _receipts(runtime: Runtime, tenant_id: str, message_id: str) -> Sequence[str]:
    return await runtime.services.messages.receipts(await _find(runtime, tenant_id, message_id))


async def _explain(runtime: Runtime, tenant_id: str, message_id: str) -> tuple[Explanation, float]:
    await _find(runtime, tenant_id, message_id)
    return await runtime.services.explanation.explain(tenant_id, message_id), runtime.clock.now()


async def _find(runtime: Runtime, tenant_id: str, message_id: str) -> Message:
    """The tenant's message of that id; an unknown one is told with its like."""
    try:
        return await runtime.services.messages.get(tenant_id, message_id)
    except NotFound:
        raise (await _unknown(runtime, tenant_id, [message_id]))[message_id] from None


async def _unknown(runtime: Runtime, tenant_id: str, ids: Collection[str]) -> dict[str, MailProxyError]:
    """Name what each may have meant, unless there are many of them."""
    known: list[str] = []
    if 0 < len(ids) <= FEW:
        newest = await runtime.services.messages.list(MessageFilter(tenant_id=tenant_id, limit=NEWEST))
        known = [message.id for message in newest.messages]
    return {each: NotFound("message", each, near(each, known, least=LIKE)) for each in ids}


async def _check_account(runtime: Runtime, tenant_id: str, account_id: str) -> None:
    """One that was deleted may still have messages: only where there are none, say that it is unknown."""
    known = [account.id for account in await runtime.services.accounts.list(tenant_id)]
    if account_id not in known:
        raise NotFound("account", account_id, near(account_id, known))


async def _retry(
    scope: Scope, runtime: Runtime, message_ids: Sequence[str], at: float | None
) -> tuple[dict[str, MailProxyError], bool]:
    """Reschedule each; return what went wrong with which, and whether a server is there to send them."""
    failures: dict[str, MailProxyError] = {}
    unknown: list[str] = []
    for message_id in dict.fromkeys(message_ids):
        try:
            await runtime.services.rescheduling.retry(scope.tenant, message_id, at)
        except NotFound:
            unknown.append(message_id)
        except Conflict as error:
            failures[message_id] = error
    failures |= await _unknown(runtime, scope.tenant, unknown)
    return failures, await is_served(scope, runtime)


async def _delete(
    runtime: Runtime, tenant_id: str, message_ids: Sequence[str], *, force: bool, told: Advance
) -> dict[str, MailProxyError]:
    """Delete each; return what went wrong with which."""
    removal = await runtime.services.removal.delete(
        message_ids, tenant_id, force=force, tells_foreign=False, told=told
    )
    failures = await _unknown(runtime, tenant_id, removal.not_found)
    return failures | {each: Conflict(f"message '{each}' stays: {why}") for each, why in removal.kept.items()}
