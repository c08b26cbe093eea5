"""A real server process for tests and benches, through the real command line, and a small client for it."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mail_proxy.encryption import generate_key
from mail_proxy.instance import Instance
from tests.support.children import tethered
from tests.support.machine_clock import SHIM, MachineClock

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT = 30.0
STOP_TIMEOUT = 30.0
REQUEST_TIMEOUT = 30.0
POLL = 0.01

Json = dict[str, Any]  # what a server answers: the tests look into it, and find out


class Client:
    """JSON over one connection that is kept; not for several threads at a time."""

    def __init__(self, host: str, port: int, token: str | None) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT)
        self._headers = {"Content-Type": "application/json"} | ({"X-API-Token": token} if token else {})

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Json]:
        """Send one request; returns status and answer. Raises OSError or HTTPException if it fails."""
        content = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, content, self._headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        return response.status, json.loads(text) if text else {}

    def call(self, method: str, path: str, body: object = None) -> Json:
        """The answer of a request that must succeed."""
        status, answer = self.request(method, path, body)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    def get(self, path: str) -> Json:
        return self.call("GET", path)

    def post(self, path: str, body: object = None) -> Json:
        return self.call("POST", path, body)

    def close(self) -> None:
        self._connection.close()


class Server:
    """One instance `name` below `home`, served by its own process until `stop` or `kill`.

    `database_url` is a PostgreSQL DSN; without it the instance has its own SQLite file. Nodes that share a
    database share `key`. `settings` are environment variables, which may be changed between two lives.
    `clock` is its machine's, if that is to be wrong.
    """

    def __init__(
        self,
        home: Path,
        name: str = "test",
        *,
        database_url: str | None = None,
        key: str | None = None,
        settings: Mapping[str, str] | None = None,
        clock: MachineClock | None = None,
    ) -> None:
        self.name = name
        self.directory = home / name
        self.database_url = database_url
        self.port = 0
        self.settings = dict(settings or {})
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GMP_", "MAIL_PROXY_"))},
            "PYTHONPATH": os.pathsep.join(
                [*(str(REPOSITORY / part) for part in ("", "cli", "repl")), *([str(SHIM)] if clock else ())]
            ),
            "MAIL_PROXY_HOME": str(home),
            "MAIL_PROXY_ENCRYPTION_KEY": key or generate_key(),
            "GMP_HOST": "127.0.0.1",
            "GMP_PORT": "0",
            **({"GMP_DATABASE_URL": database_url} if database_url else {}),
            **(clock.settings if clock else {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []
        home.mkdir(parents=True, exist_ok=True)
        self._log = home / f"{name}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.directory / "token").read_text().strip()

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() first"
        return self._process.pid

    @property
    def node_id(self) -> str:
        """Under which it owns leases, in all its lives."""
        return Instance(self.name, self.directory).node_id()

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it a stopped one."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the process has written, of all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> Self:
        """Start and wait until it answers; raises RuntimeError with the log's end if it does not."""
        atexit.register(self.kill)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                tethered([sys.executable, "-m", "mail_proxy_cli", "serve", self.name]),
                env=self._environment | self.settings,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"server '{self.name}' does not start: {self.log[-3000:]}")
            time.sleep(POLL)
        return self

    def stop(self) -> int:
        """End it with SIGTERM, let it drain, and return its exit code; may be called again."""
        code = self.end(signal.SIGTERM)
        self._close_clients()
        return code

    def kill(self) -> None:
        """End it with SIGKILL, at once; may be called again."""
        self.end(signal.SIGKILL)
        self._close_clients()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end of the process; SIGKILL after `STOP_TIMEOUT` seconds."""
        atexit.unregister(self.kill)
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait(STOP_TIMEOUT)
        self._process = None
        return code

    def client(self, token: str | None = None) -> Client:
        """A connection of its own, with the admin token or the one given."""
        client = Client("127.0.0.1", self.port, token or self.token)
        self._clients.append(client)
        return client

    def run(self, *words: str, timeout: float = REQUEST_TIMEOUT) -> subprocess.CompletedProcess[str]:
        """Run a command of the instance: ``server.run("tenants", "list", "--json")``."""
        return subprocess.run(
            [sys.executable, "-m", "mail_proxy_cli", self.name, *words],
            env=self._environment | self.settings,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def resident_mb(self) -> float:
        """Memory of the process in MiB."""
        import psutil

        resident: int = psutil.Process(self.pid).memory_info().rss
        return resident / 2**20

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_healthy(self) -> bool:
        """Believe a pid file of this very process, then ask."""
        with contextlib.suppress(OSError, ValueError, KeyError, http.client.HTTPException):
            said = json.loads((self.directory / "pid").read_text())
            if said["pid"] != self.pid:
                return False
            self.port = said["port"]
            with contextlib.closing(Client("127.0.0.1", self.port, None)) as client:
                return client.request("GET", "/health")[0] == 200
        return False

    def _close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
