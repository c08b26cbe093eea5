"""The instance's settings that are kept in its database. No mailbox is polled for bounces yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mail_proxy.bell import Bell
from mail_proxy.errors import Fault, InvalidInput
from mail_proxy.model.instance_settings import InstanceSettings
from mail_proxy.services.inputs import (
    MASK,
    BounceInput,
    InstanceInput,
    checked,
    refuse_unreadable,
    replaced_mask,
)
from mail_proxy.store import Store

_SECRET = "bounce_imap_password"  # noqa: S105 - the name of a field
_ADDRESS = ("bounce_imap_host", "bounce_imap_port", "bounce_imap_ssl")
_NEEDED = ("bounce_imap_host", "bounce_imap_user")


class InstanceSettingsService:
    """`raw` mappings carry the API's field names; InvalidInput lists every fault.

    `name` is the instance's until the admin gives it another.
    """

    def __init__(self, store: Store, bell: Bell, name: str | None) -> None:
        self._store = store
        self._bell = bell
        self._name = name

    async def get(self) -> InstanceSettings:
        return self._named(await self._store.instance_settings.get())

    async def change(self, raw: Mapping[str, object]) -> InstanceSettings:
        """Change what `raw` names, nothing else."""
        return await self._change(checked(InstanceInput, raw))

    async def change_bounce(self, raw: Mapping[str, object]) -> InstanceSettings:
        """Change what `raw` names of the collecting of bounces, nothing else."""
        return await self._change(checked(BounceInput, raw))

    async def draft_bounce(self, raw: Mapping[str, object]) -> InstanceSettings:
        """Return what `change_bounce` would make of it: to try the login before anything is written."""
        return _changed(await self._store.instance_settings.get(), checked(BounceInput, raw))

    async def reload(self) -> None:
        """Have every node read the settings again."""
        await self._bell.ring()

    async def _change(self, given: BounceInput) -> InstanceSettings:
        changed = await self._store.instance_settings.change(lambda current: _changed(current, given))
        await self._bell.ring()
        return self._named(changed)

    def _named(self, settings: InstanceSettings) -> InstanceSettings:
        return settings if settings.name is not None else replace(settings, name=self._name)


def _changed(current: InstanceSettings, given: BounceInput) -> InstanceSettings:
    values = {name: getattr(given, name) for name in given.model_fields_set}
    refuse_unreadable(current.unreadable, {name: values[name] for name in {_SECRET} & values.keys()})
    values["unreadable"] = frozenset()
    if _SECRET in values:
        values[_SECRET] = replaced_mask(_SECRET, values[_SECRET], current.bounce_imap_password)
    changed = replace(current, **values)
    faults = []
    moved = [name for name in _ADDRESS if getattr(current, name) != getattr(changed, name)]
    if moved and changed.bounce_imap_password is not None and given.bounce_imap_password in (None, MASK):
        faults.append(Fault((_SECRET,), f"must be given again when {moved[0]} changes"))
    if changed.bounce_enabled:
        faults += [
            Fault((name,), "is required while bounce_enabled is true", "missing")
            for name in _NEEDED
            if getattr(changed, name) is None
        ]
    if faults:
        raise InvalidInput.of(faults)
    return changed
