"""Something that may fail for a while and is tried until it works again: said once, not at every try."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Outage:
    """One kind of work, named as the log shall call it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._reason: str | None = None

    def met(self, error: Exception) -> None:
        """It failed: logged when it worked before, or failed for another reason."""
        reason = str(error)
        if reason != self._reason:
            log.warning("%s pauses: %s", self._what, reason)
        self._reason = reason

    def over(self) -> None:
        """It works: logged when it did not before."""
        if self._reason is not None:
            log.info("%s goes on", self._what)
        self._reason = None
