"""Questions on a terminal, each asked again until its answer will do."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, PathCompleter, WordCompleter
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.utils import is_dumb_terminal

from mail_proxy.services.inputs import MASK, fault_in
from mail_proxy_cli.nodes import near
from mail_proxy_cli.output import echo_record
from mail_proxy_cli.terminal import given_back

if TYPE_CHECKING:
    from mail_proxy.services.inputs import Input

Check = Callable[[str], str | None]
"""Says what is wrong with an answer, None for nothing."""

Fields = dict[str, object]
"""What was asked for, by the services' names."""

NONE = "-"
"""Typed in place of an answer that is proposed: none at all."""

YES, NO, CHANGE = "yes", "no", "change"

ROOM_FOR_CHOICES = 6  # lines, below the question


class Dialogue:
    """Asks one thing at a time. What was answered is proposed when the same question comes again.

    Ctrl+C and Ctrl+D raise KeyboardInterrupt.
    """

    def __init__(self, *, color: bool) -> None:
        self._is_dumb = is_dumb_terminal()
        self._color = color and not self._is_dumb
        self._answers: dict[tuple[str, str], str] = {}

    def say(self, text: str) -> None:
        """Say something that is no question, in lines that fit."""
        click.echo(click.wrap_text(text, shutil.get_terminal_size().columns))

    def complain(self, text: str) -> None:
        """Say what is wrong."""
        fitting = click.wrap_text(text, shutil.get_terminal_size().columns)
        click.echo(click.style(fitting, fg="red") if self._color else fitting)

    def ask(
        self,
        question: str,
        default: str = "",
        *,
        check: Check,
        empty: str | None = None,
        suggestions: Sequence[str] = (),
    ) -> str:
        """Return the answer. With `empty`, which tells what that means, it may be an empty one."""
        completer = WordCompleter(list(suggestions)) if suggestions else None
        return self._asked(question, default, check, empty, completer)

    def ask_number(self, question: str, default: int, *, check: Check) -> int:
        """Ask for a number; `check` refuses what is none."""
        return int(self.ask(question, str(default), check=check))

    def ask_file(self, question: str, *, check: Check, empty: str | None = None) -> str:
        """Ask for the path of a file, which Tab completes."""
        return self._asked(question, "", check, empty, PathCompleter(expanduser=True))

    def ask_secret(self, question: str, about: str, *, check: Check, empty: str | None = None) -> str:
        """Ask unseen. The answer stays, unless another is given, while it is asked `about` the same."""
        known = self._answers.get((question, about), "")
        while True:
            shown = f"{question}{_notes('as before' if known else '', empty)}: "
            typed = self._read(shown, is_hidden=True).strip("\r\n")
            answer = "" if typed == NONE and empty is not None else typed or known
            fault = _fault(answer, _but_no_mask(check), empty)
            if fault is None:
                self._answers[question, about] = answer
                return answer
            self.complain(fault)

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """Let one of several words be chosen; what each means is shown where that is told."""
        chosen = self.decide(question, choices, self._answers.get((question, default), default))
        self._answers[question, default] = chosen
        return chosen

    def decide(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """Let a word be chosen, for this moment: it is not proposed another time."""
        if any(choices.values()):
            self._show(choices)
        else:
            question = f"{question} ({', '.join(choices)})"
        completer = WordCompleter(list(choices), meta_dict=choices, ignore_case=True)
        while True:
            typed = self._read(f"{question} [{default}]: ", completer=completer).strip().lower() or default
            meant = [typed] if typed in choices else [word for word in choices if word.startswith(typed)]
            if len(meant) == 1:
                return meant[0]
            self.complain(f"'{typed}' is none of them{_like(meant or near(typed, choices))}")

    def agree(self, question: str, *, default: bool) -> bool:
        """Ask for a yes or a no."""
        while True:
            typed = self._read(f"{question} [{'Y/n' if default else 'y/N'}]: ").strip().lower()
            if typed in ("", "y", "yes", "n", "no"):
                return typed.startswith("y") if typed else default
            self.complain("yes or no?")

    def settle(self, question: str, shown: Mapping[str, object]) -> bool:
        """Show what is to be written: True for yes, False to ask again before; raises Abort for no."""
        click.echo()
        echo_record(shown, color=self._color)
        click.echo()
        answer = self.decide(question, dict.fromkeys((YES, NO, CHANGE), ""), YES)
        if answer == NO:
            raise click.Abort
        return answer == YES

    def _asked(
        self, question: str, default: str, check: Check, empty: str | None, completer: Completer | None
    ) -> str:
        proposed = self._answers.get((question, default), default)
        shown, typed = f"{question}{_notes(proposed, empty)}: ", ""
        while True:
            typed = self._read(shown, typed, completer=completer).strip()
            answer = "" if typed == NONE and empty is not None else typed or proposed
            fault = _fault(answer, check, empty)
            if fault is None:
                self._answers[question, default] = answer
                return answer
            self.complain(fault)

    def _show(self, choices: Mapping[str, str]) -> None:
        width = max(map(len, choices))
        for word, meaning in choices.items():
            click.echo(f"  {word:<{width}}  {meaning}")

    def _read(
        self,
        question: str,
        typed: str = "",
        *,
        is_hidden: bool = False,
        completer: Completer | None = None,
    ) -> str:
        """Read one line; what is `typed` already stands there to be mended."""
        with given_back(dumb=self._is_dumb):
            return self._read_line(question, typed, is_hidden=is_hidden, completer=completer)

    def _read_line(self, question: str, typed: str, *, is_hidden: bool, completer: Completer | None) -> str:
        try:
            if self._is_dumb:  # there prompt-toolkit shows what should not be seen
                return getpass.getpass(question) if is_hidden else input(question)
            session: PromptSession[str] = PromptSession(
                [("bold", question)],
                is_password=is_hidden,
                completer=completer,
                complete_while_typing=False,
                reserve_space_for_menu=ROOM_FOR_CHOICES if completer else 0,
                color_depth=None if self._color else ColorDepth.DEPTH_1_BIT,
                enable_suspend=True,
            )
            return session.prompt(default=typed)
        except EOFError as error:
            raise KeyboardInterrupt from error


def of_field(model: type[Input], name: str, read: Callable[[str], object] = str) -> Check:
    """Check answers by the services' own rule for a field, whose value `read` makes of the text."""
    return lambda text: fault_in(model, name, read(text))


def whole_number(text: str) -> object:
    """Return the number that the text is; a text that is none stays one, for the rule to refuse."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(2**63)) else text


def new_id(check: Check, kind: str, taken: Collection[str]) -> Check:
    """Check an id that nothing else of this kind may have."""
    return lambda text: f"there is {kind} '{text}' already" if text in taken else check(text)


def _notes(proposed: str, empty: str | None) -> str:
    if proposed:
        return f" [{proposed}]" + (f" ({NONE} for {empty})" if empty is not None else "")
    return f" (empty: {empty})" if empty is not None else ""


def _fault(answer: str, check: Check, empty: str | None) -> str | None:
    if not answer:
        return "an answer is needed" if empty is None else None
    return check(answer)


def _but_no_mask(check: Check) -> Check:
    told = f"'{MASK}' stands for a stored secret, and there is none"
    return lambda text: told if text == MASK else check(text)


def _like(words: Sequence[str]) -> str:
    return f": did you mean {' or '.join(words)}?" if words else ""
