"""A shop that sends mail through mail-proxy: one page on which orders are placed, and their mails seen.

``python examples/shop/app.py --proxy http://127.0.0.1:8000``; README.md says what it needs to be told.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

import receiver
from mail_proxy.client import MailProxyClient
from outbox import Json, Outbox
from submitter import Submitter

TIMEOUT = 10.0
"""Seconds that mail-proxy may take for an answer."""

MAX_BODY = 16 * 1024 * 1024
"""Bytes; the longest report has 500 entries, each with up to 4 KiB of metadata."""

PAGE = """<!doctype html>
<meta charset="utf-8"><title>Shop</title>
<form method="post" action="/orders">
  <input name="customer" placeholder="ann@example.test" required>
  <input name="item" placeholder="teapot" required> <button>Order</button>
</form>
<table>{rows}</table>
"""
ROW = "<tr><td>{customer}<td>{item}<td>{status}<td>{reason}"

log = logging.getLogger("shop")


def create_app(outbox: Outbox, submitter: Submitter, sync: Route) -> Starlette:
    """Put the shop together. It has no login: a real one has, and protects its forms."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        submitter.start()
        yield
        await run_in_threadpool(submitter.stop)

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE.format(rows="\n".join(map(_row, await run_in_threadpool(outbox.mails)))))

    async def mails(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(outbox.mails))

    async def order(request: Request) -> Response:
        form = parse_qs((await request.body()).decode(errors="replace"))
        if not form.keys() >= {"customer", "item"}:
            return PlainTextResponse("who orders what?\n", 400)
        await run_in_threadpool(outbox.place_order, form["customer"][0], form["item"][0])
        submitter.mail_stored()
        return RedirectResponse("/", 303)

    routes = [
        Route("/", page),
        Route("/mails", mails),
        Route("/orders", order, methods=["POST"]),
        sync,
    ]
    return Starlette(routes=routes, lifespan=lifespan, max_body_size=MAX_BODY)


def _row(mail: Json) -> str:
    return ROW.format(**{name: escape(value or "") for name, value in mail.items()})


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description="A shop that sends mail through mail-proxy.")
    parser.add_argument("--proxy", default="http://127.0.0.1:8000", metavar="URL", help="where mail-proxy is")
    parser.add_argument("--database", type=Path, default=Path("shop.db"), metavar="FILE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:  # secrets come by the environment: arguments can be read by everybody on the machine
        key, token = os.environ["SHOP_API_KEY"], os.environ["SHOP_SYNC_TOKEN"]
        secret = os.environ["SHOP_WEBHOOK_SECRET"]
    except KeyError as missing:
        parser.error(f"{missing.args[0]} is not set; README.md says what it is")

    outbox = Outbox(given.database)
    # Pausing and trying again is the submitter's: the client is to tell it at once.
    with MailProxyClient(given.proxy, token=key, timeout=TIMEOUT, retries=0) as client:
        submitter = Submitter(outbox, client)
        sync = receiver.route(outbox, submitter, token=token, secret=secret)
        # Listen first: the submitter asks for reports when it starts, and they come at once.
        listener = socket.create_server((given.host, given.port))
        host, port = listener.getsockname()[:2]
        log.info("the shop is open: http://%s:%d", host, port)
        app = create_app(outbox, submitter, sync)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
