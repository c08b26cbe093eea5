"""What a node does besides its work: says that it lives, hears its neighbours, closes idle connections."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from mail_proxy.daemon.identity import node_of
from mail_proxy.daemon.outage import Outage
from mail_proxy.errors import DatabaseError
from mail_proxy.runtime import Runtime
from mail_proxy.smtp.agent import DeliveryAgent

log = logging.getLogger(__name__)

BEAT = 10.0
"""Seconds between signs of life."""

FORGET_NODES = 86_400.0
RECONNECT = 2.0


class Housekeeping:
    def __init__(self, runtime: Runtime, agent: DeliveryAgent, heard: Callable[[bool], None]) -> None:
        self._runtime = runtime
        self._agent = agent
        self._heard = heard
        self._beating = Outage("the sign of life")
        self._node = node_of(runtime)

    async def beat(self) -> None:
        """Say that this node lives, and tidy up, now and then."""
        while True:
            try:
                await self.step()
                self._beating.over()
            except DatabaseError as error:
                self._beating.met(error)
            await self._runtime.clock.sleep(BEAT)

    async def step(self) -> None:
        await self._agent.cleanup()
        now = self._runtime.clock.now()
        node = replace(self._node, seen_at=now)
        await self._runtime.store.nodes.seen(node, forget_before=now - FORGET_NODES)
        await self._runtime.store.send_log.tidy(now)
        await self._runtime.services.suspensions.catch_up()
        await self._runtime.services.accounts.catch_up()

    async def listen(self) -> None:
        """Hear what other nodes ring; when the line breaks, take it up again."""
        hearing = Outage("hearing the other nodes")
        while True:
            try:
                await self._runtime.store.database.listen(self._relay)
                log.info("the line to the other nodes broke")
                hearing = Outage("hearing the other nodes")
            except DatabaseError as error:
                hearing.met(error)
            await self._runtime.clock.sleep(RECONNECT)

    async def leave(self) -> None:
        """Take leave of the other nodes."""
        try:
            await self._runtime.store.nodes.gone(self._node.node_id)
        except DatabaseError as error:
            log.warning("cannot take leave: %s", error)

    def _relay(self, text: str) -> None:
        asked = self._runtime.neighbours.heard(text)
        if asked is not None:
            self._heard(asked)
