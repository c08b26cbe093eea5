"""One event is one line, whatever it says, and the log file survives rotation."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mail_proxy.logging import JsonFormatter, LogFile, TextFormatter, setup

FIELDS = {"tenant": "acme", "account": "main", "message_id": "MSG-1", "pk": "0f"}


@pytest.fixture(autouse=True)
def _untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[LogFile]:
    handler = LogFile(tmp_path / "server.log", max_bytes=200, backups=2)
    yield handler
    handler.close()


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("mail_proxy.test").makeRecord(
        "mail_proxy.test", logging.INFO, "test.py", 1, message, (), None, extra=extra
    )


def test_text_line_holds_time_level_logger_event_and_fields() -> None:
    line = TextFormatter().format(record("sent", **FIELDS))
    assert re.sub(r"^\S+Z ", "TIME ", line) == (
        "TIME INFO mail_proxy.test sent tenant=acme account=main message_id=MSG-1 pk=0f"
    )


def test_json_line_holds_the_same() -> None:
    entry = json.loads(JsonFormatter().format(record("sent", **FIELDS)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": "INFO", "logger": "mail_proxy.test", "event": "sent", **FIELDS}


def test_fields_that_do_not_apply_are_left_out() -> None:
    """A field given as None is not printed as the word None."""
    assert "tenant" not in TextFormatter().format(record("started", tenant=None))
    assert "tenant" not in json.loads(JsonFormatter().format(record("started", tenant=None)))


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
@pytest.mark.parametrize("evil", ["\n", "\r\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\u202e"])
def test_control_characters_cannot_forge_a_line(formatter: logging.Formatter, evil: str) -> None:
    """Neither the event nor a field can begin a new line or drive a terminal."""
    line = formatter.format(record(f"refused: {evil}x", message_id=f"a{evil}b"))
    assert evil not in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("message_id", "shown"),
    [
        ("MSG-1", "message_id=MSG-1"),
        ("a b", 'message_id="a b"'),
        ("a pk=1", 'message_id="a pk=1"'),
        ('say "x"', 'message_id="say \\"x\\""'),
        ("", 'message_id=""'),
        ("caffè", "message_id=caffè"),
    ],
)
def test_field_with_blanks_is_quoted(message_id: str, shown: str) -> None:
    """A value cannot pass for another field."""
    assert TextFormatter().format(record("sent", message_id=message_id)).endswith(f"sent {shown}")


@pytest.mark.parametrize("form", ["text", "json"])
def test_traceback_stays_in_the_line_of_its_event(form: str) -> None:
    stream = io.StringIO()
    setup("INFO", form, stream=stream)
    try:
        raise ValueError("no\nway")  # noqa: TRY301 - the traceback is what is tested
    except ValueError:
        logging.getLogger("mail_proxy.test").exception("a bug")
    (line,) = stream.getvalue().splitlines()
    assert "a bug" in line
    assert "ValueError: no\\nway" in line


def test_json_keeps_the_traceback_as_its_own_key() -> None:
    stream = io.StringIO()
    setup("INFO", "json", stream=stream)
    logging.getLogger("mail_proxy.test").error("a bug", exc_info=ValueError("no"))
    assert json.loads(stream.getvalue())["exception"] == "ValueError: no"


def test_lines_below_the_level_are_dropped() -> None:
    stream = io.StringIO()
    setup("WARNING", stream=stream)
    logging.getLogger("mail_proxy.test").info("quiet")
    logging.getLogger("mail_proxy.test").warning("loud")
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["loud"]


def test_setting_up_again_replaces_the_former_output() -> None:
    """A line is written once, in the newest form."""
    former, stream = io.StringIO(), io.StringIO()
    setup("INFO", "text", stream=former)
    setup("INFO", "json", stream=stream)
    logging.getLogger("mail_proxy.test").info("once")
    assert former.getvalue() == ""
    assert json.loads(stream.getvalue())["event"] == "once"


def test_same_handler_can_be_set_up_again(log_file: LogFile, tmp_path: Path) -> None:
    """SIGHUP changes level and form and keeps the file."""
    setup("INFO", "text", handler=log_file)
    setup("DEBUG", "json", handler=log_file)
    logging.getLogger("mail_proxy.test").debug("fine")
    assert json.loads((tmp_path / "server.log").read_text())["event"] == "fine"


@pytest.mark.parametrize("library", ["aiosqlite", "asyncpg", "aiosmtplib", "httpx2"])
def test_libraries_do_not_print_what_passes_through_them(library: str) -> None:
    """At DEBUG these log SQL parameters, protocol lines and URLs."""
    stream = io.StringIO()
    setup("DEBUG", stream=stream)
    logging.getLogger(library).debug("password=hunter2")
    logging.getLogger(library).info("password=hunter2")
    assert stream.getvalue() == ""


def test_what_repeats_itself_at_each_attempt_is_dropped() -> None:
    """The driver's pool warns with a traceback as long as PostgreSQL is away; we say it once."""
    stream = io.StringIO()
    setup("INFO", stream=stream)
    logging.getLogger("asyncpg.pool").warning("Failed to restore the pool", exc_info=OSError("refused"))
    assert stream.getvalue() == ""


