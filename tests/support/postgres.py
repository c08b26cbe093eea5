"""A private PostgreSQL for a test session, and a database for each test.

Order: the server that ``MAIL_PROXY_TEST_PG_DSN`` names (an administrator's DSN; databases are made and
dropped there), else the newest one under ``/usr/lib/postgresql``, else none.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

DSN_VARIABLE = "MAIL_PROXY_TEST_PG_DSN"
INSTALLED = Path("/usr/lib/postgresql")
IN_MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 * 1024**3
"""Bytes: there a database for each test is made in a thirtieth of the time that a disk takes."""
SUPERUSER = "postgres"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
CONNECT_TIMEOUT = 10.0
START_ATTEMPTS = 3

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
}
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "2GB"}

MISSING = (
    f"PostgreSQL is missing: install the server (Debian: apt-get install postgresql) or set {DSN_VARIABLE}"
)


class PostgresServer:
    """One server: started here (`bin_directory`), or running already (`dsn`).

    `durable` leaves fsync and the like as they are by default: for measuring, not for tests.
    """

    def __init__(
        self, *, dsn: str | None = None, bin_directory: Path | None = None, durable: bool = False
    ) -> None:
        self._given = dsn
        self._dsn = dsn
        self._bin = bin_directory
        self._settings: Mapping[str, str] = DURABLE if durable else FAST
        self._root: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The administrator's DSN of a started server."""
        assert self._dsn is not None, "start() first"
        return self._dsn

    @property
    def is_given(self) -> bool:
        """Whether it is somebody else's, and not to be stopped."""
        return self._given is not None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, if it was started here."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Make a cluster and serve it on a free loopback port; raises RuntimeError with the log's end."""
        if self._given is None and self._process is None:
            atexit.register(self.stop)
            self._root = _traversable_directory(in_memory=self._settings is FAST)
            self._make_cluster()
            self.serve()
        return self

    def serve(self) -> None:
        """Start the server of the cluster that is there (again, after `halt`: on the same port)."""
        port = urlsplit(self._dsn).port if self._dsn else None
        for attempt in range(START_ATTEMPTS):
            port = port if port and attempt == 0 else _free_port()
            self._process = self._spawn(port)
            if self._is_ready():
                self._dsn = f"postgresql://{SUPERUSER}@127.0.0.1:{port}/postgres"
                return
        raise RuntimeError(f"PostgreSQL does not start: {self._log()[-2000:]}")

    def halt(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server but keep its data: SIGINT ends sessions ("fast"), SIGQUIT is a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)
        self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT, *, away: float = 0.0) -> None:
        """End it as `halt` does, and serve it again on the same port after `away` seconds."""
        self.halt(how)
        time.sleep(away)
        self.serve()

    def silence(self) -> list[int]:
        """Let the server and all that it has started say nothing any more; return them, for `wake`."""
        assert self.pid is not None, "the server is not ours"
        found = [self.pid, *_children(self.pid)]
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        return found

    def wake(self, silenced: Sequence[int]) -> None:
        for pid in silenced:
            with contextlib.suppress(ProcessLookupError):  # it found its client gone
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server that was started here and remove its data."""
        self.halt(signal.SIGQUIT)
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def create_database(self, template: str | None = None) -> str:
        """Make a database, a copy of the one with DSN `template` if given, and return its DSN."""
        name = f"mail_proxy_test_{uuid.uuid4().hex[:16]}"
        source = f' TEMPLATE "{_database_name(template)}"' if template else ""
        await self._administer(f'CREATE DATABASE "{name}"{source}')
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))

    async def drop_database(self, dsn: str) -> None:
        """Drop a database, ending whatever is still connected to it."""
        await self._administer(f'DROP DATABASE IF EXISTS "{_database_name(dsn)}" WITH (FORCE)')

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn, timeout=CONNECT_TIMEOUT)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _make_cluster(self) -> None:
        assert self._root is not None
        command = ["-U", SUPERUSER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        with self._refused():
            subprocess.run(
                [*self._as_owner("initdb"), "-D", str(self._root / "data"), *command],
                check=True,
                capture_output=True,
                cwd=self._root,
                timeout=START_TIMEOUT,
            )

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"initdb failed: {error.stderr.decode(errors='replace')[-2000:]}") from error

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        assert self._root is not None
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "100",
            **self._settings,
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self._root / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._as_owner("postgres"), "-D", str(self._root / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._root,
                start_new_session=True,
            )

    def _as_owner(self, program: str) -> list[str]:
        """PostgreSQL refuses to run as root; and it must not outlive us, whatever ends us."""
        assert self._bin is not None
        command = [str(self._bin / program)]
        if not (setpriv := shutil.which("setpriv")):
            return ["runuser", "-u", SUPERUSER, "--", *command] if os.geteuid() == 0 else command
        change = ["--reuid", SUPERUSER, "--regid", SUPERUSER, "--init-groups"] if os.geteuid() == 0 else []
        return [setpriv, "--pdeathsig", "QUIT", *change, *command]

    def _is_ready(self) -> bool:
        """Wait for the word ``ready`` on the eighth line of postmaster.pid, as pg_ctl does."""
        assert self._root is not None
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                lines = (self._root / "data" / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                    return True
            time.sleep(0.02)
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)
        return False

    def _log(self) -> str:
        assert self._root is not None
        with contextlib.suppress(OSError):
            return (self._root / "log").read_text(errors="replace")
        return ""


def find_postgres(*, durable: bool = False) -> PostgresServer | None:
    """Return a server to be started, or None when this machine has none."""
    if dsn := os.environ.get(DSN_VARIABLE):
        return PostgresServer(dsn=dsn)
    found = [path.parent for path in INSTALLED.glob("*/bin/postgres") if (path.parent / "initdb").exists()]
    if not found or not _can_run_as_owner():
        return None
    newest = max(found, key=lambda path: float(path.parent.name))
    return PostgresServer(bin_directory=newest, durable=durable)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _can_run_as_owner() -> bool:
    if os.geteuid() != 0:
        return True
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(SUPERUSER))
    return False


def _traversable_directory(*, in_memory: bool) -> Path:
    """Make a directory the server's owner can reach; pytest's own and root's home are not."""
    parent = Path(tempfile.gettempdir())
    if in_memory and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= MEMORY_NEEDED:
        parent = IN_MEMORY
    if not all(path.stat().st_mode & 0o001 for path in (parent, *parent.parents)):
        parent = Path("/tmp")
    root = Path(tempfile.mkdtemp(prefix="mail-proxy-postgres-", dir=parent))
    if os.geteuid() == 0:
        owner = pwd.getpwnam(SUPERUSER)
        os.chown(root, owner.pw_uid, owner.pw_gid)
    return root


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _database_name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")
