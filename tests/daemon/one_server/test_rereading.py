"""What a running server takes up at SIGHUP: its token, and each setting that needs no restart."""

from __future__ import annotations

import signal

from tests.support.server import Client, Server
from tests.support.waiting import until


def status(client: Client) -> int:
    return client.request("GET", "/tenants")[0]


def test_a_new_admin_token_counts_in_the_running_server(server: Server) -> None:
    """The old one is dead, and the command says that no restart is needed."""
    before = server.client()
    assert status(before) == 200
    done = server.run("token", "--regenerate", "--force")
    assert (done.returncode, done.stderr) == (0, "the running server takes it from now on\n")
    after = server.client(done.stdout.strip())
    until(lambda: status(after) == 200, "the new token")
    assert status(before) == 401


def test_a_token_that_cannot_be_read_leaves_the_old_one(server: Server) -> None:
    client = server.client()
    (server.directory / "token").write_text("")
    server.send_signal(signal.SIGHUP)
    until(lambda: "the admin token stays as it was" in server.log, "word of the token")
    assert status(client) == 200


def test_the_services_take_their_settings_anew(server: Server) -> None:
    """How many messages a request may hold, for one."""
    client = server.client()
    two = {"messages": [{"id": "a"}, {"id": "b"}]}
    assert client.request("POST", "/commands/add-messages", two)[0] == 400
    (server.directory / "config.toml").write_text("max_enqueue_batch = 1\n")
    server.send_signal(signal.SIGHUP)
    until(lambda: client.request("POST", "/commands/add-messages", two)[0] == 413, "the new limit")


def test_the_retention_is_taken_anew(server: Server) -> None:
    """By cleaning up on demand, too."""
    client = server.client()
    client.post("/account", {"id": "main", "host": "sandbox"})
    mail = {"id": "a", "from": "shop@example.org", "to": ["ann@example.net"], "subject": "s", "body": "b"}
    client.post("/commands/add-messages", {"messages": [mail]})
    until(lambda: client.get("/messages/a")["status"] == "sent", "the message to leave")
    assert client.post("/commands/cleanup-messages")["removed"] == 0
    (server.directory / "config.toml").write_text("delivery_report_retention_seconds = 0.01\n")
    server.send_signal(signal.SIGHUP)
    until(lambda: client.post("/commands/cleanup-messages")["removed"] == 1, "the new retention")
