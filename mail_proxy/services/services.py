"""All services over one store."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.bell import Bell
from mail_proxy.clock import Clock
from mail_proxy.config import Config
from mail_proxy.encryption import Tracking
from mail_proxy.metrics import Metrics
from mail_proxy.services.account_check import AccountCheckService
from mail_proxy.services.accounts import AccountsService
from mail_proxy.services.activity import ActivityService
from mail_proxy.services.authentication import AuthenticationService
from mail_proxy.services.command_log import CommandLog
from mail_proxy.services.explanation import ExplanationService
from mail_proxy.services.instance import InstanceService
from mail_proxy.services.instance_settings import InstanceSettingsService
from mail_proxy.services.intake import IntakeService
from mail_proxy.services.messages import MessagesService
from mail_proxy.services.removal import RemovalService
from mail_proxy.services.reports import ReportsService
from mail_proxy.services.rescheduling import ReschedulingService
from mail_proxy.services.standings import Standings
from mail_proxy.services.storage_check import StorageCheckService
from mail_proxy.services.storages import StoragesService
from mail_proxy.services.suspensions import SuspensionsService
from mail_proxy.services.tenants import TenantsService
from mail_proxy.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    tenants: TenantsService
    accounts: AccountsService
    account_check: AccountCheckService
    storages: StoragesService
    storage_check: StorageCheckService
    intake: IntakeService
    messages: MessagesService
    explanation: ExplanationService
    suspensions: SuspensionsService
    removal: RemovalService
    rescheduling: ReschedulingService
    reports: ReportsService
    instance: InstanceService
    activity: ActivityService
    instance_settings: InstanceSettingsService
    authentication: AuthenticationService
    command_log: CommandLog

    @classmethod
    def over(
        cls,
        store: Store,
        *,
        config: Config,
        clock: Clock,
        bell: Bell,
        tracking: Tracking,
        admin_token: str | None,
        name: str | None,
        where: str,
        metrics: Metrics | None = None,
    ) -> Services:
        """Put the services over a store; `name` is the instance's, `where` tells the database, showably."""
        standings = Standings(store)
        authentication = AuthenticationService(standings, clock, admin_token)
        instance = InstanceService(store, clock, bell, config, where)
        return cls(
            tenants=TenantsService(store, clock, bell),
            accounts=AccountsService(store, clock, bell, metrics),
            account_check=AccountCheckService(config),
            storages=StoragesService(store, clock),
            storage_check=StorageCheckService(config),
            intake=IntakeService(
                store,
                clock,
                bell,
                config,
                tracking=tracking,
                standings=standings,
                authentication=authentication,
            ),
            messages=MessagesService(store, clock),
            explanation=ExplanationService(store, clock, config, instance),
            suspensions=SuspensionsService(store, clock, bell),
            removal=RemovalService(store, clock, config),
            rescheduling=ReschedulingService(store, clock, bell),
            reports=ReportsService(store, clock, bell, config),
            instance=instance,
            activity=ActivityService(store, clock, instance),
            instance_settings=InstanceSettingsService(store, bell, name),
            authentication=authentication,
            command_log=CommandLog(store),
        )
