"""From a claimed message to what goes on the wire: content read, MIME written."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from mail_proxy.encryption import Tracking
from mail_proxy.errors import NotFound
from mail_proxy.model.messages import Payload, PayloadKind
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Bounced, Scope
from mail_proxy.services.payloads import draft_of
from mail_proxy.smtp import eml, mime
from mail_proxy.smtp.agent import Envelope
from mail_proxy.store import Store

log = logging.getLogger(__name__)

LARGE = 256 * 1024
"""Bytes from which a content is written in a thread, so that the loop stays free."""


@dataclass(slots=True)  # not frozen: one is made for each message
class Prepared:
    """A message ready for the delivery agent."""

    envelope: Envelope
    content: bytes


class Preparer:
    def __init__(self, store: Store, tracking: Tracking) -> None:
        self._store = store
        self._tracking = tracking

    async def prepare(self, claimed: Claimed) -> Prepared | Bounced:
        """Read and write the content; what cannot be written bounces, naming the reason."""
        try:
            payload = claimed.payload or await self._store.messages.payload(claimed.seq)
        except NotFound as error:
            return _unwritable(error)
        if claimed.size >= LARGE:
            return await asyncio.to_thread(self._write, claimed, payload)
        return self._write(claimed, payload)

    def _write(self, claimed: Claimed, payload: Payload) -> Prepared | Bounced:
        work = self._from_fields if payload.kind is PayloadKind.FIELDS else self._from_raw
        try:
            return work(claimed, payload)
        except ValueError as error:
            return _unwritable(error)
        except MemoryError:
            raise
        except Exception as error:
            # A bug, but of this content alone: were it to end the server, it would at each start again.
            log.exception("cannot write message %s of %s", claimed.id, claimed.tenant_id)
            return _unwritable(error)

    def _from_fields(self, claimed: Claimed, payload: Payload) -> Prepared:
        draft = draft_of(payload)
        if claimed.payload is None:
            payload.content = b""  # it was read for this alone, and is large: as much will be written now
        built = mime.build(
            draft,
            message_id=claimed.message_id,
            date=claimed.created_at,
            tracking_id=self._tracking.id_for(claimed.pk),
        )
        return Prepared(_envelope(claimed, needs_smtputf8=built.needs_smtputf8), built.content)

    def _from_raw(self, claimed: Claimed, payload: Payload) -> Prepared:
        ready = eml.prepare(
            payload.content,
            tracking_id=self._tracking.id_for(claimed.pk),
            message_id=claimed.message_id,
            date=claimed.created_at,
        )
        return Prepared(_envelope(claimed, needs_smtputf8=ready.needs_smtputf8), ready.content)


def _unwritable(error: Exception) -> Bounced:
    return Bounced(reply=f"the message cannot be written: {error}", scope=Scope.MESSAGE)


def _envelope(claimed: Claimed, *, needs_smtputf8: bool) -> Envelope:
    return Envelope(
        sender=claimed.envelope_from or "",
        recipients=tuple([each.address for each in claimed.recipients if each.status.is_open]),
        needs_smtputf8=needs_smtputf8,
    )
