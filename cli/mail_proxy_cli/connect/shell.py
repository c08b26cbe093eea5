"""What an interactive session is given of the command line: its commands, names to complete, and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, ShellComplete

from mail_proxy.client import AsyncMailProxyClient, MailProxyClient, MailProxyClientError
from mail_proxy.errors import InvalidInput, MailProxyError
from mail_proxy_cli import complete, registry
from mail_proxy_cli.connect.shown import show
from mail_proxy_cli.context import INSTANCE_VARIABLE, TENANT_VARIABLE
from mail_proxy_cli.errors import FAILED, INTERRUPTED, describe, first, name_and_words, print_traceback
from mail_proxy_cli.grammar import GLOBAL, INSTANCE, TENANT, root
from mail_proxy_cli.nodes import near
from mail_proxy_cli.output import one_line
from mail_proxy_cli.scope import Invocation, Scope
from mail_proxy_repl.local import server_of
from mail_proxy_repl.shell import Pulse
from mail_proxy_repl.suggest import Word

if TYPE_CHECKING:
    from mail_proxy_cli.connect.held import Held
    from mail_proxy_repl.explaining import Section

PROGRAM = "mail-proxy"

OUTSIDE = frozenset(GLOBAL) | {"connect"}
"""Commands that are not about the instance of the session, or open one."""

WORDS = {
    entry.name: entry.help for entry in (*registry.INSTANCE, *registry.TENANT) if entry.name not in OUTSIDE
}

IDS = {
    "tenants": complete.tenants,
    "accounts": complete.accounts,
    "messages": complete.messages,
    "storages": complete.storages,
    "batches": complete.batches,
}

MOST_FILES = 200
MOST_IDS = 50
MOST_TENANTS = 10
"""Whose names are offered where no tenant is in use."""

ID_TIMEOUT = 2.0
PULSE_TIMEOUT = 4.0


class Output:
    """How either kind of session tells what it has to."""

    def __init__(self, invocation: Invocation, runner: asyncio.Runner) -> None:
        self.runner = runner
        self._invocation = invocation
        self._debug = False

    def say(self, text: str) -> None:
        click.echo(text)

    def show(self, value: object) -> None:
        show(value, color=self._invocation.color)

    def near(self, word: str) -> Sequence[str]:
        return near(word, WORDS)

    def report(self, error: BaseException, where: str = "") -> int:
        if isinstance(error, BaseExceptionGroup):
            error = first(error)
        is_debug, self._debug = self._debug or self._invocation.debug, False
        if is_debug and not isinstance(error, click.ClickException | click.Abort):
            print_traceback(error)
        line, code = _told(error)
        if code == INTERRUPTED:
            click.echo(f"\n{line}" if sys.stderr.isatty() else line, err=True)  # the terminal has shown ^C
        elif line:
            click.echo(f"Error: {where}{line}", err=True)
        return code


def _told(error: BaseException) -> tuple[str, int]:
    match error:
        case MailProxyClientError():
            return one_line(str(error)), FAILED
        case asyncio.CancelledError():
            return describe(KeyboardInterrupt())
        case click.ClickException() | click.Abort() | MailProxyError() | OSError() | KeyboardInterrupt():
            return describe(error)
        case SyntaxError():
            return one_line(f"{type(error).__name__}: {error.msg}"), FAILED
    return name_and_words(error), FAILED


class LocalShell(Output):
    """The commands of an instance on this machine, run with the services that the session holds."""

    def __init__(self, held: Held) -> None:
        super().__init__(held.scope.invocation, held.runner)
        self._scope = held.scope
        self._held = held
        self.commands: Mapping[str, str] = WORDS
        self.known = frozenset(WORDS) | OUTSIDE | {PROGRAM}
        self.of_tenants = frozenset(TENANT)

    def headings(self) -> Sequence[Section]:
        found: dict[str, dict[str, str]] = {}
        for entry in (*registry.INSTANCE, *registry.TENANT):
            if entry.name in WORDS:
                found.setdefault(entry.heading, {})[entry.name] = entry.help
        return [(heading, list(rows.items())) for heading, rows in found.items()]

    def run(self, words: Sequence[str], tenant: str | None) -> int:
        words = self._bare(words)
        if not words:
            raise click.UsageError("which command? 'help' shows them all")
        word = words[0]
        if word in self.known - WORDS.keys():
            told = "proxy.status() tells it here; or " if word == "status" else ""
            raise click.UsageError(
                f"'{word}' is not for a session: {told}leave it, and type {PROGRAM} {word} …"
            )
        if word in TENANT and word not in INSTANCE and tenant is None and "--help" not in words:
            raise click.UsageError(f"'{word}' is a tenant's command: 'use TENANT' first, or TENANT {word} …")
        scope = self._scope_with(tenant)
        try:
            code = root.main(self._placed(words, tenant), PROGRAM, standalone_mode=False, obj=scope)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except BaseException:
            self._debug = scope.invocation.debug  # as this command's own --debug says
            raise
        return code if isinstance(code, int) else 0

    def follow(self, words: Sequence[str], begun: str, tenant: str | None) -> Iterator[Word]:
        asked = ShellComplete(root, {"obj": self._scope_with(tenant)}, PROGRAM, "")
        with suppress(click.ClickException, MailProxyError, OSError):
            for item in asked.get_completions(self._placed(self._bare(words), tenant), begun):
                yield from _files(begun) if item.type in ("file", "dir") else [_word(item)]

    def ids(self, kind: str, begun: str, tenant: str | None) -> Iterable[str]:
        if kind == "files":
            return [each.text for each in _files(begun)]
        tenants = [tenant] if tenant or kind == "tenants" else self.ids("tenants", "", None)
        found = (self._names(kind, begun, each) for each in islice(tenants, MOST_TENANTS))
        return list(dict.fromkeys(chain.from_iterable(found)))

    def _names(self, kind: str, begun: str, tenant: str | None) -> Iterable[str]:
        scope = self._scope_with(tenant).at(self._scope.instance, tenant)
        return [item.value for item in IDS[kind](click.Context(root, obj=scope), root.params[0], begun)]

    async def pulse(self) -> Pulse:
        runtime = self._held.runtime
        if runtime is None:
            return Pulse("closed", None)
        info = await asyncio.to_thread(server_of, self._scope.instance)
        try:
            instance = runtime.services.instance
            state = "server running" if info else "server stopped"
            if info is None and runtime.config.uses_postgres and await instance.nodes():
                state = "served elsewhere"
            is_active, waiting = await instance.is_active(), await instance.pending_messages()
        except MailProxyError:
            return Pulse("the database does not answer", None)
        return Pulse(state if is_active else f"{state}, suspended", waiting)

    def _scope_with(self, tenant: str | None) -> Scope:
        """A scope for one command: what it changes of the invocation is its own."""
        environ = {**self._scope.environ, INSTANCE_VARIABLE: self._scope.instance.name}
        environ[TENANT_VARIABLE] = tenant or ""
        return Scope(invocation=replace(self._invocation, environ=environ, held=self._held))

    def _bare(self, words: Sequence[str]) -> Sequence[str]:
        """The words without those that lead to this instance in a shell, as examples have them."""
        first, *rest = words
        if first != PROGRAM:
            return words
        return rest[1:] if rest[:1] == [self._scope.instance.name] else rest

    def _placed(self, words: Sequence[str], tenant: str | None) -> list[str]:
        """The words as they follow ``mail-proxy``: a tenant's command goes to the one in use."""
        name = self._scope.instance.name
        if not words or words[0] not in TENANT:
            return [name, *words]
        if tenant is None:  # that of nobody, so that its help can be shown
            return [name, *words] if words[0] in INSTANCE else [name, "--tenant", "TENANT", *words]
        return [name, "--tenant", tenant, *words]


