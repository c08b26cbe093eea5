"""``mail-proxy <global>``, ``mail-proxy <instance> <command>``, ``mail-proxy <instance> <tenant> <command>``.

The first word decides, then the second: a global command, an instance, a word left out through the
context. Whether a tenant exists is asked by the command that works on it, so that help and completion
open no database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from mail_proxy import __version__
from mail_proxy.errors import MailProxyError
from mail_proxy.instance import Instance, list_instances
from mail_proxy.model.names import is_identifier, is_instance_name
from mail_proxy_cli import registry
from mail_proxy_cli.context import Context, read_context
from mail_proxy_cli.nodes import LazyGroup, UnknownName, load, near
from mail_proxy_cli.registry import Entry
from mail_proxy_cli.scope import Scope

GLOBAL = registry.by_name(registry.GLOBAL)
INSTANCE = registry.by_name(registry.INSTANCE)
TENANT = registry.by_name(registry.TENANT)
OF_TENANT = TENANT | {name: entry for name, entry in INSTANCE.items() if entry.may_be_of_tenant}

BEFORE_A_NAME = ("start", "serve", "stop", "restart", "status", "delete", "use")

TENANT_OPTION = click.Option(
    ["--tenant", "explicit_tenant"],
    metavar="ID",
    help="Take ID as the tenant, even if it is also the name of a command.",
)


def _print_version(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"mail-proxy {__version__}")
        ctx.exit()


VERSION_OPTION = click.Option(
    ["--version"],
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)

NOWHERE = click.Command("nowhere", add_help_option=False)

Resolved = tuple[click.Command, Scope]


class Level(LazyGroup):
    """A level of the grammar: what a word means here, and what it makes the command be about."""

    def resolve(self, ctx: click.Context, word: str) -> Resolved | None:
        """Tell which command `word` is at this level; None if it is none."""
        raise NotImplementedError

    def unknown(self, ctx: click.Context, word: str) -> click.UsageError:
        """Say what is wrong with a word that is no command at this level."""
        raise NotImplementedError

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        resolved = self.resolve(ctx, cmd_name)
        return None if resolved is None else resolved[0]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        resolved = self.resolve(ctx, word)
        if resolved is None:
            if ctx.resilient_parsing:
                return word, NOWHERE, []  # nothing is known of what may follow
            raise self.unknown(ctx, word)
        command, ctx.obj = resolved
        return word, command, args[1:]


class TenantLevel(Level):
    """``mail-proxy <instance> <tenant> …``."""

    entries = registry.TENANT

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            self._check_tenant(ctx)
        return super().parse_args(ctx, args)

    def resolve(self, ctx: click.Context, word: str) -> Resolved | None:
        entry = TENANT.get(word)
        return None if entry is None else (load(entry), scope_of(ctx))

    def unknown(self, ctx: click.Context, word: str) -> click.UsageError:
        self._check_tenant(ctx)
        return misplaced(ctx, word) or UnknownName("command", word, near(word, TENANT), ctx)

    def _check_tenant(self, ctx: click.Context) -> None:
        """Before anything is said about what follows the word, be sure that it is a tenant's."""
        from mail_proxy_cli.opening import check_tenant

        check_tenant(scope_of(ctx))


