"""The instance and tenant that may be left out: from the environment, else as ``use`` left them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mail_proxy.errors import InstanceError, InvalidInput
from mail_proxy.files import read_small, write_private
from mail_proxy.model.names import is_identifier, is_instance_name

INSTANCE_VARIABLE = "MAIL_PROXY_INSTANCE"
TENANT_VARIABLE = "MAIL_PROXY_TENANT"


class Context(NamedTuple):
    """What may be left out, and where that was said. A tenant alone fits any instance."""

    instance: str | None
    tenant: str | None
    source: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.instance, self.tenant) if part)

    def tenant_of(self, instance: str) -> str | None:
        """The tenant that may be left out after the name of `instance`."""
        return self.tenant if self.instance in (None, instance) else None


def state_directory() -> Path:
    """Where the platform keeps what belongs to the person and not to an instance."""
    import platformdirs

    return platformdirs.user_state_path("mail-proxy", appauthor=False)


def read_context(environ: Mapping[str, str]) -> Context:
    """Return the context in force. Raises InvalidInput when it holds what cannot be a name."""
    instance, tenant = environ.get(INSTANCE_VARIABLE) or None, environ.get(TENANT_VARIABLE) or None
    if instance or tenant:
        return _checked(instance, tenant, "the environment")
    path = _file()
    try:
        data = json.loads(read_small(path))
    except FileNotFoundError:
        return Context(None, None, "nowhere")
    except (OSError, ValueError) as error:
        raise InstanceError(f"cannot read {path}: {error}; 'mail-proxy use --clear' removes it") from error
    if not isinstance(data, dict):
        raise InstanceError(f"{path} is damaged: 'mail-proxy use --clear' removes it")
    return _checked(data.get("instance"), data.get("tenant"), "'mail-proxy use'")


def write_context(instance: str, tenant: str | None) -> None:
    """Keep the context for this user's later commands."""
    path = _file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InstanceError(f"cannot create {path.parent}: {error.strerror}") from error
    write_private(path, json.dumps({"instance": instance, "tenant": tenant}) + "\n")


def clear_context() -> None:
    _file().unlink(missing_ok=True)


def _file() -> Path:
    return state_directory() / "context.json"


def _checked(instance: object, tenant: object, source: str) -> Context:
    if instance is not None and not (isinstance(instance, str) and is_instance_name(instance)):
        raise InvalidInput(f"{source} names the instance {instance!r}, which cannot be a name")
    if tenant is not None and not (isinstance(tenant, str) and is_identifier(tenant)):
        raise InvalidInput(f"{source} names the tenant {tenant!r}, which cannot be an id")
    return Context(instance, tenant, source)
