"""The Python client without a server: what it imports, keeps to itself, refuses, and knows."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from mail_proxy.api import responses
from mail_proxy.api.app import ENDPOINTS
from mail_proxy.client import AsyncMailProxyClient, MailProxyClient, answers
from mail_proxy.client.calls import Call, Lines, Pages, Resource
from mail_proxy.client.errors import ApiError, MailProxyClientError, TimedOut, Unreachable
from mail_proxy.client.requests import Request, fetch, nothing
from mail_proxy.client.sending import Sender, Target
from tests.support.cli import REPOSITORY

SECRET = "t0p-secret"
ALLOWED = {"mail_proxy", "mail_proxy.errors", "mail_proxy.signing", "mail_proxy.client"}
FOREIGN = (
    "starlette",
    "pydantic",
    "uvicorn",
    "asyncpg",
    "aiosqlite",
    "sqlite3",
    "aiosmtplib",
    "cryptography",
)


def test_nothing_of_the_server_comes_with_it() -> None:
    program = "import sys, mail_proxy.client; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    own = {name for name in printed if name.split(".")[0] == "mail_proxy"}
    assert {name for name in own if not name.startswith("mail_proxy.client.")} == ALLOWED
    assert [name for name in FOREIGN if name in printed] == []


@pytest.mark.parametrize("kind", [MailProxyClient, AsyncMailProxyClient])
def test_a_token_is_never_shown(kind: type[MailProxyClient | AsyncMailProxyClient]) -> None:
    client = kind("http://127.0.0.1:8000", token=SECRET)
    assert repr(client) == f"{kind.__name__}('http://127.0.0.1:8000')"
    assert repr(client.messages) == "Messages('http://127.0.0.1:8000')"
    shown = f"{client.sender!r} {client.sender.target!r} {vars(client)} {vars(client.sender)}"
    assert SECRET not in shown


def test_what_is_sent_is_never_shown() -> None:
    assert SECRET not in repr(Request("POST", "/account", nothing, body={"password": SECRET}))


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:8000", "//127.0.0.1", "ftp://127.0.0.1", "http://", "http://:8000",
        f"http://ann:{SECRET}@example.org", "http://example.org/?a=b", "http://example.org/#a",
    ],
)  # fmt: skip
def test_a_url_that_can_never_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="URL must be") as caught:
        MailProxyClient(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "token", [f"{SECRET}\n", f"{SECRET}\r\nX-Other: 1", f"{SECRET}\0", f"{SECRET}\udcff"]
)
def test_a_token_that_can_never_work_is_refused_at_once(token: str) -> None:
    with pytest.raises(ValueError, match="the token holds") as caught:
        MailProxyClient("http://127.0.0.1", token=token)
    assert SECRET not in str(caught.value)


def test_what_json_cannot_hold_is_refused_before_it_is_sent() -> None:
    with MailProxyClient("http://127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="set cannot be sent as JSON"):
            client.messages.enqueue({"id": "m1", "to": {"ann@example.test"}})
        with pytest.raises(ValueError, match="JSON"):
            client.messages.enqueue({"id": "m1", "metadata": {"n": float("nan")}})


def error(retry_after: float | None) -> ApiError:
    return ApiError(503, "later", retry_after=retry_after)


@pytest.mark.parametrize(
    ("fault", "attempt", "shortest", "longest"),
    [
        (Unreachable("reset"), 1, 0.125, 0.25),
        (Unreachable("reset"), 2, 0.25, 0.5),
        (Unreachable("reset"), 5, 2.0, 4.0),
        (error(5), 1, 5, 5),
        (error(0), 2, 0.25, 0.5),
        (error(30), 1, 30, 30),
    ],
)
def test_the_pause_before_a_repeat(
    fault: MailProxyClientError, attempt: int, shortest: float, longest: float
) -> None:
    """It doubles, is never the same for many clients, and is no shorter than the server asks for."""
    pauses = {target(retries=5).pause_after(fault, fetch("/", nothing), attempt) for _ in range(20)}
    assert {pause for pause in pauses if pause is None or not shortest <= pause <= longest} == set()
    assert len(pauses) > 1 or shortest == longest


@pytest.mark.parametrize("fault", [Unreachable("reset"), error(1), error(31), error(None), TimedOut("late")])
def test_what_may_not_be_repeated_never_waits(fault: MailProxyClientError) -> None:
    change = Request("POST", "/tenant", nothing)
    assert target(retries=5).pause_after(fault, change, 1) is None
    assert target(retries=0).pause_after(fault, fetch("/", nothing), 1) is None


def test_whatever_was_not_sent_may_be_repeated() -> None:
    refused = Unreachable("refused", was_sent=False)
    assert target(retries=1).pause_after(refused, Request("POST", "/tenant", nothing), 1) is not None


def target(retries: int) -> Target:
    return Target(url="http://127.0.0.1", token=None, timeout=1, retries=retries, verify=True)


@pytest.mark.parametrize(
    ("value", "model"),
    [
        (answers.Account, responses.AccountAnswer),
        (answers.AccountTest, responses.Tested),
        (answers.Bounces, responses.BounceAnswer),
        (answers.Command, responses.Command),
        (answers.CommandPage, responses.CommandList),
        (answers.Event, responses.Event),
        (answers.Health, responses.Health),
        (answers.Instance, responses.InstanceAnswer),
        (answers.KeptMessage, responses.KeptMessage),
        (answers.Login, responses.Login),
        (answers.Message, responses.ListedMessage),
        (answers.Node, responses.Node),
        (answers.Recipient, responses.Recipient),
        (answers.Rejection, responses.Rejection),
        (answers.Removal, responses.Removed),
        (answers.Report, responses.Report),
        (answers.Status, responses.ServerStatus),
        (answers.Storage, responses.Storage),
        (answers.Submission, responses.Submitted),
        (answers.Suspension, responses.SuspensionAnswer),
        (answers.SyncOverview, responses.SyncList),
        (answers.SyncStatus, responses.SyncStatus),
        (answers.Tenant, responses.TenantAnswer),
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_client_knows_every_field_that_the_server_answers(value: type, model: type[BaseModel]) -> None:
    """And no other."""
    said = set(model.model_fields) - ({"ok"} if issubclass(model, responses.Answer) else set())
    assert {each.name for each in dataclasses.fields(value)} == said


WITHOUT_METHOD = {
    "GET /ready", "GET /metrics", "GET /openapi.json", "GET /docs",  # for what looks after the server
    "GET /files/{token}",  # for whoever has the link
    "GET /messages/{id}/receipts",  # none are collected yet
    "POST /instance/reload-bounce",  # another name
}  # fmt: skip


def test_every_endpoint_has_a_method() -> None:
    with MailProxyClient("http://127.0.0.1") as client:
        resources = [client, *(each for each in vars(client).values() if isinstance(each, Resource))]
        asked = [request for each in resources for request in requests_of(each)]
    named = {
        endpoint.name
        for endpoint in ENDPOINTS
        for request in asked
        if request.method == endpoint.method
        and re.fullmatch(re.sub(r"{\w+}", "X", endpoint.path), request.path)
    }
    assert {endpoint.name for endpoint in ENDPOINTS} - named == WITHOUT_METHOD


def requests_of(resource: Resource[Sender]) -> Iterator[Request[Any]]:
    """What the methods ask for when every argument that must be given is an X."""
    for kind in type(resource).__mro__:
        for found in vars(kind).values():
            if isinstance(found, Call | Pages | Lines):
                parameters = list(inspect.signature(found.build).parameters.values())[1:]
                needed = [
                    each.name
                    for each in parameters
                    if each.default is each.empty and each.kind is not each.VAR_KEYWORD
                ]
                yield found.build(resource, **dict.fromkeys(needed, "X"))
