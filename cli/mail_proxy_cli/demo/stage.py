"""The demo: an instance of its own in a temporary home, and everything that happens on it."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import click

from mail_proxy.errors import InstanceError
from mail_proxy_cli.demo.application import Application, running
from mail_proxy_cli.output import when

PATIENCE = 20.0
"""Seconds for each thing that has to happen."""

STEP = 0.05
INSTANCE, TENANT, ACCOUNT = "trial", "shop", "outbox"
LETTER, ORDER, REFUSED = "letter", "order-1", "order-2"
INVOICE = b"Invoice 1: one umbrella, 12.50\n"
FINAL = {"sent", "error", "bounced"}

SAMPLE = """\
From: The Shop <shop@demo.test>
To: Zo\u00eb <zoe@example.test>
Subject: Welcome
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Dear Zo\u00eb,

this letter was a file. It arrives as it was written.
"""

Answer = dict[str, object]


def play(*, keep: bool) -> None:
    """Go through the whole demo, and leave the server running if asked to."""
    home = Path(tempfile.mkdtemp(prefix="mail-proxy-demo-"))
    stage = Stage(home)
    with running() as application:
        try:
            stage.set_up(application)
            stage.send_letter()
            stage.submit_orders()
            stage.show_reports(application)
            stage.show_mails()
        except BaseException:
            stage.stop(quietly=True)
            raise
    if keep:
        stage.say_what_next()
    else:
        stage.stop()
        click.echo(f"\nAll of it happened. The mails lie in {stage.mails}")


class Stage:
    """The demo's instance in a home of its own; every step raises `InstanceError` if it did not happen."""

    def __init__(self, home: Path) -> None:
        self._home = home
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GMP_", "MAIL_PROXY_"))}
        self._environ = kept | {"MAIL_PROXY_HOME": str(home)}
        self._url = ""
        self._key = ""

    @property
    def mails(self) -> Path:
        return self._home / INSTANCE / "sandbox" / "new"

    def set_up(self, application: Application) -> None:
        _title("A server, a tenant, and an account that keeps its mail in a directory")
        self._command("start", INSTANCE)
        self._url = str(self._json("status", INSTANCE, "--json")["url"])
        self._key = self._command(
            INSTANCE, "tenants", "add", TENANT, "--name", "The Shop", "--base-url", application.url
        ).splitlines()[-1]
        self._command(
            INSTANCE, TENANT, "accounts", "add", ACCOUNT, "--host", "sandbox",
            "--from-address", "shop@demo.test",
        )  # fmt: skip

    def send_letter(self) -> None:
        _title("A letter from a file")
        path = self._home / "welcome.eml"
        path.write_text(SAMPLE, encoding="utf-8")
        self._command(INSTANCE, TENANT, "send", str(path), "--id", LETTER, "--wait")

    def submit_orders(self) -> None:
        _title("Two messages over REST: one with an attachment, one to an address that refuses it")
        attachment = {
            "filename": "invoice.txt",
            "storage_path": "base64:" + base64.b64encode(INVOICE).decode(),
            "fetch_mode": "base64",
        }
        order = {"id": ORDER, "to": "zoe@example.test", "subject": "Your invoice \u2714", "body": "Enclosed."}
        refused = {"id": REFUSED, "to": "reject@sandbox", "subject": "Your invoice", "body": "Returned?"}
        messages = [order | {"attachments": [attachment]}, refused]
        click.echo(f"POST {self._url}/commands/add-messages")
        answer = self._request("POST", "/commands/add-messages", {"messages": messages})
        click.echo(json.dumps(answer))
        _check(answer.get("queued") == len(messages), "the messages were not queued")
        for message_id, ending in ((ORDER, "sent"), (REFUSED, "error")):
            self._follow(message_id, ending)

    def show_reports(self, application: Application) -> None:
        _title(f"What the application at {application.url} was told")
        for message_id, event in ((LETTER, "sent"), (ORDER, "sent"), (REFUSED, "error")):
            report = application.wait_for(message_id, event, PATIENCE)
            if report is None:
                raise InstanceError(f"no report of '{event}' for message '{message_id}' arrived")
            told = {name: report[name] for name in ("id", "event", "sent_ts", "error") if report.get(name)}
            click.echo(json.dumps(told))

    def show_mails(self) -> None:
        _title("The mails, as a server would have got them")
        found = [
            message_from_bytes(path.read_bytes(), policy=policy.default) for path in self.mails.iterdir()
        ]
        for mail in found:
            files = [part.get_filename() for part in mail.iter_attachments()]
            enclosed = f", with {', '.join(str(name) for name in files)}" if files else ""
            click.echo(f"{mail['From']} to {mail['To']}: {mail['Subject']}{enclosed}")
        contents = [part.get_content() for mail in found for part in mail.iter_attachments()]
        _check(len(found) == 2, f"{len(found)} mails were captured, not 2")
        _check(any("was a file" in _text(mail) for mail in found), "the letter was not captured")
        _check(INVOICE.decode() in contents, "the invoice was not captured as it was sent")

    def say_what_next(self) -> None:
        click.echo(f"\nAll of it happened, and the server still runs at {self._url}. Try:\n")
        click.echo(f"  export MAIL_PROXY_HOME={shlex.quote(str(self._home))}")
        for words in (
            f"{INSTANCE} {TENANT} messages list",
            f"{INSTANCE} {TENANT} messages events {REFUSED}",
            f"use {INSTANCE}/{TENANT}",
            f"stop {INSTANCE}",
        ):
            click.echo(f"  mail-proxy {words}")

    def stop(self, *, quietly: bool = False) -> None:
        """End the server, if there is one."""
        if not quietly:
            _title("The end")
            self._command("stop", INSTANCE)
        else:
            self._run(["stop", INSTANCE, "--force"])

    def _follow(self, message_id: str, ending: str) -> None:
        """Print the message's events as they happen, until it has come to the ending it should."""
        seen = 0
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            events = self._request("GET", f"/messages/{message_id}/events")["events"]
            for event in events[seen:] if isinstance(events, list) else ():
                seen += 1
                told = f"{message_id}  {event['event_type']}: {event['description']}"
                click.echo(f"  {when(event['event_ts'])}  {told}")
                if event["event_type"] in FINAL:
                    _check(
                        event["event_type"] == ending, f"message '{message_id}' should have ended as {ending}"
                    )
                    return
            time.sleep(STEP)
        raise InstanceError(f"message '{message_id}' had not ended after {PATIENCE:g} s")

    def _command(self, *words: str) -> str:
        """Run a command of this program as it would be typed, showing it and what it prints."""
        click.echo(click.style(f"$ mail-proxy {shlex.join(words)}", bold=True))
        done = self._run(words)
        click.echo(done.stdout, nl=False)
        _check(done.returncode == 0, f"'mail-proxy {words[0]} …' ended with exit code {done.returncode}")
        return done.stdout.strip()

    def _json(self, *words: str) -> Answer:
        answer: Answer = json.loads(self._run(words).stdout)
        return answer

    def _run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mail_proxy_cli", *words],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=3 * PATIENCE,
        )

    def _request(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        request = Request(  # noqa: S310 - the address is this machine's own
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Token": self._key, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - see above
                content: Answer = json.load(answer)
        except (URLError, ValueError) as error:
            raise InstanceError(f"{method} {path} failed: {error}") from error
        return content


def _title(text: str) -> None:
    click.echo(f"\n{click.style(text, fg='cyan', bold=True)}")


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise InstanceError(f"the demo failed: {complaint}")


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return "" if body is None else str(body.get_content())
