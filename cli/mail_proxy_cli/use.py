"""``use`` and ``current``: choosing what may be left out, and showing it."""

from __future__ import annotations

import shlex

import click

from mail_proxy_cli.complete import instance_and_tenant
from mail_proxy_cli.context import (
    INSTANCE_VARIABLE,
    TENANT_VARIABLE,
    clear_context,
    read_context,
    write_context,
)
from mail_proxy_cli.grammar import existing_instance
from mail_proxy_cli.nodes import command
from mail_proxy_cli.opening import check_tenant
from mail_proxy_cli.output import echo_json
from mail_proxy_cli.scope import Scope, pass_scope


@command("use")
@click.argument("where", metavar="INSTANCE[/TENANT]", required=False, shell_complete=instance_and_tenant)
@click.option("--clear", is_flag=True, help="Choose nothing.")
@pass_scope
def use(scope: Scope, where: str | None, *, clear: bool) -> None:
    """Choose the instance and tenant that may then be left out.

    MAIL_PROXY_INSTANCE and MAIL_PROXY_TENANT, where set, count instead.
    """
    if clear == (where is not None):
        raise click.UsageError("give INSTANCE[/TENANT], or --clear")
    if where is None:
        clear_context()
        click.echo("nothing is chosen")
        return
    name, _, tenant = where.partition("/")
    instance = existing_instance(scope, name)
    if tenant:
        check_tenant(scope.at(instance, tenant))
    write_context(name, tenant or None)
    click.echo(f"using {where.rstrip('/')}")
    if scope.environ.get(INSTANCE_VARIABLE) or scope.environ.get(TENANT_VARIABLE):
        click.echo(f"note: {INSTANCE_VARIABLE} or {TENANT_VARIABLE} is set and counts instead", err=True)


@command("current")
@click.option("--export", is_flag=True, help="Print it as commands for the shell.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def current(scope: Scope, *, export: bool, as_json: bool) -> None:
    """Show what 'use' has chosen."""
    context = read_context(scope.environ)
    if as_json:
        echo_json({"instance": context.instance, "tenant": context.tenant, "source": context.source})
    elif export:
        for name, value in ((INSTANCE_VARIABLE, context.instance), (TENANT_VARIABLE, context.tenant)):
            click.echo(f"export {name}={shlex.quote(value)}" if value else f"unset {name}")
    elif str(context):
        click.echo(str(context))
    else:
        click.echo("nothing is chosen: mail-proxy use INSTANCE[/TENANT]", err=True)
