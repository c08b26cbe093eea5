"""Whose address a request came from, behind proxies or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import Request

FORWARDED = "X-Forwarded-For"

MAX_HOPS = 32
"""How many entries of the header are looked at: a client may write any number into it."""

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d{1,5})?|(?P<v4>[\d.]+):\d{1,5}")


def networks_of(texts: Sequence[str]) -> Networks:
    """Read networks and single addresses, which the configuration has checked."""
    return tuple(ip_network(text) for text in texts)


def client_address(request: Request, trusted: Networks) -> str | None:
    """Return the address of who asks; None where the connection has none.

    That is the peer's, or when the peer is `trusted` the right-most address in X-Forwarded-For that is not:
    what stands left of it was written by somebody unknown. What is no address ends the search.
    """
    if request.client is None:
        return None
    if not trusted:
        return _canonical(request.client.host)
    peer = _address_of(request.client.host)
    if peer is None:
        return None
    entries = ",".join(request.headers.getlist(FORWARDED)).rsplit(",", MAX_HOPS)
    while entries and any(peer in network for network in trusted):
        before = _address_of(entries.pop().strip())
        if before is None:
            break
        peer = before
    return str(peer)


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str | None:
    address = _address_of(text)
    return None if address is None else str(address)


def _address_of(text: str) -> Address | None:
    """Read an address with or without a port; an IPv4 address in the form of IPv6 is that IPv4 address."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match["v6"] or match["v4"]) if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
