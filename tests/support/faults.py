"""Accounts on servers that fail, and what is known of their trouble."""

from __future__ import annotations

from collections.abc import Mapping

from mail_proxy.addresses import AddressPolicy
from mail_proxy.model.accounts import TlsMode
from mail_proxy.smtp.transport import Timeouts
from tests.support.dispatching import TENANT, Dispatching
from tests.support.faulty_server import HOST, FaultyServer


async def speak_to(
    rig: Dispatching, server: FaultyServer, account_id: str = "main", **changes: object
) -> None:
    """Add an account that speaks to this server."""
    settings: Mapping[str, object] = {"tls": TlsMode.NONE} | changes
    await rig.add_account(None, account_id, host=HOST, port=server.port, **settings)


def set_timeouts(rig: Dispatching, timeouts: Timeouts) -> None:
    """Wait for servers so long from now on: hastily, where one is silent, and only while it is."""
    config = rig.runtime.config
    rig.agent.reconfigure(
        timeouts=timeouts,
        max_concurrent_per_account=config.max_concurrent_per_account,
        policy=AddressPolicy.of(config.allowed_networks),
    )


async def trouble(rig: Dispatching) -> str | None:
    """What the trouble of the account `main` is, None while it has none."""
    return (await rig.store.accounts.get(TENANT, "main")).last_error
