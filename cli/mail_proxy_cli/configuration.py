"""``mail-proxy <instance> config …``: every setting, where its value comes from, and changing it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from mail_proxy.config import ENVIRONMENT, SETTINGS, Config, change_settings
from mail_proxy.daemon.process import is_locked, notify
from mail_proxy.errors import MailProxyError
from mail_proxy.instance import read_toml
from mail_proxy.settings import Setting
from mail_proxy_cli.bounces import bounce
from mail_proxy_cli.nodes import Group, UnknownName, example, near
from mail_proxy_cli.output import Column, echo_json, echo_table
from mail_proxy_cli.scope import Scope, pass_scope

View = dict[str, object]

COLUMNS = (
    Column("key", whole=True),
    Column("value"),
    Column("source", spare=1),
    Column("what it does", lambda row: f"{row['doc']} [{row['unit']}]" if row["unit"] else row["doc"]),
)

WHERE = ("host", "port")
"""Settings that a restart leaves as they are: it starts the server again where it was."""

DATABASES = ("db_path", "database_url")


def _keys(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(key, help=declared.doc)
        for key, declared in SETTINGS.items()
        if key.startswith(incomplete)
    ]


def _keys_set(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    scope = ctx.obj
    if not isinstance(scope, Scope) or scope.named_instance is None:
        return []
    try:
        keys = read_toml(scope.instance.config_file)
    except MailProxyError:
        return []
    return [CompletionItem(key) for key in keys if key.startswith(incomplete)]


def _values(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    declared = SETTINGS.get(str(ctx.params.get("key")))
    if declared is None:
        return []
    if "Path" in declared.kind:
        return [CompletionItem(incomplete, type="file")]
    words = ("true", "false") if declared.kind == "bool" else declared.choices
    return [CompletionItem(word) for word in words if word.lower().startswith(incomplete.lower())]


@click.group(cls=Group)
def config() -> None:
    """Show the settings and where they come from; change them."""


config.add_command(bounce)


@example("mail-proxy myserver config show max_retries retry_delays")
@config.command("show")
@click.argument("keys", metavar="[KEY…]", nargs=-1, shell_complete=_keys)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def show_settings(scope: Scope, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Show every setting, or those named: its value, where that comes from, what it does.

    Options of 'start' and 'serve' come before the environment, that before the instance's config.toml, and
    that before the default. What a secret is, is not shown.
    """
    for key in keys:
        if key not in SETTINGS:
            raise UnknownName("setting", key, near(key, SETTINGS))
    loaded = scope.load_config()
    rows = [_view(SETTINGS[key], loaded) for key in dict.fromkeys(keys or SETTINGS)]
    if as_json:
        echo_json(rows)
    else:
        shown = [row | {"value": loaded.shown(str(row["key"]))} for row in rows]
        echo_table(shown, COLUMNS, color=scope.invocation.color, empty="")


@example("mail-proxy myserver config set max_retries 8")
@config.command("set", context_settings={"ignore_unknown_options": True})  # a value may begin with a dash
@click.argument("key", metavar="KEY", shell_complete=_keys)
@click.argument("value", metavar="VALUE", shell_complete=_values)
@pass_scope
def set_setting(scope: Scope, key: str, value: str) -> None:
    """Keep a setting in the instance's config.toml; what can change in a running server changes now.

    Lists are separated by commas. Tokens and passwords are not kept there: they are given by the
    environment.
    """
    _tell(scope, [key], change_settings(scope.instance.directory, scope.environ, {key: value}))


@example("mail-proxy myserver config unset max_retries")
@config.command("unset")
@click.argument("keys", metavar="KEY…", nargs=-1, required=True, shell_complete=_keys_set)
@pass_scope
def unset_settings(scope: Scope, keys: tuple[str, ...]) -> None:
    """Take settings out of the instance's config.toml, so that their defaults count again."""
    kept = read_toml(scope.instance.config_file)
    absent = [key for key in dict.fromkeys(keys) if key not in kept]
    loaded = change_settings(scope.instance.directory, scope.environ, dict.fromkeys(keys))
    for key in absent:
        click.echo(f"{key} was not set in {scope.instance.config_file}", err=True)
    _tell(scope, [key for key in dict.fromkeys(keys) if key in kept], loaded)


def _view(declared: Setting, loaded: Config) -> View:
    """One setting, typed as in config.toml; a secret is masked."""
    key = declared.key
    return {
        "key": key,
        "value": _plain(declared, getattr(loaded, key)),
        "source": loaded.source(key),
        "default": _plain(declared, declared.default),
        "unit": declared.unit,
        "allowed": declared.allowed,
        "environment": declared.env[0],
        "needs_restart": not declared.reloadable,
        "doc": declared.doc,
    }


def _plain(declared: Setting, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple):
        return [_plain(declared, item) for item in value]
    return declared.shown(value)


def _tell(scope: Scope, keys: Sequence[str], loaded: Config) -> None:
    """Say what holds now, what keeps it from holding, and what is still to be done."""
    for key in keys:
        if key not in SETTINGS:
            click.echo(f"{key} is gone")
            continue
        source = loaded.source(key)
        of_default = " (the default)" if source == "default" else ""
        click.echo(f"{key} is now {loaded.shown(key) or 'not set'}{of_default}")
        if source.startswith(ENVIRONMENT):
            click.echo(f"note: {source.partition(' ')[2]} is set in the environment and counts", err=True)
    known = [SETTINGS[key] for key in keys if key in SETTINGS]
    if known and is_locked(scope.instance):
        _tell_server(scope, known)


def _tell_server(scope: Scope, changed: Sequence[Setting]) -> None:
    name = scope.instance.name
    if not notify(scope.instance, signal.SIGHUP):
        click.echo(
            f"the server could not be told, it is starting or out of reach: mail-proxy restart {name}",
            err=True,
        )
        return
    at_once = [declared.key for declared in changed if declared.reloadable]
    where = [declared.key for declared in changed if declared.key in WHERE]
    later = [declared.key for declared in changed if not declared.reloadable and declared.key not in WHERE]
    if at_once:
        click.echo(f"the running server takes it from now on: {', '.join(at_once)}", err=True)
    if later:
        click.echo(f"after a restart only: {', '.join(later)} (mail-proxy restart {name})", err=True)
    if where:
        again = f"mail-proxy stop {name} && mail-proxy start {name}"
        click.echo(f"after a stop and a start only: {', '.join(where)} ({again})", err=True)
    if any(declared.key in DATABASES for declared in changed):
        click.echo("until then it works on its former database, while commands use the new one", err=True)
