"""``python -m scripts.schemas``: write ``docs/reference/schemas/`` and the page that lists them.

A JSON Schema for what each command prints with ``--json``. A test fails when a file is out of date, and
another one holds real output against them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mail_proxy.model.messages import Status
from scripts.shapes import (
    ACCOUNT,
    ACTIVITY,
    BOUNCE,
    COMMAND,
    EVENT,
    EXPLANATION,
    FINDING,
    MESSAGE,
    QUEUE,
    SERVER,
    SETTING,
    STORAGE,
    TENANT,
    TRIAL,
    UNTOLD,
    Shape,
    counts,
    flag,
    listing,
    number,
    of,
    one_of,
    record,
    text,
    whole,
)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "json.md"
DIRECTORY = PAGE.with_name("schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

GLOBAL, INSTANCE, TENANT_LEVEL = "mail-proxy", "mail-proxy <instance>", "mail-proxy <instance> <tenant>"

SHAPES: dict[str, Shape] = {
    f"{GLOBAL} list": listing("The instances, by name.", record("One instance.", SERVER, optional=["error"])),
    f"{GLOBAL} status": record(
        "One instance's server and queue.",
        {"running": flag("Whether it has a server."), **SERVER, **QUEUE},
        optional=["error", *QUEUE],
    ),
    f"{GLOBAL} doctor": record(
        "What was looked at.",
        {
            "level": FINDING["level"] | {"description": "The worst of all findings."},
            "findings": listing("All of them, good ones too.", record("One finding.", FINDING)),
        },
    ),
    f"{GLOBAL} current": record(
        "The context.",
        {
            "instance": text("The instance that may be left out.", null=True),
            "tenant": text("The tenant that may be left out.", null=True),
            "source": text("Where that was said."),
        },
    ),
    f"{INSTANCE} info": record(
        "The instance.",
        {
            **{key: shape for key, shape in SERVER.items() if key != "database"},
            "version": text("The version of this program."),
            "database": text("Where its database is."),
            "database_kind": SERVER["database"],
            "active": QUEUE["active"],
            "tenants": whole("How many tenants there are."),
            "accounts": whole("How many accounts they have."),
            "pending_messages": QUEUE["pending_messages"],
            "nodes": listing("The servers on its database.", text("The name of one.")),
            "directory": text("The instance's directory."),
            "settings": of(
                "object",
                "The settings that are not the default, by name; stars for secrets.",
                additionalProperties={"type": "string"},
            ),
        },
        optional=["error"],
    ),
    f"{INSTANCE} stats": record(
        "How many messages there are.",
        {
            "messages": counts("By status.", Status),
            "waiting": listing(
                "What waits for which account.",
                record(
                    "The messages of an account in one status.",
                    {
                        "tenant_id": text("The tenant."),
                        "account_id": text("The account."),
                        "status": one_of(Status, "Their status."),
                        "count": whole("How many."),
                    },
                ),
            ),
        },
    ),
    f"{INSTANCE} top": record("What the instance is doing.", SERVER | ACTIVITY, optional=["error"]),
    f"{INSTANCE} reports list": listing(
        "Events that applications were not told of.", record("One event.", UNTOLD)
    ),
    f"{INSTANCE} tenants list": listing("The tenants, by id.", record("One tenant.", TENANT)),
    f"{INSTANCE} tenants show": record("The tenant.", TENANT),
    f"{INSTANCE} db version": record(
        "The state of the database.",
        {
            "database": text("Where it is."),
            "engine": text("What it is, with its version."),
            "version": whole("The version of its schema; null if it is empty.", null=True),
            "newest": whole("The version that this program makes of it."),
            "missing": listing("What is to be done for that.", text("One step.")),
            "problems": listing("What is wrong with it.", text("One of them.")),
        },
    ),
    f"{INSTANCE} command-log list": listing(
        "What was asked of the API, the newest first.", record("One command.", COMMAND)
    ),
    f"{INSTANCE} config show": listing("The settings.", record("One setting.", SETTING)),
    f"{INSTANCE} config bounce": record("Where bounces are collected.", BOUNCE),
    f"{TENANT_LEVEL} info": record(
        "The tenant and its queue.",
        {
            **TENANT,
            "accounts": listing("Its accounts.", text("The id of one.")),
            "messages": counts("How many messages it has, by status.", Status),
            "pending_messages": QUEUE["pending_messages"],
        },
    ),
    f"{TENANT_LEVEL} send": listing(
        "What became of the files, in their order.",
        record(
            "One file.",
            {
                "file": text("The file."),
                "id": text("The message's id; null if it was not queued.", null=True),
                "status": one_of(
                    ("queued", "failed", *Status), "With --wait, where the message was in the end."
                ),
                "error": text("What went wrong.", null=True),
            },
        ),
    ),
    f"{TENANT_LEVEL} messages list": listing("Messages, the newest first.", record("One message.", MESSAGE)),
    f"{TENANT_LEVEL} messages show": record(
        "The message.",
        {
            **MESSAGE,
            "message": of("object", "Its content as it was handed in, without files; of a raw one the size."),
        },
    ),
    f"{TENANT_LEVEL} messages events": listing("What happened to it, in order.", record("One event.", EVENT)),
    f"{TENANT_LEVEL} messages explain": record("Why it waits, or where it is.", EXPLANATION),
    f"{TENANT_LEVEL} messages receipts": listing("Its PEC receipts.", text("One receipt.")),
    f"{TENANT_LEVEL} accounts list": listing("The accounts, by id.", record("One account.", ACCOUNT)),
    f"{TENANT_LEVEL} accounts show": record("The account.", ACCOUNT),
    f"{TENANT_LEVEL} accounts test": record(
        "How the logins went.",
        {
            "smtp": record("The SMTP server's.", TRIAL),
            "imap": record("The mailbox's, if it has one.", TRIAL, null=True),
        },
    ),
    f"{TENANT_LEVEL} storages list": listing("The storages, by name.", record("One storage.", STORAGE)),
    f"{TENANT_LEVEL} storages show": record("The storage.", STORAGE),
    f"{TENANT_LEVEL} storages test": record(
        "How the storage was tried.",
        {
            "ok": flag("Whether all worked."),
            "steps": listing(
                "What was tried, in order.",
                record(
                    "One step.",
                    {
                        "step": text("Which."),
                        "ok": flag("Whether it worked."),
                        "error": text("Why it did not.", null=True),
                        "seconds": number("How long it took."),
                    },
                ),
            ),
            "left": text("What was written for it and may still be there.", null=True),
        },
    ),
}

INTRODUCTION = """\
# JSON

