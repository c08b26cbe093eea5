"""Every secret of a database, encrypted anew with another key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mail_proxy.encryption import Vault
from mail_proxy.errors import Conflict, KeyMismatch
from mail_proxy.model.queue import NodeInfo
from mail_proxy.store.database import Call, Database, Many, Row, Work
from mail_proxy.store.instance_settings import KEY, PLACE, SECRET
from mail_proxy.store.key_check import KEY_CHECK
from mail_proxy.store.queries import load
from mail_proxy.store.rows import account_place, compact, tenant_place
from mail_proxy.store.settings import alive_nodes
from mail_proxy.store.storages import storage_place

SQL = load("rekey")
SETTINGS = load("settings")

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows with secrets: how they are read and written, what names one, and where its secrets belong."""

    read: str
    write: str
    key: tuple[str, ...]
    secrets: tuple[str, ...]
    place: Callable[[Row, str], str]


_KINDS = (
    _Kind(
        "tenants",
        "put_tenant",
        ("id",),
        ("client_auth", "webhook_secret"),
        lambda row, name: tenant_place(row["id"], name),
    ),
    _Kind(
        "accounts",
        "put_account",
        ("tenant_id", "id"),
        ("password", "imap_password"),
        lambda row, name: account_place(row["tenant_id"], row["id"], name),
    ),
    _Kind(
        "storages",
        "put_storage",
        ("tenant_id", "name"),
        ("config",),
        lambda row, _name: storage_place(row["tenant_id"], row["name"]),
    ),
)


async def unreadable(database: Database, vault: Vault) -> list[str]:
    """Name the secrets that this key does not open."""
    return await database.read(_unreadable, vault)


async def rekey(
    database: Database, old: Vault, new: Vault, *, is_over: Callable[[NodeInfo], bool], since: float
) -> int:
    """Encrypt every secret with `new`, and the check value, as one step; return how many there are.

    Raises `KeyMismatch` for secrets that `old` does not open, and `Conflict` when nodes were seen
    since then that are not over: they would go on with the old key.
    """
    return await database.write(_rekey, old, new, is_over, since)


def refuse_nodes(nodes: Sequence[NodeInfo]) -> None:
    """Raise `Conflict` that names servers at work."""
    if nodes:
        names = ", ".join(f"{node.name} (pid {node.pid})" for node in nodes)
        raise Conflict(
            f"servers are at work on this database: {names}; stop them (one that died is forgotten after "
            "half a minute)"
        )


def _unreadable(vault: Vault) -> Work[list[str]]:
    found = []
    for kind in _KINDS:
        rows = yield Call(SQL[kind.read], {})
        found += [
            place for row in rows for _, place, value in _sealed(kind, row) if _is_shut(vault, value, place)
        ]
    values = yield from _settings()
    if values.get(SECRET) is not None and _is_shut(vault, values[SECRET], PLACE):
        found.append(PLACE)
    return found


def _rekey(old: Vault, new: Vault, is_over: Callable[[NodeInfo], bool], since: float) -> Work[int]:
    # Whoever writes a secret waits for this row or is waited for; a node that starts, too (Nodes.enter).
    rows = yield Call(SQL["hold_check"], {"key": KEY_CHECK})
    if not rows or not old.matches(str(json.loads(rows[0]["value"]))):
        raise KeyMismatch("the encryption key has just been changed by another: nothing was done")
    alive = yield from alive_nodes(since)
    refuse_nodes([node for node in alive if not is_over(node)])
    refuse_unreadable((yield from _unreadable(old)))
    count = 0
    for kind in _KINDS:
        rows = yield Call(SQL[kind.read], {})
        yield Many(SQL[kind.write], [_resealed(kind, row, old, new) for row in rows])
        count += sum(len(_sealed(kind, row)) for row in rows)
    values = yield from _settings()
    if values.get(SECRET) is not None:
        sealed = new.encrypt(old.decrypt(values[SECRET], PLACE), PLACE)
        yield Call(SETTINGS["put"], {"key": KEY, "value": compact(values | {SECRET: sealed})})
        count += 1
    yield Call(SETTINGS["put"], {"key": KEY_CHECK, "value": json.dumps(new.check_value())})
    return count


def refuse_unreadable(places: Sequence[str]) -> None:
    """Raise `KeyMismatch` that names what would be lost."""
    if places:
        others = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
        raise KeyMismatch(
            f"these secrets cannot be read: {', '.join(places[:MOST_NAMED])}{others}; set them anew, or "
            "delete what they belong to"
        )


def _settings() -> Work[dict[str, str]]:
    rows = yield Call(SETTINGS["get"], {"key": KEY})
    values: dict[str, str] = json.loads(rows[0]["value"]) if rows else {}
    return values


def _sealed(kind: _Kind, row: Row) -> list[tuple[str, str, str]]:
    """The secrets that are there: column, place, and what is stored."""
    found = [(f"enc_{name}", kind.place(row, name), row[f"enc_{name}"]) for name in kind.secrets]
    return [(column, place, value) for column, place, value in found if value is not None]


def _is_shut(vault: Vault, value: str, place: str) -> bool:
    return vault.decrypt_if_sound(value, place) is None


def _resealed(kind: _Kind, row: Row, old: Vault, new: Vault) -> Mapping[str, object]:
    empty = {f"enc_{name}": None for name in kind.secrets}
    sealed = {
        column: new.encrypt(old.decrypt(value, place), place) for column, place, value in _sealed(kind, row)
    }
    return {name: row[name] for name in kind.key} | empty | sealed
