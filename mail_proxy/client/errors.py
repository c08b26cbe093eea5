"""What may go wrong for a client, as one tree.

::

    MailProxyClientError
    ├── Unreachable             no answer, or part of one: the request may have been acted upon
    │   └── TimedOut            no answer in time; also a TimeoutError
    ├── UnexpectedAnswer        an answer, but not one that mail-proxy gives: is the URL right?
    ├── ApiError                mail-proxy refused: `status` and `error` say what and why
    └── InvalidPost             what was posted to the application is no delivery report
        └── InvalidSignature    or it was not signed with the secret
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mail_proxy.errors import Fault

if TYPE_CHECKING:
    from mail_proxy.client.answers import Rejection


class MailProxyClientError(Exception):
    """The root of the tree: its text is one line, for a person."""


class Unreachable(MailProxyClientError):
    """There was no whole answer; `was_sent` is False when the request cannot have reached the server."""

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class TimedOut(Unreachable, TimeoutError):
    """There was no answer in time."""


class UnexpectedAnswer(MailProxyClientError):
    """What answered is not mail-proxy, or a version of it that this client does not understand."""


class ApiError(MailProxyClientError):
    """mail-proxy refused the request.

    `status` is HTTP's, `error` one line for a person, `detail` whatever the answer says beside it. `faults`
    name the fields that were wrong. When every message was refused (400), `rejected` tells them apart.
    `retry_after` is in seconds, where the server gave it (429 and 503).
    """

    def __init__(
        self,
        status: int,
        error: str,
        detail: object = None,
        *,
        faults: Sequence[Fault] = (),
        rejected: Sequence[Rejection] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{error} (HTTP {status})")
        self.status = status
        self.error = error
        self.detail = detail
        self.faults = tuple(faults)
        self.rejected = tuple(rejected)
        self.retry_after = retry_after


class InvalidPost(MailProxyClientError):
    """What was posted to the application is not a delivery report of mail-proxy."""


class InvalidSignature(InvalidPost):
    """A post was not signed with the secret, or not lately: it may come from anybody."""
