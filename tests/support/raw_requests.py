"""Requests as they come over the wire, byte by byte, and what the API takes in them at its best."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from tests.support.api import Json

BOUND = 10.0
"""Seconds within which anything is answered."""

TENANT = "acme"
KNOWN = {
    "messages": ["known", "no-such"],
    "account": ["main", "closed", "no-such"],
    "storage": ["files", "no-such"],
    "tenant": [TENANT, "no-such"],
    "files": ["x"],
}
"""What may be named in a path, by its first part; what is there comes first."""

MESSAGE = {
    "id": "m1",
    "tenant_id": TENANT,
    "account_id": "main",
    "from": "Shop <shop@example.org>",
    "to": ["ann@example.net", "josé@münchen.de"],
    "cc_addr": "bob@example.net, Carl <carl@example.net>",
    "bcc": None,
    "subject": "Your order",
    "body": "It is on its way.",
    "body_html": "<p>It is on its way.</p>",
    "reply_to": "help@example.org",
    "return_path": "bounces@example.org",
    "message_id": "<a@example.org>",
    "headers": {"X-Shop": "a"},
    "attachments": [
        {
            "filename": "a.txt",
            "storage_path": "base64:YQ==",
            "fetch_mode": "base64",
            "mime_type": "text/plain",
            "content_md5": "0cc175b9c0f1b6a831c399e269772661",
            "content_id": "a",
            "inline": True,
        }
    ],
    "priority": "high",
    "send_after": "2030-01-01T00:00:00Z",
    "batch_code": "b",
    "metadata": {"order": 1},
}
RAW = {
    "id": "m2",
    "tenant_id": TENANT,
    "account_id": "main",
    "raw": "RnJvbTogYUBiLml0DQpUbzogY0BkLml0DQoNCmI=",
    "envelope": {"from": "a@b.it", "to": ["c@d.it"]},
}
BOUNCES = {
    "bounce_enabled": True,
    "bounce_imap_host": "imap.example.org",
    "bounce_imap_port": 993,
    "bounce_imap_user": "u",
    "bounce_imap_password": "p",
    "bounce_imap_folder": "INBOX",
    "bounce_imap_ssl": True,
    "bounce_poll_interval": 60,
    "bounce_return_path": "b+{token}@example.org",
    "bounce_after": "keep",
}
TENANT_FIELDS = {
    "name": "Fuzz",
    "client_base_url": "https://shop.example.org",
    "client_sync_path": "/sync",
    "client_attachment_path": "/files",
    "client_auth": {"method": "basic", "user": "u", "password": "p"},
    "large_file_config": {"a": 1},
    "webhook_secret": "s",
}
OF_THE_ADMIN = {"rate_limits": {"hourly": 1, "daily": 2}, "report_nulls": True, "active": True}
ACCOUNT = {
    "host": "sandbox",
    "port": 587,
    "user": "u",
    "password": "p",
    "tls": "starttls",
    "use_tls": True,
    "tls_verify": True,
    "tls_ca": None,
    "from_address": "a@b.it",
    "ttl": 1,
    "batch_size": 1,
    "max_concurrent": 1,
    "limit_per_minute": 1,
    "limit_per_hour": 1,
    "limit_per_day": 1,
    "limit_behavior": "defer",
    "on_unknown": "hold",
    "is_pec_account": False,
    "imap_host": None,
    "imap_port": 993,
    "imap_user": "u",
    "imap_password": "p",
    "imap_folder": "INBOX",
    "imap_ssl": True,
}
BODIES: Mapping[str, Json] = {
    "POST /commands/add-messages": {"messages": [MESSAGE, RAW], "default_priority": 1},
    "POST /messages/{id}/retry": {"at": 1_900_000_000},
    "POST /commands/run-now": {"tenant_id": TENANT},
    "POST /commands/suspend": {"tenant_id": TENANT, "batch_code": "b"},
    "POST /commands/activate": {"tenant_id": TENANT, "batch_code": "b"},
    "POST /commands/delete-messages": {"ids": ["gone"], "force": True},
    "POST /commands/cleanup-messages": {"older_than_seconds": 1},
    "POST /account": {"id": "fuzzed", **ACCOUNT},
    "PUT /account/{id}": ACCOUNT,
    "POST /storage": {"name": "fuzzed", "protocol": "s3", "config": {"bucket": "b"}},
    "POST /tenant": {"id": "fuzzed", **TENANT_FIELDS, **OF_THE_ADMIN},
    "PUT /tenant/{id}": TENANT_FIELDS,
    "POST /tenant/{id}/api-key": {"expires_at": 4_000_000_000},
    "PUT /instance": {"name": "i", **BOUNCES},
    "PUT /instance/bounce": BOUNCES,
    "POST /reports/replay": {"since": 1},
}
"""A valid body for each endpoint that has one."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A response; `headers` has names in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    content: bytes

    @property
    def is_json(self) -> bool:
        return self.headers.get(b"content-type") == b"application/json"

    @property
    def body(self) -> Json:
        value = json.loads(self.content)
        assert isinstance(value, dict)
        return value


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
    content: bytes = b"",
) -> RawAnswer:
    """Call the application as a server does that got `target`, which is ASCII, in a request line."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
    requests: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(part: Message) -> None:
        sent.append(part)

    async with asyncio.timeout(BOUND):
        await app(scope, receive, send)
    start, *rest = sent
    return RawAnswer(
        start["status"], dict(start["headers"]), b"".join(part.get("body", b"") for part in rest)
    )
