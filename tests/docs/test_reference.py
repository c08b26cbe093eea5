"""Nothing that a user can say, set, ask for or run into is missing from the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import AliasChoices, BaseModel

from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.routing import Endpoint
from mail_proxy.api.schemas import MessagesQuery
from mail_proxy.config import describe_settings
from mail_proxy.instance import Instance
from mail_proxy.services.inputs import AccountInput, TenantInput
from mail_proxy.services.message_inputs import AttachmentInput, MessageInput
from mail_proxy.settings import Setting
from mail_proxy_cli.errors import EXIT_CODES
from mail_proxy_cli.nodes import load
from scripts.reference import LEVELS, PAGES, PARTS, error_classes, renewed
from tests.support.cli import REPOSITORY

INPUTS = (MessageInput, AttachmentInput, AccountInput, TenantInput, MessagesQuery)


def page(name: str) -> str:
    return (PAGES / name).read_text("utf-8")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that lead to it."""
    for words, entries in LEVELS.values():
        for entry in entries:
            command = load(entry)
            yield f"{words} {entry.name}", command
            if isinstance(command, click.Group):
                for name, subcommand in command.commands.items():
                    yield f"{words} {entry.name} {name}", subcommand


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.name)
def test_what_the_program_tells_of_itself_is_up_to_date(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text == renewed(text), "run: python -m scripts.reference"


def test_every_made_part_has_its_place_on_a_page() -> None:
    made = re.findall(r"<!-- made: (\w+) -->", "".join(page(path.name) for path in PAGES.glob("*.md")))
    assert sorted(made) == sorted(PARTS)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_its_options_are_documented(words: str) -> None:
    section = page("cli.md").partition(f"### {words}\n")[2].partition("### ")[0]
    options = (each for each in COMMANDS[words].params if isinstance(each, click.Option) and not each.hidden)
    assert COMMANDS[words].help
    assert [
        name for each in options for name in (*each.opts, *each.secondary_opts) if name not in section
    ] == []


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_says_what_it_is_for(words: str) -> None:
    options = (each for each in COMMANDS[words].params if isinstance(each, click.Option) and not each.hidden)
    assert [each.opts for each in options if not each.help] == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_every_endpoint_is_documented(endpoint: Endpoint) -> None:
    section = page("http-api.md").partition(f"### {endpoint.method} {endpoint.path}\n")[2]
    assert re.match(rf"\n\*{endpoint.level.value} level\.\* [A-Z]", section)


@pytest.mark.parametrize("model", INPUTS, ids=lambda model: model.__name__)
def test_every_field_that_a_request_may_have_is_documented(model: type[BaseModel]) -> None:
    words = set(re.findall(r"`(\w+)`", page("http-api.md")))
    assert set(names_of(model)) - words == set()


def names_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            yield from map(str, field.validation_alias.choices)
        else:
            yield str(field.alias or name)


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.key)
def test_every_setting_is_documented(setting: Setting) -> None:
    [row] = [line for line in page("settings.md").splitlines() if line.startswith(f"| `{setting.key}`")]
    assert all(f"`{name}`" in row for name in setting.env)
    assert setting.doc in row


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.__name__)
def test_every_error_is_documented_with_its_exit_code(kind: type[Exception]) -> None:
    assert kind in EXIT_CODES
    assert f"| `{kind.__name__}` |" in page("errors.md")


def test_every_file_of_an_instance_is_documented(tmp_path: Path) -> None:
    instance = Instance("name", tmp_path)
    paths = (
        instance.config_file, instance.database, instance.token_file, instance.key_file, instance.node_file,
        instance.pid_file, instance.log_file, instance.attachments, instance.sandbox,
    )  # fmt: skip
    assert [path.name for path in paths if f"| `{path.name}" not in page("instances.md")] == []


def test_every_decision_says_its_context_the_decision_and_its_price() -> None:
    pages = sorted((REPOSITORY / "docs" / "adr").glob("0*.md"))
    assert [path.name[:4] for path in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for path in pages:
        headings = re.findall(r"^#+ .+$", path.read_text("utf-8"), re.MULTILINE)
        assert headings[0].startswith(f"# {path.name[:4]}: ")
        assert headings[1:] == ["## Context", "## Decision", "## Price"]


def test_decisions_that_the_code_refers_to_exist() -> None:
    sources = [path for root in ("mail_proxy", "cli", "repl") for path in (REPOSITORY / root).rglob("*.py")]
    named = {
        number for path in sources for number in re.findall(r"docs/adr/(\d{4})", path.read_text("utf-8"))
    }
    assert named
    assert [n for n in sorted(named) if not list((REPOSITORY / "docs" / "adr").glob(f"{n}-*.md"))] == []
