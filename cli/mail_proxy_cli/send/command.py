"""``send``: .eml files, or standard input, into the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from mail_proxy.errors import NotFound, NotRunning
from mail_proxy_cli.complete import accounts as complete_accounts
from mail_proxy_cli.complete import batches as complete_batches
from mail_proxy_cli.errors import FAILED, OK
from mail_proxy_cli.fields import faults_as_options, given
from mail_proxy_cli.moments import moment
from mail_proxy_cli.nodes import command, near
from mail_proxy_cli.opening import is_served, run, unserved
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.send.queueing import OPTION_OF_FIELD, STDIN, await_outcome, queue_files
from mail_proxy_cli.send.telling import Teller

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

PRIORITIES = ("immediate", "high", "medium", "low", "0", "1", "2", "3")


@command("send")
@click.argument("files", metavar="FILE.eml… | -", nargs=-1, required=True, type=click.Path())
@click.option("--account", metavar="ID", shell_complete=complete_accounts, help="Through this account.")
@click.option("--priority", type=click.Choice(PRIORITIES, case_sensitive=False), help="How urgent.")
@click.option(
    "--at", metavar="WHEN", callback=moment, help="Not before: +2h, 2026-03-01T09:00, Unix seconds."
)
@click.option("--batch", metavar="CODE", shell_complete=complete_batches, help="The campaign it belongs to.")
@click.option(
    "--to", metavar="ADDR", multiple=True, help="Send to these, whatever the message says; repeatable."
)
@click.option("--id", "message_id", metavar="ID", help="The message's id, in place of one made by itself.")
@click.option("--wait", is_flag=True, help="Return when it is delivered or has failed.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="With --wait: seconds at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: file, id, status, error.")
@pass_scope
def send(
    scope: Scope,
    files: tuple[str, ...],
    *,
    account: str | None,
    priority: str | None,
    at: float | None,
    batch: str | None,
    to: tuple[str, ...],
    message_id: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Queue .eml files, or standard input, exactly as written.

    Structure, headers and attachments stay byte for byte; Bcc is read and left out; a missing Message-ID or
    Date is added. Prints the id of each message. A bad file does not stop the others; then the exit code
    is 1.
    """
    from mail_proxy.services.message_inputs import refuse_impossible

    _check(files, message_id=message_id, wait=wait, timeout=timeout)
    fields: dict[str, object] = {
        "id": message_id,
        "account_id": account,
        "priority": int(priority) if priority and priority.isdigit() else priority,
        "deferred_ts": at,
        "batch_code": batch,
        "envelope": {"to": ", ".join(to)} if to else None,
    }
    fields = given(fields)
    with faults_as_options(OPTION_OF_FIELD):  # once, and not for each file
        refuse_impossible(fields)
    teller = Teller(len(files), as_json=as_json)
    run(scope, lambda runtime: _send(scope, runtime, files, fields, teller, wait=wait, timeout=timeout))
    teller.sum_up()
    return OK if teller.all_good else FAILED


async def _send(
    scope: Scope,
    runtime: Runtime,
    files: Sequence[str],
    fields: Mapping[str, object],
    teller: Teller,
    *,
    wait: bool,
    timeout: float | None,
) -> None:
    if "account_id" in fields:
        await _check_account(runtime, scope.tenant, str(fields["account_id"]))
    served = await is_served(scope, runtime)
    if wait and not served:
        name = scope.instance.name
        raise NotRunning(
            f"instance '{name}' is not running, so there is nothing to wait for: mail-proxy start {name}"
        )
    config = runtime.config
    with teller:
        async for outcome in queue_files(
            runtime.services,
            scope.tenant,
            files,
            fields,
            limit_mb=config.max_body_mb,
            at_once=config.max_enqueue_batch,
        ):
            teller.queued(outcome)
    if not served and any(outcome.is_good for outcome in teller.outcomes):
        teller.notice(unserved(scope, "in the queue only"))
    if wait:
        for position, outcome in enumerate(teller.outcomes):
            if outcome.is_good:
                done = await await_outcome(runtime.services, scope.tenant, outcome, timeout, teller.notice)
                teller.waited(position, done)


async def _check_account(runtime: Runtime, tenant_id: str, account_id: str) -> None:
    """Refuse an unknown account before any file is read."""
    known = [account.id for account in await runtime.services.accounts.list(tenant_id)]
    if account_id not in known:
        raise NotFound("account", account_id, near(account_id, known))


def _check(files: Sequence[str], *, message_id: str | None, wait: bool, timeout: float | None) -> None:
    if message_id is not None and len(files) > 1:
        raise click.UsageError("--id names one message: give one file with it")
    if files.count(STDIN) > 1:
        raise click.UsageError("standard input can be read once")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
