"""The OpenAPI 3.1 document, made of the table of endpoints and the models that it names.

Imported when somebody asks for it: what it needs of pydantic takes time that no start should pay.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from mail_proxy import __version__
from mail_proxy.api import responses
from mail_proxy.api.answers import JSON
from mail_proxy.api.auth import HEADER, Level
from mail_proxy.api.openapi_examples import EXAMPLES, PATH_EXAMPLES
from mail_proxy.api.openapi_links import LINKS
from mail_proxy.api.openapi_schemas import Json, reference, schemas_of, with_required, without_null
from mail_proxy.api.routing import Endpoint
from mail_proxy.services.fields import HeaderText, Identifier, MessageId
from mail_proxy.services.inputs import Input

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TOKEN = "token"  # noqa: S105 - the name of the scheme

_ABOUT = f"""\
JSON in and out, in UTF-8. The header `{HEADER}` carries a token: the admin's opens everything, a tenant's
what is of the level `tenant`, for its own tenant, whose `tenant_id` may then be left out everywhere. Fields
that are not known are ignored. Times are Unix seconds, unless a field says otherwise."""

_RETRY_AFTER: Json = {
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_CHALLENGE: Json = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}

_FAILURES: Mapping[int, tuple[str, type[BaseModel], Json]] = {
    400: ("There were messages, and every one was invalid.", responses.AllRejected, {}),
    401: ("There is no token, or it is not known, or not this tenant's.", responses.Refusal, _CHALLENGE),
    403: ("The token may not do this.", responses.Refusal, {}),
    404: ("There is no such thing.", responses.Refusal, {}),
    408: ("The body took too long to arrive.", responses.Refusal, {}),
    409: ("It exists, or its state forbids this, or its id is not unique.", responses.Refusal, {}),
    413: ("Over a limit of size or count.", responses.Refusal, {}),
    415: ("The body is not JSON in UTF-8, uncompressed.", responses.Refusal, {}),
    422: ("Something given is wrong: every field concerned is named.", responses.Invalid, {}),
    429: ("This address has shown too many unknown tokens.", responses.Refusal, _RETRY_AFTER),
    500: ("A bug: the log of the server has the story.", responses.InternalError, {}),
    503: (
        "The database is away or full, or the server is busy or not in order.",
        responses.Refusal,
        _RETRY_AFTER,
    ),
}

_PATH_TYPES: Mapping[str, Any] = {
    "messages": MessageId,
    "account": Identifier,
    "storage": Identifier,
    "tenant": Identifier,
    "files": HeaderText,
}
"""What the name in a path is, by the path's first part."""


def describe(endpoints: Sequence[Endpoint]) -> Json:
    """Make the document."""
    names = operation_ids(endpoints)
    schemas = schemas_of(_models(endpoints))
    queries = {endpoint.query.__name__ for endpoint in endpoints}  # they are told as parameters
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        operation = _Operation(endpoint, names, schemas).described()
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "mail-proxy", "version": __version__, "description": _ABOUT},
        "jsonSchemaDialect": DIALECT,
        "servers": [{"url": "/"}],
        "tags": _tags(endpoints),
        "paths": paths,
        "components": {
            "schemas": {name: each for name, each in sorted(schemas.items()) if name not in queries},
            "responses": {_name_of(status): _failure(status) for status in _FAILURES},
            "securitySchemes": {TOKEN: {"type": "apiKey", "in": "header", "name": HEADER}},
        },
    }


def operation_ids(endpoints: Iterable[Endpoint]) -> dict[str, str]:
    """The handlers' names, by the endpoints'; a handler that serves twice gets a number."""
    used: Counter[str] = Counter()
    names = {}
    for endpoint in endpoints:
        name = endpoint.handler.__name__
        used[name] += 1
        names[endpoint.name] = name if used[name] == 1 else f"{name}_{used[name]}"
    return names


