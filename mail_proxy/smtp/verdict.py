"""The policy of failure: what a server's reply, or its silence, means for a recipient.

Pure, and the only place that decides it. A new rule is a new line of `RULES`; the first that matches
wins, and what none matches is decided by the first digit of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Scope, Verdict

MAX_REPLY = 500
"""Characters kept of a server's words: events and error columns stay small whatever a server says."""


class Phase(StrEnum):
    """Where a conversation stood; the value names the step in texts for people."""

    CONNECT = "connecting"
    GREETING = "greeting"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "sending the message"
    FINAL = "waiting for the reply to the end of the message"


class Trouble(StrEnum):
    """What went wrong when there is no usable reply; the value is a text for people."""

    UNREACHABLE = "cannot connect"
    TIMEOUT = "timed out"
    LOST = "connection lost"
    GARBLED = "the server's answer is not SMTP"
    CERTIFICATE = "certificate not accepted"
    TLS = "TLS failed"
    NO_STARTTLS = "the server does not offer STARTTLS, which the account requires"
    NO_AUTH = "the server offers no login that can be used"
    UNENCRYPTED = 'password not sent: the connection is not encrypted (set tls, or allow it with tls "none")'
    SETTINGS = "the account cannot be used as it is"


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: the basic code, and the text after it, lines parted by line feeds."""

    code: int
    text: str

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_negative(self) -> bool:
        return 400 <= self.code < 600


@dataclass(frozen=True, slots=True)
class Failure:
    """No reply to go by; `detail` is what the system said."""

    trouble: Trouble
    detail: str = ""


class Broken(Exception):
    """A conversation that cannot go on, for the `cause` met at `phase`; it never leaves this package."""

    def __init__(self, phase: Phase, cause: Reply | Failure) -> None:
        super().__init__(phase, cause)
        self.phase, self.cause = phase, cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the table; a condition left out is met by all.

    `enhanced` matches the enhanced status code from its start, `text` is searched for in the reply's text.
    """

    verdict: type[Deferred | Bounced]
    scope: Scope
    phases: frozenset[Phase] = frozenset(Phase)
    codes: frozenset[int] = frozenset()
    enhanced: str = ""
    text: str = ""

    def matches(self, phase: Phase, reply: Reply) -> bool:
        return (
            phase in self.phases
            and (not self.codes or reply.code in self.codes)
            and (not self.enhanced or re.match(self.enhanced, enhanced_code(reply.text) or "") is not None)
            and (not self.text or re.search(self.text, reply.text, re.IGNORECASE) is not None)
        )


_BEFORE_MAIL = frozenset({Phase.CONNECT, Phase.GREETING, Phase.HELLO})

# Too many recipients at once, in either spelling (RFC 5321, 4.5.3.1.10): the others go next time.
TOO_MANY = (
    Rule(verdict=Deferred, scope=Scope.RECIPIENT, phases=frozenset({Phase.RCPT}), enhanced=r"[45]\.5\.3$"),
    Rule(
        verdict=Deferred,
        scope=Scope.RECIPIENT,
        phases=frozenset({Phase.RCPT}),
        codes=frozenset({452, 552}),
        text=r"too many recipients",
    ),
)

RULES = (
    # The server is closing, or shutting us out for now (RFC 5321, 3.8): nothing about the message.
    Rule(verdict=Deferred, scope=Scope.CONNECTION, codes=frozenset({421})),
    # Login wanted or refused, at whatever command (RFC 4954, 6): the account's.
    Rule(verdict=Deferred, scope=Scope.ACCOUNT, codes=frozenset({530, 534, 535, 538})),
    Rule(verdict=Deferred, scope=Scope.ACCOUNT, phases=frozenset({Phase.AUTH, Phase.STARTTLS})),
    # Turned away at the door, even with 5xx: the host is not serving us, the message is not judged.
    Rule(verdict=Deferred, scope=Scope.CONNECTION, phases=_BEFORE_MAIL),
    *TOO_MANY,
)

_ACCOUNT_TROUBLES = frozenset(
    {
        Trouble.CERTIFICATE,
        Trouble.TLS,
        Trouble.NO_STARTTLS,
        Trouble.NO_AUTH,
        Trouble.UNENCRYPTED,
        Trouble.SETTINGS,
    }
)

_TROUBLES_ANYWHERE = frozenset({Trouble.TIMEOUT, Trouble.LOST, Trouble.GARBLED})

_LEADING_CODE = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_HASHED_CODE = re.compile(r"#([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def enhanced_code(text: str) -> str | None:
    """Find the enhanced status code of a reply's text (RFC 2034; the `#5.1.1` of qmail too)."""
    found = _LEADING_CODE.match(text) or _HASHED_CODE.search(text)
    return found.group(1) if found else None


def printable(text: str) -> str:
    """Make one line of a text from outside: no control characters, no lone surrogates, bounded."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    clean = " ".join(_UNPRINTABLE.sub(" ", clean).split())
    return clean if len(clean) <= MAX_REPLY else clean[: MAX_REPLY - 1] + "…"


def words(reply: Reply) -> str:
    """Render a reply as one line, the enhanced code that each of its lines repeats told once."""
    code = enhanced_code(reply.text)
    first, *others = reply.text.split("\n")
    if code is not None:
        others = [line.strip().removeprefix(code) for line in others]
    return printable(" ".join([str(reply.code), first, *others]))


def judge(phase: Phase, what: Reply | Failure) -> Verdict:
    """Decide what a reply or a failure at `phase` means for those it concerns."""
    return _judge_reply(phase, what) if isinstance(what, Reply) else _judge_failure(phase, what)


def is_too_many(reply: Reply) -> bool:
    """Tell whether a reply to RCPT says that the transaction takes no more recipients."""
    return reply.is_negative and any(rule.matches(Phase.RCPT, reply) for rule in TOO_MANY)


def _judge_reply(phase: Phase, reply: Reply) -> Verdict:
    code = enhanced_code(reply.text) or str(reply.code)
    text = words(reply)
    if reply.is_positive and phase is Phase.FINAL:
        return Delivered(code=code, reply=text)
    if not reply.is_negative:
        return _judge_failure(phase, Failure(Trouble.GARBLED, text))
    for rule in RULES:
        if rule.matches(phase, reply):
            return rule.verdict(code=code, reply=text, scope=rule.scope)
    scope = Scope.RECIPIENT if phase is Phase.RCPT else Scope.MESSAGE
    verdict: Callable[..., Verdict] = Deferred if reply.code < 500 else Bounced
    return verdict(code=code, reply=text, scope=scope)


def _judge_failure(phase: Phase, failure: Failure) -> Deferred:
    where = f" ({phase})" if failure.trouble in _TROUBLES_ANYWHERE else ""
    detail = f": {failure.detail}" if failure.detail else ""
    return Deferred(
        reply=printable(f"{failure.trouble}{where}{detail}"),
        scope=Scope.ACCOUNT if failure.trouble in _ACCOUNT_TROUBLES else Scope.CONNECTION,
        unknown=phase is Phase.FINAL,
    )
