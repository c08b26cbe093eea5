"""Trying an account's login, as the delivery agent would log in, and sending nothing."""

from __future__ import annotations

import asyncio

from mail_proxy.model.accounts import Account
from mail_proxy.model.logins import LoginTrial
from mail_proxy.smtp.transport import Dialer, open_connection
from mail_proxy.smtp.verdict import Broken, judge


async def try_login(account: Account, dialer: Dialer, wait: float) -> LoginTrial:
    """Connect, log in and take leave, all within `wait` seconds. An account of the sandbox has no server."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    error = None
    if not account.is_sandbox:
        try:
            async with asyncio.timeout(wait):
                error = await _converse(account, dialer)
        except TimeoutError:
            error = f"timed out: it took more than {wait:g} s in all"
    return LoginTrial(error=error, tls=account.effective_tls, seconds=loop.time() - begun)


async def _converse(account: Account, dialer: Dialer) -> str | None:
    """Return what went wrong, None for nothing."""
    try:
        connection = await open_connection(account, dialer)
    except Broken as broken:
        return judge(broken.phase, broken.cause).reply
    try:
        if not await connection.is_alive():
            return "after the login the server did not answer to NOOP"
        await connection.quit()
        return None
    finally:
        connection.abort()
