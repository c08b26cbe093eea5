"""Who asks, and which tenant it is about (contract: http-api.md, Authentication)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from starlette.requests import Request

from mail_proxy.api.gate import Gate
from mail_proxy.api.headers import field
from mail_proxy.errors import Fault, Forbidden, InvalidInput, Unauthorized
from mail_proxy.services.authentication import Principal

HEADER = "X-API-Token"
_FIELD = HEADER.lower().encode()

NOBODY = Principal("")
"""Who asks at a public endpoint: not the admin, and of no tenant, for none has the empty id."""


class Level(StrEnum):
    """Which token opens an endpoint; the admin's opens all."""

    PUBLIC = "public"
    TENANT = "tenant"
    ADMIN = "admin"


async def principal_of(
    level: Level, request: Request, identify: Callable[[str], Awaitable[Principal]], gate: Gate
) -> Principal:
    """Return who asks; raise `Unauthorized` without a valid token. `check_level` says whether it is enough.

    Raises `TooManyAttempts` for an unknown token when its address has shown many. A valid one is never
    refused for those, so it is looked up first.
    `identify` looks a token up: each time, so that a key that was revoked on whatever node is dead at once,
    or in memory first, for what confirms the key when it is done.
    """
    if level is Level.PUBLIC:
        return NOBODY
    token = field(request.scope, _FIELD)
    if not token:
        raise Unauthorized(f"a token is required in {HEADER}")
    try:
        principal = await identify(_text(token))
    except Unauthorized:
        gate.note_unknown_token(request)
        raise
    return principal


def check_level(level: Level, principal: Principal) -> None:
    """Raise `Forbidden` for a token that does not open this level."""
    if level is Level.ADMIN and not principal.is_admin:
        raise Forbidden("this needs the admin token")


def tenant_named(principal: Principal, *names: object) -> str | None:
    """Return the tenant that a request is about, from wherever it was named; None: the admin named none.

    Raises `Unauthorized` for a tenant that is not the token's own, whether there is such a tenant or not,
    and `InvalidInput` when two places name different ones.
    """
    given = {name for name in names if isinstance(name, str)}
    if any(name is not None and not isinstance(name, str) for name in names):
        raise InvalidInput.of([Fault(("tenant_id",), "must be a string", "string_type")])
    if principal.tenant_id is not None:
        if given - {principal.tenant_id}:
            raise Unauthorized("Token not authorized for this tenant")
        return principal.tenant_id
    if len(given) > 1:
        raise InvalidInput.of([Fault(("tenant_id",), "is not the same in the query and in the body")])
    return given.pop() if given else None


def _text(header: str) -> str:
    """Read a header, which Starlette takes for Latin-1, as the UTF-8 that clients send."""
    return header.encode("latin-1").decode("utf-8", "surrogateescape")