class RemoteShell(Output):
    """A server elsewhere: it has no files here for commands to work on, so that only Python is spoken."""

    def __init__(self, invocation: Invocation, url: str, token: str | None) -> None:
        super().__init__(invocation, asyncio.Runner())
        self.commands: Mapping[str, str] = {}
        self.known = frozenset(WORDS)
        self.of_tenants: frozenset[str] = frozenset()
        self._quick = MailProxyClient(url, token=token, timeout=ID_TIMEOUT, retries=0)
        self._watching: AsyncMailProxyClient | None = None
        self._url, self._token = url, token

    def headings(self) -> Sequence[Section]:
        return ()

    def run(self, words: Sequence[str], tenant: str | None) -> int:  # noqa: ARG002 - the protocol's signature
        raise InvalidInput(
            f"'{words[0]}' works on an instance of this machine, and with --url there is none: "
            "speak Python, 'proxy?' tells what there is"
        )

    def follow(self, words: Sequence[str], begun: str, tenant: str | None) -> Iterable[Word]:  # noqa: ARG002 - as above
        return ()

    def ids(self, kind: str, begun: str, tenant: str | None) -> Iterable[str]:
        if kind == "files":
            return [each.text for each in _files(begun)]
        with suppress(MailProxyClientError):
            names = dict.fromkeys(self._names(kind, tenant))
            return [name for name in names if name and name.startswith(begun)]
        return ()

    async def pulse(self) -> Pulse:
        if self._watching is None:  # it belongs to the loop, which runs now
            self._watching = AsyncMailProxyClient(
                self._url, token=self._token, timeout=PULSE_TIMEOUT, retries=0
            )
        try:
            status = await self._watching.status()
        except MailProxyClientError:
            return Pulse("the server does not answer", None)
        state = "server running" if status.active else "server running, suspended"
        return Pulse(state, status.pending_messages)

    def close(self) -> None:
        self._quick.close()
        if self._watching is not None:
            self.runner.run(self._watching.close())
        self.runner.close()

    def _names(self, kind: str, tenant: str | None) -> Iterable[str | None]:
        client = self._quick
        match kind:
            case "tenants":
                return [each.id for each in client.tenants.list()]
            case "accounts":
                return [each.id for each in client.accounts.list(tenant_id=tenant)]
            case "storages":
                return [each.name for each in client.storages.list(tenant_id=tenant)]
        newest = client.messages.list(tenant_id=tenant, page_size=MOST_IDS)
        return [each.batch_code if kind == "batches" else each.id for each in islice(newest, MOST_IDS)]


def _word(item: CompletionItem) -> Word:
    return Word(item.value, item.help or "")


def _files(begun: str) -> Iterator[Word]:
    """The files whose path begins so; directories end with a slash."""
    before, slash, name = begun.rpartition("/")
    directory = Path(before + slash).expanduser() if slash else Path()
    with suppress(OSError):
        found = sorted(os.scandir(directory), key=lambda entry: entry.name)
        shown = [each for each in found if each.name.startswith(name) and (name or each.name[0] != ".")]
        for each in shown[:MOST_FILES]:
            yield Word(before + slash + each.name + ("/" if each.is_dir() else ""))
