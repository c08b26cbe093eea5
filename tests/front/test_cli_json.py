"""What ``--json`` prints is as its schema says: real output, of every command that has the option."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from scripts.schemas import DIRECTORY, PAGE, SHAPES, files, name_of
from tests.support.cli import QuickCli
from tests.support.tree import INSTANCE, TENANT, Leaf, leaves
from tests.support.world import EML, World

LEAVES = [leaf for leaf in leaves() if leaf.has_option("--json")]

# What is said after a command's words, where that is not what stands in its example.
CALLS: dict[str, list[tuple[str, ...]]] = {
    "list": [()],
    "doctor": [(), ("myserver", "--no-dns")],
    "current": [()],
    "myserver top": [(), ("--tenant", "acme")],
    "myserver reports list": [(), ("--tenant", "rich")],
    "myserver tenants list": [()],
    "myserver tenants show": [("acme",), ("rich",)],
    "myserver config show": [()],
    "myserver config bounce": [("--show",)],
    "myserver command-log list": [()],
    "myserver acme send": [("hello.eml",), ("hello.eml", "missing.eml")],
    "myserver acme messages list": [()],
    "myserver acme messages show": [("order-1",), ("order-2",), ("refused",)],
    "myserver acme messages explain": [("order-1",), ("order-2",), ("refused",)],
}
MAY_FAIL = {"doctor", "myserver acme send"}
"""What prints JSON also when it fails, and then ends with 1."""

EMPTY = {"myserver acme messages receipts"}
"""What has nothing to show yet."""

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def rich(world: World) -> World:
    """The world of the examples, with a message that failed and a tenant that has all one can have."""
    tenant = (INSTANCE, "rich")
    refused = EML.format("refused").replace("ann@customer.example", "reject@sandbox")
    world.quick.ok(INSTANCE, TENANT, "send", "-", "--id", "refused", stdin=refused)
    world.quick.ok(
        *(INSTANCE, "tenants", "add", "rich", "--base-url", "http://127.0.0.1:1", "--auth-method", "basic"),
        *("--auth-user", "bot", "--auth-password", "sesame", "--rate-limit-daily", "5"),
    )
    world.quick.ok(
        *(*tenant, "accounts", "add", "certified", "--host", "127.0.0.1", "--port", "1", "--user", "bot"),
        *("--password-stdin", "--pec", "--imap-host", "127.0.0.1", "--limit-day", "9"),
        stdin="sesame\n",
    )
    world.quick.ok(*tenant, "accounts", "add", "main", "--host", "sandbox")
    world.quick.ok(*tenant, "suspend", "--batch", "spring")
    world.quick.ok(
        *tenant, "send", "hello.eml", "--id", "held", "--batch", "spring", "--account", "certified"
    )
    world.quick.ok(*tenant, "send", "-", "--id", "untold", "--account", "main", stdin=refused)
    if world.is_running:
        world.quick.ok(INSTANCE, "run-now")
        world.wait_for(TENANT, "refused", "error")
        world.wait_for("rich", "untold", "error")
    return world


def command_of(leaf: Leaf) -> str:
    words = [{INSTANCE: "<instance>", TENANT: "<tenant>"}.get(word, word) for word in leaf.words]
    return " ".join(["mail-proxy", *words])


def test_every_command_with_the_option_has_a_schema() -> None:
    """And there are no others."""
    assert {command_of(leaf) for leaf in LEAVES} == set(SHAPES)


def test_the_files_are_up_to_date() -> None:
    """``python -m scripts.schemas`` would change nothing."""
    assert {path: path.read_text("utf-8") for path in (*DIRECTORY.iterdir(), PAGE)} == files()


@pytest.mark.parametrize("command", SHAPES)
def test_a_schema_is_one_and_says_something_about_each_key(command: str) -> None:
    """Objects of known keys have no others; each key has a sentence."""
    schema = json.loads((DIRECTORY / f"{name_of(command)}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    for inner in _objects(schema):
        assert inner["additionalProperties"] is False
        assert inner["required"]
        for key, value in inner["properties"].items():
            assert value["description"].endswith("."), key


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_output_is_as_the_schema_says(rich: World, leaf: Leaf) -> None:
    """Whatever the state of the server, on either engine."""
    schema = json.loads((DIRECTORY / f"{name_of(command_of(leaf))}.json").read_text("utf-8"))
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    printed = []
    for words in _calls(leaf):
        done = rich.quick(*words, "--json")
        assert done.code in ((0, 1) if leaf.name in MAY_FAIL else (0,)), done.err
        printed.append(json.loads(done.out))
        validator.validate(printed[-1])
    assert any(printed) or leaf.name in EMPTY or not rich.is_running


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("myserver", "reports", "list"),
        ("myserver", "command-log", "list"),
        ("myserver", "acme", "messages", "list"),
        ("myserver", "acme", "accounts", "list"),
        ("myserver", "acme", "storages", "list"),
    ],
)
def test_an_empty_listing_is_an_empty_list(quick: QuickCli, words: tuple[str, ...]) -> None:
    """And nothing else, on either stream."""
    if words != ("list",):
        quick.instance("myserver")
        quick.ok("myserver", "tenants", "add", "acme")
    done = quick(*words, "--json")
    assert (done.code, done.out, done.err) == (0, "[]\n", "")


def _calls(leaf: Leaf) -> Iterator[tuple[str, ...]]:
    """The command in all forms in which it is tried: also with the tenant that has everything."""
    assert leaf.example is not None
    of_example = tuple(word for word in leaf.example.split()[1 + len(leaf.words) :] if word != "--json")
    for more in CALLS.get(leaf.name, [of_example]):
        yield (*leaf.words, *more)
    if leaf.words[-1] in ("list", "info"):
        yield tuple("rich" if word == TENANT else word for word in leaf.words)
    if leaf.name == "myserver acme messages explain":
        yield (INSTANCE, "rich", "messages", "explain", "held")


def _objects(schema: Schema) -> Iterator[Schema]:
    if "properties" in schema:
        yield schema
    for inner in (*schema.get("properties", {}).values(), schema.get("items")):
        if inner is not None:
            yield from _objects(inner)
