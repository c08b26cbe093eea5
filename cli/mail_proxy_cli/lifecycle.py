"""``start``, ``serve``, ``stop`` and ``restart``: the server's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click

from mail_proxy.errors import MailProxyError
from mail_proxy.instance import Instance, list_instances
from mail_proxy_cli import next_steps, serving
from mail_proxy_cli.complete import instances as complete_instances
from mail_proxy_cli.errors import OK, report
from mail_proxy_cli.instances import chosen_instance
from mail_proxy_cli.nodes import command, with_options
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.serving import DRAIN_TIMEOUT, START_TIMEOUT

F = TypeVar("F", bound=Callable[..., object])


def server_options(function: F) -> F:
    """The options that say where a server listens and what it works on."""
    options = (
        click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]"),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            help="Port to listen on.  [default: 8000, or the next free one]",
        ),
        click.option(
            "--database-url",
            metavar="URL",
            help="postgresql://user@host/database, or the path of an SQLite file.",
        ),
        click.option("--api-token", metavar="TOKEN", help="Admin token, in place of the one made by itself."),
        click.option("--reload", is_flag=True, help="Start anew when the program or config.toml changes."),
    )
    return with_options(function, options)


def drain_options(function: F) -> F:
    """The options that say how long a server has to finish what it is sending."""
    timeout = click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=DRAIN_TIMEOUT,
        show_default=True,
        help="Seconds to wait for what is being sent.",
    )
    force = click.option(
        "-f", "--force", is_flag=True, help="Kill at once; what is being sent may be sent twice."
    )
    return timeout(force(function))


@command("start")
@click.argument("name", metavar="INSTANCE", required=False, shell_complete=complete_instances)
@click.option(
    "--foreground/--background", default=False, help="Stay in this terminal, or not.  [default: --background]"
)
@server_options
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=START_TIMEOUT, help="Seconds to wait for the server."
)
@pass_scope
def start(
    scope: Scope, /, name: str | None, *, foreground: bool, timeout: float, reload: bool, **options: object
) -> int:
    """Start an instance's server, making the instance if it is new.

    The server runs on in the background; its output goes to the file server.log of the instance.
    The options are kept in the instance's configuration.
    """
    instance = serving.named_instance(scope, name)
    info = serving.wait_if_served(instance, timeout)
    if info is not None:
        click.echo(f"'{instance.name}' is already running: {info.url} (pid {info.pid})")
        return OK
    settings = serving.settings_of(options)
    config = scope.at(instance).load_config(settings)
    place = serving.choose_place(instance, config)
    if not instance.exists():
        settings |= serving.database_of_environment(config)
    serving.prepare(instance, settings)
    if foreground:
        return _serve(scope, instance, {"host": place.host, "port": place.port}, reload=reload)
    info = serving.start_background(scope, instance, place, timeout, reload=reload)
    click.echo(f"'{instance.name}' is running: {info.url} (pid {info.pid})")
    next_steps.after_start(scope.at(instance))
    return OK


@command("serve")
@click.argument("name", metavar="INSTANCE", required=False, shell_complete=complete_instances)
@server_options
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--supervisor-fd", type=int, hidden=True)
@pass_scope
def serve(
    scope: Scope,
    /,
    name: str | None,
    *,
    reload: bool,
    ready_fd: int | None,
    supervisor_fd: int | None,
    **options: object,
) -> int:
    """Run a server in the foreground, for containers and systemd.

    Without INSTANCE it is the one that GMP_INSTANCE_NAME names. The options count for this run only.
    """
    instance = serving.named_instance(scope, name or scope.environ.get("GMP_INSTANCE_NAME") or None)
    settings = serving.settings_of(options)
    scope.at(instance).load_config(settings)  # faults first, before anything is made
    instance.create()
    if supervisor_fd is not None:
        serving.serve_supervised(scope, instance, settings, supervisor_fd)
        return OK
    return _serve(scope, instance, settings, ready_fd, reload=reload)


def _serve(
    scope: Scope,
    instance: Instance,
    settings: Mapping[str, object],
    ready_fd: int | None = None,
    *,
    reload: bool,
) -> int:
    if reload:
        return serving.supervise(scope, instance, settings, ready_fd)
    serving.serve_here(scope, instance, settings, ready_fd)
    return OK


@command("stop")
@click.argument("name", metavar="INSTANCE", required=False, shell_complete=complete_instances)
@click.option("--all", "every", is_flag=True, help="Stop all instances.")
@drain_options
@pass_scope
def stop(scope: Scope, name: str | None, *, every: bool, timeout: float, force: bool) -> int:
    """Stop a server after what it is sending."""
    targets = _targets(scope, name, every=every)
    return _each(scope, targets, lambda instance: serving.end(instance, timeout, force=force))


@command("restart")
@click.argument("name", metavar="INSTANCE", required=False, shell_complete=complete_instances)
@click.option("--all", "every", is_flag=True, help="Restart all instances that run.")
@drain_options
@pass_scope
def restart(scope: Scope, name: str | None, *, every: bool, timeout: float, force: bool) -> int:
    """Stop a server and start it again where it was.

    One that could not start again, because of its configuration, key or database, is left running.
    """

    def again(instance: Instance) -> None:
        serving.check_restart(scope, instance)
        before = serving.end(instance, timeout, force=force)
        config = scope.at(instance).load_config()
        place = (
            serving.Place(before.host, before.port, is_asked_for=True)
            if before
            else serving.choose_place(instance, config)
        )
        info = serving.start_background(scope, instance, place, START_TIMEOUT)
        click.echo(f"'{instance.name}' is running: {info.url} (pid {info.pid})")

    return _each(scope, _targets(scope, name, every=every), again)


def _targets(scope: Scope, name: str | None, *, every: bool) -> Sequence[Instance]:
    if every and name is not None:
        raise click.UsageError("name an instance, or give --all, not both")
    if every:
        running = [instance for instance in list_instances(scope.home) if serving.is_up(instance)]
        if not running:
            click.echo("no instance is running")
        return running
    return [chosen_instance(scope, name)]


def _each(scope: Scope, instances: Sequence[Instance], act: Callable[[Instance], object]) -> int:
    """Do it to all of them; the failure of one is told and does not keep the others from their turn."""
    worst = OK
    for instance in instances:
        try:
            act(instance)
        except (MailProxyError, OSError) as error:
            worst = max(worst, report(error, debug=scope.invocation.debug))
    return worst
