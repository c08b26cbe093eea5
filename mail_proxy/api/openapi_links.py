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


def _of_body(name: str, place: str = "") -> Mapping[str, str]:
    return {name: f"$request.body#{place}/{name}", "tenant_id": f"$request.body#{place}/tenant_id"}


# Lists have none: an expression for the first of a list leads nowhere when the list is empty.
LINKS = (
    Link("POST /commands/add-messages", _MESSAGE, _of_body("id", "/messages/0")),
    Link("POST /account", _ACCOUNT, _of_body("id")),
    Link("POST /storage", _STORAGE, _of_body("name")),
    Link("POST /tenant", _TENANT, {"id": "$request.body#/id"}),
)
