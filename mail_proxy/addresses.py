"""Which IP addresses a tenant may make this server connect to (contract: security.md, Untrusted input)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from mail_proxy.errors import InvalidConfig

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")
GLOBAL_UNICAST = IPv6Network("2000::/3")

# `is_global` alone is not enough: depending on the version of Python it holds for multicast, for parts of
# 192.0.0.0/24, and for IPv6 forms that carry an IPv4 address. (IANA special-purpose address registries.)
BLOCKED: tuple[Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("168.63.129.16/32"),  # the metadata and wire server of Azure, on a public address
    IPv4Network("169.254.0.0/16"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.0.2.0/24"),
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("192.168.0.0/16"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),
    IPv6Network("2001::/23"),  # Teredo, ORCHID, benchmarking
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4, which carries any IPv4 address
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The public addresses, and those of the `allowed` networks (`GMP_ALLOWED_NETWORKS`)."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Sequence[str]) -> AddressPolicy:
        """Read the networks, like ``10.1.0.0/16`` or ``fd00::/8``; `InvalidConfig` names a wrong one."""
        return cls(tuple(_network(text) for text in networks))

    def admits(self, text: str) -> bool:
        """Tell whether a connection to this address, as the resolver gave it, is permitted."""
        try:
            forms = _forms(ip_address(text))
        except ValueError:
            return False
        if any(form in network for form in forms for network in self.allowed):
            return True
        return _is_public(forms[-1])

    def admitted(self, addresses: Iterable[str]) -> list[str]:
        """Keep those of the addresses that are permitted, in their order."""
        return [address for address in addresses if self.admits(address)]


def _network(text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError as fault:
        raise InvalidConfig(
            f"allowed_networks: '{text}' is not a network ({fault}); give it like 10.1.0.0/16"
        ) from None


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, then the IPv4 address that it really stands for, if there is one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return (address, address.ipv4_mapped)
        if address in NAT64:
            return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address in network for network in BLOCKED)
