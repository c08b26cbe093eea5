"""Posting one batch of delivery report entries to one tenant's application (contract: reports.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from mail_proxy.callbacks.answer import PostResult, parse_answer
from mail_proxy.config import Config
from mail_proxy.errors import InvalidInput
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.net import TIMEOUT, GuardedClient, RequestFailed

UNREADABLE = "the stored client_auth cannot be decrypted: give it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where reports go. `trusted`: the admin gave the address; `fault`: why nothing can be posted there."""

    url: str
    auth: ClientAuth = field(default_factory=ClientAuth)
    trusted: bool = False
    fault: str | None = None


class Poster:
    """Posts over a client that is the caller's to close; an exchange may take `timeout` seconds."""

    def __init__(self, client: GuardedClient, *, timeout: float = TIMEOUT) -> None:
        self._client = client
        self._timeout = timeout

    async def post(
        self,
        target: Target,
        entries: Sequence[Mapping[str, object]],
        *,
        now: float,  # noqa: ARG002 - signed posts are dated
    ) -> PostResult:
        """Post the entries, none of them being a heartbeat; every failure is in the result."""
        if target.fault is not None:
            return PostResult(failure=target.fault)
        report = {"delivery_report": [dict(entry) for entry in entries]}
        payload = json.dumps(report, separators=(",", ":")).encode("ascii")
        try:
            answer = await self._client.post_json(
                target.url, payload, auth=target.auth, trusted=target.trusted, timeout=self._timeout
            )
        except RequestFailed as failed:
            return PostResult(failure=str(failed))
        return parse_answer(answer.status, answer.body)


def target_for(tenant: Tenant, config: Config) -> Target | None:
    """Tell where a tenant's reports go: to its own application, else to the instance's, else nowhere."""
    if not tenant.client_base_url:
        return _fallback(config)
    trusted = not tenant.by_tenant
    try:
        url = join_url(tenant.client_base_url, tenant.client_sync_path)
    except InvalidInput as fault:
        return Target(url=tenant.client_base_url, trusted=trusted, fault=str(fault))
    if "client_auth" in tenant.unreadable:
        return Target(url=url, trusted=trusted, fault=UNREADABLE)
    return Target(url=url, auth=tenant.client_auth, trusted=trusted)


def join_url(base: str, path: str) -> str:
    """Put a path below a base URL, by component: ``https://h/a?x=1`` and ``/b?y=2`` give ``https://h/a/b?x=1&y=2``.

    Raises `InvalidInput` for a path that does not begin with ``/``, holds control characters, or climbs
    out of the base with ``..``.
    """
    try:
        parts = urlsplit(base)
    except ValueError as fault:
        raise InvalidInput(f"the base URL is not valid: {fault}") from None
    if not base.isprintable():  # urlsplit drops line breaks without a word
        raise InvalidInput("the base URL is not valid: it holds characters that it must not")
    below, _, query = path.partition("#")[0].partition("?")
    if not below.startswith("/"):
        raise InvalidInput(f"the path {path[:200]!r} does not begin with '/'")
    if not path.isprintable():
        raise InvalidInput(f"the path {path[:200]!r} holds characters that it must not")
    if ".." in unquote(below).replace("\\", "/").split("/"):
        raise InvalidInput(f"the path {path[:200]!r} must not contain '..'")
    queries = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + below, queries, ""))


def _fallback(config: Config) -> Target | None:
    """The instance's own application, to which the reports of tenants without a base URL go."""
    if not config.client_sync_url:
        return None
    auth = ClientAuth()
    if config.client_sync_token:
        auth = ClientAuth(method=AuthMethod.BEARER, token=config.client_sync_token)
    elif config.client_sync_user:
        auth = ClientAuth(
            method=AuthMethod.BASIC, user=config.client_sync_user, password=config.client_sync_password
        )
    return Target(url=config.client_sync_url, auth=auth, trusted=True)
