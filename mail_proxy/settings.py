"""What one setting is: its declaration, the values it allows, and how they are read and shown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

METADATA = "setting"

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_MASK = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of one setting; `kind` is the annotation of its field, `env` its variables."""

    key: str = ""
    kind: str = ""
    default: object
    doc: str
    unit: str | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    env: tuple[str, ...]
    secret: bool
    reloadable: bool
    form: str | None
    check: Callable[[str], bool] | None

    @property
    def allowed(self) -> str:
        """Say in words which values are allowed."""
        if self.kind == "bool":
            return "true or false"
        if self.is_text:
            return self.form or ", ".join(self.choices) or "text in one line, not empty"
        noun = "whole number" if self.kind == "int" else "number"
        noun = f"one or more {noun}s, separated by commas," if self.is_list else f"a {noun}"
        unit = f" of {self.unit}" if self.unit else ""
        low = f" from {self.minimum:g}" if self.minimum is not None else ""
        high = f" to {self.maximum:g}" if self.maximum is not None else ""
        return noun + unit + low + high + (f", or {', '.join(self.choices)}" if self.choices else "")

    @property
    def is_list(self) -> bool:
        return self.kind.startswith("tuple")

    @property
    def is_text(self) -> bool:
        return "str" in self.kind or "Path" in self.kind

    def holds_secret(self, value: object) -> bool:
        """Tell whether `value` may be neither shown nor written to config.toml."""
        return self.secret or (isinstance(value, str) and masked_url(value) != value)

    def shown(self, value: object) -> str:
        """Render `value` as a variable would hold it, secrets masked; None is empty."""
        if value is None:
            return ""
        if self.secret:
            return _MASK
        if isinstance(value, (tuple, list)):
            return ",".join(self.shown(item) for item in value)
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.15g}" if isinstance(value, float) else masked_url(str(value))

    def read(self, value: object) -> object:
        """Convert text, or check what is typed already; ValueError says that it is not allowed."""
        if not self.is_list:
            return self._read_one(value)
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or (len(items) == 0 and not self.is_text):
            raise ValueError
        return tuple(self._read_one(item.strip() if isinstance(item, str) else item) for item in items)

    def _read_one(self, value: object) -> object:
        if self.kind == "bool":
            return _read_bool(value)
        return self._read_text(value) if self.is_text else self._read_number(value)

    def _read_text(self, value: object) -> str | Path:
        text = str(value) if isinstance(value, Path) else value
        if not isinstance(text, str) or not text or not text.isprintable():
            raise ValueError
        if self.choices:
            return self.choices[[choice.lower() for choice in self.choices].index(text.strip().lower())]
        if self.check is not None and not self.check(text):
            raise ValueError
        return Path(text) if "Path" in self.kind else text

    def _read_number(self, value: object) -> int | float:
        if isinstance(value, str):
            word = value.strip().lower()
            value = self.choices.index(word) if word in self.choices else _number(word)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError
        if not self._low <= value <= self._high or (self.kind == "int" and value != int(value)):
            raise ValueError
        return int(value) if self.kind == "int" else float(value)

    @property
    def _low(self) -> float:
        return -math.inf if self.minimum is None else self.minimum

    @property
    def _high(self) -> float:
        return math.inf if self.maximum is None else self.maximum


def setting(
    default: T,
    doc: str,
    *,
    unit: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    env: Sequence[str] = (),
    secret: bool = False,
    reloadable: bool = False,
    form: str | None = None,
    check: Callable[[str], bool] | None = None,
) -> T:
    """Declare a field of `Config`.

    `env` names further variables beside GMP_<KEY>. For a number, each of `choices` is a word for its place,
    counted from 0. `form` says what `check` lets pass.
    """
    declared = Setting(
        default=default,
        doc=doc,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        choices=tuple(choices),
        env=tuple(env),
        secret=secret,
        reloadable=reloadable,
        form=form,
        check=check,
    )
    return field(default=default, metadata={METADATA: declared})


def _read_bool(value: object) -> bool:
    word = str(value).strip().lower()
    if not isinstance(value, (bool, int, str)) or word not in _TRUE + _FALSE:
        raise ValueError
    return word in _TRUE


def _number(text: str) -> int | float:
    if not text.isascii() or "_" in text:  # Python reads more than people write
        raise ValueError
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)


# From the first ":" to the last "@": nothing unescaped in name or password may let a part of it through.
_USER_PASSWORD = re.compile(r"(://[^:]*):.*@", re.DOTALL)
_WHOLE_PARAMETER = re.compile(r"([?&])(?:ssl)?password=[^&]*&?", re.IGNORECASE)
_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&]+", re.IGNORECASE)


def masked_url(url: str) -> str:
    """Return a URL with its password, wherever it stands, replaced by asterisks."""
    return _PASSWORD_PARAMETER.sub(rf"\1{_MASK}", _USER_PASSWORD.sub(rf"\1:{_MASK}@", url))


def without_password(url: str) -> str:
    """Return a URL with its password, wherever it stands, left out."""
    return _WHOLE_PARAMETER.sub(r"\1", _USER_PASSWORD.sub(r"\1@", url)).rstrip("?&")
