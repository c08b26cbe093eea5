"""Trying the login at a mailbox, from the loop: IMAP is blocking, and has a thread of its own for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mail_proxy.addresses import AddressPolicy
from mail_proxy.imap.failure import ImapFailed
from mail_proxy.logging import one_line
from mail_proxy.model.accounts import TlsMode
from mail_proxy.model.logins import LoginTrial, Mailbox
from mail_proxy.net import ADDRESSES_TRIED, Resolver, resolve_by_system

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
    error, tls = None, TlsMode.SSL if mailbox.ssl else TlsMode.NONE
    try:
        async with asyncio.timeout(wait):
            addresses = await _addresses(mailbox, policy, resolve)
            session = await asyncio.to_thread(_session, mailbox, addresses, step_wait)
            try:
                await _in_own_thread(session.try_login, session.give_up)
            finally:
                tls = session.tls
    except TimeoutError:
        error = f"timed out: it took more than {wait:g} s in all"
    except ImapFailed as failed:
        error = str(failed)
    return LoginTrial(error=error, tls=tls, seconds=loop.time() - begun)


def _session(mailbox: Mailbox, addresses: Sequence[str], wait: float) -> Session:
    # Late: the library takes a tenth of a second to load, which neither the loop nor commands can spare.
    from mail_proxy.imap.session import Session

    return Session(mailbox, addresses, wait)


async def _addresses(mailbox: Mailbox, policy: AddressPolicy, resolve: Resolver) -> list[str]:
    try:
        addresses = list(await resolve(mailbox.host, mailbox.port))
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not a host name"
        raise ImapFailed(f"cannot connect: {mailbox.host}: {one_line(reason)}") from error
    if mailbox.by_tenant:
        addresses = policy.admitted(addresses)
        if not addresses:
            # Which address it is would tell a tenant about networks that are none of its business.
            raise ImapFailed(
                f"{mailbox.host} is not a public address; GMP_ALLOWED_NETWORKS can permit private networks"
            )
    return addresses[:ADDRESSES_TRIED]


async def _in_own_thread(work: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Do blocking work that may hang, in a thread that nothing waits for; `give_up` ends it.

    It holds up neither other work, as it would in the loop's few shared threads, nor the process's end.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(fault: BaseException | None) -> None:
        if done.done():
            return
        if fault is None:
            done.set_result(None)
        else:
            done.set_exception(fault)

    def run() -> None:
        fault: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # noqa: BLE001 - it belongs to whoever waits
            fault = caught
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, fault)

    threading.Thread(target=run, name="imap", daemon=True).start()
    try:
        await done
    except asyncio.CancelledError:
        give_up()
        raise
