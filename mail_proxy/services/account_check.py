"""Whether an account's logins work, now: what its SMTP server says, and its IMAP server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from mail_proxy.addresses import AddressPolicy
from mail_proxy.config import Config
from mail_proxy.model.accounts import Account
from mail_proxy.model.logins import LoginTrial, Mailbox
from mail_proxy.services.inputs import MASK

WAIT = 15.0
"""Seconds that a check may take: somebody waits for it."""

STEP_WAIT = 10.0
"""Seconds for one step of it at most: one that hangs is named before all the time is up."""

AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """`imap` is None for an account that has no mailbox."""

    smtp: LoginTrial
    imap: LoginTrial | None


class AccountCheckService:
    """Goes the delivery agent's own way, so that what works here works there."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turns = asyncio.Semaphore(AT_ONCE)

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    async def check(self, account: Account) -> AccountCheck:
        """Try both logins side by side, sending nothing and changing nothing."""
        async with self._turns:
            outgoing, incoming = await asyncio.gather(self._smtp(account), self._imap(account))
        return AccountCheck(outgoing, incoming)

    async def _smtp(self, account: Account) -> LoginTrial:
        from mail_proxy.smtp.transport import (
            Dialer,
            Timeouts,
        )  # late, as the next: commands load the services
        from mail_proxy.smtp.trial import try_login

        timeouts = Timeouts(
            connect=min(STEP_WAIT, self._config.smtp_connect_timeout),
            command=min(STEP_WAIT, self._config.smtp_command_timeout),
        )
        found = await try_login(account, Dialer(timeouts=timeouts, policy=self._policy()), WAIT)
        return _without(account.password, found)

    async def _imap(self, account: Account) -> LoginTrial | None:
        if account.imap_host is None:
            return None
        from mail_proxy.imap.trial import try_login

        mailbox = Mailbox(
            host=account.imap_host,
            port=account.imap_port,
            user=account.imap_user,
            password=account.imap_password,
            folder=account.imap_folder,
            ssl=account.imap_ssl,
            tls_verify=account.tls_verify,
            tls_ca=account.tls_ca,
            by_tenant=account.by_tenant,
        )
        found = await try_login(mailbox, policy=self._policy(), step_wait=STEP_WAIT, wait=WAIT)
        return _without(account.imap_password, found)

    def _policy(self) -> AddressPolicy:
        return AddressPolicy.of(self._config.allowed_networks)


def _without(secret: str | None, found: LoginTrial) -> LoginTrial:
    """A server may repeat in its words what it was told."""
    if not secret or found.error is None:
        return found
    return replace(found, error=found.error.replace(secret, MASK))
