"""What a shell may offer after Tab: instances, and the names in an instance's database.

A shell runs the whole program on each Tab, so this opens no store. Whatever goes wrong, there is just
nothing to offer.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from mail_proxy.errors import MailProxyError
from mail_proxy.instance import list_instances
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    import click

    from mail_proxy.store.names import Kind


def instances(ctx: click.Context, _param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """The names of instances."""
    scope = ctx.obj
    if not isinstance(scope, Scope):
        return []
    with contextlib.suppress(MailProxyError, OSError):
        names = [instance.name for instance in list_instances(scope.home)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def first_tenants(scope: Scope, incomplete: str) -> list[CompletionItem]:
    """The ids of tenants that may stand where a command may: not those that are called like one."""
    from mail_proxy_cli.registry import RESERVED

    if incomplete.startswith("-"):
        return []
    return [item for item in _names(scope, "tenants", incomplete) if item.value not in RESERVED]


def instance_and_tenant(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``instance`` or ``instance/tenant``, for ``use``."""
    name, slash, rest = incomplete.partition("/")
    if not slash:
        return instances(ctx, param, incomplete)
    for instance in list_instances(ctx.obj.home):
        if instance.name == name:
            found = _names(ctx.obj.at(instance), "tenants", rest)
            return [CompletionItem(f"{name}/{each.value}") for each in found]
    return []


def tenants(ctx: click.Context, _param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """The ids of the instance's tenants."""
    return _names(ctx.obj, "tenants", incomplete)


def accounts(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the tenant's accounts."""
    return _names(ctx.obj, "accounts", incomplete)


def storages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the tenant's storages."""
    return _names(ctx.obj, "storages", incomplete)


def messages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the tenant's newest messages."""
    return _names(ctx.obj, "messages", incomplete)


def batches(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The batch codes of the tenant's newest messages."""
    return _names(ctx.obj, "batches", incomplete)


def _names(scope: Scope, kind: Kind, incomplete: str) -> list[CompletionItem]:
    from mail_proxy.store.names import names_like

    with contextlib.suppress(MailProxyError, OSError):
        config = scope.load_config()
        target = config.database_url or config.db_path or scope.instance.database
        found = names_like(incomplete, kind, target, scope.named_tenant or "")
        return [CompletionItem(name) for name in found]
    return []
