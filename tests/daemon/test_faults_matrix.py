"""Every fault at every step of a conversation: what becomes of the messages, of their account, of others.

Each case is three messages to a server that fails, beside one to a server that does not. Then the server
is well, and everything that has not failed for good arrives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum

import pytest

from mail_proxy.model.accounts import TlsMode
from mail_proxy.model.messages import EventType, Message
from tests.support.certificates import Authority
from tests.support.delivery import HASTY, PATIENT
from tests.support.dispatching import Dispatching, dispatching
from tests.support.faults import set_timeouts, speak_to, trouble
from tests.support.faulty_server import HOST, Act, FaultyServer, Step

FAILING = ("m1", "m2", "m3")
BIG = "0123456789abcdef" * 4 * 10_000
"""A body that the buffers of both ends do not hold."""


class Fate(Enum):
    """What becomes of messages whose server fails.

    Three that fail by the fault of the connection let the account rest, one by the account's own does.
    """

    LATER = "deferred, at the cost of a retry"
    CONNECTION = "the same, and it counts against the account"
    ACCOUNT = "deferred without cost, and the account rests"
    ERROR = "an error at once"
    UNKNOWN = "deferred, perhaps taken"
    SENT = "sent"


LATER, CONNECTION, ACCOUNT = Fate.LATER, Fate.CONNECTION, Fate.ACCOUNT
ERROR, UNKNOWN, SENT = Fate.ERROR, Fate.UNKNOWN, Fate.SENT

RETRIES = {
    LATER: [1, 1, 1],
    CONNECTION: [0, 1, 1],  # the third lets the account rest, and waits for it
    ACCOUNT: [0, 0, 0],
    ERROR: [0, 0, 0],
    UNKNOWN: [1, 1, 1],
    SENT: [0, 0, 0],
}

TEMPORARY, PERMANENT, CLOSING = "451 4.3.0 not now", "550 5.3.0 never", "421 4.3.2 closing"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault; `words` are what is told of it, one of them."""

    act: Act | str | bytes
    words: tuple[str, ...]
    code: str | None = None


GARBLED, TIMED_OUT, LOST = "the server's answer is not SMTP", "timed out", "connection lost"

KINDS = {
    "hang": Kind(Act.HANG, (TIMED_OUT,)),
    "drop": Kind(Act.DROP, (LOST,)),
    "4xx": Kind(TEMPORARY, (TEMPORARY,), "4.3.0"),
    "5xx": Kind(PERMANENT, (PERMANENT,), "5.3.0"),
    "421": Kind(CLOSING, (CLOSING,), "4.3.2"),
    "malformed": Kind(b"\x00\xff what?\r\n", (GARBLED,)),
    "endless": Kind(Act.ENDLESS, (GARBLED, TIMED_OUT)),
    "endless-line": Kind(Act.ENDLESS_LINE, (GARBLED, TIMED_OUT)),
    "drip": Kind(Act.DRIP, (TIMED_OUT,)),
    "twice": Kind(Act.TWICE, (GARBLED,)),
}

# One line for each step, one column for each kind above, in this order.
MATRIX = {
    Step.BANNER: (CONNECTION,) * 10,
    Step.EHLO: (CONNECTION,) * 10,
    # What is said in clear after the reply to STARTTLS may be anybody's (RFC 3207, 6).
    Step.STARTTLS: (CONNECTION, CONNECTION, ACCOUNT, ACCOUNT, *(CONNECTION,) * 6),
    Step.AUTH: (CONNECTION, CONNECTION, ACCOUNT, ACCOUNT, *(CONNECTION,) * 6),
    Step.MAIL: (CONNECTION, CONNECTION, LATER, ERROR, *(CONNECTION,) * 6),
    Step.RCPT: (CONNECTION, CONNECTION, LATER, ERROR, *(CONNECTION,) * 6),
    Step.DATA: (CONNECTION, CONNECTION, LATER, ERROR, *(CONNECTION,) * 6),
    Step.CONTENT: (CONNECTION, CONNECTION, LATER, ERROR, *(CONNECTION,) * 4),
    Step.DOT: (UNKNOWN, UNKNOWN, LATER, ERROR, CONNECTION, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, SENT),
}


