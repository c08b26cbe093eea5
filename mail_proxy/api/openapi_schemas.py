"""JSON Schemas of the models that the API takes and answers, in the words of their docstrings."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from mail_proxy.services.inputs import Input

Json = dict[str, Any]  # an OpenAPI document is read by others: JSON Schema says what may be in it

REFERENCE = "#/components/schemas/"

_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
"""How pydantic calls the bounds of a number that is looked at before it is one."""


def schemas_of(models: Iterable[type[BaseModel]]) -> dict[str, Json]:
    """Describe the models and what they are made of, by name."""
    told = list(dict.fromkeys(models))
    _, whole = models_json_schema(
        [(model, "validation") for model in told],
        ref_template=REFERENCE + "{model}",
        schema_generator=_Untitled,
    )
    schemas: dict[str, Json] = whole["$defs"]
    for model in _all_models(told):
        if model.__name__ in schemas:
            _describe(schemas[model.__name__], _words_of(model))
            if not issubclass(model, Input):  # clients shall take an answer that has more fields
                schemas[model.__name__].pop("additionalProperties", None)
    return {name: _tidy(schema) for name, schema in sorted(schemas.items())}


def reference(name: str) -> Json:
    return {"$ref": REFERENCE + name}


def with_required(schema: Json, required: Sequence[str]) -> Json:
    """Return the schema of an object in which these fields must be, and not be null."""
    properties = {
        name: without_null(each) if name in required else each for name, each in schema["properties"].items()
    }
    return {**schema, "properties": properties, "required": sorted({*schema.get("required", ()), *required})}


def without_null(schema: Json) -> Json:
    """Return the schema of the same without null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if not kinds:
        return schema
    rest = {name: each for name, each in schema.items() if name != "anyOf"}
    return kinds[0] | rest if len(kinds) == 1 else {"anyOf": kinds, **rest}


class _Untitled(GenerateJsonSchema):
    """Leaves out titles, which say the names once more."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


def _all_models(models: Sequence[type[BaseModel]]) -> Iterable[type[BaseModel]]:
    """The models and those in their fields, however deep."""
    found = dict.fromkeys(models)
    for model in models:
        found |= dict.fromkeys(
            _all_models(_models_in(field.annotation for field in model.model_fields.values()))
        )
    return found


def _models_in(annotations: Iterable[object]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for each in annotations:
        if isinstance(each, type) and issubclass(each, BaseModel):
            found.append(each)
        else:
            found += _models_in(getattr(each, "__args__", ()))
    return found


def _describe(schema: Json, words: Mapping[str, str]) -> None:
    for name, each in schema.get("properties", {}).items():
        if name in words:
            each["description"] = words[name]


def _words_of(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings of a model's fields, by the names that these have in JSON."""
    like: type[BaseModel] | None = getattr(model, "described_by", None)
    words = {} if like is None else _words_of(like)
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            words |= _docstrings(kind.__module__).get(kind.__name__, {})
    return {_json_name(model, name): text for name, text in words.items()}


def _json_name(model: type[BaseModel], name: str) -> str:
    field = model.model_fields.get(name)
    return name if field is None or not isinstance(field.alias, str) else field.alias


@cache
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Read the strings below the fields of each class in the source; none where that is not installed."""
    words: dict[str, dict[str, str]] = {}
    with suppress(OSError):
        tree = ast.parse(inspect.getsource(sys.modules[module]))
        for each in (statement for statement in tree.body if isinstance(statement, ast.ClassDef)):
            words[each.name] = dict(_documented(each.body))
    return words


def _documented(statements: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(statements):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, " ".join(text.split())


def _tidy(schema: Any) -> Any:
    """Leave out what says nothing: null as a default, and the name as title."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "object":
        schema = {name: each for name, each in schema.items() if name != "title"}
    return {
        _BOUNDS.get(name, name): _tidy(each)
        for name, each in schema.items()
        if (name, each) != ("default", None)
    }
