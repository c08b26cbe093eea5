"""Everything that is stored, one repository for each kind of thing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mail_proxy.encryption import Vault
from mail_proxy.store.accounts import Accounts
from mail_proxy.store.activity import Activities
from mail_proxy.store.circuit import Circuits
from mail_proxy.store.commands import Commands
from mail_proxy.store.contacts import Contacts
from mail_proxy.store.database import Database
from mail_proxy.store.explanation import Explanations
from mail_proxy.store.instance_settings import InstanceSettingsRecord
from mail_proxy.store.intake import Intake
from mail_proxy.store.messages import Messages
from mail_proxy.store.outcomes import Outcomes
from mail_proxy.store.queue import Queue
from mail_proxy.store.removal import Removals
from mail_proxy.store.reports import Reports
from mail_proxy.store.rescheduling import Rescheduling
from mail_proxy.store.send_log import SendLog
from mail_proxy.store.settings import Nodes, Settings
from mail_proxy.store.storages import Storages
from mail_proxy.store.suspensions import Suspensions
from mail_proxy.store.tenants import Tenants


@dataclass(frozen=True, slots=True)
class Store:
    database: Database
    settings: Settings
    instance_settings: InstanceSettingsRecord
    nodes: Nodes
    tenants: Tenants
    accounts: Accounts
    circuits: Circuits
    storages: Storages
    intake: Intake
    messages: Messages
    explanations: Explanations
    activities: Activities
    queue: Queue
    outcomes: Outcomes
    suspensions: Suspensions
    removals: Removals
    rescheduling: Rescheduling
    reports: Reports
    contacts: Contacts
    send_log: SendLog
    commands: Commands

    @classmethod
    def over(cls, database: Database, vault: Vault) -> Store:
        """Put the repositories over an open database; secrets pass through `vault`."""
        return cls(
            database=database,
            settings=Settings(database),
            instance_settings=InstanceSettingsRecord(database, vault),
            nodes=Nodes(database, vault),
            tenants=Tenants(database, vault),
            accounts=Accounts(database, vault),
            circuits=Circuits(database),
            storages=Storages(database, vault),
            intake=Intake(database),
            messages=Messages(database),
            explanations=Explanations(database),
            activities=Activities(database),
            queue=Queue(database),
            outcomes=Outcomes(database),
            suspensions=Suspensions(database),
            removals=Removals(database),
            rescheduling=Rescheduling(database),
            reports=Reports(database),
            contacts=Contacts(database),
            send_log=SendLog(database),
            commands=Commands(database),
        )


@asynccontextmanager
async def open_database(target: str | Path, where: str) -> AsyncIterator[Database]:
    """Open a SQLite file (a path) or a PostgreSQL database (a URL); `where` is how messages name it.

    Raises `DatabaseUnavailable` or `DatabaseUnusable`.
    """
    database: Database
    if isinstance(target, Path):
        from mail_proxy.store.sqlite import SqliteDatabase

        database = await SqliteDatabase.open(target)
    else:
        from mail_proxy.store.postgres import PostgresDatabase

        database = await PostgresDatabase.open(target, where)
    try:
        yield database
    finally:
        await database.close()
