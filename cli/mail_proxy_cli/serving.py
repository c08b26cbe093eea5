"""From the options of ``start`` and ``serve`` to a server, and from a server to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from mail_proxy.config import ENVIRONMENT, SETTINGS, Config, save_settings
from mail_proxy.daemon.process import Announcer, ServerInfo, hold, is_locked, last_port, running
from mail_proxy.daemon.process import stop as stop_server
from mail_proxy.errors import InstanceError, InvalidInput, MailProxyError, NotRunning, StartFailed
from mail_proxy.files import write_private
from mail_proxy.instance import Instance
from mail_proxy.settings import without_password
from mail_proxy_cli.instances import chosen_instance
from mail_proxy_cli.opening import check_database
from mail_proxy_cli.registry import RESERVED
from mail_proxy_cli.scope import Scope

POLL = 0.05

# Seconds to wait, unless told otherwise, for what a server is sending, and for a new one to answer:
DRAIN_TIMEOUT = 30.0
START_TIMEOUT = 30.0


def named_instance(scope: Scope, name: str | None) -> Instance:
    """The instance named, which may be new; without a name the context's."""
    return chosen_instance(scope, None) if name is None else Instance.at(scope.home, name, reserved=RESERVED)


def settings_of(options: Mapping[str, object]) -> dict[str, object]:
    """Turn the options into settings; a database is a URL of PostgreSQL or the path of an SQLite file."""
    settings = {key: value for key, value in options.items() if value is not None}
    database = str(settings.get("database_url", ""))
    path = database.removeprefix("sqlite:///")
    if database and "://" not in path:
        del settings["database_url"]
        settings["db_path"] = str(Path(path).expanduser().absolute())
    if settings.get("api_token") == "":
        raise InvalidInput("--api-token: a token has at least one character")
    return settings


def wait_if_served(instance: Instance, timeout: float) -> ServerInfo | None:
    """Return the instance's server if there is one, waiting for one that another command is starting."""
    if not instance.directory.is_dir():
        return None
    end = time.monotonic() + timeout
    while is_locked(instance):
        info = running(instance)
        if info is not None:
            return info
        if time.monotonic() >= end:
            raise InstanceError(f"instance '{instance.name}' has been starting for more than {timeout:g} s")
        time.sleep(POLL)
    return None


class Place(NamedTuple):
    """Where to listen; one that nobody asked for may give way to the next port."""

    host: str
    port: int
    is_asked_for: bool


def choose_place(instance: Instance, config: Config) -> Place:
    """The port asked for, which must be free; else the last one used or the default, or the next free."""
    from mail_proxy.daemon.detach import choose_free_port, is_free

    port, host = config.port, config.host
    if config.source("port") == "default":
        last = last_port(instance)
        free = last if last and is_free(host, last) else choose_free_port(host, port)
        return Place(host, free, is_asked_for=False)
    if port and not is_free(host, port):
        raise InstanceError(
            f"port {port} on {host} is taken: stop what uses it, or choose another with --port"
        )
    return Place(host, port, is_asked_for=True)


def prepare(instance: Instance, settings: Mapping[str, object]) -> None:
    """Make the instance if it is new, and keep in it what was given; refuses to keep a password."""
    kept = {key: value for key, value in settings.items() if key != "api_token"}
    # Of the two ways to name a database the new one counts alone.
    if "database_url" in kept:
        kept["db_path"] = None
    elif "db_path" in kept:
        kept["database_url"] = None
    _refuse_secrets(kept)
    is_new = not instance.exists()
    instance.create()
    save_settings(instance.config_file, kept)
    if "api_token" in settings:
        write_private(instance.token_file, str(settings["api_token"]))
    if is_new:
        click.echo(f"made instance '{instance.name}' in {instance.directory}")


def database_of_environment(config: Config) -> dict[str, object]:
    """What a new instance keeps of a database that the environment names: all but the password.

    Else a later command without that variable would take an empty SQLite database for the instance's.
    """
    if config.database_url and config.source("database_url").startswith(ENVIRONMENT):
        return {"database_url": without_password(config.database_url)}
    if config.db_path and config.source("db_path").startswith(ENVIRONMENT):
        return {"db_path": str(config.db_path)}
    return {}


def _refuse_secrets(kept: Mapping[str, object]) -> None:
    for key, value in kept.items():
        if value is not None and SETTINGS[key].holds_secret(value):
            name = SETTINGS[key].env[0]
            raise InvalidInput(
                f"--{key.replace('_', '-')} holds a password, and config.toml keeps none: give it as {name}, "
                f"or the name of a file that holds it as {name}_FILE"
            )


