"""The prompt: prompt-toolkit put together, each part of it over what is pure elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import Lexer, PygmentsLexer
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style
from pygments.lexers.python import PythonLexer

from mail_proxy_repl.lines import Kind, kind_of, needs_more
from mail_proxy_repl.session import Session
from mail_proxy_repl.shell import Pulse
from mail_proxy_repl.suggest import suggest
from mail_proxy_repl.words import RAW_WORD

LOOK_EVERY = 2.0
"""Seconds between looks at the server."""

SHARE = 20
"""For each second that a look took, so many pass before the next."""

LOOK_TIMEOUT = 5.0
PATIENCE = 0.5
"""Seconds for which a look that is cut off may keep a line from being worked on."""

UNKNOWN = Pulse("…", None)
SILENT = Pulse("no answer", None)

INDENT = "    "

HUES = {
    "command": "bold #008700",
    "option": "#008787",
    "pygments.keyword": "bold #af5faf",
    "pygments.operator.word": "bold #af5faf",
    "pygments.name.builtin": "#008787",
    "pygments.name.exception": "#d75f5f",
    "pygments.literal.string": "#008700",
    "pygments.literal.string.interpol": "bold #008700",
    "pygments.literal.number": "#5f87af",
    "pygments.comment": "italic #808080",
}
"""Of a middle lightness: as easy to read on a light terminal as on a dark one."""

STYLE = Style.from_dict({"prompt": "bold", "auto-suggestion": "#808080", **HUES})


class Prompt:
    """Asks for a text: one line, or several where Python goes on."""

    def __init__(self, session: Session, history: History, *, color: bool) -> None:
        self._session = session
        self._pulse = UNKNOWN
        self._toolkit: PromptSession[str] = PromptSession(
            message=lambda: [("class:prompt", f"{session.place}> ")],
            multiline=True,
            prompt_continuation=_continuation,
            history=history,
            auto_suggest=AutoSuggestFromHistory(),
            completer=_SessionCompleter(session),
            complete_in_thread=True,
            complete_while_typing=False,
            lexer=_SessionLexer(session),
            key_bindings=_bindings(session),
            bottom_toolbar=self._toolbar,
            style=STYLE,
            include_default_pygments_style=False,
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            reserve_space_for_menu=6,
            enable_suspend=True,
        )

    def ask(self) -> str:
        """Return what was typed; raises EOFError at its end, KeyboardInterrupt for a line that is dropped."""
        return self._session.shell.runner.run(self._ask())

    async def _ask(self) -> str:
        looking = asyncio.create_task(self._look())
        try:
            return await self._toolkit.prompt_async()
        finally:
            looking.cancel()
            done, _ = await asyncio.wait([looking], timeout=PATIENCE)
            for look in done:
                if not look.cancelled():
                    look.exception()  # looked at, or it would be printed over what is typed next

    async def _look(self) -> None:
        """Look how the server fares, again and again, while a person types."""
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(LOOK_TIMEOUT):
                    self._pulse = await self._session.shell.pulse()
            except TimeoutError:
                self._pulse = SILENT
            self._toolkit.app.invalidate()
            await asyncio.sleep(max(LOOK_EVERY, SHARE * (time.monotonic() - began)))

    def _toolbar(self) -> str:
        waiting = "" if self._pulse.waiting is None else f" | {self._pulse.waiting} waiting"
        return f" {self._session.place} | {self._pulse.state}{waiting}"


class PlainPrompt:
    """The same for a terminal that can only print."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(self) -> str:
        text = input(f"{self._session.place}> ")
        while needs_more(text, self._session.vocabulary):
            text += f"\n{input('... ')}"
        return text


def _continuation(width: int, _line: int, _is_soft: int) -> StyleAndTextTuples:
    return [("class:prompt", "... ".rjust(width))]


def _bindings(session: Session) -> KeyBindings:
    bindings = KeyBindings()
    is_line = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=is_line)
    def take(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if needs_more(buffer.text, session.vocabulary):
            buffer.insert_text("\n" + _indent(buffer.document))
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter", filter=is_line)
    def go_on(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n" + _indent(event.current_buffer.document))

    @Condition
    def is_in_indent() -> bool:
        before = session_document().text_before_cursor
        return "\n" in before and not session_document().current_line_before_cursor.strip()

    def session_document() -> Document:
        from prompt_toolkit.application import get_app

        return get_app().current_buffer.document

    @bindings.add("tab", filter=is_line & is_in_indent)
    def indent(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(INDENT)

    return bindings


def _indent(document: Document) -> str:
    """The spaces that the next line begins with."""
    line = document.current_line_before_cursor
    spaces = line[: len(line) - len(line.lstrip())]
    return spaces + INDENT if line.rstrip().endswith(":") else spaces


class _SessionCompleter(Completer):
    """Works in a thread of its own: looking for ids may take a moment."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - its signature
    ) -> Iterable[Completion]:
        begun = document.text_before_cursor
        for each in suggest(begun, self._session.names()):
            yield Completion(each.text, each.start - len(begun), display_meta=each.meaning)


class _SessionLexer(Lexer):
    """Colours commands by their words, anything else as Python."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._python = PygmentsLexer(PythonLexer)

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        kind = kind_of(document.text, self._session.vocabulary)
        if kind is Kind.COMMAND:
            lines = document.lines
            return lambda number: list(_coloured(lines[number])) if number < len(lines) else []
        return self._python.lex_document(document)


def _coloured(line: str) -> Iterable[tuple[str, str]]:
    end, style = 0, "class:command"
    for word in RAW_WORD.finditer(line):
        yield "", line[end : word.start()]
        yield ("class:option" if word[0].startswith("-") else style), word[0]
        end, style = word.end(), ""
    yield "", line[end:]
