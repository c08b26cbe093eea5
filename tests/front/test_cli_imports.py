"""Help and completion answer at once: they import neither libraries nor the modules that do the work."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.cli import Cli, QuickCli
from tests.support.tree import leaves

HEAVY = {
    *("asyncio", "concurrent", "email", "http", "logging", "multiprocessing", "socket", "sqlite3", "ssl"),
    *("subprocess", "unittest", "urllib.request"),
    *("aiosmtplib", "aiosqlite", "asyncpg", "cryptography", "email_validator", "httpx2", "imapclient"),
    *("obstore", "prometheus_client", "prompt_toolkit", "psutil", "pydantic", "rich", "starlette", "uvicorn"),
}

PROGRAM = """
import io, json, sys
from contextlib import redirect_stdout
from mail_proxy_cli.grammar import root
from mail_proxy_cli.main import run
from mail_proxy_cli.scope import Scope
from mail_proxy_cli.shells import answer

asked, heavy = json.loads(sys.argv[1])
culprits = {}
for words in asked:
    with redirect_stdout(io.StringIO()) as help:
        code = run([*words, "--help"])
    assert code == 0 and "Usage: " in help.getvalue(), words
    offers = answer("bash", {"COMP_LINE": " ".join(["mail-proxy", *words, "--"])}, root, Scope())
    assert "=--help" in offers, words
    for name in heavy:
        if name in sys.modules:
            culprits.setdefault(name, " ".join(words))
print(json.dumps(culprits))
"""


def test_help_and_completion_import_nothing_heavy(quick: QuickCli) -> None:
    """Whatever the command: its module is imported, and what that needs at once."""
    quick.instance("myserver")
    asked = [[], ["myserver"], ["myserver", "acme"], *(leaf.words for leaf in leaves())]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([asked, sorted(HEAVY)])],
        env=Cli(quick.root).environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
