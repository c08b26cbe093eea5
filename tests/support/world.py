"""The world that the examples of the commands are written for: they run in it word for word.

Instance `myserver` with tenant `acme` and its account `main`; messages `order-1`, which is sent, and
`order-2`, which waits for tomorrow, both in batch `spring`; storage `files`; in the working directory two
messages as files.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from mail_proxy.config import save_settings
from mail_proxy.daemon.process import is_locked, running
from mail_proxy.encryption import KEY_VARIABLE, generate_key
from tests.support.cli import Cli, QuickCli, Result
from tests.support.tree import INSTANCE, TENANT
from tests.support.waiting import until

EML = "From: shop@acme.example\nTo: ann@customer.example\nSubject: {}\n\nHello.\n"


class World:
    """One instance, whose server runs or not; `settle` makes it so again after a command that changed it."""

    def __init__(self, root: Path, *, is_running: bool, database_url: str | None = None) -> None:
        self.is_running = is_running
        self.quick = QuickCli(root)
        self.cli = Cli(root, self.quick.environ)
        self.instance = self.quick.instance(INSTANCE)
        settings: dict[str, object] = {"port": 0}
        save_settings(
            self.instance.config_file, settings | ({"database_url": database_url} if database_url else {})
        )
        if database_url:  # nobody makes a key for a database that others may share
            self.use_key(generate_key())
        for name in ("hello", "invoice"):
            (root / f"{name}.eml").write_text(EML.format(name))

    def run(self, line: str, *more: str, stdin: str = "") -> Result:
        """Run a line as a shell would, in this process, with nobody to answer questions."""
        program, *words = shlex.split(line)
        assert program == "mail-proxy"
        return self.quick(*words, *more, stdin=stdin)

    def settle(self) -> None:
        """Start or stop the server, as it is meant to be."""
        if self.instance.exists() and is_locked(self.instance) != self.is_running:
            self.cli.ok("start" if self.is_running else "stop", INSTANCE)

    def keep(self) -> None:
        """Make a copy of the instance, for `restore`; without a server, and with a SQLite database."""
        shutil.copytree(self.quick.home, self.quick.root / "kept")

    def restore(self) -> None:
        """Have all as it was when it was kept."""
        for copy in self.quick.root.glob("*.db"):
            copy.unlink()
        shutil.rmtree(self.quick.home)
        shutil.copytree(self.quick.root / "kept", self.quick.home)

    def use_key(self, key: str) -> None:
        """Give all that follows an encryption key by the environment."""
        for each in (self.quick, self.cli):
            each.environ[KEY_VARIABLE] = key

    def wait_until_served(self) -> None:
        """Wait for a server that was started in the foreground."""
        until(lambda: running(self.instance), "a server")

    def wait_for(self, tenant: str, message: str, status: str) -> None:
        """Wait until a message has come to this."""
        show = (INSTANCE, tenant, "messages", "show", message, "--json")
        until(lambda: self.quick(*show).json()["status"] == status, f"{message} to be {status}")

    def __enter__(self) -> Self:
        try:
            self._fill()
            self.settle()
        except BaseException:
            self.cli.end_servers()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cli.end_servers()

    def _fill(self) -> None:
        tenant = (INSTANCE, TENANT)
        self.quick.ok(INSTANCE, "tenants", "add", TENANT, "--name", "Acme Ltd")
        self.quick.ok(*tenant, "accounts", "add", "main", "--host", "sandbox")
        files = self.quick.root / "files"
        files.mkdir()
        self.quick.ok(*tenant, "storages", "add", "files", "--protocol", "local", "--base-path", files)
        self.quick.ok(*tenant, "send", "hello.eml", "--id", "order-1", "--batch", "spring")
        self.quick.ok(*tenant, "send", "invoice.eml", "--id", "order-2", "--batch", "spring", "--at", "+1d")
        self.cli.ok("start", INSTANCE)
        self.wait_for(TENANT, "order-1", "sent")
