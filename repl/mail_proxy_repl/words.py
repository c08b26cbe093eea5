"""The words of a command, read as a shell reads them."""

from __future__ import annotations

import os
import re
import shlex
from glob import glob
from itertools import takewhile

from mail_proxy.errors import InvalidInput

RAW_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|\\\Z|"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'[^']*(?:'|\Z))+""")
PIECE = re.compile(r"""\\(?P<escaped>.?)|"(?P<double>(?:[^"\\]|\\.)*)"?|'(?P<single>[^']*)'?""")
IS_PATTERN = re.compile(r"""[^"'\\]*[*?[][^"'\\]*""")


def words_of(line: str) -> list[str]:
    """Part a command: without a comment at its end, and with the files that are meant; raise InvalidInput."""
    try:
        shlex.split(line)
    except ValueError as error:
        raise InvalidInput(f"{str(error).lower()}: quote what has spaces or quotes in it") from None
    raw = takewhile(lambda word: not word.startswith("#"), RAW_WORD.findall(line))
    return [word for each in raw for word in _expanded(each)]


def _expanded(raw: str) -> list[str]:
    word = unquoted(raw)
    if raw.startswith("~"):
        word = os.path.expanduser(word)  # noqa: PTH111 - Path takes more away than the tilde
    files = sorted(glob(word)) if IS_PATTERN.fullmatch(raw) else []  # noqa: PTH207 - Path finds hidden ones, too
    return files or [word]


def split(line: str) -> tuple[list[str], str, int]:
    """Part a command into its whole words and the one that is being written, which begins at that place.

    Quotes and backslashes are the shell's; a quote that is still open belongs to the last word.
    """
    found = list(RAW_WORD.finditer(line))
    if not found or found[-1].end() < len(line):
        return [unquoted(each[0]) for each in found], "", len(line)
    *whole, last = found
    return [unquoted(each[0]) for each in whole], unquoted(last[0]), last.start()


def unquoted(word: str) -> str:
    return PIECE.sub(_meant, word)


def _meant(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return re.sub(r'\\(["\\])', r"\1", piece["double"])
    return piece["single"] if piece["single"] is not None else piece["escaped"]
