"""What of one answer, or of what was asked, the next requests need."""

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


def _of_body(name: str, fields: str = "", key: str = "id") -> Mapping[str, str]:
    return {key: f"$request.body#{fields}/{name}", "tenant_id": f"$request.body#{fields}/tenant_id"}


def _of_first(fields: str, key: str = "id") -> Mapping[str, str]:
    return {key: f"$response.body#/{fields}/0/{key}", "tenant_id": f"$response.body#/{fields}/0/tenant_id"}


LINKS = (
    Link("POST /commands/add-messages", _MESSAGE, _of_body("id", "/messages/0")),
    Link("GET /messages", _MESSAGE, _of_first("messages")),
    Link("GET /messages", ("GET /messages",), {"cursor": "$response.body#/next_cursor"}),
    Link("POST /account", _ACCOUNT, _of_body("id")),
    Link("GET /accounts", _ACCOUNT, _of_first("accounts")),
    Link("POST /storage", _STORAGE, _of_body("name", key="name")),
    Link("GET /storages", _STORAGE, _of_first("storages", "name")),
    Link("POST /tenant", _TENANT, {"id": "$request.body#/id"}),
    Link("GET /tenants", _TENANT, {"id": "$response.body#/tenants/0/id"}),
)
