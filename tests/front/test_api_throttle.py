"""Guessing at tokens, and whose address a guess came from (contract: security.md, Tokens)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from starlette.requests import Request

from mail_proxy.api.clients import MAX_HOPS, client_address, networks_of
from mail_proxy.api.throttle import MAX_ADDRESSES, FailedAttempts
from mail_proxy.config import load_config
from mail_proxy.errors import InvalidConfig, TooManyAttempts
from tests.support.api import ADMIN, Answer, Api, open_api
from tests.support.clock import ManualClock

TRUSTED = "10.0.0.0/8,192.0.2.1,fd00::/8"
BEHIND_PROXY = {"GMP_TRUSTED_PROXIES": "127.0.0.1"}
"""What the tests' own client connects from."""


@pytest.fixture
async def behind(sqlite_url: str) -> AsyncIterator[Api]:
    """An API behind a proxy, so that a test can come from any address."""
    async with open_api(sqlite_url, BEHIND_PROXY) as api:
        yield api


async def guess(api: Api, address: str = "198.51.100.7", token: str | None = "guessed") -> Answer:
    return await api.call("GET", "/status", token=token, headers={"X-Forwarded-For": address})


async def guesses(api: Api, count: int, address: str = "198.51.100.7") -> list[int]:
    return [(await guess(api, address)).status for _ in range(count)]


