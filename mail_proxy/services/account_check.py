"""Whether an account's logins work, now: what its SMTP server says, and its IMAP server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from mail_proxy.addresses import AddressPolicy
from mail_proxy.config import Config
from mail_proxy.model.accounts import Account
from mail_proxy.model.instance_settings import InstanceSettings
from mail_proxy.model.logins import LoginTrial, Mailbox
from mail_proxy.services.inputs import MASK

WAIT = 15.0
"""Seconds that a check may take: somebody waits for it."""

STEP_WAIT = 10.0
"""Seconds for one step of it at most: one that hangs is named before all the time is up."""

TURN_WAIT = 5.0
"""Seconds of the whole for which a check waits for its turn."""

AT_ONCE = 30

SHARE = 3
"""Checks of one tenant's accounts at a time: slow servers of one hold up no other."""

UNREADABLE = "not tried: the stored password cannot be decrypted, give it again"

BUSY = "not tried: too many checks at once, try again later"


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
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._config = config

    async def check(self, account: Account) -> AccountCheck:
        """Try both logins side by side, sending nothing and changing nothing."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(TURN_WAIT):
                    await turn.enter_async_context(self._share_of(account.tenant_id))
                    await turn.enter_async_context(self._turns)
            except TimeoutError:
                return _untried(account, loop.time() - begun)
            wait = round(WAIT - (loop.time() - begun), 1)
            outgoing, incoming = await asyncio.gather(self._smtp(account, wait), self._imap(account, wait))
        return AccountCheck(outgoing, incoming)

    def _share_of(self, tenant_id: str) -> asyncio.Semaphore:
        """What is shared by those who check this tenant's accounts now, and forgotten with the last."""
        return self._shares.setdefault(tenant_id, asyncio.Semaphore(SHARE))

    async def _smtp(self, account: Account, wait: float) -> LoginTrial:
        # Late, as below: commands load the services.
        from mail_proxy.smtp.transport import Dialer, Timeouts
        from mail_proxy.smtp.trial import try_login

        timeouts = Timeouts(
            connect=min(STEP_WAIT, self._config.smtp_connect_timeout),
            command=min(STEP_WAIT, self._config.smtp_command_timeout),
        )
        found = await try_login(account, Dialer(timeouts=timeouts, policy=self._policy()), wait)
        return _without(account.password, found)

    async def _imap(self, account: Account, wait: float) -> LoginTrial | None:
        mailbox = _mailbox_of(account)
        if mailbox is None:
            return None
        if "imap_password" in account.unreadable:
            return LoginTrial(error=UNREADABLE, tls=mailbox.tls_at_first, seconds=0.0)
        return await self._check_mailbox(mailbox, wait)

    async def check_bounces(self, settings: InstanceSettings) -> LoginTrial:
        """Try the login at the mailbox where bounces arrive, and look into its folder."""
        return await self._check_mailbox(_bounces_of(settings), WAIT)

    async def _check_mailbox(self, mailbox: Mailbox, wait: float) -> LoginTrial:
        from mail_proxy.imap.trial import try_login

        found = await try_login(mailbox, policy=self._policy(), step_wait=STEP_WAIT, wait=wait)
        return _without(mailbox.password, found)

    def _policy(self) -> AddressPolicy:
        return AddressPolicy.of(self._config.allowed_networks)


def _mailbox_of(account: Account) -> Mailbox | None:
    if account.imap_host is None:
        return None
    return Mailbox(
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


def _bounces_of(settings: InstanceSettings) -> Mailbox:
    return Mailbox(
        host=settings.bounce_imap_host or "",
        port=settings.bounce_imap_port,
        user=settings.bounce_imap_user,
        password=settings.bounce_imap_password,
        folder=settings.bounce_imap_folder,
        ssl=settings.bounce_imap_ssl,
    )


def _untried(account: Account, seconds: float) -> AccountCheck:
    mailbox = _mailbox_of(account)
    outgoing = LoginTrial(error=BUSY, tls=account.effective_tls, seconds=seconds)
    if mailbox is None:
        return AccountCheck(outgoing, None)
    return AccountCheck(outgoing, LoginTrial(error=BUSY, tls=mailbox.tls_at_first, seconds=seconds))


def _without(secret: str | None, found: LoginTrial) -> LoginTrial:
    """A server may repeat in its words what it was told."""
    if not secret or found.error is None:
        return found
    return replace(found, error=found.error.replace(secret, MASK))