class InstanceLevel(Level):
    """``mail-proxy <instance> …``."""

    entries = registry.INSTANCE

    def resolve(self, ctx: click.Context, word: str) -> Resolved | None:
        scope = scope_of(ctx)
        explicit = explicit_tenant(ctx)
        if explicit:
            entry = OF_TENANT.get(word)
            return None if entry is None else (load(entry), scope.at(scope.instance, explicit))
        if word in INSTANCE:
            return load(INSTANCE[word]), scope
        tenant = read_context(scope.environ).tenant_of(scope.instance.name)
        if tenant is not None and word in TENANT:
            return load(TENANT[word]), scope.at(scope.instance, tenant)
        if word not in registry.RESERVED and is_identifier(word):
            return TENANT_LEVEL, scope.at(scope.instance, word)
        return None

    def unknown(self, ctx: click.Context, word: str) -> click.UsageError:
        if explicit_tenant(ctx):
            return UnknownName("command", word, near(word, OF_TENANT), ctx)
        name = scope_of(ctx).instance.name
        if (error := misplaced(ctx, word)) is not None:
            return error
        if word in TENANT:
            return click.UsageError(
                f"'{word}' is a tenant's command: mail-proxy {name} <tenant> {word} …, "
                f"or choose the tenant with 'mail-proxy use {name}/<tenant>'",
                ctx,
            )
        return UnknownName("command or tenant", word, near(word, INSTANCE), ctx)

    def offered(self, ctx: click.Context) -> Iterable[Entry]:
        if explicit_tenant(ctx):
            return OF_TENANT.values()
        scope = scope_of(ctx)
        with contextlib.suppress(MailProxyError, OSError):
            if read_context(scope.environ).tenant_of(scope.instance.name) is not None:
                return (TENANT | INSTANCE).values()
        return self.entries

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from mail_proxy_cli.complete import first_tenants

        found = [] if explicit_tenant(ctx) else first_tenants(scope_of(ctx), incomplete)
        return super().shell_complete(ctx, incomplete) + found


class Root(Level):
    """``mail-proxy …``."""

    entries = registry.GLOBAL

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        scope = extra["obj"] = extra.get("obj") or Scope()
        if not scope.invocation.color:
            extra["color"] = False
        return super().make_context(info_name, args, parent, **extra)

    def resolve(self, ctx: click.Context, word: str) -> Resolved | None:
        scope = scope_of(ctx)
        explicit = ctx.params.get("explicit_tenant")
        if not explicit and word in GLOBAL:
            return load(GLOBAL[word]), scope
        if is_instance_name(word) and (instance := Instance(word, scope.home / word)).exists():
            return INSTANCE_LEVEL, scope.at(instance, explicit)
        return self._resolve_implied(scope, word, explicit)

    def _resolve_implied(self, scope: Scope, word: str, explicit: str | None) -> Resolved | None:
        context = read_context(scope.environ)
        if context.instance is None:
            entry = None if explicit else INSTANCE.get(word)
            return (load(entry), scope) if entry is not None and entry.may_be_elsewhere else None
        tenant = explicit or context.tenant
        known = OF_TENANT if explicit else TENANT
        if tenant and word in known:
            return load(known[word]), scope.at(context_instance(scope, context), tenant, implied=True)
        if explicit:
            return None
        if word in INSTANCE:
            return load(INSTANCE[word]), scope.at(context_instance(scope, context), implied=True)
        if word not in registry.RESERVED and is_identifier(word):
            return TENANT_LEVEL, scope.at(context_instance(scope, context), word, implied=True)
        return None

    def unknown(self, ctx: click.Context, word: str) -> click.UsageError:
        if word in INSTANCE:
            return click.UsageError(
                f"'{word}' needs an instance: mail-proxy <instance> {word} …, "
                "or choose one with 'mail-proxy use <instance>'",
                ctx,
            )
        if word in TENANT:
            return click.UsageError(
                f"'{word}' needs a tenant: mail-proxy <instance> <tenant> {word} …, "
                "or choose one with 'mail-proxy use <instance>/<tenant>'",
                ctx,
            )
        return unknown_first_word(ctx, word)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        levels = (("INSTANCE …", registry.INSTANCE), ("INSTANCE TENANT …", registry.TENANT))
        with formatter.section("After a name (each level has its own --help)"):
            formatter.write_dl(
                [(words, ", ".join(entry.name for entry in entries)) for words, entries in levels]
            )

    def offered(self, ctx: click.Context) -> Iterable[Entry]:
        context = self._context(ctx)
        if ctx.params.get("explicit_tenant"):
            return OF_TENANT.values() if context.instance else ()
        if context.instance is None:
            return self.entries
        return dict.fromkeys((INSTANCE | (TENANT if context.tenant else {}) | GLOBAL).values())

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from mail_proxy_cli.complete import first_tenants, instances

        found = instances(ctx, None, incomplete) + super().shell_complete(ctx, incomplete)
        context = self._context(ctx)
        if context.instance is not None and not ctx.params.get("explicit_tenant"):
            scope = scope_of(ctx)
            found += first_tenants(
                scope.at(Instance(context.instance, scope.home / context.instance)), incomplete
            )
        return found

    def _context(self, ctx: click.Context) -> Context:
        """The context as far as it can be read: a Tab is no place for an error."""
        try:
            return read_context(scope_of(ctx).environ)
        except (MailProxyError, OSError):
            return Context(None, None, "nowhere")


