"""The program itself, and the directory that holds all instances."""

from __future__ import annotations

import os
import platform
import stat
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mail_proxy import __version__
from mail_proxy.errors import MailProxyError
from mail_proxy.instance import HOME_VARIABLE, PRIVATE_DIRECTORY, Instance
from mail_proxy.model.findings import Finding, failure, note, ok, warning
from mail_proxy_cli.context import read_context
from mail_proxy_cli.scope import Scope

EXTRAS = {
    "speed": (("uvloop", "httptools"), "the server answers faster with them"),
    "cloud": (("obstore",), "storages on S3, Google Cloud Storage and Azure need it"),
}

MANUAL = Path("share", "man", "man1", "mail-proxy.1")


def check_installation(scope: Scope, *, fix: bool) -> Iterator[Finding]:
    """The program, what may be installed with it, the home directory, the context."""
    where = Path(__file__).parent.parent
    yield ok("version", f"mail-proxy {__version__}, Python {platform.python_version()}, in {where}")
    for name, (modules, use) in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            yield note(
                "extras",
                f"{' and '.join(missing)} not installed: {use}",
                f"pip install 'mail-proxy[{name}]'",
            )
        else:
            yield ok("extras", f"{' and '.join(modules)} installed")
    if not (sys.prefix / MANUAL).exists():
        yield note(
            "manual", "the man pages are not installed here", "a wheel brings them: pip install mail-proxy"
        )
    yield from _check_home(scope.home, fix=fix)
    yield from _check_context(scope)


def _check_home(home: Path, *, fix: bool) -> Iterator[Finding]:
    try:
        status = home.stat()
    except FileNotFoundError:
        yield note(
            "home", f"{home} is not there yet", "mail-proxy start NAME makes it, and an instance in it"
        )
        return
    except OSError as error:
        yield failure("home", f"{home} cannot be looked at: {error.strerror}", _move_home())
        return
    if not home.is_dir() or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield failure("home", f"{home} cannot be written", _move_home())
        return
    if status.st_uid not in (os.geteuid(), 0):
        yield warning("home", f"{home} belongs to another user (uid {status.st_uid})", _move_home())
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~PRIVATE_DIRECTORY == 0:
        yield ok("home", f"{home} is yours alone")
    elif fix:
        home.chmod(mode & PRIVATE_DIRECTORY)
        yield ok("home", f"{home} was open to others (mode {mode:04o}); it is now {PRIVATE_DIRECTORY:04o}")
    else:
        yield warning("home", f"{home} is open to others (mode {mode:04o})", "doctor --fix, or chmod 700")


def _move_home() -> str:
    return f"make it writable for you, or name another directory with {HOME_VARIABLE}"


def _check_context(scope: Scope) -> Iterator[Finding]:
    """What 'use' or the environment has chosen must be there."""
    try:
        context = read_context(scope.environ)
        if context.instance is None:
            return
        is_there = Instance(context.instance, scope.home / context.instance).exists()
    except MailProxyError as error:
        yield warning("context", str(error))
        return
    if is_there:
        yield ok("context", f"{context} is chosen by {context.source}")
    else:
        yield warning(
            "context",
            f"there is no instance '{context.instance}', which {context.source} has chosen",
            "mail-proxy use another one, or mail-proxy use --clear",
        )
