"""Which addresses a tenant may reach."""

from __future__ import annotations

import pytest

from mail_proxy.addresses import AddressPolicy
from mail_proxy.errors import InvalidConfig

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "100.128.0.1"]

REFUSED = {
    "loopback": ["127.0.0.1", "127.8.8.8", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"],
    "shared": ["100.64.0.1", "100.100.100.200"],
    "link-local": ["169.254.1.1", "fe80::1", "fe80::1%eth0", "fec0::1"],
    "metadata": ["169.254.169.254", "fd00:ec2::254", "192.0.0.192", "168.63.129.16"],
    "protocol assignments": ["192.0.0.8", "192.0.0.171", "2001::1", "2001:20::1", "192.88.99.1"],
    "documentation and benchmarks": [
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "3fff::1",
    ],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved and broadcast": ["240.0.0.1", "255.255.255.255", "4000::1", "100::1"],
    "IPv4 inside IPv6": [
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "::ffff:0:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::1",
    ],
    "no address": ["", "localhost", "127.1", "1.2.3.4.5"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_admitted(address: str) -> None:
    assert AddressPolicy().admits(address)


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, many in REFUSED.items() for one in many])
def test_others_are_refused(kind: str, address: str) -> None:
    assert not AddressPolicy().admits(address), kind


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        (" 10.1.0.0/16 ", "10.1.2.3"),
        ("10.1.0.0/16", "::ffff:10.1.2.3"),
        ("10.1.0.0/16", "64:ff9b::a01:203"),
        ("fd00::/8", "fd12::1"),
        ("::1/128", "::1"),
    ],
)
def test_allowed_networks_open_their_own_addresses(network: str, address: str) -> None:
    assert AddressPolicy.of([network]).admits(address)


@pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "fd00::1"])
def test_allowed_networks_open_no_others(address: str) -> None:
    assert not AddressPolicy.of(["10.1.0.0/16", "192.168.0.0/24"]).admits(address)


def test_admitted_keeps_the_order() -> None:
    assert AddressPolicy().admitted(["8.8.8.8", "10.0.0.1", "1.1.1.1"]) == ["8.8.8.8", "1.1.1.1"]


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "intranet", ""])
def test_a_wrong_network_is_named(text: str) -> None:
    with pytest.raises(InvalidConfig, match="allowed_networks: "):
        AddressPolicy.of([text])
