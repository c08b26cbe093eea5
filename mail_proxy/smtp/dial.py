"""Reaching an account's server: its addresses, which of them are permitted, and TLS.

What cannot be reached is told by `verdict.Broken`, never by an exception of the system.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TypeVar

from mail_proxy.addresses import AddressPolicy
from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.net import NotPublic, Resolver, addresses_of
from mail_proxy.smtp.verdict import Broken, Failure, Phase, Trouble
from mail_proxy.tls import client_context

UNREADABLE = "its password cannot be decrypted: give it again"

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def dial(
    account: Account,
    make_protocol: Callable[[], ProtocolT],
    *,
    tls: ssl.SSLContext | None,
    policy: AddressPolicy,
    resolve: Resolver,
    wait: float,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to the first of the host's addresses that answers, within `wait` seconds, over TLS if given.

    The addresses of a host that a tenant gave must be admitted by the policy. Without its password an account
    connects nowhere.
    """
    if "password" in account.unreadable:
        raise Broken(Phase.CONNECT, Failure(Trouble.SETTINGS, UNREADABLE))
    loop = asyncio.get_running_loop()
    end = loop.time() + wait
    broken = Broken(Phase.CONNECT, Failure(Trouble.UNREACHABLE, f"{account.host} has no address"))
    addresses = await _addresses(account, policy, resolve, wait)
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        # An address that swallows packets may use up its share of the time, not that of the next.
        share = max(end - loop.time(), 0.0) / left
        try:
            async with asyncio.timeout(share):
                return await loop.create_connection(
                    make_protocol,
                    address,
                    account.port,
                    ssl=tls,
                    server_hostname=server_name(account) if tls else None,
                    ssl_handshake_timeout=2 * wait if tls else None,  # never before ours
                )
        except (OSError, ValueError) as error:
            broken = Broken(Phase.CONNECT, failure_of(error, f"{account.host}:{account.port}"))
    raise broken


def may_say_password(account: Account, peer: str, *, is_encrypted: bool) -> bool:
    """Tell whether the password may go to the IP address `peer` (contract: delivery.md, TLS)."""
    return is_encrypted or account.may_be_clear or ip_address(peer).is_loopback


def server_name(account: Account) -> str:
    """Give the name that the server's certificate must bear."""
    return account.host.rstrip(".")


def failure_of(error: Exception, where: str = "") -> Failure:
    """Map an exception of the system, while connecting or shaking hands, to a failure."""
    prefix = f"{where}: " if where else ""
    if isinstance(error, TimeoutError):
        return Failure(Trouble.TIMEOUT, where)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(Trouble.CERTIFICATE, prefix + error.verify_message)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Failure(Trouble.LOST, where)
    if isinstance(error, ssl.SSLError):
        return Failure(Trouble.TLS, prefix + (error.reason or str(error)))
    if isinstance(error, OSError):
        return Failure(Trouble.UNREACHABLE, prefix + _reason(error))
    return Failure(Trouble.SETTINGS, prefix + str(error))


def _reason(error: OSError) -> str:
    """The system's words, in whose place asyncio puts the address."""
    told = error.strerror or str(error)
    return os.strerror(error.errno) if error.errno and told.startswith("Connect call failed") else told


async def tls_context(account: Account) -> ssl.SSLContext | None:
    """Build what the account's TLS mode asks for; None for a plain connection."""
    if account.effective_tls is TlsMode.NONE:
        return None
    try:
        return await asyncio.to_thread(client_context, account.tls_verify, account.tls_ca or None)
    except ssl.SSLError as error:
        text = "tls_ca: it holds no certificate that can be read"
        raise Broken(Phase.CONNECT, Failure(Trouble.SETTINGS, text)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Broken(Phase.CONNECT, Failure(Trouble.SETTINGS, f"tls_ca: {reason}")) from error


async def _addresses(
    account: Account, policy: AddressPolicy, resolve: Resolver, wait: float
) -> Sequence[str]:
    applied = policy if account.by_tenant else None
    try:
        async with asyncio.timeout(wait):
            return await addresses_of(account.host, account.port, policy=applied, resolve=resolve)
    except NotPublic as error:
        raise Broken(Phase.CONNECT, Failure(Trouble.SETTINGS, str(error))) from error
    except (OSError, ValueError) as error:
        raise Broken(Phase.CONNECT, failure_of(error, account.host)) from error
