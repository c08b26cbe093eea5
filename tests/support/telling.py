"""What a node does with the store to tell an application, without posting anything."""

from __future__ import annotations

from collections.abc import Sequence

from mail_proxy.callbacks.pace import pause_after
from mail_proxy.model.contacts import Acceptance
from mail_proxy.model.reports import Reportable
from mail_proxy.store import Store

TELLER = "teller"
MUCH = 1 << 30


async def due_of(store: Store, tenant_id: str = "acme", limit: int = 500) -> Sequence[Reportable]:
    """What the tenant is to be told next."""
    return (await store.contacts.news(tenant_id, limit, MUCH)).events


async def pending_of(store: Store, tenant_id: str = "acme") -> int:
    """How many events the tenant was not told of."""
    return next(each.pending for each in await store.reports.sync_states() if each.tenant_id == tenant_id)


async def acknowledge(
    store: Store,
    told: Sequence[int],
    now: float,
    *,
    tenant_id: str = "acme",
    refused: Sequence[int] = (),
    owner: str = TELLER,
) -> None:
    """Let the application of a tenant that nobody else tells take these events, but for those refused."""
    [contact] = await store.contacts.take([tenant_id], [], owner, now, now + 30)
    said = Acceptance(
        now=now,
        told=told,
        refused=refused,
        beat_at=now + 300,
        dnd_until=None,
        rounds=0,
        seen_seq=0,
        lease_until=None,
    )
    assert await store.contacts.accepted(contact, owner, said, pause_after)
