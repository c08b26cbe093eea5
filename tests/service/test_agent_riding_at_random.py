"""Whatever goes wrong with messages that ride, at random."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random

import pytest

from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Verdict
from mail_proxy.smtp.lending import RIDE
from mail_proxy.smtp.pool import NO_RIDES
from mail_proxy.smtp.transport import Timeouts
from tests.support.delivery import Gate
from tests.support.row_sender import row, taken, verdict_of
from tests.support.row_server import Act, Answer, At, RowServer

REFUSALS = ["451 4.7.1 later", "554 5.7.1 no", "452 4.3.1 full", "421 4.3.2 closing"]


class Troubles:
    """What can go wrong, at random; `refused` are those whom the server has said no to, and what it said."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.refused: set[tuple[str, str]] = set()

    def __call__(self, step: At) -> Answer:
        if self._rng.random() > 0.04 or step.verb == "NOOP":
            return None
        acts: list[Answer] = [*REFUSALS, Act.DROP]
        if step.verb == "taken":
            acts = [Act.DROP, Act.FIN, Act.RST, Act.TWICE, Act.SWALLOW]
        answer = self._rng.choice(acts)
        if isinstance(answer, str):
            self.refused.add((step.who, answer))
        return answer


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_no_message_is_lost_and_none_comes_twice(seed: int, limit: int) -> None:
    """What the server has taken is reported as delivered or in doubt, and nothing else is delivered.

    What it has refused was refused itself.
    """
    rng = Random(seed)
    troubles = Troubles(rng)
    server = RowServer(does=troubles)
    timeouts = Timeouts(connect=5.0, command=0.3, data=5.0, final=5.0)
    async with row(server, limit=limit, timeouts=timeouts) as sender:

        async def send(name: str) -> Verdict | None:
            await asyncio.sleep(rng.random() * 0.2)
            gate = Gate(RuntimeError("suspended") if rng.random() < 0.03 else None)
            with suppress(RuntimeError):
                return verdict_of(await sender.deliver(name, name, gate=gate))
            return None

        sends = {name: asyncio.create_task(send(name)) for name in (f"m{number}" for number in range(300))}
        while not all(each.done() for each in sends.values()):
            sender.clock.advance(rng.choice([0, 0, RIDE, NO_RIDES]))
            await sender.agent.cleanup()
            if rng.random() < 0.1:
                await sender.agent.close_account("acme", "main")
            if rng.random() < 0.3:
                rng.choice([*sends.values()]).cancel()
            assert sender.agent.open_connections <= limit
            await asyncio.wait(sends.values(), timeout=0.005)
        outcomes = {name: each for name, each in sends.items() if not each.cancelled()}
        verdicts = {name: each.result() for name, each in outcomes.items()}
        server.does = lambda _: None
        after = [f"z{number}" for number in range(2 * limit)]
        assert await sender.send(*after) == [taken(name) for name in after]
    times = Counter(server.accepted)
    assert max(times.values()) == 1
    delivered = {name for name, each in verdicts.items() if isinstance(each, Delivered)}
    doubtful = {name for name, each in verdicts.items() if isinstance(each, Deferred) and each.unknown}
    assert delivered <= times.keys()
    assert times.keys() - set(after) <= delivered | doubtful | (sends.keys() - verdicts.keys())
    bounced = {(name, each.reply) for name, each in verdicts.items() if isinstance(each, Bounced)}
    assert bounced <= troubles.refused
    assert server.rode
