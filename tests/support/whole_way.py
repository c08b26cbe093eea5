"""The whole way of a message: handed in over the API, dispatched, received by a server, reported."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_string, policy
from email.message import EmailMessage
from itertools import count
from urllib.parse import quote

import httpx2

from mail_proxy.api.app import create_app
from tests.support.api import Json
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting
from tests.support.smtp_server import Received, SmtpServer
from tests.support.written_mail import assert_fit_for_smtp, names_in

ACCOUNT = "wire"


@dataclass(slots=True)
class Line:
    """The API, the dispatcher, a mail server on a socket, the reporter, and the application it tells."""

    client: httpx2.AsyncClient
    reports: Reporting
    server: SmtpServer
    numbers: Iterator[int] = field(default_factory=count)

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Json]:
        content = None if body is None else json.dumps(body).encode()
        answer = await self.client.request(method, path, content=content)
        return answer.status_code, answer.json()

    def message(self, **fields: object) -> Json:
        """A message that nothing is wrong with, but perhaps `fields`."""
        return {
            "id": f"m{next(self.numbers)}",
            "account_id": ACCOUNT,
            "from": "shop@example.org",
            "to": ["ann@example.net"],
            "subject": "s",
            "body": "b",
            **fields,
        }

    async def submit(self, message: Json) -> tuple[int, Json]:
        return await self.call("POST", "/commands/add-messages", {"messages": [message]})

    async def send(self, message: Json) -> Arrived | set[str]:
        """Hand in one message, and dispatch it: what arrived, or the fields that were refused."""
        status, answer = await self.submit(message)
        if status == 422:  # for a lone surrogate, which is no text: so the whole request is no JSON
            return {str(fault["loc"][2]) for fault in answer["detail"]}
        if status == 400:
            [rejected] = answer["detail"]["rejected"]
            assert rejected["errors"]
            return {str(fault["loc"][0]) for fault in rejected["errors"]}
        assert (status, answer.get("queued")) == (200, 1), answer
        self.server.received.clear()
        await self.reports.rig.work()
        status, record = await self.call("GET", f"/messages/{quote(message['id'], safe='')}")
        assert (status, record["status"], record["error"]) == (200, "sent", None), record
        [mail] = self.server.received
        return Arrived(mail, record)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One mail as the server took it, and as the API shows it."""

    mail: Received
    record: Json

    @property
    def text(self) -> str:
        """The mail, UTF-8 at most in addresses of its header."""
        return self.mail.content.decode()

    @property
    def parsed(self) -> EmailMessage:
        assert_fit_for_smtp(self.mail.content)
        parsed = message_from_string(self.text, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def header(self, name: str) -> str:
        return str(self.parsed[name])

    def raw(self, name: str) -> str:
        """A value unread: the library knows fewer forms of a Message-ID than there are."""
        [value] = [str(value) for each, value in self.parsed.raw_items() if each == name]
        return value.replace("\r\n", "")

    def name(self, field: str) -> str:
        """The display name in an address field with one address."""
        [name] = names_in(self.mail.content, field)
        return name

    @property
    def parts(self) -> list[EmailMessage]:
        return [part for part in self.parsed.walk() if not part.is_multipart()]

    @property
    def file(self) -> EmailMessage:
        return self.parts[-1]

    def header_of_file(self, name: str) -> str:
        return str(self.file[name])


@asynccontextmanager
async def open_line(database_url: str, server: SmtpServer) -> AsyncIterator[Line]:
    """Put all of it over this database; nothing of it runs by itself."""
    async with reporting(database_url) as reports:
        await reports.rig.add_account(server, ACCOUNT)
        key = await reports.rig.runtime.services.tenants.new_api_key(TENANT)
        transport = httpx2.ASGITransport(create_app(reports.rig.runtime))
        headers = {"X-API-Token": key, "Content-Type": "application/json"}
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://mail-proxy.test", headers=headers
        ) as client:
            yield Line(client, reports, server)
