"""An account: one SMTP login of a tenant."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

SANDBOX_HOST = "sandbox"

SECRETS = ("password", "imap_password")

SMTPS_PORT = 465
SUBMISSION_PORT = 587


CLOCK_SLACK = 60.0
"""Seconds by which a moment may lie before the beginning of a rest that is on record already."""


class TlsMode(StrEnum):
    NONE = "none"
    STARTTLS = "starttls"
    SSL = "ssl"


class LimitBehavior(StrEnum):
    """What becomes of a message over a rate limit."""

    DEFER = "defer"
    REJECT = "reject"


class Circuit(StrEnum):
    """Whether messages go to the account's server, or wait while it rests and is probed."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Rest:
    """For how many seconds an account is let be, and until when; after that it is probed."""

    seconds: float
    until: float

    def holds(self, now: float) -> bool:
        """Tell whether it lasts; a clock that was set back does not make it much longer than it is.

        Who asks may have looked at the clock before it began: another node's differs, or the database kept
        him waiting.
        """
        return self.until - self.seconds - CLOCK_SLACK <= now < self.until


class OnUnknown(StrEnum):
    """What to do when the final dot was sent and the reply never came."""

    RETRY = "retry"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """`ttl` is seconds a connection is kept; limits of 0 are no limit; timestamps are Unix seconds.

    `lane` is the number of the account's queue in the database; 0 before it is stored.
    `by_tenant` tells that a tenant token, not the admin's, gave the address. `unreadable` names the secrets
    that are stored and cannot be decrypted; they are None. `rest` is there while the circuit is open,
    `last_error` says why it is, `ill_since` since when.
    """

    tenant_id: str
    id: str
    host: str
    port: int = SUBMISSION_PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsMode | None = None
    use_tls: bool | None = None
    tls_verify: bool = True
    tls_ca: str | None = None
    from_address: str | None = None
    ttl: int = 300
    batch_size: int | None = None
    max_concurrent: int | None = None
    limit_per_minute: int = 0
    limit_per_hour: int = 0
    limit_per_day: int = 0
    limit_behavior: LimitBehavior = LimitBehavior.DEFER
    on_unknown: OnUnknown = OnUnknown.RETRY
    is_pec_account: bool = False
    imap_host: str | None = None
    imap_port: int = 993
    imap_user: str | None = None
    imap_password: str | None = field(default=None, repr=False)
    imap_folder: str = "INBOX"
    imap_ssl: bool = True
    by_tenant: bool = False
    unreadable: frozenset[str] = frozenset()
    lane: int = 0
    last_error: str | None = None
    rest: Rest | None = None
    ill_since: float | None = None
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def circuit(self) -> Circuit:
        return Circuit.CLOSED if self.rest is None else Circuit.OPEN

    @property
    def is_sandbox(self) -> bool:
        return self.host == SANDBOX_HOST

    @property
    def may_be_clear(self) -> bool:
        """Whether the password may go over an unencrypted connection: only if `tls` says so itself."""
        return self.tls is TlsMode.NONE

    @property
    def effective_tls(self) -> TlsMode:
        """The mode in force: `tls` if given, else by port and `use_tls` (contract: delivery.md, TLS)."""
        if self.tls is not None:
            return self.tls
        if self.port == SMTPS_PORT:
            return TlsMode.SSL
        if self.port == SUBMISSION_PORT or self.use_tls:
            return TlsMode.STARTTLS
        return TlsMode.NONE
