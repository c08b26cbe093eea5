"""The example application as a process of its own, and what a customer and mail-proxy do with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from mail_proxy.signing import signed_headers
from tests.support.children import tethered
from tests.support.nodes import until
from tests.support.server import REPOSITORY, Client, Server
from tests.support.smtp_server import SmtpServer

EXAMPLE = REPOSITORY / "examples" / "shop"
SYNC_TOKEN = "the shop's own"
WEBHOOK_SECRET = "whsec_" + "c2hvcCBzaG9wIHNob3Agc2hvcCBzaG9wIHNob3A="
TIMEOUT = 30.0

_OPEN = re.compile(r"the shop is open: (http://\S+)")
_post_ids = count()

Json = dict[str, Any]


class Shop:
    """The process; it keeps its port and its database over all its lives."""

    def __init__(self, directory: Path, proxy: str, key: str) -> None:
        self.proxy = proxy
        self.database = directory / "shop.db"
        self.url = ""
        self._key = key
        self._log = directory / "shop.log"
        self._process: subprocess.Popen[bytes] | None = None
        # The shop is killed and fails: a connection that was kept might be a dead one.
        unkept = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.Client(timeout=TIMEOUT, trust_env=False, limits=unkept)

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it, and wait until it is open."""
        openings = len(_OPEN.findall(self.log))
        self._process = self._spawn()
        found = await until(
            lambda: _OPEN.findall(self.log), lambda found: len(found) > openings or not self.is_running
        )
        assert self.is_running, self.log
        self.url = found[-1]

    async def end(self, number: signal.Signals) -> int:
        """End it with a signal, and return its exit code; may be called again."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, TIMEOUT)

    async def close(self) -> None:
        await self.end(signal.SIGKILL)
        self._http.close()

    async def order(self, *customers: str, item: str = "teapot") -> None:
        """Place an order for each customer, as a browser would."""

        def place() -> None:
            for customer in customers:
                answer = self._http.post(f"{self.url}/orders", data={"customer": customer, "item": item})
                assert answer.status_code == 303, answer.text

        await asyncio.to_thread(place)

    async def mails(self) -> list[Json]:
        """Return its mails, newest first."""
        answer = await asyncio.to_thread(self._http.get, f"{self.url}/mails")
        found: list[Json] = answer.json()
        return found

    async def page(self) -> str:
        answer = await asyncio.to_thread(self._http.get, self.url)
        return answer.text

    async def told(self, **wanted: str) -> dict[str, str | None]:
        """Wait until each of these customers' mails has its status, and return their reasons."""
        deadline = time.monotonic() + 60
        while True:
            mails = {mail["customer"].partition("@")[0]: mail for mail in await self.mails()}
            statuses = {name: mail["status"] for name, mail in mails.items()}
            if statuses.items() >= wanted.items():
                return {name: mails[name]["reason"] for name in wanted}
            assert time.monotonic() < deadline, (statuses, self.log)
            await asyncio.sleep(0.02)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """Post to where mail-proxy posts its reports."""
        url = f"{self.url}/mail-proxy/sync"
        return await asyncio.to_thread(self._http.post, url, content=body, headers=headers)

    async def report(self, *entries: Json) -> Json:
        """Post a delivery report as mail-proxy does, and return the answer."""
        body = report_body(*entries)
        answer = await self.post(body, {**bearer(), **signature(body)})
        assert answer.status_code == 200, (answer.text, self.log)
        found: Json = answer.json()
        return found

    def _spawn(self) -> subprocess.Popen[bytes]:
        port = httpx2.URL(self.url).port if self.url else 0
        options = ["--proxy", self.proxy, "--database", str(self.database), "--port", str(port)]
        secrets = {
            "SHOP_API_KEY": self._key,
            "SHOP_SYNC_TOKEN": SYNC_TOKEN,
            "SHOP_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        with self._log.open("ab") as log:
            return subprocess.Popen(
                tethered([sys.executable, "-W", "error", str(EXAMPLE / "app.py"), *options]),
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **secrets},
                cwd=self.database.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def bearer(token: str = SYNC_TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signature(body: bytes, *, secret: str = WEBHOOK_SECRET, age: float = 0.0) -> dict[str, str]:
    return signed_headers(secret, f"post-{next(_post_ids)}", time.time() - age, body)


def report_body(*entries: Json) -> bytes:
    return json.dumps({"delivery_report": entries}).encode()


def entry(mail: Json, event: str, event_id: int, **fields: object) -> Json:
    """Make an entry of a report on one of the shop's mails."""
    pk = f"pk of {mail['id']}"
    message = {"id": mail["id"], "tenant_id": "acme", "pk": pk, "account_id": "main", "priority": 2}
    return {**message, "event": event, "event_id": event_id, **fields}


async def open_account(server: Server, mail: SmtpServer) -> str:
    """Give the shop a tenant with an account on the mail server; returns its API key."""
    client = server.client()

    def make() -> str:
        key = client.post("/tenant", {"id": "acme"})["api_key"]
        account = {"id": "main", "tenant_id": "acme", "host": mail.host, "port": mail.port, "tls": "none"}
        client.post("/account", {**account, "from_address": "shop@example.test"})
        return str(key)

    return await asyncio.to_thread(make)


async def introduce(server: Server, shop: Shop) -> None:
    """Tell mail-proxy where the shop is, and how to prove that a report is its own; wait for the first."""
    client = server.client()
    auth = {"method": "bearer", "token": SYNC_TOKEN}
    tenant = {"client_base_url": shop.url, "client_auth": auth, "webhook_secret": WEBHOOK_SECRET}
    await asyncio.to_thread(client.call, "PUT", "/tenant/acme", tenant)
    await until(lambda: sync_status(client), lambda status: bool(status["last_sync_ts"]))


def sync_status(client: Client) -> Json:
    """How the reporting to the shop goes."""
    tenants = client.get("/tenants/sync-status")["tenants"]
    [status] = [each for each in tenants if each["id"] == "acme"]
    return dict(status)