@dataclass(frozen=True, slots=True)
class Case:
    step: Step
    kind: str
    fate: Fate
    has_pipelining: bool


def cases() -> Sequence[object]:
    """All cells; those of a transaction once with pipelining and once without."""
    made = []
    for step, fates in MATRIX.items():
        in_transaction = step not in (Step.BANNER, Step.EHLO, Step.STARTTLS, Step.AUTH)
        for kind, fate in zip(KINDS, fates, strict=False):
            for has_pipelining in (True, False) if in_transaction else (True,):
                name = f"{step}-{kind}{'-pipelined' if in_transaction and has_pipelining else ''}"
                made.append(pytest.param(Case(step, kind, fate, has_pipelining), id=name))
    return made


@pytest.fixture
async def rig(sqlite_url: str) -> AsyncIterator[Dispatching]:
    async with dispatching(sqlite_url) as made:
        yield made


@pytest.mark.parametrize("case", cases())
async def test_a_fault_has_its_verdict_and_nothing_is_lost_or_doubled(rig: Dispatching, case: Case) -> None:
    kind = KINDS[case.kind]
    offers = ["PIPELINING"] * case.has_pipelining
    account: dict[str, object] = {}
    authority = Authority()
    bad = FaultyServer(at={case.step: kind.act})
    if case.step is Step.STARTTLS:
        offers.append("STARTTLS")
        bad.tls = authority.server_context(HOST)
        account = {"tls": TlsMode.STARTTLS, "tls_ca": authority.pem}
    if case.step is Step.AUTH:
        offers.append("AUTH PLAIN")
        account |= {"user": "shop", "password": "secret"}
    bad.offers = tuple(offers)

    async with bad.running(), FaultyServer().running() as good:
        await speak_to(rig, bad, "main", **account)
        await speak_to(rig, good, "good")
        body = BIG if case.step is Step.CONTENT else "It is on its way."
        await rig.queue(*FAILING, body=body)
        await rig.queue("other", account_id="good")
        set_timeouts(rig, HASTY if TIMED_OUT in kind.words else PATIENT)
        await rig.work()

        assert await rig.status("other") == "sent"
        assert len(good.accepted) == 1
        retries = sorted([await expect(rig, await rig.message(each), case) for each in FAILING])
        assert retries == RETRIES[case.fate]
        assert (await trouble(rig) is not None) is (case.fate in (CONNECTION, ACCOUNT, UNKNOWN))
        heard = case.fate is SENT
        assert len(bad.accepted) == (3 if heard or (case.step, case.kind) == (Step.DOT, "drip") else 0)
        unheard = 0 if heard else len(bad.accepted)

        bad.heal()
        set_timeouts(rig, PATIENT)
        for _ in range(4):
            rig.time.advance(60)
            await rig.work(2)
        lasting = "error" if case.fate is ERROR else "sent"
        assert [await rig.status(each) for each in FAILING] == [lasting] * 3
        assert len(bad.accepted) - unheard == (0 if case.fate is ERROR else 3)


async def expect(rig: Dispatching, message: Message, case: Case) -> int:
    """Hold what a message shows, and what its application is told, to the case; return its retries."""
    if case.fate is SENT:
        assert message.status.value == "sent"
        return 0
    kind = KINDS[case.kind]
    (recipient,) = message.recipients
    assert recipient.code == kind.code
    assert (recipient.reply or "").startswith(kind.words)
    assert (recipient.reply or "").isprintable()
    if case.fate is ERROR:
        assert message.status.value == "error"
        assert await rig.last(message.id, EventType.ERROR) == {"error": recipient.reply}
        return 0
    assert message.status.value == "deferred"
    told = await rig.last(message.id, EventType.DEFERRED)
    assert told["reason"] == recipient.reply
    assert told.get("possible_duplicate", False) is (case.fate is UNKNOWN)
    assert told["retry_count"] == message.retry_count
    return message.retry_count
