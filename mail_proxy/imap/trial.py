"""Trying the login at a mailbox, from the loop: IMAP is blocking, and has a thread of its own for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mail_proxy.addresses import AddressPolicy
from mail_proxy.imap.failure import ImapFailed
from mail_proxy.logging import one_line
from mail_proxy.model.logins import LoginTrial, Mailbox, Step
from mail_proxy.net import NotPublic, Resolver, addresses_of, resolve_by_system
from mail_proxy.threads import in_own_thread

if TYPE_CHECKING:
    from mail_proxy.imap.session import Session


async def try_login(
    mailbox: Mailbox,
    *,
    policy: AddressPolicy,
    step_wait: float,
    wait: float,
    resolve: Resolver = resolve_by_system,
) -> LoginTrial:
    """Log in, look into the folder and take leave: each step within `step_wait`, all within `wait` seconds.

    The addresses of a host that a tenant gave must be admitted by the policy.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    error, tls = None, mailbox.tls_at_first
    reached: Step | None = Step.CONNECT
    try:
        async with asyncio.timeout(wait):
            addresses = await _addresses(mailbox, policy, resolve)
            session = await asyncio.to_thread(_session, mailbox, addresses, step_wait)
            try:
                await _log_in(session)
            finally:
                tls, reached = session.tls, session.reached
    except TimeoutError:
        error = f"timed out: it took more than {wait:g} s in all"
    except ImapFailed as failed:
        error = str(failed)
    failed_at = None if error is None else reached
    return LoginTrial(error=error, tls=tls, seconds=loop.time() - begun, failed_at=failed_at)


def _session(mailbox: Mailbox, addresses: Sequence[str], wait: float) -> Session:
    # Late: the library takes a tenth of a second to load, which neither the loop nor commands can spare.
    from mail_proxy.imap.session import Session

    return Session(mailbox, addresses, wait)


async def _addresses(mailbox: Mailbox, policy: AddressPolicy, resolve: Resolver) -> Sequence[str]:
    applied = policy if mailbox.by_tenant else None
    try:
        return await addresses_of(mailbox.host, mailbox.port, policy=applied, resolve=resolve)
    except TimeoutError:
        raise
    except NotPublic as error:
        raise ImapFailed(str(error)) from error
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not a host name"
        raise ImapFailed(f"cannot connect: {mailbox.host}: {one_line(reason)}") from error


async def _log_in(session: Session) -> None:
    """Try it in a thread of its own, and end that with the waiting."""
    try:
        await in_own_thread(session.try_login, "imap")
    except asyncio.CancelledError:
        session.give_up()
        raise
