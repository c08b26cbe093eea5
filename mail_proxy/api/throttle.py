"""Guessing at tokens: how often an address may show one that is unknown (contract: security.md, Tokens)."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil

from mail_proxy.clock import Clock
from mail_proxy.errors import TooManyAttempts

logger = logging.getLogger(__name__)

WINDOW = 60.0
"""Seconds within which attempts are counted."""

MAX_ADDRESSES = 10_000
"""How many addresses are remembered; beyond that, those that have been quiet longest are forgotten."""


class FailedAttempts:
    """Counts unknown tokens by address, in this process alone."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()  # the quietest first

    def reconfigure(self, limit: int) -> None:
        """Allow `limit` attempts from now on; 0 is any number."""
        self._limit = limit

    def add(self, address: str | None) -> None:
        """Count an unknown token; raise `TooManyAttempts` when the address has used up its attempts.

        What is refused is not counted again, so that an address is free when its counted attempts are old.
        """
        if not self._limit:
            return
        now = self._clock.now()
        self._forget(now)
        key = _network_of(address)
        attempts = self._seen.setdefault(key, deque())
        while attempts and not _is_recent(attempts[0], now):
            attempts.popleft()
        if len(attempts) >= self._limit:
            raise TooManyAttempts(ceil(attempts[-self._limit] + WINDOW - now))
        attempts.append(now)
        self._seen.move_to_end(key)
        if len(attempts) == self._limit:
            logger.warning("unknown tokens from %s: %d within a minute", key, self._limit)

    def _forget(self, now: float) -> None:
        """Drop who has been quiet for the whole window, and the quietest of too many."""
        while self._seen:
            key, attempts = next(iter(self._seen.items()))
            if len(self._seen) < MAX_ADDRESSES and _is_recent(attempts[-1], now):
                return
            del self._seen[key]


def _is_recent(moment: float, now: float) -> bool:
    """Tell whether an attempt counts; one in the future does not: the clock was set back."""
    return now - WINDOW < moment <= now


def _network_of(address: str | None) -> str:
    """Name what is counted as one: of IPv6 the /64, which is what one customer has at least."""
    if address is None:
        return "an unknown address"
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), 64), strict=False))
    return address
