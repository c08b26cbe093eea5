"""The loop of a session: ask, work, and ask again; or a script from beginning to end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mail_proxy.errors import InvalidInput
from mail_proxy_repl.session import FAILED, OK, Session

WELCOME = "'help' shows what can be typed; Ctrl+D leaves."

BYTE_ORDER_MARK = "\ufeff"


def talk(session: Session, history: Path, *, color: bool, dumb: bool) -> int:
    """Talk to the person at the terminal until they leave; return the exit code."""
    from mail_proxy_repl.history import open_history
    from mail_proxy_repl.prompt import PlainPrompt, Prompt

    prompt = PlainPrompt(session) if dumb else Prompt(session, open_history(history), color=color)
    session.shell.say(WELCOME)
    while True:
        try:
            text = prompt.ask()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return OK
        try:
            session.work(text)
        except SystemExit as leaving:
            return code_of(leaving)


def read(session: Session) -> int:
    """Work on the lines of standard input until the first error; return the exit code."""
    try:
        return session.run_script(_lines())
    except SystemExit as leaving:
        return code_of(leaving)
    except UnicodeDecodeError:
        session.shell.report(InvalidInput("the script is not a text in UTF-8"))
        return FAILED


def _lines() -> Iterator[str]:
    """Each when it is asked for: a command between may read standard input, too."""
    line = sys.stdin.readline().removeprefix(BYTE_ORDER_MARK)
    while line:
        yield line
        line = sys.stdin.readline()


def code_of(leaving: SystemExit) -> int:
    """The exit code that a SystemExit stands for."""
    if leaving.code is None or isinstance(leaving.code, int):
        return leaving.code or OK
    sys.stderr.write(f"{leaving.code}\n")
    return FAILED
