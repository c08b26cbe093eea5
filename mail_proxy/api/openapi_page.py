"""The description as a page for people: HTML made here, with its style and its script in it.

Nothing is fetched: the policy that goes with the page allows that style and that script, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from mail_proxy.api.answers import JSON
from mail_proxy.api.auth import HEADER
from mail_proxy.api.openapi_schemas import REFERENCE, Json

_CODE = re.compile("``?([^`]+)``?")
_TITLES = {"openapi": "OpenAPI"}
_METHODS = ("get", "post", "put", "delete")

WIDTH = 88
"""Characters of a line of JSON."""


@dataclass(frozen=True, slots=True)
class Page:
    """`policy` is the Content-Security-Policy to send with it."""

    content: bytes
    policy: str


def render(document: Json) -> Page:
    """Show an OpenAPI document that `describe` made."""
    package = files(__package__).joinpath("docs")
    style = package.joinpath("style.css").read_text("utf-8")
    script = package.joinpath("script.js").read_text("utf-8")
    template = Template(package.joinpath("page.html").read_text("utf-8"))
    content = template.substitute(
        title=escape(document["info"]["title"]),
        version=escape(document["info"]["version"]),
        style=style,
        script=script,
        about=_paragraphs(document["info"]["description"]),
        menu="".join(_menu(document)),
        endpoints="".join(_endpoints(document)),
        schemas="".join(_schema(name, each) for name, each in document["components"]["schemas"].items()),
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(content.encode(), policy)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _operations(document: Json, tag: str) -> Iterable[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item and tag in item[method]["tags"]:
                yield method.upper(), path, item[method]


def _menu(document: Json) -> Iterable[str]:
    for tag in document["tags"]:
        links = "".join(
            f'<li><a href="#{each["operationId"]}">{_method(method)} {escape(path)}</a></li>'
            for method, path, each in _operations(document, tag["name"])
        )
        yield f'<li><a href="#tag-{tag["name"]}">{_title(tag["name"])}</a><ul>{links}</ul></li>'
    yield '<li><a href="#schemas">Schemas</a></li>'


def _endpoints(document: Json) -> Iterable[str]:
    for tag in document["tags"]:
        name = tag["name"]
        yield f'<section id="tag-{name}"><h2>{_title(name)}</h2><p>{_words(tag["description"])}</p>'
        for method, path, each in _operations(document, name):
            yield _operation(document, method, path, each)
        yield "</section>"


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    name, level = operation["operationId"], operation["x-level"]
    return (
        f'<article id="{name}"><h3>{_method(method)} <code>{escape(path)}</code> {_anchor(name)}'
        f'<small class="{level}">{level}</small></h3>'
        f"<p>{_words(operation['summary'])}</p>{_paragraphs(operation.get('description', ''))}"
        f"{_parameters(operation)}{_body(document, operation)}{_answer(operation)}"
        f"{_failures(document, operation)}"
        f"<h4>Try it</h4>{_sample(_curl(method, path, operation))}</article>"
    )


def _parameters(operation: Json) -> str:
    rows = [
        _row(each["name"], each["schema"], each.get("description", ""), is_required=each["required"])
        for each in operation.get("parameters", ())
    ]
    return _table("Parameters", rows)


def _body(document: Json, operation: Json) -> str:
    if "requestBody" not in operation:
        return ""
    body = operation["requestBody"]
    schema = body["content"][JSON]["schema"]
    optional = "" if body["required"] else ", which may be left out"
    fields = _fields(document["components"]["schemas"][schema["$ref"].removeprefix(REFERENCE)])
    return f"<h4>Body</h4><p>{_type(schema)}{optional}</p>{_table('', fields)}"


def _answer(operation: Json) -> str:
    answer = operation["responses"]["200"]
    [(media_type, media)] = answer["content"].items()
    kind = _type(media["schema"]) if media["schema"] else f"<code>{escape(media_type)}</code>"
    example = _sample(_json(media["example"])) if "example" in media else ""
    return f"<h4>Answer 200</h4><p>{kind}</p>{example}"


def _failures(document: Json, operation: Json) -> str:
    rows = []
    for status, each in operation["responses"].items():
        if status != "200":
            failure = document["components"]["responses"][each["$ref"].rpartition("/")[2]]
            schema = failure["content"][JSON]["schema"]
            rows.append(
                f"<tr><td>{status}</td><td>{_words(failure['description'])}</td><td>{_type(schema)}</td></tr>"
            )
    return f"<details><summary>Other answers</summary><table>{''.join(rows)}</table></details>"


def _curl(method: str, path: str, operation: Json) -> str:
    """Write the request for a shell, in which $URL and $TOKEN are set."""
    parameters = operation.get("parameters", ())
    for each in parameters:
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", quote(each["example"], safe=""))
    lines = ["curl" + ("" if method == "GET" else f" -X {method}") + f' "$URL{path}"']
    if operation["security"]:
        lines.append(f'-H "{HEADER}: $TOKEN"')
    example = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("example")
    if example is not None:
        lines.append(f"-H 'Content-Type: {JSON}'")
        lines.append("-d '" + _json(example).replace("'", r"'\''") + "'")
    return " \\\n  ".join(lines)


def _schema(name: str, schema: Json) -> str:
    rows = _fields(schema)
    kind = "" if rows else f"<p>{_type(schema)}</p>"
    return (
        f'<article id="schema-{name}"><h3>{name} {_anchor(f"schema-{name}")}</h3>'
        f"{_paragraphs(schema.get('description', ''))}{kind}{_table('', rows)}</article>"
    )


def _fields(schema: Json) -> list[str]:
    required = schema.get("required", ())
    return [
        _row(name, each, each.get("description", ""), is_required=name in required)
        for name, each in schema.get("properties", {}).items()
    ]


def _row(name: str, schema: Json, description: str, *, is_required: bool) -> str:
    mark = ' <em title="required">*</em>' if is_required else ""
    default = schema.get("default")
    by_default = (
        "" if default in (None, [], {}, "") else f" By default <code>{escape(_compact(default))}</code>."
    )
    return (
        f"<tr><td><code>{escape(name)}</code>{mark}</td><td>{_type(schema)}</td>"
        f"<td>{_words(description)}{by_default}</td></tr>"
    )


def _table(title: str, rows: list[str]) -> str:
    if not rows:
        return ""
    return (f"<h4>{title}</h4>" if title else "") + f"<table>{''.join(rows)}</table>"


def _type(schema: Json) -> str:
    """Say in a few words what a value may be."""
    match schema:
        case {"$ref": str(target)}:
            name = target.removeprefix(REFERENCE)
            return f'<a href="#schema-{name}">{name}</a>'
        case {"anyOf": list(kinds)} | {"oneOf": list(kinds)} if "properties" not in schema:
            return " or ".join(dict.fromkeys(map(_type, kinds)))
        case {"enum": list(values)}:
            return " ".join(f"<code>{escape(_compact(each))}</code>" for each in values)
        case {"const": value}:
            return f"<code>{escape(_compact(value))}</code>"
    return _plain_type(schema)


def _plain_type(schema: Json) -> str:
    match schema:
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}{_limits(schema, 'Items', '')}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case {"type": list(kinds)}:
            return " or ".join(kinds)
        case {"type": str(kind)}:
            return f"{kind}{_form(schema)}{_limits(schema, 'Length', ' characters')}{_range(schema)}"
    return "anything"


def _form(schema: Json) -> str:
    form = schema.get("format") or schema.get("contentEncoding")
    return f" ({escape(form)})" if form else ""


def _limits(schema: Json, what: str, unit: str) -> str:
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if most is None:
        return "" if least is None else f", at least {least}{unit}"
    return f", at most {most}{unit}" if least is None else f", {least} to {most}{unit}"


def _range(schema: Json) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if most is None:
        return "" if least is None else f" from {least}"
    return f", {least} to {most}"


def _sample(text: str) -> str:
    return f"<pre>{escape(text, quote=False)}</pre>"


def _json(value: object, indent: str = "") -> str:
    """Write JSON for people: what fits into a line stands in one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= WIDTH or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    if isinstance(value, list):
        opening, closing = "[]"
        parts = [_json(each, deeper) for each in value]
    else:
        opening, closing = "{}"
        parts = [f"{json.dumps(name)}: {_json(each, deeper)}" for name, each in value.items()]
    inside = f",\n{deeper}".join(parts)
    return f"{opening}\n{deeper}{inside}\n{indent}{closing}"


def _compact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_words(part)}</p>" for part in text.split("\n\n") if part.strip())


def _words(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(" ".join(text.split()), quote=False))


def _method(method: str) -> str:
    return f'<b class="{method.lower()}">{method}</b>'


def _anchor(name: str) -> str:
    return f'<a class="self" href="#{name}" aria-label="link to this">#</a>'


def _title(name: str) -> str:
    return _TITLES.get(name) or name.replace("_", " ").capitalize()
