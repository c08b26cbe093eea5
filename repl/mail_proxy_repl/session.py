"""A session: texts go in, what they come to is shown, and an error never ends it."""

from __future__ import annotations

import keyword
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NoReturn

from mail_proxy.errors import InvalidInput
from mail_proxy_repl import explaining
from mail_proxy_repl.evaluate import evaluate, line_of
from mail_proxy_repl.lines import Chunk, Kind, Vocabulary, chunks
from mail_proxy_repl.place import Place
from mail_proxy_repl.proxy import Proxy
from mail_proxy_repl.shell import Shell
from mail_proxy_repl.suggest import HELP, LEAVE, USE, Names
from mail_proxy_repl.words import words_of

OWN = {
    USE: "Take a tenant into use, or none.",
    HELP: "Explain what can be typed here, or one thing of it.",
    **dict.fromkeys(LEAVE, "Leave, with an exit code if one is given."),
}

OK = 0
FAILED = 1


class Session:
    """What was taken into use and given names so far, with the means to run what is typed.

    `wizards` are further names, to be called without arguments.
    """

    def __init__(
        self, shell: Shell, proxy: Proxy, place: Place, wizards: Mapping[str, Callable[[], object]]
    ) -> None:
        self.shell = shell
        self.place = place
        self.proxy = proxy
        self.namespace: dict[str, Any] = {"__name__": "__session__", "proxy": proxy, **wizards}
        self.namespace |= {"exit": leave, HELP: self._explain}
        self._given = dict(self.namespace)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(
            commands={*self.shell.known, *OWN}, of_tenants=self.shell.of_tenants, names=self._own_names()
        )

    def names(self) -> Names:
        """What may be completed."""
        tenant = self.place.tenant
        return Names(
            commands={**self.shell.commands, **OWN},
            vocabulary=self.vocabulary,
            namespace=dict(self.namespace),
            follow=lambda words, begun: self.shell.follow(words, begun, tenant),
            ids=lambda kind, begun: self.shell.ids(kind, begun, tenant),
        )

    def work(self, text: str) -> None:
        """Work on what a person typed; whatever is wrong with it is told. Raises SystemExit to leave."""
        for chunk in chunks(iter(text.splitlines()), lambda: self.vocabulary):
            try:
                if self._run(chunk) != OK:
                    return
            except SystemExit:
                raise
            except BaseException as error:  # noqa: BLE001 - it goes on
                self.shell.report(self._clearer(error, chunk))
                return

    def run_script(self, lines: Iterator[str]) -> int:
        """Work on a script up to its first error; return the exit code."""
        for chunk in chunks(lines, lambda: self.vocabulary):
            try:
                code = self._run(chunk)
            except SystemExit:
                raise
            except BaseException as error:  # noqa: BLE001 - the edge
                where = f"line {line_of(error, chunk.line)}: "
                code = self.shell.report(self._clearer(error, chunk), where)
                return code if isinstance(error, KeyboardInterrupt) else FAILED
            if code != OK:
                stopped = InvalidInput("this command failed, and the script stops here")
                self.shell.report(stopped, f"line {chunk.line}: ")
                return FAILED
        return OK

    def _run(self, chunk: Chunk) -> int:
        match chunk.kind:
            case Kind.COMMAND:
                return self._command(words_of(chunk.text))
            case Kind.HELP:
                return self._help(chunk.text.strip("? ").split())
        value = evaluate(chunk.text, self.namespace, self._wait, chunk.line)
        if value is not None:
            self.namespace["_"] = value
            self.shell.show(value)
        return OK

    def _command(self, words: list[str]) -> int:
        match words:
            case [word] if word in LEAVE:
                leave()
            case [word, code] if word in LEAVE and code.isdecimal():
                leave(int(code))
            case [word, *_] if word in LEAVE:
                raise InvalidInput(f"{word} takes no more than an exit code")
            case ["use", *rest]:
                return self._use(rest)
            case ["help", *rest]:
                return self._help(rest)
        return self.shell.run(words, self.place.tenant)

    def _use(self, words: list[str]) -> int:
        match words:
            case [] | ["-"]:
                self.place.tenant = None
            case [word] if not word.startswith("-"):
                instance, slash, tenant = word.rpartition("/")
                if slash and instance != self.place.instance:
                    raise InvalidInput(f"this session is on '{self.place.instance}': use TENANT")
                self.proxy.tenants.get(tenant)
                self.place.tenant = tenant
            case _:
                raise InvalidInput("use TENANT takes a tenant into use, 'use -' none")
        return OK

    def _help(self, words: list[str]) -> int:
        match words:
            case []:
                self.shell.say(explaining.overview(self.shell.headings(), self._given_names()))
            case [word] if word in OWN:
                self.shell.say(OWN[word])
            case [word, *_] if word in self.shell.known:
                return self.shell.run([*words, "--help"], self.place.tenant)
            case [chain]:
                try:
                    self.shell.say(explaining.explain_name(chain.removesuffix("()"), self.namespace))
                except LookupError:
                    raise InvalidInput(
                        f"there is no '{chain}' to explain: 'help' shows what there is"
                    ) from None
            case _:
                raise InvalidInput("help NAME explains a command, or what a name of Python is")
        return OK

    def _explain(self, thing: object = None) -> None:
        """Explain a thing; without one, all that can be typed."""
        if thing is None or isinstance(thing, str):
            self._help((thing or "").split())
        else:
            self.shell.say(explaining.explain(thing))

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self.shell.runner.run(wait())

    def _own_names(self) -> set[str]:
        """The names that were given values in this session."""
        return {name for name, value in self.namespace.items() if self._given.get(name) is not value}

    def _given_names(self) -> dict[str, object]:
        return {name: value for name, value in self._given.items() if name not in OWN}

    def _clearer(self, error: BaseException, chunk: Chunk) -> BaseException:
        """For what is neither Python nor a command: which command may have been meant."""
        word = chunk.text.split(maxsplit=1)[0]
        is_lost = isinstance(error, SyntaxError) or (isinstance(error, NameError) and error.name == word)
        may_be_command = chunk.kind is Kind.PYTHON and not keyword.iskeyword(word)
        if may_be_command and is_lost and (near := self.shell.near(word)):
            return InvalidInput(f"no command '{word}'; did you mean {' or '.join(map(repr, near))}?")
        return error


def leave(code: int = OK) -> NoReturn:
    """Leave the session."""
    raise SystemExit(code)
