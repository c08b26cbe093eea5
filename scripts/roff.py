"""Manual pages as roff: escaped, and in lines as ``man`` and ``mandoc`` like them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

WIDTH = 79
"""Bytes of a line, at most, that mandoc passes without a word; what must not be broken may be longer."""

LINES_STAY = "\b\n"
"""What begins a paragraph that Click, too, leaves as it is."""

_VARIABLE = re.compile(r"<[a-z]+>|\[?\b[A-Z][A-Z0-9_.…]*\b\]?")


def escaped(text: str) -> str:
    """Keep roff from reading anything into the text."""
    plain = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("…", "...")
    plain = plain.replace("~", r"\(ti").replace("^", r"\(ha")
    plain = plain.encode("ascii", "replace").decode("ascii")
    return _harmless(plain)


def _harmless(text: str) -> str:
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def filled(text: str) -> Iterator[str]:
    """A paragraph, which is broken anew at the width of the reader's terminal."""
    plain = escaped(" ".join(text.split()))
    for sentence in re.split(r"(?<=[.:?!]) +(?=\\?[A-Z&(])", plain):
        lines = textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)
        yield from map(_harmless, lines)


def as_is(lines: Iterable[str]) -> Iterator[str]:
    """Lines that stay lines."""
    yield ".nf"
    yield from (escaped(line) for line in lines)
    yield ".fi"


def paragraphs(texts: Iterable[str]) -> Iterator[str]:
    """Paragraphs below a heading, which wants none before the first; Click's mark keeps the lines of one."""
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield from as_is(text.splitlines()[1:]) if text.startswith(LINES_STAY) else filled(text)


def section(title: str, texts: Iterable[str]) -> Iterator[str]:
    yield f'.SH "{title}"' if " " in title else f".SH {title}"
    yield from paragraphs(texts)


def terms(texts: Mapping[str, str]) -> Iterator[str]:
    """A list of terms, each with what it means."""
    for term, text in texts.items():
        yield from (".TP", rf"\fB{escaped(term)}\fR", *filled(text))


def synopsis(words: str) -> str:
    """What to type in bold, what it stands for in italics."""
    shown = escaped(words)

    def emphasised(match: re.Match[str]) -> str:
        return rf"\fI{match[0]}\fB"

    return rf"\fB{_VARIABLE.sub(emphasised, shown)}\fR"