What commands print with `--json`: readable JSON in UTF-8 on standard output, and nothing else there. The keys
are those of the [HTTP API](http-api.md); none of those below is ever left out, unless it says *if there is*.
An empty listing is `[]`. Later versions may add keys, and take none away.

Each has a [JSON Schema](https://json-schema.org/) of this version, with a sentence for each key, which the
tests hold real output against. One value is taken out by, for instance,
`mail-proxy myserver tenants show acme --json | jq .active`.
"""


def name_of(command: str) -> str:
    """The name of a command's schema: its words, and ``tenant-info`` for a tenant's ``info``."""
    words = [word for word in command.removeprefix(GLOBAL).split() if not word.startswith("<")]
    return "-".join(["tenant", *words] if command == f"{TENANT_LEVEL} info" else words)


def files() -> dict[Path, str]:
    """Everything this script writes, by path."""
    made = {DIRECTORY / f"{name_of(command)}.json": _schema(command) for command in SHAPES}
    return made | {PAGE: "\n".join(_page())}


def _schema(command: str) -> str:
    schema = {"$schema": DIALECT, "title": f"{command} --json", **SHAPES[command]}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _page() -> Iterator[str]:
    yield INTRODUCTION
    for command, shape in SHAPES.items():
        name = name_of(command)
        link = f"{{download}}`{name}.json <schemas/{name}.json>`"
        yield f"## {command}\n\n{shape['description']} Schema: {link}\n"
        yield from _table(shape["items"] if shape["type"] == "array" else shape)


def _table(shape: Shape) -> Iterator[str]:
    properties = shape.get("properties")
    if properties is None:
        return
    yield "| key | | |\n|---|---|---|"
    for key, inner in properties.items():
        doc = inner["description"] + ("" if key in shape["required"] else " *If there is.*")
        yield f"| `{key}` | {_type(inner)} | {doc} |"
    yield ""


def _type(shape: Shape) -> str:
    match shape:
        case {"enum": choices}:
            return ", ".join("null" if choice is None else f"`{choice}`" for choice in choices)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": [kind, "null"]}:
            return f"{kind} or null"
        case {"type": kind}:
            return str(kind)
    return "any"


def main() -> None:
    made = files()
    DIRECTORY.mkdir(exist_ok=True)
    for old in DIRECTORY.iterdir():
        if old not in made:
            old.unlink()
    for path, content in made.items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