def test_log_file_is_private(log_file: LogFile, tmp_path: Path) -> None:
    log_file.emit(record("started"))
    assert stat.S_IMODE((tmp_path / "server.log").stat().st_mode) == 0o600


def test_log_file_rotates_by_size_and_keeps_some(log_file: LogFile, tmp_path: Path) -> None:
    """Of the old files the newest two stay."""
    log_file.setFormatter(TextFormatter())
    for number in range(8):
        log_file.emit(record(f"event {number} {'x' * 100}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.log", "server.log.1", "server.log.2"]
    assert "event 7" in (tmp_path / "server.log").read_text()
    assert all(path.stat().st_size <= 200 for path in tmp_path.iterdir())


def test_log_file_appends_to_what_an_earlier_server_wrote(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("earlier\n")
    handler = LogFile(tmp_path / "server.log")
    handler.emit(record("later"))
    handler.close()
    assert (tmp_path / "server.log").read_text() == "earlier\nlater\n"


def test_reopen_follows_a_moved_file(log_file: LogFile, tmp_path: Path) -> None:
    """After logrotate and SIGHUP new lines go to the new file."""
    log_file.emit(record("before"))
    (tmp_path / "server.log").rename(tmp_path / "moved")
    log_file.reopen()
    log_file.emit(record("after"))
    assert (tmp_path / "moved").read_text() == "before\n"
    assert (tmp_path / "server.log").read_text() == "after\n"


def test_reopen_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """A log that cannot be opened anew goes on where it was."""
    directory = tmp_path / "a"
    directory.mkdir()
    handler = LogFile(directory / "server.log")
    directory.rename(tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        handler.reopen()
    handler.emit(record("still here"))
    handler.close()
    assert (tmp_path / "b" / "server.log").read_text() == "still here\n"


def test_owned_descriptors_follow_the_rotation(tmp_path: Path) -> None:
    """What the interpreter prints by itself lands in the current file."""
    descriptor = os.open(tmp_path / "elsewhere", os.O_WRONLY | os.O_CREAT)
    handler = LogFile(tmp_path / "server.log", owned=[descriptor])
    try:
        handler.doRollover()
        os.write(descriptor, b"Fatal Python error\n")
    finally:
        handler.close()
        os.close(descriptor)
    assert (tmp_path / "server.log").read_text() == "Fatal Python error\n"
    assert (tmp_path / "elsewhere").read_text() == ""


def test_text_that_is_not_unicode_is_logged_all_the_same(log_file: LogFile, tmp_path: Path) -> None:
    log_file.emit(record("file name \udcff"))
    assert (tmp_path / "server.log").read_text() == "file name \\udcff\n"
