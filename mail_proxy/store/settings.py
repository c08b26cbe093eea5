"""Settings of the instance that live in the database, and the nodes that share it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from mail_proxy.encryption import Vault
from mail_proxy.model.queue import NodeInfo
from mail_proxy.store.database import Call, Database, Row, Work
from mail_proxy.store.key_check import check_key
from mail_proxy.store.queries import load

SQL = load("settings")

ACTIVE = "active"
"""Whether the instance dispatches, as activate and suspend decided."""


class Settings:
    """Values are JSON."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> object:
        """Read one value; None when it was never set."""
        return await self._database.read(self._get, key)

    async def put(self, key: str, value: object) -> None:
        await self._database.write(self._put, key, value)

    async def put_once(self, key: str, value: object) -> object:
        """Set it unless it is set; return what holds. Several nodes may do this at once."""
        return await self._database.write(self._put_once, key, value)

    def _get(self, key: str) -> Work[object]:
        rows = yield Call(SQL["get"], {"key": key})
        return json.loads(rows[0]["value"]) if rows else None

    def _put(self, key: str, value: object) -> Work[None]:
        yield Call(SQL["put"], {"key": key, "value": json.dumps(value)})

    def _put_once(self, key: str, value: object) -> Work[object]:
        rows = yield Call(SQL["put_once"], {"key": key, "value": json.dumps(value)})
        return json.loads(rows[0]["value"])


class Nodes:
    """The server processes that share the database."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def seen(self, node: NodeInfo, forget_before: float) -> None:
        """Record that the node lives, and drop those not seen since `forget_before`."""
        await self._database.write(self._seen, node, forget_before)

    async def enter(self, node: NodeInfo, is_over: Callable[[NodeInfo], bool]) -> bool:
        """Record a node that begins; False when another has its id, and `is_over` denies that it is gone.

        Raises `KeyMismatch` when the secrets have been given another key since it read its own.
        """
        return await self._database.write(self._enter, node, is_over)

    async def gone(self, node_id: str) -> None:
        await self._database.write(self._gone, node_id)

    async def alive(self, since: float) -> list[NodeInfo]:
        return await self._database.read(alive_nodes, since)

    def _seen(self, node: NodeInfo, forget_before: float) -> Work[None]:
        yield Call(SQL["node_seen"], asdict(node))
        yield Call(SQL["forget_nodes"], {"before": forget_before})

    def _enter(self, node: NodeInfo, is_over: Callable[[NodeInfo], bool]) -> Work[bool]:
        yield from check_key(self._vault)
        if (yield Call(SQL["node_enters"], asdict(node))):
            return True
        rows = yield Call(SQL["node"], {"node_id": node.node_id})
        if rows and not is_over(_node_of(rows[0])):
            return False
        yield Call(SQL["node_seen"], asdict(node))
        return True

    def _gone(self, node_id: str) -> Work[None]:
        yield Call(SQL["node_gone"], {"node_id": node_id})


def alive_nodes(since: float) -> Work[list[NodeInfo]]:
    """Read who was seen since."""
    return [_node_of(row) for row in (yield Call(SQL["nodes"], {"since": since}))]


def _node_of(row: Row) -> NodeInfo:
    columns = ("node_id", "name", "pid", "version", "started_at", "seen_at")
    return NodeInfo(**{name: row[name] for name in columns})
