"""A request as the handlers see it: who asks, what is asked, and what to ask it of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_to_bytes

from starlette.requests import Request

from mail_proxy.api.auth import tenant_named
from mail_proxy.api.bodies import Lease
from mail_proxy.api.body import read_object
from mail_proxy.api.gate import MEGABYTE, Gate
from mail_proxy.api.schemas import TenantQuery
from mail_proxy.api.vitals import Vitals
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.metrics import Metrics
from mail_proxy.runtime import Runtime
from mail_proxy.services.authentication import Principal
from mail_proxy.services.command_log import Record
from mail_proxy.services.inputs import Model, checked
from mail_proxy.services.services import Services

if TYPE_CHECKING:
    from mail_proxy.api.routing import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """This process, as the handlers know it."""

    runtime: Runtime
    metrics: Metrics
    vitals: Vitals
    gate: Gate


@dataclass(slots=True)
class ApiRequest:
    http: Request
    node: Node
    endpoint: Endpoint
    principal: Principal
    lease: Lease
    record: Record | None = None

    @property
    def services(self) -> Services:
        return self.node.runtime.services

    @property
    def by_tenant(self) -> bool:
        """Whether a tenant's token was shown, so that what it gives is not to be trusted."""
        return not self.principal.is_admin

    def path(self, name: str) -> str:
        """Return a part of the path, decoded."""
        value: str = self.http.path_params[name]
        return value

    def query(self, model: type[Model]) -> Model:
        """Validate the query string by the model that the endpoint declares; raise `InvalidInput`."""
        if model is not self.endpoint.query:
            raise TypeError(f"{self.endpoint.name} does not declare {model.__name__} as its query")
        _check_query(self.http.scope["query_string"])
        items = self.http.query_params.multi_items()
        given: dict[str, object] = dict(items)
        if len(given) != len(items):
            twice = sorted(name for name, count in Counter(name for name, _ in items).items() if count > 1)
            raise InvalidInput.of([Fault((name,), "is given twice", "duplicate_key") for name in twice])
        return checked(model, given)

    async def body(self) -> dict[str, object]:
        """Read the JSON object that came, once; empty where the endpoint allows none; see `read_object`."""
        record = self.record
        if record is not None and record.body is not None:
            return record.body
        limit = self.node.runtime.config.max_body_mb * MEGABYTE
        body = await read_object(self.http, limit, self.lease, optional=self.endpoint.body_is_optional)
        if record is not None:
            record.body = body
        return body

    async def tenant_and_body(self) -> tuple[str | None, dict[str, object]]:
        """Return the tenant that this is about, which the query or the body may name, and the body."""
        named = self.query(TenantQuery).tenant_id
        body = await self.body()
        return self.tenant(named, body.get("tenant_id")), body

    def about(self, tenant_id: str) -> None:
        """Let the command log know which tenant this turns out to be about."""
        if self.record is not None:
            self.record.about(tenant_id)

    def tenant(self, *names: object) -> str | None:
        """Return the tenant that this is about; see `tenant_named`."""
        return tenant_named(self.principal, *names)


def _check_query(query: bytes) -> None:
    """Refuse what Starlette would read with a character in the place of each wrong byte."""
    if b"%" in query:
        pairs = [pair.partition(b"=")[::2] for pair in query.split(b"&")]
        wrong = dict.fromkeys(unquote(name) for name, value in pairs if not _is_utf8(unquote_to_bytes(value)))
        if wrong:
            raise InvalidInput.of([Fault((name,), "is not UTF-8", "string_unicode") for name in wrong])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
