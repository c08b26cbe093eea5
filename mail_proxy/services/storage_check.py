"""Whether a storage works, now: whether what is written can be read back and deleted."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, quote

from mail_proxy.addresses import AddressPolicy
from mail_proxy.config import Config
from mail_proxy.model.storages import Storage, StorageTrial, TrialStep
from mail_proxy.services.inputs import MASK
from mail_proxy.services.storages import secrets_of

STEP_WAIT = 10.0
"""Seconds for one step: somebody waits for it."""

UNREADABLE = "not tried: the stored configuration cannot be decrypted, give it again"


class StorageCheckService:
    """Goes the way that attachments go, so that what works here works there."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def check(self, storage: Storage) -> StorageTrial:
        """Write, read and delete an object; the storage may be one that is not stored yet."""
        if storage.is_unreadable:
            return StorageTrial(steps=(TrialStep(name="open", error=UNREADABLE, seconds=0.0),))
        from mail_proxy.attachments.trial import try_storage  # late: commands load the services

        policy = AddressPolicy.of(self._config.allowed_networks)
        trial = await try_storage(storage, policy=policy, step_wait=STEP_WAIT)
        secrets = _forms(secrets_of(storage))
        return replace(trial, steps=tuple(_without(secrets, step) for step in trial.steps))


def _forms(secrets: list[str]) -> list[str]:
    """The secrets, and the signatures of those that are tokens to be put into a URL."""
    signatures = [value for secret in secrets for value in parse_qs(secret.lstrip("?")).get("sig", [])]
    return [*secrets, *signatures, *(quote(signature, safe="") for signature in signatures)]


def _without(secrets: list[str], step: TrialStep) -> TrialStep:
    """A server may repeat in its words what it was told."""
    said = step.error
    for secret in secrets:
        said = said and said.replace(secret, MASK)
    return replace(step, error=said)
