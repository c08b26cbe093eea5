"""schemathesis against the real server: what the description says holds, whoever asks whatever.

Every check that schemathesis has is on. What it finds and the contract wants is named, each with its reason,
in tests/support/schemathesis_hooks.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mail_proxy.api.app import ENDPOINTS
from tests.support.api import Json
from tests.support.server import REPOSITORY, Server

CONFIGURATION = REPOSITORY / "tests" / "support" / "schemathesis.toml"
PHASES = ("examples", "coverage", "fuzzing", "stateful")
NO_THROTTLE = {"GMP_AUTH_FAILURE_LIMIT": "0"}
"""Wrong tokens by the hundred are to get 401 here; that they get 429 is tested in test_api_throttle.py."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A server with what the description's examples name; `key` is that of the tenant `acme`."""

    server: Server
    key: str


@pytest.fixture
def scene(tmp_path: Path, database: str | None) -> Iterator[Scene]:
    with Server(tmp_path, database_url=database, settings=NO_THROTTLE) as server:
        client = server.client()
        key = client.post("/tenant", {"id": "acme"})["api_key"]
        sender = {"host": "sandbox", "from_address": "shop@example.com"}
        client.post("/account", {"id": "main", "tenant_id": "acme", **sender})
        client.post("/account", {"id": "default", **sender})
        order = {
            "id": "order-1",
            "from": "shop@example.com",
            "to": "ann@example.net",
            "subject": "s",
            "body": "",
        }
        client.post("/commands/add-messages", {"messages": [order | {"tenant_id": "acme"}]})
        yield Scene(server, key)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str | None:
    """The DSN of a fresh PostgreSQL, or None for the instance's own SQLite."""
    engine: str = request.param
    return request.getfixturevalue("postgres_url") if engine == "postgres" else None


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("level", "database"), [("admin", "postgres"), ("tenant", "sqlite")], indirect=["database"]
)
def test_schemathesis_finds_nothing_on_either_level(scene: Scene, level: str, tmp_path: Path) -> None:
    token = scene.server.token if level == "admin" else scene.key
    output, report = run_schemathesis(scene.server.url, token, tmp_path)
    assert report["failures"] == [], output
    assert report["exit_code"] == 0, output
    assert report["operations"]["tested"] == len(ENDPOINTS) - 1  # not the description, which it has loaded
    assert {name: report["phases"][name]["status"] for name in PHASES} == dict.fromkeys(PHASES, "success")
    assert "unexpected error" not in scene.server.log


def run_schemathesis(url: str, token: str, directory: Path) -> tuple[str, Json]:
    """Run all its phases; what it printed, and its report."""
    report = directory / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
            *(f"{url}/openapi.json", "--header", f"X-API-Token: {token}", "--no-color"),
            *("--phases", ",".join(PHASES), "--report", "json", "--report-json-path", str(report)),
        ],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    return done.stdout, json.loads(report.read_text())