def scope_of(ctx: click.Context) -> Scope:
    """The scope that the words before this one made."""
    scope = ctx.obj
    if not isinstance(scope, Scope):
        raise TypeError("the context carries no scope")
    return scope


def explicit_tenant(ctx: click.Context) -> str | None:
    """The tenant given with --tenant, here or before the instance's name."""
    tenant = ctx.params.get("explicit_tenant") or scope_of(ctx).named_tenant
    return str(tenant) if tenant else None


def context_instance(scope: Scope, context: Context) -> Instance:
    """The context's instance, which must still be there."""
    return existing_instance(scope, context.instance or "", hint=chosen_by(context))


def chosen_by(context: Context) -> str:
    """Say who named an instance that is not there."""
    return f" (chosen by {context.source}): 'mail-proxy list' shows all"


def existing_instance(scope: Scope, name: str, *, hint: str = "") -> Instance:
    """The instance of that name; an unknown one is wrong usage, and the nearest are named."""
    instance = Instance(name, scope.home / name)
    if not is_instance_name(name) or not instance.exists():
        names = near(name, instance_names(scope))
        raise UnknownName("instance", name, names, hint=hint or ": 'mail-proxy list' shows all")
    return instance


def instance_names(scope: Scope) -> list[str]:
    return [instance.name for instance in list_instances(scope.home)]


def misplaced(ctx: click.Context, word: str) -> click.UsageError | None:
    """Say where a command stands that is one, but not after an instance, or not after a tenant."""
    name = scope_of(ctx).instance.name
    if word in BEFORE_A_NAME:
        return click.UsageError(f"'{word}' comes before the name: mail-proxy {word} {name}", ctx)
    if word in INSTANCE:
        tenant = scope_of(ctx).named_tenant if INSTANCE[word].may_be_of_tenant else None
        way = f"mail-proxy {name} --tenant {tenant} {word}" if tenant else f"mail-proxy {name} {word}"
        return click.UsageError(f"'{word}' is an instance's command: {way}", ctx)
    return None


def unknown_first_word(ctx: click.Context, word: str) -> UnknownName:
    """Name the instances and commands that the first word may have meant."""
    try:
        instances = instance_names(scope_of(ctx))
    except MailProxyError:
        instances = []
    found = near(word, [*instances, *GLOBAL])
    kinds = {"instance" if name in instances else "command" for name in found}
    kind = kinds.pop() if len(kinds) == 1 else "command or instance"
    return UnknownName(kind, word, found, hint=": see mail-proxy list, and mail-proxy --help")


TENANT_LEVEL = TenantLevel(
    "tenant",
    help="Commands of one tenant. Its id comes after the instance's name, unless 'use' has chosen it.",
    subcommand_metavar="COMMAND …",
)

INSTANCE_LEVEL = InstanceLevel(
    "instance",
    params=[TENANT_OPTION],
    help="Commands of one instance. The id of a tenant in place of a command leads to the tenant's.",
    subcommand_metavar="COMMAND … | TENANT COMMAND …",
)

root = Root(
    "mail-proxy",
    params=[TENANT_OPTION, VERSION_OPTION],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="The server between your applications and SMTP providers: queue, retry, limits, reports.",
    epilog="To begin: mail-proxy start myserver. On a terminal each step then tells the next one.",
    subcommand_metavar="COMMAND … | INSTANCE COMMAND … | INSTANCE TENANT COMMAND …",
)
