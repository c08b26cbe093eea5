"""Whose address the running server takes for a client's, and how it counts that client's guesses."""

from __future__ import annotations

import http.client
import json
import signal
from contextlib import closing

from tests.support.server import Server
from tests.support.waiting import PATIENCE, until

SOMEBODY = "203.0.113.9"


def status(server: Server, token: str) -> int:
    """Of a change that is asked for through a proxy on this machine."""
    headers = {"X-API-Token": token, "X-Forwarded-For": SOMEBODY}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/commands/run-now", headers=headers)
        return connection.getresponse().status


def client_of_last_command(server: Server) -> str:
    assert status(server, server.token) == 200
    newest: str = server.client().get("/command-log?limit=1")["commands"][0]["client"]
    return newest


def test_only_a_proxy_that_is_trusted_names_the_client(server: Server) -> None:
    """Not whoever connects from this machine, as uvicorn would have it."""
    assert client_of_last_command(server) == "127.0.0.1"
    (server.directory / "config.toml").write_text(f"trusted_proxies = {json.dumps(['127.0.0.0/8'])}\n")
    server.send_signal(signal.SIGHUP)
    until(lambda: client_of_last_command(server) == SOMEBODY, "the proxy to be trusted")


def test_the_limit_of_guesses_is_read_anew(server: Server) -> None:
    assert [status(server, "guessed") for _ in range(11)] == [401] * 10 + [429]
    (server.directory / "config.toml").write_text("auth_failure_limit = 0\n")
    server.send_signal(signal.SIGHUP)
    until(lambda: status(server, "guessed") == 401, "the new limit")
    assert [status(server, "guessed") for _ in range(20)] == [401] * 20
