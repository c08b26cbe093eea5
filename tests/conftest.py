"""Databases for the tests, and the rule that in CI nothing is left out."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mail_proxy.store.store import open_database
from tests.support import dovecot as dovecots
from tests.support.dovecot import Dovecot, find_dovecot
from tests.support.postgres import MISSING, PostgresServer, find_postgres

DATABASE_FILE = "mail_service.db"

# A slow machine is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Serve PostgreSQL for this session; without one, what needs it is skipped."""
    server = find_postgres()
    if server is None:
        pytest.skip(MISSING)
    with server:
        yield server


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """Serve IMAP for this session; without Dovecot, what needs it is skipped."""
    program = find_dovecot()
    if program is None:
        pytest.skip(dovecots.MISSING)
    with Dovecot(program) as server:
        yield server


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a SQLite file that has the schema and nothing else."""
    path = tmp_path_factory.mktemp("template") / DATABASE_FILE
    async with open_database(path, str(path)) as database:
        await database.migrate()
    return path


@pytest.fixture(scope="session")
async def postgres_template(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """Make a PostgreSQL database that has the schema and nothing else; its DSN."""
    dsn = await postgres_server.create_database()
    async with open_database(dsn, dsn) as database:
        await database.migrate()
    yield dsn
    await postgres_server.drop_database(dsn)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The path of a fresh SQLite database with the schema."""
    path = tmp_path / DATABASE_FILE
    shutil.copyfile(sqlite_template, path)
    return str(path)


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> AsyncIterator[str]:
    """The DSN of a fresh PostgreSQL database with the schema."""
    dsn = await postgres_server.create_database(postgres_template)
    yield dsn
    await postgres_server.drop_database(dsn)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test on both engines, each time with a fresh database: a path, or a DSN."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database_target(database_url: str) -> str | Path:
    """The same as `open_database` takes it: a Path is SQLite."""
    return database_url if "://" in database_url else Path(database_url)


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("true", "1")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _is_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.longrepr = f"skipped, which is a failure in CI: {_reason(report)}"
        report.outcome = "failed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out and why, so that nobody takes a part for the whole."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"LEFT OUT: {count} test(s): {reason}", yellow=True)
