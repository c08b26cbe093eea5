"""The page for authors of receiving applications: its examples do what they say, and it names every field."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mail_proxy.callbacks.answer import PostResult, parse_answer
from mail_proxy.client import Recipient, ReportEntry, webhooks
from mail_proxy.model.messages import EventType
from mail_proxy.signing import signed_headers
from tests.support.cli import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reports.md").read_text("utf-8")
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
TIME_LIMIT = 60


Posted = dict[str, Any]
"""Headers, and a body in base64, as the programs read them."""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


REPORT, ANSWER, HEARTBEAT = blocks("json")
CLIENT, WITHOUT = blocks("python")
(NODE,) = blocks("js")

# What asks the functions on the page: posts are read from standard input, what they say is printed.
ASK_PYTHON = """
import base64, json, os, sys
for each in json.load(sys.stdin):
    print({call}, flush=True)
"""
ASK_NODE = """
for (const each of JSON.parse(require("node:fs").readFileSync(0))) {
  console.log(isSigned(process.env.WEBHOOK_SECRET, each.headers, Buffer.from(each.body, "base64")));
}
"""

PYTHON = (sys.executable, "-W", "error", "-c")
IS_SIGNED = 'is_signed(os.environ["WEBHOOK_SECRET"], each["headers"], base64.b64decode(each["body"]))'
ON_POST = '*on_post(each["headers"], base64.b64decode(each["body"]))'

VERIFIERS = [pytest.param(PYTHON, WITHOUT + ASK_PYTHON.format(call=IS_SIGNED), id="python")]
if shutil.which("node"):
    VERIFIERS.append(pytest.param(("node", "-e"), NODE + ASK_NODE, id="node"))


def post(
    body: str, *, signed: str | None = None, secret: str = SECRET, ago: float = 0, **changed: str
) -> Posted:
    """A post of `body`; the signature may be of another text, and of another time."""
    content = (body if signed is None else signed).encode()
    headers = signed_headers(secret, "batch_1", time.time() - ago, content)
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    return {"headers": headers, "body": base64.b64encode(body.encode()).decode()}


def asked(program: Sequence[str], posts: Sequence[Posted], directory: Path) -> list[str]:
    """What the program prints of each of the posts."""
    run = subprocess.run(
        program,
        input=json.dumps(posts),
        cwd=directory,
        env={"PYTHONPATH": str(REPOSITORY), "WEBHOOK_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize(("command", "program"), VERIFIERS)
def test_the_verifiers_tell_signed_posts_from_others(
    command: tuple[str, ...], program: str, tmp_path: Path
) -> None:
    """And say no, not more, of garbage."""
    twice = "v1,AAAA {}".format(post(REPORT)["headers"]["webhook-signature"])
    good = [post(REPORT), post(HEARTBEAT), post("città"), post(REPORT, webhook_signature=twice)]
    bad: list[Posted] = [
        post(REPORT.replace("sent", "Sent"), signed=REPORT),
        post(REPORT, secret="another"),
        post(REPORT, ago=310),
        post(REPORT, ago=-310),
        post(REPORT, webhook_id="batch_2"),
        post(REPORT, webhook_timestamp="soon"),
        post(REPORT, webhook_signature="è"),
        {"headers": {}, "body": ""},
    ]
    verdicts = asked((*command, program), good + bad, tmp_path)
    assert [each.lower() for each in verdicts] == ["true"] * len(good) + ["false"] * len(bad)


def test_the_receiver_keeps_each_event_once(tmp_path: Path) -> None:
    """What is told twice, and by somebody else; then what is in its table."""
    program = f"""{CLIENT}{ASK_PYTHON.format(call=ON_POST)}
print(database.execute("SELECT * FROM reports").fetchall())
"""
    posts = [post(REPORT), post(REPORT), post(HEARTBEAT), post(REPORT, secret="another"), post("{}")]
    *answers, kept = asked((*PYTHON, program), posts, tmp_path)
    assert answers[:3] == ["200 {'ok': True}"] * 3
    assert [each[:13] for each in answers[3:]] == ["401 {'ok': Fa"] * 2
    assert kept == "[(8123, 'order-1', 'sent'), (8124, 'order-2', 'deferred')]"


def test_the_post_that_is_shown_is_one() -> None:
    sent, deferred = webhooks.receive(None, {}, REPORT.encode())
    assert (sent.event, sent.sent_ts, deferred.deferred_reason) == (
        "sent", 1735689600, "451 4.7.1 try again later",
    )  # fmt: skip
    assert webhooks.receive(None, {}, HEARTBEAT.encode()) == ()


def test_the_answer_that_is_shown_is_understood() -> None:
    assert parse_answer(200, ANSWER.encode()) == PostResult(
        error_ids=frozenset({"order-2"}),
        not_found_ids=frozenset({"order-3"}),
        queued=120,
        next_sync_after=1735693200,
    )


def test_every_field_and_every_event_is_named() -> None:
    fields = {each.name for kind in (ReportEntry, Recipient) for each in dataclasses.fields(kind)}
    events = {kind.value for kind in EventType if kind.is_reported}
    assert [name for name in sorted(fields | events) if f"`{name}`" not in PAGE] == []
