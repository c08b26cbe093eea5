"""Receives delivery reports: what became of the mails that were handed in."""

from __future__ import annotations

from hmac import compare_digest

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mail_proxy.client import InvalidPost, InvalidSignature, webhooks
from outbox import Outbox
from submitter import Submitter

PATH = "/mail-proxy/sync"


def route(outbox: Outbox, submitter: Submitter, *, token: str, secret: str) -> Route:
    """Make the endpoint for a tenant with this token in its `client_auth`, and this `webhook_secret`."""
    expected = f"Bearer {token}".encode()

    async def receive(request: Request) -> Response:
        if not compare_digest(request.headers.get("Authorization", "").encode(), expected):
            return _refusal(401, "who are you?")  # before the body is read: strangers cost nothing
        try:
            entries = webhooks.receive(secret, request.headers, await request.body())
        except InvalidSignature as error:
            return _refusal(401, str(error))
        except InvalidPost as error:
            return _refusal(400, str(error))

        # Answering is promising: mail-proxy will not tell this again. So the answer follows the commit; if
        # that fails, the answer is a 500, and the same report comes again.
        answer = await run_in_threadpool(outbox.apply, entries)

        # Every post, an empty one too (the heartbeat), shows that mail-proxy is there to take what waits.
        submitter.proxy_called()
        return JSONResponse(answer)

    return Route(PATH, receive, methods=["POST"])


def _refusal(status: int, why: str) -> Response:
    return JSONResponse({"ok": False, "error": why}, status)
