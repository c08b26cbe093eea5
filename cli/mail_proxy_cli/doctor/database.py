"""An instance's database and its key: looked at, never migrated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mail_proxy.encryption import FoundKey, find_key
from mail_proxy.errors import KeyMismatch
from mail_proxy.model.findings import Finding, failure, note, ok, warning
from mail_proxy_cli.errors import describe
from mail_proxy_cli.opening import wait_for
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    from mail_proxy.config import Config
    from mail_proxy.runtime import Runtime
    from mail_proxy.upkeep import DatabaseState

NOTABLE = 2.0
"""Seconds by which two clocks may differ unmentioned."""


def look_at_database(scope: Scope, config: Config) -> DatabaseState | Finding:
    """Read the whole database, or tell why it cannot be."""
    try:
        from mail_proxy.upkeep import examine

        return wait_for(examine(config, scope.instance))
    except Exception as error:  # noqa: BLE001 - a patient may have anything
        return failure("database", describe(error)[0])


def is_usable(state: DatabaseState) -> bool:
    """Whether it is as this program needs it, so that it can be opened without a change."""
    return state.version == state.newest and not state.missing and not state.problems


def check_database(name: str, state: DatabaseState) -> Iterator[Finding]:
    """Its version and its soundness."""
    where = f"{state.where} ({state.server})"
    for problem in state.problems:
        yield failure("integrity", f"{where}: {problem}", "go back to a backup")
    if state.version is None:
        yield note("database", f"{where} is empty: the first start fills it")
    elif state.version > state.newest:
        yield failure(
            "version",
            f"{where} has schema version {state.version}, this mail-proxy knows up to {state.newest}",
            "upgrade mail-proxy: a newer one has written it",
        )
    elif state.missing:
        yield warning(
            "version",
            f"{where} has schema version {state.version}, this mail-proxy works with {state.newest}",
            f"mail-proxy {name} db upgrade, or the next start, takes the missing steps",
        )
    elif not state.problems:
        yield ok("database", f"{where} is sound, schema version {state.version}")


def check_key(scope: Scope, state: DatabaseState, fault: Exception | None) -> Iterator[Finding]:
    """The key; `fault`: what came of opening the database with it, None for nothing bad."""
    file = scope.instance.key_file if state.dialect == "sqlite" else None
    try:
        key = find_key(scope.environ, file)
    except KeyMismatch as error:
        yield failure("key", str(error))
        return
    if isinstance(fault, KeyMismatch):
        yield failure("key", str(fault))
    elif fault is not None:
        yield failure("database", describe(fault)[0])
    elif not is_usable(state):
        yield _unmatched(key, state)
    elif key is None:
        yield note(
            "key",
            "there is no key, and no secret is stored: none can be",
            "'mail-proxy generate-key' makes one, for MAIL_PROXY_ENCRYPTION_KEY on every node",
        )
    else:
        yield ok("key", f"the key from {key.origin} is the one that the database was written with")


def _unmatched(key: FoundKey | None, state: DatabaseState) -> Finding:
    if key is not None:
        return note("key", f"there is a key ({key.origin}); whether it is this database's was not checked")
    if state.version is None and state.dialect == "sqlite":
        return ok("key", "there is no key yet: the first start makes one")
    return note("key", "there is no key; whether this database needs one was not checked")


def check_clock(runtime: Runtime) -> Iterator[Finding]:
    """This machine's clock against that of the database, by which the nodes work."""
    if not runtime.config.uses_postgres:
        return
    ahead = time.time() - runtime.clock.now()
    if abs(ahead) < NOTABLE:
        yield ok("clock", "this machine's clock and the database's agree")
    else:
        way = "ahead of" if ahead > 0 else "behind"
        yield warning(
            "clock",
            f"this machine's clock is {abs(ahead):.0f} s {way} the database's",
            "mail-proxy goes by the database's; let the machines set their clocks (NTP)",
        )
