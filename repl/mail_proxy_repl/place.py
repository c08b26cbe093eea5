"""Where the session stands: on which instance, and with which tenant in use."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.errors import InvalidInput
from mail_proxy.model.standing import EVERYTHING


@dataclass(slots=True)
class Place:
    """``use`` changes the tenant; the instance stays for the length of the session."""

    instance: str
    tenant: str | None = None

    def __str__(self) -> str:
        return f"{self.instance}/{self.tenant}" if self.tenant else self.instance

    def meant(self, tenant_id: str | None) -> str | None:
        """The tenant that a call is about: the one it names, else the one in use; None: all of them."""
        chosen = self.tenant if tenant_id is None else tenant_id
        return None if chosen == EVERYTHING else chosen

    def needed(self, tenant_id: str | None) -> str:
        """The same, where it has to be one; raise InvalidInput."""
        chosen = self.meant(tenant_id)
        if chosen is None:
            raise InvalidInput("which tenant? 'use TENANT' chooses one, or give tenant_id='…'")
        return chosen
