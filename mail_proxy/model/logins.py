"""A mailbox to be read, and what came of trying a login."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mail_proxy.model.accounts import TlsMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A folder of an IMAP server. With `ssl` the connection begins with TLS.

    Without, it goes over to TLS where the server offers that, and stays in clear where it does not.
    `by_tenant` tells that a tenant token, not the admin's, gave the address.
    """

    host: str
    port: int = 993
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    folder: str = "INBOX"
    ssl: bool = True
    tls_verify: bool = True
    tls_ca: str | None = None
    by_tenant: bool = False

    @property
    def tls_at_first(self) -> TlsMode:
        """How the connection begins."""
        return TlsMode.SSL if self.ssl else TlsMode.NONE


class Step(StrEnum):
    """What a login is made of; the value names it for people."""

    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "TLS"
    CERTIFICATE = "certificate"
    LOGIN = "login"
    NOOP = "NOOP"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginTrial:
    """How a login went: `error` is None when it worked, `tls` the protection that there was, or was to be.

    `failed_at` is the step that did not work, None where that is not known, or nothing was tried.
    """

    error: str | None
    tls: TlsMode
    seconds: float
    failed_at: Step | None = None

    @property
    def is_untrusted(self) -> bool:
        """Whether it is the server's certificate that was not accepted."""
        return self.failed_at is Step.CERTIFICATE
