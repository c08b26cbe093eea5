"""What a request meets before its handler does: state of this process, made anew at each start."""

from __future__ import annotations

from starlette.requests import Request

from mail_proxy.api.bodies import Bodies
from mail_proxy.api.clients import client_address, networks_of
from mail_proxy.api.throttle import FailedAttempts
from mail_proxy.clock import Clock
from mail_proxy.config import Config

MEGABYTE = 1024 * 1024


class Gate:
    """Knows which proxies to believe, who has guessed at tokens, and what `bodies` are in memory."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._trusted = networks_of(config.trusted_proxies)
        self._attempts = FailedAttempts(clock, config.auth_failure_limit)
        self.bodies = Bodies(config.max_body_mb * MEGABYTE)

    def reconfigure(self, config: Config) -> None:
        """Take what can change without a restart."""
        self._trusted = networks_of(config.trusted_proxies)
        self._attempts.reconfigure(config.auth_failure_limit)

    def client_address(self, request: Request) -> str | None:
        """Return the address of who asks; see `client_address`."""
        return client_address(request, self._trusted)

    def note_unknown_token(self, request: Request) -> None:
        """Count it; raise `TooManyAttempts` when there were too many from where this one came."""
        self._attempts.add(self.client_address(request))
