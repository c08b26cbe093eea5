"""``help``, and a question mark after a name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence

from mail_proxy_repl.suggest import meaning_of, public_names, resolve

KEYS = (
    ("Tab", "completes commands, options, ids, names of Python, files"),
    ("Up, Ctrl+R", "what was typed before: the line before, or the one that holds …"),
    ("Right", "takes what is suggested in grey"),
    ("Alt+Enter", "begins another line"),
    ("Ctrl+C", "drops the line, or cancels what is running"),
    ("Ctrl+Z", "lets the session wait in the background of the shell"),
    ("Ctrl+D, exit()", "leave"),
)

Section = tuple[str, Sequence[tuple[str, str]]]


def overview(commands: Sequence[Section], namespace: Mapping[str, object]) -> str:
    """All that can be typed."""
    own = (("use TENANT | -", "Take a tenant into use, or none."), ("help NAME, NAME?", "Explain it."))
    python = [(name, meaning_of(value)) for name, value in namespace.items() if not name.startswith("_")]
    sections = [*commands, ("This session", own), ("Python, as any other line", python), ("Keys", KEYS)]
    return "\n\n".join(f"{heading}:\n{_aligned(rows)}" for heading, rows in sections)


def explain_name(chain: str, namespace: Mapping[str, object]) -> str:
    """What a name of Python is; raise LookupError."""
    return explain(resolve(chain, namespace), chain)


def explain(thing: object, chain: str = "") -> str:
    """What a thing is that is called so."""
    if inspect.ismethod(thing):
        thing = thing.__func__
    chain = chain or getattr(thing, "__qualname__", type(thing).__name__)
    if inspect.isfunction(thing) or inspect.isbuiltin(thing):
        return f"{chain}{_signature(thing)}\n{_indented(inspect.getdoc(thing))}"
    own = type(thing).__module__.startswith("mail_proxy")
    told = inspect.getdoc(type(thing)) if own else f"{chain} is of the type {type(thing).__name__}."
    rows = [(f".{name}{_brackets(value)}", meaning_of(value)) for name, value in public_names(thing).items()]
    return f"{chain}\n{_indented(told)}" + (f"\n\n{_aligned(rows)}" if own and rows else "")


def _brackets(value: object) -> str:
    return "()" if inspect.isfunction(value) else ""


def _signature(function: object) -> str:
    """What it is called with, in the words of its source; without what Python adds by itself."""
    if not inspect.isfunction(function):
        return "(…)"
    signature = inspect.signature(function)
    given = [
        each.replace(annotation=inspect.Parameter.empty)
        for name, each in signature.parameters.items()
        if name != "self"
    ]
    return str(signature.replace(parameters=given, return_annotation=inspect.Signature.empty))


def _aligned(rows: Iterable[tuple[str, str]]) -> str:
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"  {name:<{width}}  {meaning}".rstrip() for name, meaning in listed)


def _indented(text: str | None) -> str:
    return "\n".join(f"  {line}".rstrip() for line in (text or "").splitlines())
