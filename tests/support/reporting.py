"""A reporter over a real store, a real application and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from mail_proxy.callbacks.poster import Poster
from mail_proxy.daemon.reporter import GATHER, STOP_GRACE, Reporter
from mail_proxy.model.tenants import Tenant
from mail_proxy.net import open_client
from tests.support.application import Application
from tests.support.dispatching import OWNER, TENANT, Dispatching, dispatching


@dataclass(slots=True)
class Reporting:
    """A reporter over a store with tenant `acme`, whose application is `app`."""

    rig: Dispatching
    poster: Poster
    app: Application
    reporter: Reporter = field(init=False)

    def __post_init__(self) -> None:
        self.reporter = self.anew()

    def anew(self, **settings: object) -> Reporter:
        """A reporter in a new life; `settings` are fields of Config."""
        return self.node(OWNER, **settings)  # type: ignore[arg-type]  # the caller names fields

    def node(self, owner: str, *, grace: float = STOP_GRACE, **settings: object) -> Reporter:
        """A reporter of this node or of another one."""
        return Reporter(
            store=self.rig.store,
            clock=self.rig.clock,
            config=replace(self.rig.runtime.config, **settings),  # type: ignore[arg-type]  # the caller names fields
            poster=self.poster,
            metrics=self.rig.metrics,
            owner=owner,
            grace=grace,
        )

    async def add_tenant(self, tenant_id: str, url: str | None) -> None:
        await self.rig.store.tenants.add(
            Tenant(id=tenant_id, client_base_url=url), None, self.rig.clock.now()
        )
        await self.rig.add_account(account_id="main", tenant_id=tenant_id)

    async def happen(self, message_id: str, *types: str, tenant_id: str = TENANT) -> None:
        """Let events happen to a message, queued if it is not there."""
        try:
            seq = (await self.rig.message(message_id, tenant_id)).seq
        except LookupError:
            await self.rig.queue(message_id, tenant_id=tenant_id)
            seq = (await self.rig.message(message_id, tenant_id)).seq
        for each in types:
            await self.rig.execute(
                "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due) "
                f"VALUES ({seq}, '{tenant_id}', '{each}', {self.rig.clock.now()}, 'x', 1)"
            )

    async def work(self) -> float:
        """Look once and wait for the posts; when to look again."""
        pause = await self.reporter.step()
        await self.reporter.idle()
        return pause

    async def pending(self, tenant_id: str = TENANT) -> int:
        states = await self.rig.store.reports.sync_states()
        return next(each.pending for each in states if each.tenant_id == tenant_id)

    async def gather(self) -> None:
        """Let the reporter's short pause between looks pass."""
        await self.rig.time.until_asleep(GATHER)
        self.rig.time.advance(GATHER)

    @property
    def told(self) -> list[tuple[object, object]]:
        """Message and event of each entry that `app` received, posted again included."""
        return [(entry["id"], entry["event"]) for entry in self.app.entries]


@asynccontextmanager
async def reporting(database_url: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[Reporting]:
    """Put a reporter over this database, not running; `settings` are environment variables."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(dispatching(database_url, settings))
        client = await stack.enter_async_context(open_client(rig.runtime.config.allowed_networks))
        app = await stack.enter_async_context(Application())
        made = Reporting(rig, Poster(client), app)
        await made.add_tenant(TENANT, app.url)
        yield made
