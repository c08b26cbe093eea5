"""``python -m scripts.newcomer``: walk the way of somebody new, and write ``docs/newcomer.md``.

The program is installed with pip into an environment of its own, and then used at a real terminal. What the
page shows is what was on the screen; paths, ports, ids and keys, which differ each time, are made alike. A
test walks it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.cli import Cli
from tests.support.newcomer import PASSWORD, USER, Walk
from tests.support.smtp_server import SmtpServer

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "newcomer.md"

COMMANDS = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install --quiet ./mail-proxy")
INSTALL = "\n".join(f"$ {command}" for command in COMMANDS)

TEXT = """\
# The first message

What somebody saw who had never used mail-proxy, from `pip install` to a delivered message, without opening
these pages: each step says what the next one is. What you see here was captured from a terminal; a program
walks this way again whenever the tests run. Only paths, ports, ids, keys and times are made up: they are
others at each walk.

There was a mail server on this machine that wants STARTTLS and a login, with a certificate of a private
authority: what a company has inside. `ca.pem` is the certificate of that authority.

## Installing

A copy of the project lies in `mail-proxy`.

```text
{install}
```

## A server

```text
{start}
```

The server runs in the background now.

## A tenant

The first id had a space in it, which was refused at once; what was typed stood there to be mended.

```text
{tenant}
```

## An account

The provider was chosen with Tab; the host was another one, as if a relay stood before it. The login was
tried before anything was written: first the server's certificate was not one that the system knows, then
the password was wrong.

```text
{account}
```

## A message

```text
{send}
```

`sent` means that the mail server has taken it. It had: the message came to it over TLS, after a login.

```text
{stop}
```

Now applications may hand in messages over HTTP, with the tenant's API key: see [the tutorial](tutorial.md).
"""


def page(screens: Mapping[str, str]) -> str:
    """The page with what each stretch of the walk showed."""
    return TEXT.format_map(screens)


async def walk(root: Path) -> dict[str, str]:
    """Walk through all of it in an empty home."""
    cli = Cli(root)
    del cli.environ["PYTHONPATH"]
    cli.environ["VIRTUAL_ENV_DISABLE_PROMPT"] = "1"
    cli.environ["PIP_QUIET"] = "2"  # not what this machine's own settings of pip have to say
    (root / "mail-proxy").symlink_to(ROOT)
    async with SmtpServer(tls="starttls", users={USER: PASSWORD}).running() as server:
        (root / "ca.pem").write_text(server.ca_pem)
        screens = await asyncio.to_thread(Walk(cli, server.port).go, COMMANDS)
        if [mail.user for mail in server.received] != [USER] or screens["install"] != INSTALL:
            sys.exit(f"it did not go well:\n{screens['install']}\n{screens['send']}")
    return screens


def main() -> None:
    """Write the page."""
    logging.disable()  # the mail server tells each handshake that was broken off
    root = Path(tempfile.mkdtemp(prefix="me-"))
    try:
        screens = asyncio.run(walk(root))
    finally:
        shutil.rmtree(root)
    PAGE.write_text(page(screens), "utf-8")
    print(os.path.relpath(PAGE))


if __name__ == "__main__":
    main()
