"""Hands the shop's mails to mail-proxy, as soon as there are any and for as long as it takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from mail_proxy.client import ApiError, MailProxyClient, MailProxyClientError, Rejection
from outbox import Json, Outbox

BATCH = 100
"""Mails in one request."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two tries while mail-proxy takes nothing; each pause is twice the one before."""

LOOK = 10.0
"""Seconds after which the database is looked at anyway: other processes may store mails, and ring nobody."""

HANDED_IN_BEFORE = ("already sent", "being sent")
"""Rejections that are good news: an earlier submission got through, and only its answer was lost."""

UNREADABLE = (413, 422)
"""HTTP statuses for a request that is refused as a whole, because of what is in it."""

log = logging.getLogger("shop.submitter")


class Submitter:
    """A thread beside the web application. It may be killed at any moment: each step may be done twice."""

    def __init__(self, outbox: Outbox, client: MailProxyClient) -> None:
        self._outbox = outbox
        self._client = client
        self._bell = threading.Event()
        self._is_failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="submitter")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way, and return; the rest waits for the next start."""
        self._stopping.set()
        self._bell.set()
        self._thread.join()

    def mail_stored(self) -> None:
        """Hand in what is new, unless mail-proxy is given a pause: many orders must not make many tries."""
        if not self._is_failing:
            self._bell.set()

    def proxy_called(self) -> None:
        """Try now: whoever posts a report is there."""
        self._bell.set()

    def _run(self) -> None:
        pause = 0.0
        has_greeted = False
        while True:
            self._bell.clear()  # before the look, so that what is stored after it is rung for again
            if self._stopping.is_set():
                return
            try:
                if not has_greeted:
                    # We were away: mail-proxy may pause for minutes before it tries again to tell us.
                    self._client.run_now()
                    has_greeted = True
                while not self._stopping.is_set() and (mails := self._outbox.waiting(BATCH)):
                    self._hand_in(mails)
                pause = 0.0
            except MailProxyClientError as error:
                asked = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
                pause = max(min(2 * pause, LONGEST_PAUSE), FIRST_PAUSE, asked)
                log.warning("mails wait, next try in %g s: %s", pause, error)
            except Exception:
                pause = LONGEST_PAUSE  # the mails are safe where they are, and a dead thread helps nobody
                log.exception("mails wait, next try in %g s", pause)
            self._is_failing = pause > 0
            self._bell.wait(pause or LOOK)

    def _hand_in(self, mails: Sequence[Json]) -> None:
        """Submit, then mark. After a crash in between the mails are submitted again, which does no harm:

        mail-proxy knows them by their ids, replaces what it has not sent yet, and tells what it has.
        """
        try:
            rejected = self._client.messages.enqueue(mails).rejected
        except ApiError as error:
            if error.status in UNREADABLE and len(mails) > 1:
                half = len(mails) // 2  # one mail that nobody can take must not hold up the others
                self._hand_in(mails[:half])
                self._hand_in(mails[half:])
                return
            if error.status in UNREADABLE:
                rejected = (Rejection(id=mails[0]["id"], reason=error.error),)
            elif error.rejected:
                rejected = error.rejected
            else:
                raise  # a wrong token, a full disk: no fault of the mails, which wait
        refused = {str(each.id): each.reason for each in rejected if each.reason not in HANDED_IN_BEFORE}
        self._outbox.mark([mail["id"] for mail in mails if mail["id"] not in refused], refused)
