"""What a shell may offer after Tab: instances, and the names in an instance's database.

A shell runs the whole program on each Tab, so this looks into the SQLite file directly: the only SQL
outside the store, whose import alone would take longer than a person waits. Whatever goes wrong, there
is just nothing to offer.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from mail_proxy.errors import MailProxyError
from mail_proxy.instance import list_instances
from mail_proxy_cli.context import read_context
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    import click

PATIENCE = 0.1
"""Seconds to wait for a lock."""

AFTER_ALL = "\U0010ffff"

TENANTS = "SELECT id FROM tenants WHERE id >= :low AND id < :high ORDER BY id LIMIT 100"
ACCOUNTS = """
    SELECT id FROM accounts WHERE tenant_id = :tenant AND id >= :low AND id < :high ORDER BY id LIMIT 100
"""
MESSAGES = """
    SELECT id FROM messages WHERE tenant_id = :tenant AND id >= :low AND id < :high ORDER BY id LIMIT 50
"""
NEWEST_MESSAGES = "SELECT id FROM messages WHERE tenant_id = :tenant ORDER BY seq DESC LIMIT 50"
BATCHES = """
    SELECT DISTINCT batch_code FROM
        (SELECT batch_code FROM messages WHERE tenant_id = :tenant ORDER BY seq DESC LIMIT 2000)
    WHERE batch_code >= :low AND batch_code < :high ORDER BY batch_code
"""


def instances(ctx: click.Context, _param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """The names of instances."""
    scope = ctx.obj
    if not isinstance(scope, Scope):
        return []
    with contextlib.suppress(MailProxyError, OSError):
        names = [instance.name for instance in list_instances(scope.home)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def first_words(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """What may come first beside global commands: instances, and what the context lets one leave out."""
    from mail_proxy_cli import registry

    found = instances(ctx, None, incomplete)
    with contextlib.suppress(MailProxyError, OSError):
        context = read_context(ctx.obj.environ)
        if context.instance is not None:
            entries = [*registry.INSTANCE, *(registry.TENANT if context.tenant else ())]
            offered = {entry.name: entry.help for entry in entries if entry.name.startswith(incomplete)}
            found += [CompletionItem(name, help=text) for name, text in offered.items()]
    return found


def instance_and_tenant(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``instance`` or ``instance/tenant``, for ``use``."""
    name, slash, rest = incomplete.partition("/")
    if not slash:
        return instances(ctx, param, incomplete)
    for instance in list_instances(ctx.obj.home):
        if instance.name == name:
            ids = _names(ctx.obj.at(instance), TENANTS, rest)
            return [CompletionItem(f"{name}/{each}") for each in ids]
    return []


def tenants(ctx: click.Context, _param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """The ids of the instance's tenants."""
    return [CompletionItem(each) for each in _names(ctx.obj, TENANTS, incomplete)]


def accounts(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the tenant's accounts."""
    return [CompletionItem(each) for each in _names(ctx.obj, ACCOUNTS, incomplete)]


def messages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the tenant's messages: those that begin so, or the newest."""
    sql = MESSAGES if incomplete else NEWEST_MESSAGES
    return [CompletionItem(each) for each in _names(ctx.obj, sql, incomplete)]


def batches(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The batch codes of the tenant's newest messages."""
    return [CompletionItem(each) for each in _names(ctx.obj, BATCHES, incomplete)]


def _names(scope: Scope, sql: str, incomplete: str) -> list[str]:
    values = {"tenant": scope.named_tenant or "", "low": incomplete, "high": incomplete + AFTER_ALL}
    try:
        return _ask(scope, sql, values)
    except (MailProxyError, OSError, sqlite3.Error):
        return []


def _ask(scope: Scope, sql: str, values: Mapping[str, str]) -> list[str]:
    from mail_proxy.config import load_config

    instance = scope.instance
    config = load_config(instance.directory, scope.environ)
    if config.uses_postgres:
        return []
    path = (config.db_path or instance.database).absolute()
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as raw:
        rows: Sequence[tuple[str]] = raw.execute(sql, values).fetchall()
    return [row[0] for row in rows]
