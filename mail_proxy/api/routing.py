"""From a table of endpoints to what Starlette serves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mail_proxy.api.answers import JSON
from mail_proxy.api.auth import Level, check_level, principal_of
from mail_proxy.api.bodies import is_small
from mail_proxy.api.errors import answer_to
from mail_proxy.api.recording import new_record, recorded
from mail_proxy.api.requests import ApiRequest, Node
from mail_proxy.errors import DatabaseError
from mail_proxy.services.inputs import Input

logger = logging.getLogger(__name__)

Handler = Callable[[ApiRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the contract's table of endpoints; what it does is the docstring of its handler.

    `query` validates the query string. `body` is the model that the services validate the body with, in which
    `required` must be given. `answer` describes an answer of 200 in JSON; what is answered in another
    `media_type` has none. `statuses` are those that it may answer beyond the ones that follow from all this.
    `records_itself`: its row in the command log is written with what it does, not before, and
    the asker's key is confirmed then.
    """

    method: str
    path: str
    level: Level
    handler: Handler
    answer: type[BaseModel] | None = None
    query: type[BaseModel] = Input
    body: type[BaseModel] | None = None
    required: tuple[str, ...] = ()
    body_is_optional: bool = False
    media_type: str = JSON
    statuses: tuple[int, ...] = ()
    records_itself: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_change(self) -> bool:
        """Whether it may change something, and so belongs in the command log."""
        return self.method != "GET"


def routes_of(endpoints: Iterable[Endpoint], node: Node) -> list[Route]:
    """Make one route for each path, in the order of the table: the first that fits is taken."""
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    return [ExactRoute(path, Resource(found, node)) for path, found in by_path.items()]


class Application(Starlette):
    """Starlette, which need not be asked for a path without parts to fill in: that is found in a table."""

    def __init__(self, endpoints: Iterable[Endpoint], node: Node) -> None:
        routes = routes_of(endpoints, node)
        super().__init__(routes=routes, exception_handlers={HTTPException: _answer, Exception: _answer})
        self.router.redirect_slashes = False
        self._fixed: Mapping[bytes | None, ASGIApp] = {
            route.path.encode(): route.app for route in routes if "{" not in route.path
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._fixed.get(scope.get("raw_path")) if scope["type"] == "http" else None
        await (found or super().__call__)(scope, receive, send)


async def _answer(request: Request, error: Exception) -> Response:
    """Answer what happens outside of every endpoint: no such path, mostly."""
    return answer_to(error, request)


class Resource:
    """What one path offers, as an ASGI application: every failure inside becomes an answer here."""

    def __init__(self, endpoints: Iterable[Endpoint], node: Node) -> None:
        self._endpoints = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._endpoints:
            self._endpoints["HEAD"] = self._endpoints["GET"]
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except Exception as error:  # noqa: BLE001 - a client is owed an answer, whatever happened
            response = answer_to(error, request)
        try:
            await response(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is left to be told
        except DatabaseError as error:
            # The server hangs up on an answer that has no end, which tells its reader.
            logger.warning("the answer to %s %s broke off: %s", request.method, scope["path"], error)

    async def _response(self, request: Request) -> Response:
        endpoint = self._endpoints.get(request.method)
        if endpoint is None:
            allowed = ", ".join(sorted(self._endpoints))
            raise HTTPException(405, f"use one of {allowed} here", {"Allow": allowed})
        tokens = self._node.runtime.services.authentication
        may_recall = endpoint.records_itself and is_small(request.scope)
        identify = tokens.recall if may_recall else tokens.identify
        principal = await principal_of(endpoint.level, request, identify, self._node.gate)
        with self._node.gate.bodies.lease(principal.tenant_id) as lease:
            if not endpoint.is_change:
                check_level(endpoint.level, principal)
                return await endpoint.handler(ApiRequest(request, self._node, endpoint, principal, lease))
            record = new_record(request, _path_on_the_wire(request.scope), endpoint, principal, self._node)
            asked = ApiRequest(request, self._node, endpoint, principal, lease, record)
            return await recorded(asked, record)


class ExactRoute(Route):
    """Matches the path as it came over the wire, so that an id may hold an encoded ``/``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self.path_regex.match(_path_on_the_wire(scope))
        if found is None:
            return Match.NONE, {}
        try:
            params = {name: unquote(value, errors="strict") for name, value in found.groupdict().items()}
        except UnicodeDecodeError:  # with a character in the place of each wrong byte it is another's name
            return Match.NONE, {}
        if any("\0" in value for value in params.values()):  # no database can even be asked for it
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self.endpoint, "path_params": params}


def _path_on_the_wire(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1")
