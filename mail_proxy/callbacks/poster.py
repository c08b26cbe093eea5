"""Posting one batch of delivery report entries to one tenant's application (contract: reports.md)."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit, urlunsplit

from mail_proxy.callbacks.answer import PostResult, parse_answer
from mail_proxy.config import Config
from mail_proxy.errors import InvalidInput
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant, climbs
from mail_proxy.net import TIMEOUT, GuardedClient, RequestFailed
from mail_proxy.signing import key_of, signed_headers

log = logging.getLogger(__name__)

Entries = Sequence[Mapping[str, object]]

OWN_FAULT = "a fault of mail-proxy's own, which its log tells of"

UNREADABLE = "the stored {} cannot be decrypted: give it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where reports go. `trusted`: the admin gave the address; `fault`: why nothing can be posted there.

    With a `webhook_secret` the posts are signed.
    """

    url: str
    auth: ClientAuth = field(default_factory=ClientAuth)
    webhook_secret: str | None = field(default=None, repr=False)
    trusted: bool = False
    fault: str | None = None


class Poster:
    """Posts over a client that is the caller's to close; an exchange may take `timeout` seconds."""

    def __init__(self, client: GuardedClient, *, timeout: float = TIMEOUT) -> None:
        self._client = client
        self._timeout = timeout

    async def post(self, target: Target, entries: Entries, *, now: float) -> PostResult:
        """Post the entries, none of them being a heartbeat; every failure is in the result.

        `now` (Unix seconds) is when a signature says that it was made.
        """
        if target.fault is not None:
            return PostResult(failure=target.fault)
        try:
            return await self._exchange(target, entries, now)
        except RequestFailed as failed:
            return PostResult(failure=str(failed))
        except Exception:  # whatever one tenant wrote or its application answers, others are told
            log.exception("a post of reports met a fault")
            return PostResult(failure=OWN_FAULT)

    async def _exchange(self, target: Target, entries: Entries, now: float) -> PostResult:
        payload = _encoded(entries)
        headers = {}
        if target.webhook_secret is not None:
            headers = signed_headers(target.webhook_secret, _webhook_id(entries), now, payload)
        answer = await self._client.post_json(
            target.url,
            payload,
            headers=headers,
            auth=target.auth,
            trusted=target.trusted,
            timeout=self._timeout,
        )
        said = parse_answer(answer.status, answer.body)
        # An answer may name a hundred thousand others, and is remembered until it is recorded.
        ids = {str(entry.get("id")) for entry in entries}
        return replace(said, error_ids=said.error_ids & ids, not_found_ids=said.not_found_ids & ids)


def target_for(tenant: Tenant, config: Config) -> Target | None:
    """Tell where a tenant's reports go: to its own application, else to the instance's, else nowhere."""
    target = _own(tenant, tenant.client_base_url) if tenant.client_base_url else _fallback(config)
    return target and _signed(target, tenant)


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
    if climbs(below):
        raise InvalidInput(f"the path {path[:200]!r} must not contain '..'")
    queries = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + below, queries, ""))


def _own(tenant: Tenant, base_url: str) -> Target:
    trusted = not tenant.by_tenant
    try:
        url = join_url(base_url, tenant.client_sync_path)
    except InvalidInput as fault:
        return Target(url=base_url, trusted=trusted, fault=str(fault))
    if "client_auth" in tenant.unreadable:
        return Target(url=url, trusted=trusted, fault=UNREADABLE.format("client_auth"))
    return Target(url=url, auth=tenant.client_auth, trusted=trusted)


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


def _signed(target: Target, tenant: Tenant) -> Target:
    """Add the tenant's secret: with one that cannot be used, nobody could believe the posts."""
    if target.fault is not None:
        return target
    if "webhook_secret" in tenant.unreadable:
        return replace(target, fault=UNREADABLE.format("webhook_secret"))
    if tenant.webhook_secret is not None:
        try:
            key_of(tenant.webhook_secret)
        except ValueError as fault:
            return replace(target, fault=f"the stored webhook_secret is not valid: it {fault}")
    return replace(target, webhook_secret=tenant.webhook_secret)


def _encoded(entries: Entries) -> bytes:
    """A function of its own, so that the copies are gone while the application is waited for."""
    report = {"delivery_report": [dict(entry) for entry in entries]}
    return json.dumps(report, separators=(",", ":")).encode("ascii")


def _webhook_id(entries: Entries) -> str:
    """Name a post: the same events that are posted again have the same name, each heartbeat has its own."""
    if not entries:
        return f"heartbeat_{secrets.token_hex(16)}"
    events = [[entry.get(name) for name in ("tenant_id", "pk", "event_id")] for entry in entries]
    return f"batch_{hashlib.sha256(json.dumps(events).encode()).hexdigest()[:32]}"
