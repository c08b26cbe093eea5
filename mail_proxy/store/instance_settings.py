"""The settings of the instance that the admin changes while it runs: one value, its secret encrypted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from mail_proxy.encryption import Vault
from mail_proxy.model.instance_settings import InstanceSettings
from mail_proxy.store.database import Call, Database, Work
from mail_proxy.store.key_check import check_key
from mail_proxy.store.queries import load
from mail_proxy.store.rows import compact, refuse_unreadable

SQL = load("settings")

KEY = "instance"
SECRET = "bounce_imap_password"  # noqa: S105 - the name of a field
PLACE = f"settings/{KEY}/{SECRET}"


class InstanceSettingsRecord:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def get(self) -> InstanceSettings:
        """Read them; each is at its default until it was set.

        Raises `KeyMismatch` when there is a secret, and no key.
        """
        return await self._database.read(self._get)

    async def change(self, change: Callable[[InstanceSettings], InstanceSettings]) -> InstanceSettings:
        """Apply `change` to what is stored, as one step."""
        return await self._database.write(self._change, change)

    def _get(self) -> Work[InstanceSettings]:
        rows = yield Call(SQL["get"], {"key": KEY})
        return self._opened(rows[0]["value"]) if rows else InstanceSettings()

    def _change(self, change: Callable[[InstanceSettings], InstanceSettings]) -> Work[InstanceSettings]:
        yield from check_key(self._vault)
        # It writes whatever is there, so that of two nodes the second waits, and sees what the first has set.
        [row] = yield Call(SQL["put_once"], {"key": KEY, "value": "{}"})
        changed = change(self._opened(row["value"]))
        yield Call(SQL["put"], {"key": KEY, "value": self._sealed(changed)})
        return changed

    def _opened(self, text: str) -> InstanceSettings:
        values = json.loads(text)
        if values.get(SECRET) is not None:
            values[SECRET] = self._vault.decrypt_if_sound(values[SECRET], PLACE)
            if values[SECRET] is None:
                values["unreadable"] = frozenset({SECRET})
        return InstanceSettings(**values)

    def _sealed(self, settings: InstanceSettings) -> str:
        refuse_unreadable(settings.unreadable, "the instance")
        values = asdict(settings)
        del values["unreadable"]
        if settings.bounce_imap_password is not None:
            values[SECRET] = self._vault.encrypt(settings.bounce_imap_password, PLACE)
        return compact(values)
