"""``connect``: the interactive session."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import click

from mail_proxy_cli.context import read_context, state_directory
from mail_proxy_cli.fields import read_secret_line
from mail_proxy_cli.nodes import command
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.terminal import given_back

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime
    from mail_proxy_repl.place import Place
    from mail_proxy_repl.proxy import Proxy
    from mail_proxy_repl.results import Record
    from mail_proxy_repl.session import Session


@command("connect")
@click.option("--url", metavar="URL", help="A server elsewhere, spoken to over its API.")
@click.option(
    "--token", metavar="TOKEN", help="Its token; others on this machine may see it: rather the next."
)
@click.option("--token-stdin", is_flag=True, help="Read its token from standard input.")
@pass_scope
def connect(scope: Scope, *, url: str | None, token: str | None, token_stdin: bool) -> int:
    """Work with an instance: commands and Python at one prompt, or a script.

    With input that is not a terminal, its lines are worked on, up to the first error.
    """
    if scope.invocation.held is not None:
        raise click.UsageError("this is a session already")
    if token is not None and token_stdin:
        raise click.UsageError("the token is given twice: --token and --token-stdin")
    if url is None:
        if token is not None or token_stdin:
            raise click.UsageError("a token goes with --url: an instance on this machine needs none")
        return _local(scope)
    if token is None and (token_stdin or sys.stdin.isatty()):
        token = read_secret_line("token")
    return _remote(scope, url, token)


def _local(scope: Scope) -> int:
    from mail_proxy_cli.connect.held import Held
    from mail_proxy_cli.connect.shell import LocalShell
    from mail_proxy_cli.loopback import post
    from mail_proxy_repl.local import LocalServer
    from mail_proxy_repl.place import Place
    from mail_proxy_repl.proxy import Proxy
    from mail_proxy_repl.session import Session

    instance = scope.instance
    with closing(Held(scope)) as held:
        held.run(_nothing)  # what keeps the database from being opened is said at once
        shell = LocalShell(held)
        place = Place(instance.name, read_context(scope.environ).tenant_of(instance.name))
        run_now = functools.partial(post, scope, "/commands/run-now")
        server = LocalServer(held, instance, lambda tenant: run_now({"tenant_id": tenant}))
        proxy = Proxy(server, place)

        def new_tenant() -> None:
            """Ask for a new tenant, and add it."""
            shell.run(["tenants", "add"], place.tenant)

        def new_account() -> None:
            """Ask for a new account of the tenant in use, and add it."""
            shell.run(["accounts", "add"], place.tenant)

        wizards = (new_tenant, new_account, _new_message(proxy, place, color=scope.invocation.color))
        session = Session(shell, proxy, place, {each.__name__: each for each in wizards})
        return _hold(session, scope, instance.name)


def _remote(scope: Scope, url: str, token: str | None) -> int:
    from mail_proxy.client import MailProxyClient
    from mail_proxy_cli.connect.shell import RemoteShell
    from mail_proxy_repl.place import Place
    from mail_proxy_repl.proxy import Proxy
    from mail_proxy_repl.remote import RemoteServer
    from mail_proxy_repl.session import Session

    try:
        client = MailProxyClient(url, token=token)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    place = Place(urlsplit(url).netloc)
    with client, closing(RemoteShell(scope.invocation, url, token)) as shell:
        proxy = Proxy(RemoteServer(client), place)
        proxy.status()  # a wrong URL or token is said at once
        new_message = _new_message(proxy, place, color=scope.invocation.color)
        return _hold(Session(shell, proxy, place, {"new_message": new_message}), scope, place.instance)


def _new_message(proxy: Proxy, place: Place, *, color: bool) -> Callable[[], Record]:
    def new_message() -> Record:
        """Ask for a message, and queue it."""
        from mail_proxy_cli.wizards.messages import ask_message

        return ask_message(proxy, place, color=color)

    return new_message


def _hold(session: Session, scope: Scope, name: str) -> int:
    from mail_proxy_repl.loop import read, talk

    if not sys.stdin.isatty():
        return read(session)
    history = state_directory() / "history" / quote(name, safe="")
    is_dumb = scope.invocation.is_dumb or not sys.stdout.isatty()
    with given_back(dumb=is_dumb):
        return talk(session, history, color=scope.invocation.color, dumb=is_dumb)


async def _nothing(_runtime: Runtime) -> None:
    return
