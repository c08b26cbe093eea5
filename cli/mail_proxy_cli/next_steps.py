"""What comes next, told to a person on a terminal: from a new instance to a message that is sent."""

from __future__ import annotations

import sys
from shlex import quote
from typing import TYPE_CHECKING

import click

from mail_proxy.model.names import DEFAULT_TENANT
from mail_proxy_cli.opening import is_served, run
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    from mail_proxy.model.accounts import Account
    from mail_proxy.runtime import Runtime

LETTER = "From: {sender}\\nTo: you@example.com\\nSubject: Hello\\n\\nIt works.\\n"


def after_start(scope: Scope) -> None:
    """Lead to the first tenant and the first account, while there are none."""
    if _is_somebody_there():
        words = run(scope, _missing)
        if words is not None:
            _say(scope, words)


def after_tenant(scope: Scope, tenant_id: str) -> None:
    """Lead to the account that a new tenant sends through."""
    if _is_somebody_there():
        _say(scope, f"{tenant_id} accounts add")


def after_account(scope: Scope, account: Account) -> None:
    """Lead to a message through a new account."""
    if not _is_somebody_there():
        return
    name = scope.instance.name
    if not run(scope, lambda runtime: is_served(scope, runtime)):
        click.echo(f"next: mail-proxy start {name}", err=True)
    if scope.invocation.held is not None:
        click.echo("next: new_message()", err=True)
        return
    from email.utils import parseaddr  # late: each command of a server imports this module

    sender = parseaddr(account.from_address or "")[1] or "me@example.com"
    letter = LETTER.format(sender=sender.replace("%", "%%"))
    click.echo("next: write a message into a file, to an address of yours, and send it:", err=True)
    click.echo(f"  printf {quote(letter)} > hello.eml", err=True)
    click.echo(f"  mail-proxy {name} {scope.tenant} send hello.eml --wait", err=True)


async def _missing(runtime: Runtime) -> str | None:
    """The words of the command that makes what is missing for the first message."""
    if await runtime.services.accounts.list():
        return None
    tenants = [tenant.id for tenant in await runtime.services.tenants.list()]
    named = [tenant for tenant in tenants if tenant != DEFAULT_TENANT]
    return f"{named[0]} accounts add" if named else "tenants add"


def _say(scope: Scope, words: str) -> None:
    leading = "" if scope.invocation.held is not None else f"mail-proxy {scope.instance.name} "
    click.echo(f"next: {leading}{words}", err=True)


def _is_somebody_there() -> bool:
    return sys.stdout.isatty() and sys.stderr.isatty()
