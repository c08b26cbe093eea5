"""The real program, run as a user runs it, in a home of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

from mail_proxy.instance import Instance
from mail_proxy_cli.main import run

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT = 60.0

PROGRAM = (sys.executable, "-m", "mail_proxy_cli")

Json = Any  # what --json prints: the tests look into it, and find out


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the program came to."""

    code: int
    out: str
    err: str

    def json(self) -> Json:
        """The JSON on standard output, of a run that succeeded."""
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(slots=True)
class Cli:
    """Calls ``mail-proxy`` with `home` as MAIL_PROXY_HOME; `environ` is all that it sees of the world."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environ = clean_environment(self.root) | self.environ

    @property
    def home(self) -> Path:
        return Path(self.environ["MAIL_PROXY_HOME"])

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run it to its end, with no terminal in sight."""
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**self.environ, **(env or {})},
            cwd=cwd or self.root,
            timeout=TIMEOUT,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str | Path, stdin: str | bytes = b"") -> str:
        """Run what must succeed; what it printed."""
        done = self(*arguments, stdin=stdin)
        assert done.code == 0, done.err
        return done.out

    def instance(self, name: str) -> Instance:
        """Make an instance, without a server."""
        made = Instance(name, self.home / name)
        made.create()
        made.config_file.touch()
        return made

    def end_servers(self) -> None:
        """End whatever was started in this home."""
        if (self.root / self.home).is_dir():
            self("stop", "--all", "--force")


class QuickCli(Cli):
    """The same program called within this process: many calls in the time of one. It starts no servers."""

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        out, err = io.BytesIO(), io.BytesIO()
        shown, told = (io.TextIOWrapper(stream, "utf-8", write_through=True) for stream in (out, err))
        code = self.run_with(shown, told, arguments, stdin, env, cwd)
        return Result(code, out.getvalue().decode(), err.getvalue().decode())

    def run_with(
        self,
        out: TextIO,
        err: TextIO,
        arguments: Sequence[str | Path],
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> int:
        """Run it with these for its standard output and error; the exit code."""
        content = io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin)
        given = io.TextIOWrapper(content, "utf-8")
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in {**self.environ, **(env or {})}.items():
                patch.setenv(name, value)
            patch.chdir(cwd or self.root)
            for name, stream in (("stdin", given), ("stdout", out), ("stderr", err)):
                patch.setattr(sys, name, stream)
            # In a thread, because the tests' own event loop lives in this one.
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(run, [str(word) for word in arguments]).result(TIMEOUT)

    def end_servers(self) -> None:
        """There are none."""


def clean_environment(root: Path) -> dict[str, str]:
    """An environment in which nothing of the developer's own counts."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE", "LANG", "LC_"))}
    return {
        **kept,
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "MAIL_PROXY_HOME": str(root / "home"),
        "XDG_STATE_HOME": str(root / "state"),
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / part) for part in ("", "cli", "repl")),
    }
