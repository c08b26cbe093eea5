"""What is in the command log, as the API tells it."""

from __future__ import annotations

import json

from tests.support.api import Api, Json


async def logged(api: Api, query: str = "") -> list[Json]:
    """What the API tells of the log, newest first."""
    answer = await api.get(f"/command-log{query}")
    assert answer.status == 200, answer.text
    commands: list[Json] = answer.body["commands"]
    return commands


async def exported(api: Api, query: str = "") -> list[Json]:
    answer = await api.get(f"/command-log/export{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]
