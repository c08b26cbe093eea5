"""What one SMTP conversation came to, recipient by recipient: values, not exceptions.

The delivery agent returns an `Outcome`; the dispatcher settles it in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Scope(StrEnum):
    """Whose fault a failure is, and so what else it concerns.

    TRANSACTION: that took no more recipients; those left out have only to go in another. NODE: we ourselves
    could not go on; the message has only to be sent anew.
    """

    RECIPIENT = "recipient"
    TRANSACTION = "transaction"
    MESSAGE = "message"
    CONNECTION = "connection"
    ACCOUNT = "account"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The server took the message for this recipient. `reply` is its answer to the final dot."""

    code: str | None = None
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Not now: to be tried again. `unknown` says that the final dot was sent and no reply came."""

    reply: str
    code: str | None = None
    scope: Scope = Scope.RECIPIENT
    unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounced:
    """Never: the server refused for good, or the message cannot be sent as it is."""

    reply: str
    code: str | None = None
    scope: Scope = Scope.RECIPIENT


Verdict = Delivered | Deferred | Bounced


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One verdict for each recipient that was tried, by address.

    `tells_of_server`: a server, or its silence, is behind them. Not if none was asked, nor if we failed.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    tells_of_server: bool = True

    @classmethod
    def same(cls, addresses: tuple[str, ...], verdict: Verdict) -> Outcome:
        """Give every address the same verdict."""
        return cls(verdicts=dict.fromkeys(addresses, verdict))