def start_background(
    scope: Scope, instance: Instance, place: Place, timeout: float, *, reload: bool = False
) -> ServerInfo:
    """Start the server detached; when another command was quicker, its server will do."""
    from mail_proxy.daemon.detach import choose_free_port, is_free, start_detached

    while True:
        arguments = ["--host", place.host, "--port", str(place.port), *(["--reload"] if reload else [])]
        try:
            return start_detached(instance, arguments, scope.environ, timeout)
        except StartFailed:
            info = wait_if_served(instance, timeout)
            if info is not None:
                return info
            if place.is_asked_for or is_free(place.host, place.port):
                raise
        # Another server took the port between our look and its start.
        place = place._replace(port=choose_free_port(place.host, place.port))


def serve_here(
    scope: Scope, instance: Instance, settings: Mapping[str, object], ready_fd: int | None
) -> None:
    """Be the server, until it is told to stop."""
    with hold(instance, ready_fd) as lock:
        _run(scope, instance, settings, lock)


def serve_supervised(
    scope: Scope, instance: Instance, settings: Mapping[str, object], supervisor_fd: int
) -> None:
    """Be the server that a supervisor has started, and that ends with it."""
    from mail_proxy.daemon.reloading import Tether

    with Tether(supervisor_fd) as tether:
        _run(scope, instance, settings, tether)


def supervise(scope: Scope, instance: Instance, settings: Mapping[str, object], ready_fd: int | None) -> int:
    """Have a server run that starts anew at each change of its files; return its exit code in the end."""
    from mail_proxy.daemon.reloading import Supervisor
    from mail_proxy.daemon.watching import Watch, program

    config = scope.at(instance).load_config(settings)
    with hold(instance, ready_fd) as lock:
        return Supervisor(
            lock,
            arguments=_arguments_of(settings),
            environ=scope.environ,
            watch=Watch(program(), [instance.config_file]),
            keeps_port=config.port == 0,
            is_awaited=ready_fd is not None,
            reopen_log=_log_for(config, instance, is_detached=ready_fd is not None),
        ).run()


def _log_for(config: Config, instance: Instance, *, is_detached: bool) -> Callable[[], None]:
    """Log as the server does, which rotates its file: return how to go on in the new one."""
    from mail_proxy.logging import LogFile, setup

    if not is_detached:
        setup(config.log_level, config.log_format)
        return lambda: None
    file = LogFile(instance.log_file, max_bytes=0, owned=(1, 2))
    setup(config.log_level, config.log_format, handler=file)
    return file.reopen


def _arguments_of(settings: Mapping[str, object]) -> list[str]:
    """The reverse of `settings_of`."""
    options = {
        "database-url" if key == "db_path" else key.replace("_", "-"): value
        for key, value in settings.items()
    }
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _run(scope: Scope, instance: Instance, settings: Mapping[str, object], announcer: Announcer) -> None:
    from mail_proxy.daemon.app import run
    from mail_proxy.daemon.server import StoppedAtOnce

    config = scope.at(instance).load_config(settings)
    try:
        run(config, instance, announcer, environ=scope.environ)
    except* StoppedAtOnce:
        raise InstanceError(
            f"'{instance.name}' was told twice to stop: what it was sending may be sent again"
        ) from None


def check_restart(scope: Scope, instance: Instance) -> None:
    """Raise InstanceError if the server runs, and one started from here could not take its place."""
    if not is_up(instance):
        return
    try:
        check_database(scope.at(instance))
    except MailProxyError as error:
        raise InstanceError(
            f"'{instance.name}' is left running, since it could not start again: {error}"
        ) from error


def end(instance: Instance, timeout: float, *, force: bool) -> ServerInfo | None:
    """Stop the instance's server and say so; returns where it was, None if it was not running."""
    info = running(instance)
    try:
        drained = stop_server(
            instance, timeout=timeout, force=force, warn=lambda line: click.echo(line, err=True)
        )
    except NotRunning:
        click.echo(f"'{instance.name}' is not running")
        return None
    click.echo(f"'{instance.name}' {'has stopped' if drained else 'was killed'}")
    return info


def is_up(instance: Instance) -> bool:
    """Tell whether the instance's server runs; one that cannot be asked about does not count."""
    try:
        return running(instance) is not None
    except (MailProxyError, OSError):
        return False
