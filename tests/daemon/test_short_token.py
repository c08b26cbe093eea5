"""An admin token that could be guessed is accepted, and warned of (contract: security.md, Tokens)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.server import Server


@pytest.mark.parametrize(("length", "is_warned"), [(1, True), (31, True), (32, False)])
def test_a_token_under_32_characters(tmp_path: Path, length: int, is_warned: bool) -> None:
    with Server(tmp_path / "home", settings={"GMP_API_TOKEN": "x" * length}) as server:
        assert server.client("x" * length).get("/tenants")["ok"] is True
        assert ("the admin token has fewer than 32 characters" in server.log) is is_warned
