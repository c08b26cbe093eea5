"""A dispatcher over a real store, real servers and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random

from mail_proxy.clock import Clock
from mail_proxy.config import load_config
from mail_proxy.daemon.dispatcher import Dispatcher
from mail_proxy.daemon.preparation import Preparer
from mail_proxy.daemon.vigil import Vigil
from mail_proxy.encryption import KEY_VARIABLE, Vault, find_key, generate_key
from mail_proxy.metrics import Metrics
from mail_proxy.model.accounts import SANDBOX_HOST, Account
from mail_proxy.model.messages import Event, EventType, Message
from mail_proxy.model.tenants import Tenant
from mail_proxy.model.verdicts import Outcome
from mail_proxy.runtime import Runtime, open_services
from mail_proxy.smtp.agent import DeliveryAgent, Envelope, FinalStep
from mail_proxy.smtp.transport import Timeouts
from mail_proxy.store import Store
from mail_proxy.store.database import Call, Work
from mail_proxy.store.queries import Query
from tests.support.clock import ManualClock
from tests.support.flaky_database import FlakyDatabase
from tests.support.scripted_server import ScriptedServer
from tests.support.smtp_server import SmtpServer, account_for

OWNER = "node-a"
TENANT = "acme"


class Middle(Random):
    """No jitter: always the middle of a range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class CountingAgent(DeliveryAgent):
    """A delivery agent that knows how many conversations there were at once."""

    at_once = 0
    most_at_once = 0

    @cached_property
    def changed(self) -> asyncio.Event:
        return asyncio.Event()

    async def until_at_once(self, count: int) -> None:
        """Wait until there are so many (a minute at most)."""
        async with asyncio.timeout(60):
            while self.at_once != count:
                self.changed.clear()
                await self.changed.wait()

    async def deliver(
        self, account: Account, envelope: Envelope, content: bytes, *, final: FinalStep
    ) -> Outcome:
        self.at_once += 1
        self.changed.set()
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await super().deliver(account, envelope, content, final=final)
        finally:
            self.at_once -= 1
            self.changed.set()


@dataclass(slots=True, kw_only=True)
class Dispatching:
    """`told` counts how often the reporter was told to look."""

    runtime: Runtime
    clock: Clock
    database: FlakyDatabase
    store: Store
    agent: CountingAgent
    metrics: Metrics
    told: int = 0
    dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.dispatcher = self.node(OWNER)

    @property
    def time(self) -> ManualClock:
        """The clock, for moving it."""
        assert isinstance(self.clock, ManualClock)
        return self.clock

    def node(
        self, owner: str, preparer: Preparer | None = None, *, grace: float = 0.0, **settings: object
    ) -> Dispatcher:
        """A dispatcher, of this node in a new life or of another one; `settings` are fields of Config."""
        return Dispatcher(
            store=self.store,
            clock=self.clock,
            config=replace(self.runtime.config, **settings),  # type: ignore[arg-type]  # the caller names fields
            agent=self.agent,
            preparer=preparer or Preparer(self.store, self.runtime.tracking),
            metrics=self.metrics,
            owner=owner,
            vigil=Vigil(grace),
            told=self._tell,
            rng=Middle(),
        )

    async def add_account(
        self, server: SmtpServer | ScriptedServer | None = None, account_id: str = "main", **changes: object
    ) -> Account:
        """Add an account that speaks to the server, or one of the sandbox."""
        if server is None:
            account = Account(tenant_id=TENANT, id=account_id, host=SANDBOX_HOST)
        else:
            account = replace(account_for(server), id=account_id)
        account = replace(account, **changes)  # type: ignore[arg-type]  # the caller names fields of Account
        if account.tenant_id not in [tenant.id for tenant in await self.store.tenants.all()]:
            await self.store.tenants.add(Tenant(id=account.tenant_id), None, self.clock.now())
        return await self.store.accounts.add(account, self.clock.now())

    async def queue(self, *ids: str, **fields: object) -> None:
        """Queue a plain message for each id."""
        entries = [
            {
                "id": each,
                "tenant_id": TENANT,
                "account_id": "main",
                "from": "shop@example.org",
                "to": ["ann@example.net"],
                "subject": each,
                "body": "It is on its way.",
                **fields,
            }
            for each in ids
        ]
        submission = await self.runtime.services.intake.submit(entries)
        assert submission.queued == len(ids), submission.rejected

    async def work(self, times: int = 1) -> None:
        """Look, claim, and wait until all is settled."""
        for _ in range(times):
            await self.dispatcher.step()
            await self.dispatcher.idle()

    async def message(self, message_id: str, tenant_id: str = TENANT) -> Message:
        return await self.runtime.services.messages.get(tenant_id, message_id)

    async def status(self, message_id: str) -> str:
        return (await self.message(message_id)).status.value

    async def events(self, message_id: str) -> list[Event]:
        return list(await self.runtime.services.messages.events(await self.message(message_id)))

    async def happened(self, message_id: str) -> list[str]:
        """The types of a message's events, in order."""
        return [event.event_type.value for event in await self.events(message_id)]

    async def last(self, message_id: str, event_type: EventType) -> Mapping[str, object]:
        """What the last event of a type tells."""
        found = [event for event in await self.events(message_id) if event.event_type is event_type]
        return found[-1].event_data or {}

    async def execute(self, sql: str) -> None:
        """Change the tables behind everybody's back."""
        await self.runtime.store.database.write(_statement, sql)

    def counted(self, name: str) -> float:
        """A counter of the metrics, over all accounts."""
        lines = self.metrics.exposition().content.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def _tell(self) -> None:
        self.told += 1


def _statement(sql: str) -> Work[None]:
    yield Call(Query("test", "a test's own", sql, sql, ()), {})


@asynccontextmanager
async def dispatching(
    database_url: str,
    settings: Mapping[str, str] | None = None,
    *,
    timeouts: Timeouts | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Dispatching]:
    """Put a dispatcher over this database, not running; `settings` are environment variables."""
    place = "GMP_DATABASE_URL" if "://" in database_url else "GMP_DB_PATH"
    config = load_config(None, {place: database_url, **(settings or {})})
    environ = {KEY_VARIABLE: generate_key()}
    clock, metrics = clock or ManualClock(), Metrics()
    async with open_services(config, None, clock=clock, environ=environ, metrics=metrics) as runtime:
        database = FlakyDatabase(runtime.store.database)
        agent = CountingAgent(
            timeouts=timeouts or Timeouts(),
            max_concurrent_per_account=config.max_concurrent_per_account,
            sandbox_dir=None,
            clock=clock,
            hostname="client.test",
        )
        found = find_key(environ, None)
        assert found is not None
        try:
            yield Dispatching(
                runtime=runtime,
                clock=clock,
                database=database,
                store=Store.over(database, Vault.of(found)),
                agent=agent,
                metrics=metrics,
            )
        finally:
            await agent.close()


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[asyncio.Task[None]]:
    """Let the dispatcher run by itself, and stop it at the end of the block."""
    task = asyncio.create_task(dispatcher.run())
    try:
        yield task
    finally:
        dispatcher.stop()
        await task
