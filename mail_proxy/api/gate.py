"""What a request meets before its handler does: state of this process, made anew at each start."""

from __future__ import annotations

from starlette.requests import Request

from mail_proxy.api.clients import client_address, networks_of
from mail_proxy.config import Config


class Gate:
    """Knows which proxies to believe."""

    def __init__(self, config: Config) -> None:
        self._trusted = networks_of(config.trusted_proxies)

    def reconfigure(self, config: Config) -> None:
        self._trusted = networks_of(config.trusted_proxies)

    def client_address(self, request: Request) -> str | None:
        """Return the address of who asks; see `client_address`."""
        return client_address(request, self._trusted)
