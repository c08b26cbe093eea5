"""Storages: places for files that tenants name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mail_proxy.clock import Clock
from mail_proxy.errors import Conflict, Fault, Forbidden, InvalidInput
from mail_proxy.model.storages import Storage, StorageProtocol
from mail_proxy.services.inputs import MASK, checked, refuse_unreadable, replaced_mask
from mail_proxy.services.storage_inputs import StorageInput
from mail_proxy.store import Store


@dataclass(frozen=True, slots=True)
class _Trust:
    """What of a protocol's configuration is secret, and what decides where a secret goes."""

    secrets: tuple[str, ...] = ()
    address: tuple[str, ...] = ()


_TRUST: Mapping[StorageProtocol, _Trust] = {
    StorageProtocol.LOCAL: _Trust(),
    StorageProtocol.S3: _Trust(("secret_access_key",), ("endpoint_url", "bucket", "access_key_id")),
    StorageProtocol.GCS: _Trust(("service_account_key",), ("bucket",)),
    StorageProtocol.AZURE: _Trust(("account_key", "sas_token"), ("endpoint", "account_name", "container")),
}


class StoragesService:
    """`raw` mappings carry the API's field names; InvalidInput lists every fault."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, tenant_id: str | None = None) -> list[Storage]:
        if tenant_id is None:
            return await self._store.storages.all()
        return await self._store.storages.of_tenant(tenant_id)

    async def create(self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool = False) -> Storage:
        """Add a storage; raise `Conflict` when the tenant has one of this name, else as `replace`."""
        return await self._put(tenant_id, raw, by_tenant=by_tenant, only_new=True)

    async def replace(self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool = False) -> Storage:
        """Create a storage, or replace its whole configuration.

        Raises `NotFound` when there is no such tenant, `Forbidden` for what is the admin's alone.
        """
        return await self._put(tenant_id, raw, by_tenant=by_tenant, only_new=False)

    async def delete(self, tenant_id: str, name: str) -> None:
        """Raise `NotFound` when the tenant has no such storage."""
        await self._store.storages.delete(tenant_id, name)

    async def _put(
        self, tenant_id: str, raw: Mapping[str, object], *, by_tenant: bool, only_new: bool
    ) -> Storage:
        given = checked(StorageInput, raw)
        if by_tenant and given.protocol is StorageProtocol.LOCAL:
            raise Forbidden("only the admin token may give storages of the protocol local")
        config: dict[str, str] = given.config.model_dump(exclude_none=True)
        _refuse_incomplete(given.protocol, config, by_tenant=by_tenant)

        def make(current: Storage | None) -> Storage:
            if current is not None and only_new:
                raise Conflict(f"tenant '{tenant_id}' has a storage '{given.name}' already")
            if current is not None and current.is_unreadable:
                refuse_unreadable(set(_TRUST[given.protocol].secrets) & config.keys(), config, ("config",))
            stored = current.config if current is not None and current.protocol is given.protocol else {}
            return Storage(
                tenant_id=tenant_id,
                name=given.name,
                protocol=given.protocol,
                config=_unmasked(given.protocol, config, stored),
                by_tenant=by_tenant and not _is_trusted(current, given.protocol, config),
            )

        return await self._store.storages.put(tenant_id, given.name, make, self._clock.now())


def secrets_of(storage: Storage) -> list[str]:
    """What must never be shown."""
    return [storage.config[name] for name in _TRUST[storage.protocol].secrets if name in storage.config]


def masked_config(protocol: StorageProtocol, config: Mapping[str, str]) -> dict[str, str]:
    """The configuration as it may be shown."""
    secrets = _TRUST[protocol].secrets
    return {name: MASK if name in secrets else value for name, value in config.items()}


def _refuse_incomplete(protocol: StorageProtocol, config: Mapping[str, str], *, by_tenant: bool) -> None:
    """The machine's own credentials are the admin's alone, and half a pair of keys is none."""
    faults = []
    if protocol is StorageProtocol.S3:
        pair = ("access_key_id", "secret_access_key")
        absent = [name for name in pair if name not in config]
        if absent and (by_tenant or len(absent) < len(pair)):
            faults += [_fault(name, "is required", "missing") for name in absent]
    elif protocol is StorageProtocol.GCS:
        if by_tenant and "service_account_key" not in config:
            faults.append(_fault("service_account_key", "is required", "missing"))
    elif protocol is StorageProtocol.AZURE:
        if "account_key" in config and "sas_token" in config:
            faults.append(_fault("sas_token", "cannot be given beside account_key"))
        elif by_tenant and "account_key" not in config and "sas_token" not in config:
            faults.append(_fault("account_key", "is required, or sas_token", "missing"))
    if faults:
        raise InvalidInput.of(faults)


def _unmasked(
    protocol: StorageProtocol, config: Mapping[str, str], stored: Mapping[str, str]
) -> dict[str, str]:
    """Put stored secrets where their mask is; they never follow to a new address (contract: security.md)."""
    whole = dict(config)
    faults = []
    for name in _TRUST[protocol].secrets:
        if config.get(name) != MASK:
            continue
        try:
            whole[name] = replaced_mask(name, MASK, stored.get(name)) or ""
        except InvalidInput as error:
            faults += [Fault(("config", *fault.loc), fault.msg, fault.type) for fault in error.faults]
            continue
        if moved := _moved(protocol, stored, config):
            faults.append(_fault(name, f"must be given again when {moved[0]} changes"))
    if faults:
        raise InvalidInput.of(faults)
    return whole


def _moved(protocol: StorageProtocol, stored: Mapping[str, str], config: Mapping[str, str]) -> list[str]:
    return [name for name in _TRUST[protocol].address if stored.get(name) != config.get(name)]


def _is_trusted(current: Storage | None, protocol: StorageProtocol, config: Mapping[str, str]) -> bool:
    """Whether the admin has given this very address."""
    return (
        current is not None
        and not current.by_tenant
        and current.protocol is protocol
        and not _moved(protocol, current.config, config)
    )


def _fault(name: str, text: str, kind: str = "value_error") -> Fault:
    return Fault(("config", name), text, kind)
