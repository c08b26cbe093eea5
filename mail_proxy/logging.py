"""Logs: one event, one line, as text or JSON, with what it is about as fields.

Modules log through the standard library; the fields of `FIELDS` are given as ``extra``::

    logger.info("sent", extra={"tenant": "acme", "account": "main", "message_id": "MSG-1", "pk": pk})
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

FIELDS = ("tenant", "account", "message_id", "pk")

# Their lower levels hold SQL parameters, URLs and protocol lines: message bodies and secrets.
_KEPT_QUIET = ("aiosmtplib", "aiosqlite", "asyncpg", "httpcore", "httpcore2", "httpx", "httpx2", "imapclient")

# While PostgreSQL is away it warns at each attempt, with a traceback; mail_proxy.daemon.outage says it once.
_REPEATING = "asyncpg.pool"

_MAX_BYTES = 10 * 1024 * 1024
_BACKUPS = 5


def _escapes() -> dict[int, str]:
    """Map what could break a line, or drive a terminal, to its escaped form."""
    controls = [
        *range(0x20),
        *range(0x7F, 0xA0),
        0x2028,
        0x2029,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ]
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return {
        code: named.get(chr(code), f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
        for code in controls
    }


_ESCAPES = _escapes()


def one_line(text: str) -> str:
    """Return `text` with line breaks and control characters escaped."""
    return text.translate(_ESCAPES)


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.250Z INFO mail_proxy.smtp sent tenant=acme message_id=MSG-1``."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_time(record), record.levelname, record.name, record.getMessage()]
        parts += [f"{name}={_quoted(value)}" for name, value in _fields(record)]
        if (trace := _trace(self, record)) is not None:
            parts.append(trace)
        return one_line(" ".join(parts))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, event, the fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **dict(_fields(record)),
        }
        if (trace := _trace(self, record)) is not None:
            entry["exception"] = trace
        return json.dumps(entry)


def _time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    for name in FIELDS:
        if (value := getattr(record, name, None)) is not None:
            yield name, str(value)


def _quoted(value: str) -> str:
    plain = value and not any(character in value for character in ' "=')
    return value if plain else json.dumps(value, ensure_ascii=False)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts) or None


_OURS = (TextFormatter, JsonFormatter)


class LogFile(logging.handlers.RotatingFileHandler):
    """The instance's server.log (mode 0600): rotated by size, reopened on demand.

    `owned` are file descriptors that follow the file through rotation: a daemon gives its standard output
    and error, so that what an interpreter in trouble prints lands in the current log and not in an old one.
    Raises OSError if the file cannot be opened.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = _MAX_BYTES, backups: int = _BACKUPS, owned: Sequence[int] = ()
    ) -> None:
        self._owned = tuple(owned)
        super().__init__(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", errors="backslashreplace"
        )

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for owned in self._owned:
            os.dup2(descriptor, owned)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)  # noqa: PTH123 - a descriptor

    def reopen(self) -> None:
        """Go on in a new file, for SIGHUP after another program has moved the old one away."""
        with self.lock or contextlib.nullcontext():
            former, self.stream = self.stream, self._open()
            if former is not None:
                former.close()


def setup(
    level: str = "INFO",
    form: str = "text",
    *,
    stream: TextIO | None = None,
    handler: logging.Handler | None = None,
) -> logging.Handler:
    """Send every log line to `handler`, else to `stream` (standard error), and no longer where it went.

    `level` and `form` are the settings log_level and log_format. Returns the handler in use.
    """
    handler = handler or logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for other in [other for other in root.handlers if isinstance(getattr(other, "formatter", None), _OURS)]:
        if other is not handler:
            root.removeHandler(other)
            other.close()
    if handler not in root.handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name in _KEPT_QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_REPEATING).setLevel(logging.ERROR)
    return handler
