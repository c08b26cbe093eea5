"""What of a request the next ones need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MESSAGE = (
    "GET /messages/{id}",
    "GET /messages/{id}/events",
    "GET /messages/{id}/receipts",
    "POST /messages/{id}/retry",
)
_ACCOUNT = ("GET /account/{id}", "PUT /account/{id}", "DELETE /account/{id}", "POST /account/{id}/test")
_TENANT = (
    "GET /tenant/{id}",
    "PUT /tenant/{id}",
    "DELETE /tenant/{id}",
    "POST /tenant/{id}/api-key",
    "DELETE /tenant/{id}/api-key",
)
_STORAGE = ("DELETE /storage/{name}",)


@dataclass(frozen=True, slots=True)
class Link:
    """From the answer 200 of `source` to `targets`; the parameters are OpenAPI's runtime expressions."""

    source: str
    targets: tuple[str, ...]
    parameters: Mapping[str, str]


# An expression has to lead somewhere: so lists, which may be empty, have no links, and none names the tenant,
# which may be left out.
LINKS = (
    Link("POST /commands/add-messages", _MESSAGE, {"id": "$request.body#/messages/0/id"}),
    Link("POST /account", _ACCOUNT, {"id": "$request.body#/id"}),
    Link("POST /storage", _STORAGE, {"name": "$request.body#/name"}),
    Link("POST /tenant", _TENANT, {"id": "$request.body#/id"}),
)
