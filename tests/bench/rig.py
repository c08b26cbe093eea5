"""What every measure stands on: a temporary home, a durable database, a server, a sink, an account."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from mail_proxy.encryption import generate_key
from tests.support.postgres import MISSING, PostgresServer, find_postgres
from tests.support.server import Client, Json, Server
from tests.support.sink import Knobs, Tally
from tests.support.sink_process import SinkProcess

TENANT, ACCOUNT = "bench", "sink"
SENDER, RECIPIENT = "sender@bench.test", "recipient@bench.test"
WAIT = 300.0


class Rig:
    """``with Rig("sqlite") as rig: rig.start() ...``; everything goes at the end.

    `database` is ``sqlite`` or ``postgres``: a durable server of its own, unless `postgres` is one that
    runs already. `record` asks the sink to write down each message.
    """

    def __init__(
        self,
        database: str,
        *,
        settings: Mapping[str, str] | None = None,
        knobs: Knobs | None = None,
        record: bool = False,
        postgres: PostgresServer | None = None,
    ) -> None:
        self.database = database
        self.directory = Path(tempfile.mkdtemp(prefix="mail-proxy-bench-"))
        self.key = generate_key()
        self.record = self.directory / "record"
        self.sink = SinkProcess(knobs, record=self.record if record else None)
        self.database_url: str | None = None
        self.servers: list[Server] = []
        self._postgres = postgres
        self._own_postgres: PostgresServer | None = None
        self._settings = dict(settings or {})

    def __enter__(self) -> Self:
        try:
            self.sink.start()
            if self.database == "postgres":
                self.database_url = asyncio.run(self._running_postgres().create_database())
        except BaseException:
            self.close()
            raise
        return self

    def _running_postgres(self) -> PostgresServer:
        if self._postgres is None:
            self._postgres = self._own_postgres = find_postgres(durable=True)
            if self._postgres is None:
                raise RuntimeError(MISSING)
            self._postgres.start()
        return self._postgres

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove every file."""
        for server in self.servers:
            server.kill()
        self.sink.stop()
        if self._own_postgres is not None:
            self._own_postgres.stop()
        elif self._postgres is not None and self.database_url is not None:
            asyncio.run(self._postgres.drop_database(self.database_url))
            self.database_url = None
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def server(self) -> Server:
        return self.servers[0]

    @property
    def sqlite_file(self) -> Path:
        """The database of the first server, when that is SQLite."""
        return self.server.directory / "mail_service.db"

    def add_server(self, name: str = "bench") -> Server:
        """A further node, not started."""
        server = Server(
            self.directory / "home",
            name,
            database_url=self.database_url,
            key=self.key,
            settings={"GMP_LOG_LEVEL": "WARNING", **self._settings},
        )
        self.servers.append(server)
        return server

    def start(self, **account: object) -> Server:
        """Start the first server, with a tenant and an account that sends to the sink."""
        server = self.add_server().start()
        client = server.client()
        client.post("/tenant", {"id": TENANT, "name": "Bench"})
        client.post(
            "/account",
            {
                "id": ACCOUNT,
                "tenant_id": TENANT,
                "host": "127.0.0.1",
                "port": self.sink.port,
                "tls": "none",
                **account,
            },
        )
        return server

    def wait_until_sent(self, client: Client, *, poll: float = 0.02) -> float:
        """Wait until nothing is waiting any more; the moment that was seen, in Unix seconds."""
        return wait_for(lambda: client.get("/status")["pending_messages"] == 0, poll=poll)

    def wait_for_sink(self, condition: Callable[[Tally], bool], *, poll: float = 0.02) -> Tally:
        """Wait for what the sink has seen."""
        wait_for(lambda: condition(self.sink.tally()), poll=poll)
        return self.sink.tally()


def wait_for(condition: Callable[[], bool], *, poll: float, patience: float = WAIT) -> float:
    """Ask again and again; TimeoutError after `patience` seconds. Returns Unix seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {patience:g} s")
        time.sleep(poll)
    return time.time()


def fields(identity: str, size: int = 1024) -> Json:
    """A message for the API whose body makes it about `size` bytes on the wire."""
    line = "x" * 70 + "\r\n"
    return {
        "id": identity,
        "tenant_id": TENANT,
        "account_id": ACCOUNT,
        "from": SENDER,
        "to": [RECIPIENT],
        "subject": "bench",
        "body": line * max(1, (size - 400) // len(line)),
        "message_id": f"<{identity}@bench.test>",
        "headers": {"X-Test-ID": identity},
    }


def queue(client: Client, identities: list[str], size: int = 1024, *, batch: int = 500) -> None:
    """Hand the messages in, a batch at a time."""
    for start in range(0, len(identities), batch):
        part = identities[start : start + batch]
        answer = client.post("/commands/add-messages", {"messages": [fields(i, size) for i in part]})
        if answer["queued"] != len(part):
            raise RuntimeError(f"not all were queued: {answer}")