def seen_from(peer: str | None, forwarded: Sequence[str] = (), trusted: str = TRUSTED) -> str | None:
    """The address of who asks, by the lines of X-Forwarded-For."""
    scope = {
        "type": "http",
        "client": None if peer is None else (peer, 50_000),
        "headers": [(b"x-forwarded-for", line.encode()) for line in forwarded]
        + [(b"forwarded", b"for=203.0.113.9")],
    }
    return client_address(Request(scope), networks_of(trusted.split(",") if trusted else []))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", ["203.0.113.1"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("192.0.2.1", ["203.0.113.1"], "203.0.113.1"),
        ("192.0.2.2", ["203.0.113.1"], "192.0.2.2"),
        ("10.0.0.1", ["203.0.113.1, 203.0.113.2"], "203.0.113.2"),
        ("10.0.0.1", ["203.0.113.1,203.0.113.2 ,10.0.0.3,  10.0.0.2"], "203.0.113.2"),
        ("10.0.0.1", ["203.0.113.1", "203.0.113.2", "10.0.0.2"], "203.0.113.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.1, "], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.256"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.1, [fd00::1]:80"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1, ::ffff:10.0.0.2"], "203.0.113.1"),
        ("::ffff:10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("::ffff:198.51.100.7", ["203.0.113.1"], "198.51.100.7"),
        ("fd00::5", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.1, é\x7f"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1" + ",10.0.0.2" * (MAX_HOPS - 1)], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1" + ",10.0.0.2" * (MAX_HOPS + 1)], "10.0.0.2"),
        (None, ["203.0.113.1"], None),
        ("testclient", ["203.0.113.1"], None),
    ],
)
def test_the_client_is_the_right_most_whom_no_trusted_proxy_is(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    assert seen_from(peer, forwarded) == address


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert seen_from("127.0.0.1", ["203.0.113.1"], trusted="") == "127.0.0.1"


@pytest.mark.parametrize("given", ["10.0.0.1/8", "proxy.example.org", "10.0.0.0/8;127.0.0.1", "300.1.1.1"])
def test_what_is_no_network_is_refused_at_the_start(given: str) -> None:
    with pytest.raises(InvalidConfig, match=r"GMP_TRUSTED_PROXIES: .*addresses or networks"):
        load_config(None, {"GMP_TRUSTED_PROXIES": given})


async def test_after_ten_unknown_tokens_they_are_429(api: Api) -> None:
    answers = [await guess(api) for _ in range(12)]
    assert [answer.status for answer in answers] == [401] * 10 + [429] * 2
    refused = answers[-1]
    wait = int(refused.headers["retry-after"])
    assert 50 <= wait <= 60
    text = f"too many unknown tokens from this address: try again in {wait} s"
    assert refused.body == {"ok": False, "error": text, "detail": text}


async def test_a_valid_token_is_never_refused_for_what_others_did(api: Api) -> None:
    """The admin's and a tenant's, from the very same address."""
    key = await api.add_tenant("acme")
    await guesses(api, 11)
    assert [(await guess(api, token=token)).status for token in (key, ADMIN, "guessed")] == [200, 200, 429]


async def test_a_missing_token_is_no_guess(api: Api) -> None:
    assert [(await guess(api, token=None)).status for _ in range(20)] == [401] * 20
    assert await guesses(api, 11) == [401] * 10 + [429]
    assert (await guess(api, token=None)).status == 401


async def test_what_needs_no_token_stays_open(api: Api) -> None:
    await guesses(api, 11)
    assert (await api.get("/health", token="guessed")).status == 200


async def test_dead_keys_count_as_unknown(api: Api) -> None:
    """A revoked one and an expired one."""
    revoked = await api.add_tenant("acme")
    await api.delete("/tenant/acme/api-key")
    expired = await api.add_tenant("beta")
    await api.put("/tenant/beta", {"api_key_expires_at": api.clock.now() - 1})
    found = [(await guess(api, token=token)).status for token in [revoked, expired] * 6]
    assert found == [401] * 10 + [429] * 2


async def test_of_a_refused_tenant_no_guess_is_counted(api: Api) -> None:
    """A valid token that names another tenant gets 401 too, but it was not guessed."""
    key = await api.add_tenant("acme")
    named = [(await api.get("/messages?tenant_id=other", token=key)).status for _ in range(12)]
    assert named == [401] * 12
    assert (await guess(api)).status == 401


async def test_the_window_slides(api: Api) -> None:
    """Each attempt is forgotten a minute after it was made."""
    assert await guesses(api, 4) == [401] * 4
    api.clock.ahead = 40
    assert await guesses(api, 7) == [401] * 6 + [429]
    wait = int((await guess(api)).headers["retry-after"])
    assert 10 <= wait <= 20
    api.clock.ahead += wait
    assert await guesses(api, 5) == [401] * 4 + [429]


async def test_what_is_refused_does_not_prolong_the_wait(api: Api) -> None:
    await guesses(api, 10)
    api.clock.ahead = 50
    assert await guesses(api, 30) == [429] * 30
    api.clock.ahead = 61
    assert (await guess(api)).status == 401


async def test_a_clock_that_was_set_back_locks_nobody_out(api: Api) -> None:
    api.clock.ahead = 10_000
    await guesses(api, 11)
    api.clock.ahead = 0
    assert (await guess(api)).status == 401


async def test_each_address_has_its_own_attempts(behind: Api) -> None:
    assert await guesses(behind, 11, "198.51.100.7") == [401] * 10 + [429]
    assert await guesses(behind, 11, "198.51.100.8") == [401] * 10 + [429]


async def test_of_ipv6_a_64_is_one_address(behind: Api) -> None:
    """It is what one customer has at least, to choose from at will."""
    spread = [(await guess(behind, f"2001:db8:1:2:{n}::{n}")).status for n in range(11)]
    assert spread == [401] * 10 + [429]
    assert (await guess(behind, "2001:db8:1:3::1")).status == 401


async def test_an_untrusted_peer_does_not_choose_its_address(sqlite_url: str) -> None:
    async with open_api(sqlite_url, {"GMP_TRUSTED_PROXIES": "10.0.0.0/8"}) as api:
        found = [(await guess(api, f"198.51.100.{n}")).status for n in range(11)]
    assert found == [401] * 10 + [429]


@pytest.mark.parametrize(("limit", "expected"), [("0", [401] * 30), ("3", [401] * 3 + [429] * 27)])
async def test_the_limit_is_a_setting(sqlite_url: str, limit: str, expected: list[int]) -> None:
    async with open_api(sqlite_url, {"GMP_AUTH_FAILURE_LIMIT": limit}) as api:
        assert await guesses(api, 30) == expected


@pytest.mark.parametrize("given", ["-1", "1001", "ten", "2.5"])
def test_a_limit_that_is_none_is_refused_at_the_start(given: str) -> None:
    with pytest.raises(InvalidConfig, match=r"GMP_AUTH_FAILURE_LIMIT: .*from 0 to 1000"):
        load_config(None, {"GMP_AUTH_FAILURE_LIMIT": given})


def test_a_lower_limit_counts_what_was_before() -> None:
    attempts = FailedAttempts(ManualClock(), 5)
    for _ in range(4):
        attempts.add("198.51.100.7")
    attempts.reconfigure(2)
    with pytest.raises(TooManyAttempts):
        attempts.add("198.51.100.7")


def test_memory_is_bounded_by_forgetting_the_quietest() -> None:
    """Not even a whole network of guessers fills it."""
    attempts = FailedAttempts(ManualClock(), 1)
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MAX_ADDRESSES + 1)]
    for address in addresses:
        attempts.add(address)
    with pytest.raises(TooManyAttempts):
        attempts.add(addresses[-1])
    attempts.add(addresses[0])
    with pytest.raises(TooManyAttempts):
        attempts.add(addresses[0])


async def test_the_log_says_where_the_guesses_come_from(
    behind: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each time the limit is reached; the guess is not in it."""
    await guesses(behind, 30)
    said = [record.getMessage() for record in caplog.records if record.name == "mail_proxy.api.throttle"]
    assert said == ["unknown tokens from 198.51.100.7: 10 within a minute"]
