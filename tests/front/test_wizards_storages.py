"""``storages add`` as a dialogue, on a real terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.cli import Cli, QuickCli
from tests.support.terminal import Terminal

ADD = ("a", "acme", "storages", "add")


@pytest.fixture
def a(cli: Cli) -> Cli:
    """An instance 'a' with a tenant 'acme'."""
    cli.instance("a")
    QuickCli(cli.root, cli.environ).ok("a", "tenants", "add", "acme", "--name", "Acme")
    return cli


def storages(cli: Cli) -> list[dict[str, Any]]:
    listed = QuickCli(cli.root, cli.environ)("a", "acme", "storages", "list", "--json").json()
    return list(listed)


def test_a_bucket_after_a_directory(a: Cli) -> None:
    """Wrong answers are mended; another protocol has other questions; secrets stay unseen."""
    with Terminal(a, *ADD, columns=60) as terminal:
        terminal.reply("name: ", "my files")
        terminal.wait_for("must be 1 to 128 of")
        terminal.reply("name: ", "files")
        terminal.reply("protocol [local]: ", "")
        terminal.reply("directory: ", "files")
        terminal.wait_for("must be an absolute path")
        terminal.reply("directory: ", "/var/files")
        terminal.reply("[yes]: ", "change")
        terminal.reply("name [files]: ", "")
        terminal.type("s")
        terminal.press("tab")
        terminal.until(lambda: terminal.line_to_cursor.endswith("protocol [local]: s3"), "what Tab completes")
        terminal.press("enter")
        terminal.reply("bucket: ", "a/b")
        terminal.reply("bucket: ", "acme")
        terminal.reply("anything): ", "/mail")
        terminal.wait_for("must not begin with '/'")
        terminal.reply("anything): ", "mail")
        terminal.reply("region (empty: the machine's own): ", "eu-west-1")
        terminal.reply("URL of the server (empty: Amazon's own): ", "")
        terminal.reply("credentials): ", "AKIA")
        terminal.reply("secret access key: ", "hunter2")
        terminal.wait_for("secret_access_key  ***")
        terminal.reply("[yes]: ", "")
        assert terminal.end() == 0
        assert "hunter2" not in terminal.output
    [storage] = storages(a)
    assert (storage["name"], storage["protocol"]) == ("files", "s3")
    assert storage["config"] == {
        "bucket": "acme",
        "prefix": "mail",
        "region": "eu-west-1",
        "access_key_id": "AKIA",
        "secret_access_key": "***",
    }


def test_the_key_of_a_service_account_comes_from_a_file(a: Cli) -> None:
    """The path is completed with Tab, and what the file holds is looked at at once."""
    (a.root / "key.json").write_text(json.dumps({"client_email": "a@b.test", "private_key": "hunter2"}))
    (a.root / "half.json").write_text("{}")
    with Terminal(a, *ADD, "files", TERM="xterm") as terminal:
        terminal.reply("protocol [local]: ", "gcs")
        terminal.reply("bucket: ", "acme")
        terminal.reply("anything): ", "")
        terminal.reply("credentials): ", "nowhere.json")
        terminal.wait_for("nowhere.json: No such file")
        terminal.reply("credentials): ", "half.json")
        terminal.wait_for("it has no client_email and no private_key")
        terminal.until(lambda: terminal.line_to_cursor.endswith("half.json"), "what is to be mended")
        terminal.press("ctrl-u")
        terminal.type("ke")
        terminal.press("tab")
        terminal.until(lambda: terminal.line_to_cursor.endswith("key.json"), "what Tab completes")
        terminal.press("enter")
        terminal.reply("[yes]: ", "y")
        assert terminal.end() == 0
        assert "hunter2" not in terminal.output
    [storage] = storages(a)
    assert storage["config"] == {"bucket": "acme", "service_account_key": "***"}


def test_a_container_on_a_dumb_terminal(a: Cli) -> None:
    """It logs in by a key, a token, or the machine's own credentials."""
    with Terminal(a, *ADD, "files", TERM="dumb") as terminal:
        terminal.reply("protocol [local]: ", "azure")
        terminal.reply("storage account: ", "Acme")
        terminal.reply("storage account: ", "acme")
        terminal.reply("container: ", "mail")
        terminal.reply("anything): ", "")
        terminal.reply("Azure's own): ", "")
        terminal.reply("logs in by [key]: ", "token")
        terminal.reply("SAS token: ", "sig=hunter2")
        terminal.reply("[yes]: ", "y")
        assert terminal.end() == 0
        assert "hunter2" not in terminal.output
        assert "\x1b" not in terminal.output
    [storage] = storages(a)
    assert storage["config"] == {"account_name": "acme", "container": "mail", "sas_token": "***"}


@pytest.mark.parametrize("stop", ["name: ", "directory: ", "[yes]: "])
def test_leaving_leaves_no_trace(a: Cli, stop: str) -> None:
    """Ctrl+C at whatever question: no storage."""
    with Terminal(a, *ADD) as terminal:
        for question, answer in (
            ("name: ", "files"),
            ("protocol [local]: ", ""),
            ("directory: ", "/var/files"),
            ("[yes]: ", ""),
        ):
            if question == stop:
                terminal.until(lambda: stop in terminal.line_to_cursor, stop)
                break
            terminal.reply(question, answer)
        terminal.press("ctrl-c")
        assert terminal.end() == 130
    assert storages(a) == []
