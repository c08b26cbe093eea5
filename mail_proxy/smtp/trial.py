"""Trying an account's login, as the delivery agent would log in, and sending nothing."""

from __future__ import annotations

import asyncio

from mail_proxy.model.accounts import Account
from mail_proxy.model.logins import LoginTrial, Step
from mail_proxy.smtp.transport import Dialer, open_connection
from mail_proxy.smtp.verdict import Broken, Failure, Phase, Trouble, judge

_STEPS = {
    Phase.CONNECT: Step.CONNECT,
    Phase.GREETING: Step.GREETING,
    Phase.HELLO: Step.GREETING,
    Phase.STARTTLS: Step.TLS,
    Phase.AUTH: Step.LOGIN,
}
_STEPS_OF_TLS = {Trouble.CERTIFICATE: Step.CERTIFICATE, Trouble.TLS: Step.TLS}


async def try_login(account: Account, dialer: Dialer, wait: float) -> LoginTrial:
    """Connect, log in and take leave, all within `wait` seconds. An account of the sandbox has no server."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    error, failed_at = None, None
    if not account.is_sandbox:
        try:
            async with asyncio.timeout(wait):
                error, failed_at = await _converse(account, dialer)
        except TimeoutError:
            error = f"timed out: it took more than {wait:g} s in all"
    return LoginTrial(
        error=error, tls=account.effective_tls, seconds=loop.time() - begun, failed_at=failed_at
    )


async def _converse(account: Account, dialer: Dialer) -> tuple[str | None, Step | None]:
    """Return what went wrong, None for nothing, and where."""
    try:
        connection = await open_connection(account, dialer)
    except Broken as broken:
        return judge(broken.phase, broken.cause).reply, _step_of(broken)
    try:
        if not await connection.is_alive():
            return "after the login the server did not answer to NOOP", Step.NOOP
        await connection.quit()
        return None, None
    finally:
        connection.abort()


def _step_of(broken: Broken) -> Step:
    """Where that was; TLS that begins with the connection is a step of its own."""
    trouble = broken.cause.trouble if isinstance(broken.cause, Failure) else None
    return _STEPS_OF_TLS[trouble] if trouble in _STEPS_OF_TLS else _STEPS[broken.phase]
