"""The services over a real store, with a clock that stands still and a bell that notes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mail_proxy.config import load_config
from mail_proxy.encryption import KEY_VARIABLE, generate_key
from mail_proxy.runtime import Runtime, open_services
from mail_proxy.services.intake import Submission
from mail_proxy.services.judging import Rejection
from mail_proxy.services.services import Services
from tests.support.clock import ManualClock

NOW = ManualClock().now()


@dataclass(slots=True)
class NotedBell:
    """Notes each ring: whether a run was asked for."""

    rings: list[bool] = field(default_factory=list)

    async def ring(self, *, run_now: bool = False) -> None:
        self.rings.append(run_now)


@dataclass(slots=True)
class Desk:
    """Services with tenant `acme` and its account `main`."""

    runtime: Runtime
    clock: ManualClock
    bell: NotedBell

    @property
    def services(self) -> Services:
        return self.runtime.services

    async def submit(
        self, *entries: object, tenant_id: str | None = "acme", default_priority: int | None = None
    ) -> Submission:
        return await self.services.intake.submit(
            entries, tenant_id=tenant_id, default_priority=default_priority
        )

    async def refusal(self, entry: object, tenant_id: str | None = "acme") -> Rejection:
        """Why the one entry was not queued."""
        done = await self.submit(entry, tenant_id=tenant_id)
        assert (done.queued, len(done.rejected)) == (0, 1)
        return done.rejected[0]

    async def stored(self, message_id: str = "m", tenant_id: str = "acme") -> Mapping[str, object]:
        """What the store has of a message, by the names of `NewMessage` and of the payload's fields."""
        message = await self.services.messages.get(tenant_id, message_id)
        payload = await self.services.messages.payload(message)
        return {
            "content": payload.content,
            **{name: getattr(message, name) for name in message.__dataclass_fields__},
        }


def config_of(database_url: str, **settings: str) -> Mapping[str, str]:
    """The environment that names a database."""
    place = "GMP_DATABASE_URL" if "://" in database_url else "GMP_DB_PATH"
    return {place: database_url, **settings}


@asynccontextmanager
async def open_desk(database_url: str, **settings: str) -> AsyncIterator[Desk]:
    """Open the services with a key of their own; `settings` are environment variables."""
    clock, bell = ManualClock(), NotedBell()
    config = load_config(None, config_of(database_url, **settings))
    environ = {KEY_VARIABLE: generate_key()}
    async with open_services(config, None, clock=clock, bell=bell, environ=environ) as runtime:
        await runtime.services.tenants.create({"id": "acme"})
        await runtime.services.accounts.create("acme", {"id": "main", "host": "sandbox"})
        yield Desk(runtime, clock, bell)


def message(name: object = "m", /, **fields: object) -> dict[str, object]:
    """A message with all that is required; a field that is None is left out."""
    whole = {
        "id": name,
        "from": "shop@example.org",
        "to": ["ann@example.net"],
        "subject": "Your order",
        "body": "It is on its way.",
        **fields,
    }
    return {field: value for field, value in whole.items() if value is not None}