class _Operation:
    """One endpoint as OpenAPI describes it; a body with more requirements than its model adds a schema."""

    def __init__(self, endpoint: Endpoint, names: Mapping[str, str], schemas: dict[str, Json]) -> None:
        self._endpoint = endpoint
        self._names = names
        self._schemas = schemas

    def described(self) -> Json:
        endpoint = self._endpoint
        summary, _, more = inspect.cleandoc(endpoint.handler.__doc__ or "").partition("\n\n")
        is_public = endpoint.level is Level.PUBLIC
        operation: Json = {
            "operationId": self._names[endpoint.name],
            "tags": [_tag(endpoint)],
            "summary": " ".join(summary.split()),
            "description": more,
            "x-level": endpoint.level.value,
            "security": [] if is_public else [{TOKEN: []}],
            "parameters": [*self._path_parameters(), *self._query_parameters()],
            "requestBody": self._request_body(),
            "responses": self._responses(),
        }
        return {name: each for name, each in operation.items() if each or name == "security"}

    def _path_parameters(self) -> list[Json]:
        first = self._endpoint.path.split("/")[1]
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": TypeAdapter(_PATH_TYPES[first]).json_schema(),
                "example": PATH_EXAMPLES[first],
            }
            for name in re.findall(r"{(\w+)}", self._endpoint.path)
        ]

    def _query_parameters(self) -> list[Json]:
        schema = self._schemas[self._endpoint.query.__name__]
        found = []
        for name, each in schema.get("properties", {}).items():
            told = {"name": name, "in": "query", "required": name in schema.get("required", ())}
            if "description" in each:
                told["description"] = each["description"]
            found.append(told | {"schema": without_null(_without(each, "description"))})
        return found

    def _request_body(self) -> Json:
        model = self._endpoint.body
        if model is None:
            return {}
        media: Json = {"schema": reference(self._body_schema(model))}
        if model in EXAMPLES:
            media["example"] = EXAMPLES[model]
        return {"required": not self._endpoint.body_is_optional, "content": {JSON: media}}

    def _body_schema(self, model: type[BaseModel]) -> str:
        """Return the name of the body's schema."""
        name = model.__name__
        if set(self._endpoint.required) <= set(self._schemas[name].get("required", ())):
            return name
        self._schemas[f"New{name}"] = with_required(self._schemas[name], self._endpoint.required)
        return f"New{name}"

    def _responses(self) -> Json:
        failures = {
            str(status): {"$ref": f"#/components/responses/{_name_of(status)}"}
            for status in statuses_of(self._endpoint)
        }
        return {"200": self._success(), **failures}

    def _success(self) -> Json:
        model = self._endpoint.answer
        media: Json = {"schema": {} if model is None else reference(model.__name__)}
        if model in EXAMPLES:
            media["example"] = EXAMPLES[model]
        told: Json = {
            "description": " ".join(((model and model.__doc__) or "What was asked for.").split()),
            "content": {self._endpoint.media_type: media},
        }
        links = {
            self._names[target]: {"operationId": self._names[target], "parameters": dict(link.parameters)}
            for link in LINKS
            if link.source == self._endpoint.name
            for target in link.targets
        }
        return told | ({"links": links} if links else {})


def statuses_of(endpoint: Endpoint) -> list[int]:
    """What it may answer when it does not do what was asked."""
    found = {500, 503, *endpoint.statuses}
    if endpoint.level is not Level.PUBLIC:
        found |= {401, 429}
    if endpoint.level is Level.ADMIN:
        found |= {403}
    if "{" in endpoint.path:
        found |= {404}
    if endpoint.query is not Input:
        found |= {422}
    if endpoint.body is not None:
        found |= {408, 413, 415, 422}
    return sorted(found)


def _models(endpoints: Iterable[Endpoint]) -> Iterable[type[BaseModel]]:
    yield from (model for _, model, _ in _FAILURES.values())
    for endpoint in endpoints:
        yield from (each for each in (endpoint.query, endpoint.body, endpoint.answer) if each is not None)


def _failure(status: int) -> Json:
    description, model, headers = _FAILURES[status]
    told: Json = {"description": description, "content": {JSON: {"schema": reference(model.__name__)}}}
    return told | ({"headers": headers} if headers else {})


def _name_of(status: int) -> str:
    return "".join(word.capitalize() for word in re.findall(r"\w+", HTTPStatus(status).phrase))


def _tags(endpoints: Iterable[Endpoint]) -> list[Json]:
    """One for each module of handlers, in the words that it begins with."""
    modules = dict.fromkeys(endpoint.handler.__module__ for endpoint in endpoints)
    return [
        {
            "name": name.rpartition(".")[2],
            "description": (sys.modules[name].__doc__ or "").split("\n\n")[0].strip(),
        }
        for name in modules
    ]


def _tag(endpoint: Endpoint) -> str:
    return endpoint.handler.__module__.rpartition(".")[2]


def _without(schema: Json, name: str) -> Json:
    return {key: each for key, each in schema.items() if key != name}
