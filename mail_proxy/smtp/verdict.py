"""The policy of failure: what a server's reply, or its silence, means for a recipient.

Pure, and the only place that decides it. A new rule is a new line of `RULES`; the first that matches
wins. What none matches is decided by the first digit of the reply and the class of its enhanced status
code (RFC 3463). Where these contradict each other (``550 4.7.1``, ``450 5.1.1``), "for now" wins over
"for good": a retry too many costs little, an end too early costs the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
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
    SLEPT = "the lease ran out while this server slept, and the message was not sent"


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


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: a refusal that is meant for now, whatever its code says, and whose it is.

    A condition left out is met by all. `enhanced` matches the enhanced status code, empty if there is
    none, from its start; `text` is searched for in the reply's words, addresses left out.
    """

    scope: Scope
    _: KW_ONLY
    phases: frozenset[Phase] = frozenset(Phase)
    codes: frozenset[int] = frozenset()
    enhanced: str = ""
    text: str = ""

    def matches(self, phase: Phase, reply: Reply, text: str) -> bool:
        return (
            phase in self.phases
            and (not self.codes or reply.code in self.codes)
            and (not self.enhanced or re.match(self.enhanced, enhanced_code(reply.text) or "") is not None)
            and (not self.text or re.search(self.text, text, re.IGNORECASE) is not None)
        )


_BEFORE_MAIL = frozenset({Phase.CONNECT, Phase.GREETING, Phase.HELLO})
_LOGIN = frozenset({Phase.AUTH, Phase.STARTTLS})
_NAMING = frozenset({Phase.MAIL, Phase.RCPT})
_COMMANDS = _NAMING | {Phase.DATA}
_ANY_MAIL = frozenset({Phase.MAIL, Phase.DATA, Phase.CONTENT, Phase.FINAL})
_RCPT = frozenset({Phase.RCPT})

# Of limits in general: not those of the recipient, who is spoken of, nor of one message's size.
_HIS_OR_ITS_SIZE = (
    r"^(?!.*(mailbox|inbox|receiv|recipient('s| has| is)|(the|this) recipient|\bsize\b|\bbytes\b|[0-9]MB))"
)
_SENDING = r"\b(daily|hourly|monthly|sending|sender|submission|outgoing|outbound|relay)\b"
_PASSED = r"[\w '-]{0,40}\b(exceeded|reached)\b"
_ON_SENDING = (
    rf"{_HIS_OR_ITS_SIZE}.*(?:{_SENDING}[\w '-]{{0,40}}\b(limit|quota|rate)\b{_PASSED}"
    rf"|\b(exceeded|reached) (your|the|its)\b[\w '-]{{0,40}}{_SENDING}[\w '-]{{0,40}}\b(limit|quota)\b"
    r"|\byou('ve| have) (exceeded|reached) your [\w ]{0,30}\b(limit|quota)\b"
    r"|\bmessages?( rate)? (limit|quota) (exceeded|reached)\b"
    r"|\btoo many (messages|e-?mails|mails)\b(?! (in|on|over|during|for) ))"
)

# What providers say, most with 5xx, of an account that has sent all that it may for now (or is locked out
# for that): it rests, and no message fails for it. A limit of one recipient's (X.1, X.2) is his.
SENDER_LIMITS = (
    # Congestion, which passes (RFC 3463, 3.5). Gmail: "550 5.4.5 Daily user sending limit exceeded".
    Rule(Scope.ACCOUNT, enhanced=r"5\.4\.5$"),
    # Gmail's relay, which says 450 4.2.1 ("peak") as well as 550 5.7.1 ("daily").
    Rule(Scope.ACCOUNT, text=r"smtp relay (sending )?(limit|quota) exceeded"),
    Rule(Scope.ACCOUNT, enhanced=r"5\.7\.1$", text=r"\bemail quota exceeded"),
    # Exchange Online: the mailbox's day (5.1.90), the tenant's (5.7.232, .233, .705), its address (.708).
    Rule(Scope.ACCOUNT, enhanced=r"5\.(1\.90|7\.(232|233|705|708))$"),
    # Exchange Online, SMTP AUTH: a quota of the sender's; his own mailbox, where what he sends is kept, full.
    Rule(Scope.ACCOUNT, text=r"STOREDRV\.Submission\.Exception:(Submission)?QuotaExceeded"),
    Rule(Scope.ACCOUNT, text=r"sender throttled due to continuous"),  # 5.2.251 to 5.2.255
    Rule(Scope.ACCOUNT, text=r"submission (limit|quota) (was )?exceeded"),
    Rule(Scope.ACCOUNT, text=r"bad outbound sender|WASCL UserAction verdict is (RefuseQuota|Suspend)"),
    # Amazon SES, of its rate by second and of its day.
    Rule(Scope.ACCOUNT, text=r"throttling failure"),
    # Zoho ("550 5.4.6"), cPanel, and the policy services that Postfix asks.
    Rule(Scope.ACCOUNT, text=r"unusual sending activity"),
    Rule(Scope.ACCOUNT, text=r"exceeded the max (emails|defers and failures) per hour"),
    Rule(Scope.ACCOUNT, text=r"(message|recipient) count quota exceeded"),
    Rule(Scope.ACCOUNT, text=r"number (of )?(messages|recipients) per (hour|day) exceeded"),
    # All others that put it plainly.
    Rule(Scope.ACCOUNT, enhanced=r"(?![45]\.[123]\.)", text=_ON_SENDING),
)

# Too many recipients at once, in either spelling (RFC 5321, 4.5.3.1.10): the others go next time.
TOO_MANY = (
    Rule(Scope.TRANSACTION, phases=_RCPT, enhanced=r"[45]\.5\.3$"),
    Rule(Scope.TRANSACTION, phases=_RCPT, codes=frozenset({452, 552}), text=r"too many recipients"),
)

RULES = (
    # Logins are refused for a while, some say with 421: each further try would lengthen it.
    Rule(Scope.ACCOUNT, text=r"too many (failed |invalid )?(login|authentication|auth) (attempts|failures)"),
    # The server is closing, or shutting us out for now (RFC 5321, 3.8): nothing about the message.
    Rule(Scope.CONNECTION, codes=frozenset({421})),
    # Login refused, at whatever command (RFC 4954, 6), or wanted: the account's.
    Rule(Scope.ACCOUNT, codes=frozenset({534, 535, 538})),
    Rule(Scope.ACCOUNT, phases=_LOGIN),
    # 530 wants a login or TLS (RFC 3207, 4); but some refuse one message or recipient with 530 5.7.1.
    Rule(Scope.ACCOUNT, codes=frozenset({530}), enhanced=r"$|5\.5\.|5\.7\.(?!1$)"),
    Rule(Scope.ACCOUNT, codes=frozenset({530}), text=r"auth|log.?[io]n|sign.?in|credential|\btls\b|\bssl\b"),
    # Said in other codes, at the command that does not yet depend on a recipient.
    Rule(
        Scope.ACCOUNT,
        phases=frozenset({Phase.MAIL}),
        enhanced=r"$|5\.[57]\.",
        text=r"^(?!.*\b(spf|dkim|dmarc)\b).*(authentication (is )?required|requires authentication"
        r"|not authenticated|invalid credentials for relay|mail sending denied|permissions to submit)",
    ),
    *SENDER_LIMITS,
    # Turned away at the door, even with 5xx: the host is not serving us, the message is not judged.
    Rule(Scope.CONNECTION, phases=_BEFORE_MAIL),
    # The same, said late: Postfix keeps it until there is a recipient.
    Rule(Scope.CONNECTION, phases=_NAMING, text=r"\b(client host|helo command) rejected"),
    *TOO_MANY,
    # Exchange: too many connections at once.
    Rule(Scope.CONNECTION, codes=frozenset({432})),
    # No room, taking nothing, congestion (RFC 3463, 3.4 and 3.5): the server's state, not the message's.
    Rule(Scope.CONNECTION, phases=_ANY_MAIL, enhanced=r"4\.(3\.[12]|4\.5)$"),
    # Enough for one connection, by servers that do not say 421.
    Rule(
        Scope.CONNECTION,
        text=r"too many (messages|e-?mails|mails) (in|on|over|during|for) (this|one|a)\b"
        r"(?! (recipient|mailbox|user|address))",
    ),
    # Commands that every server knows, parameters that it offered: the two are out of step (RFC 5321, 4.2.4).
    Rule(
        Scope.CONNECTION,
        phases=_COMMANDS,
        codes=frozenset({500, 502, 503, 555}),
        enhanced=r"$|[45]\.5\.",
    ),
    # Commands that came too soon for it, though it offers PIPELINING: what was said, not what was sent.
    Rule(Scope.CONNECTION, text=r"\b(improper|illegal|unauthori[sz]ed)\b[\w ]{0,30}\bpipelining\b"),
    Rule(Scope.CONNECTION, text=r"\bsynchroni[sz]ation error\b"),
)

_SCOPES = {
    Trouble.CERTIFICATE: Scope.ACCOUNT,
    Trouble.TLS: Scope.ACCOUNT,
    Trouble.NO_STARTTLS: Scope.ACCOUNT,
    Trouble.NO_AUTH: Scope.ACCOUNT,
    Trouble.UNENCRYPTED: Scope.ACCOUNT,
    Trouble.SETTINGS: Scope.ACCOUNT,
    Trouble.SLEPT: Scope.NODE,
}
"""Whose a failure is, if not the connection's."""

_TROUBLES_ANYWHERE = frozenset({Trouble.TIMEOUT, Trouble.LOST, Trouble.GARBLED})

_LEADING_CODE = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_HASHED_CODE = re.compile(r"#([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_ADDRESS = re.compile(r"\S{0,64}@\S{0,255}")
"""Left out of what rules look at: what a server repeats of a message is not its own word."""


def enhanced_code(text: str) -> str | None:
    """Find the enhanced status code of a reply's text (RFC 2034; the `#5.1.1` of qmail too)."""
    text = text[: 4 * MAX_REPLY]
    found = _LEADING_CODE.match(text) or _HASHED_CODE.search(_ADDRESS.sub("", text))
    return found.group(1) if found else None


def printable(text: str) -> str:
    """Make one line of a text from outside: nothing that does not print, turns or hides text; bounded."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    if not clean.isprintable():
        clean = "".join(each if each.isprintable() else " " for each in clean)
    clean = " ".join(clean.split())
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
    return reply.is_negative and _first_match(TOO_MANY, Phase.RCPT, reply) is not None


def _judge_reply(phase: Phase, reply: Reply) -> Verdict:
    code = enhanced_code(reply.text) or str(reply.code)
    text = words(reply)
    if reply.is_positive and phase is Phase.FINAL:
        return Delivered(code=code, reply=text)
    if not reply.is_negative:
        return _judge_failure(phase, Failure(Trouble.GARBLED, text))
    rule = _first_match(RULES, phase, reply)
    if rule is not None:
        return Deferred(code=code, reply=text, scope=rule.scope)
    scope = Scope.RECIPIENT if phase is Phase.RCPT else Scope.MESSAGE
    verdict: Callable[..., Verdict] = Deferred if _is_for_now(reply) else Bounced
    return verdict(code=code, reply=text, scope=scope)


def _first_match(rules: Iterable[Rule], phase: Phase, reply: Reply) -> Rule | None:
    text = _ADDRESS.sub("", words(reply))
    return next((rule for rule in rules if rule.matches(phase, reply, text)), None)


def _is_for_now(reply: Reply) -> bool:
    """Tell whether either code of a refusal says that it is temporary."""
    return reply.code < 500 or (enhanced_code(reply.text) or "").startswith("4")


def _judge_failure(phase: Phase, failure: Failure) -> Deferred:
    where = f" ({phase})" if failure.trouble in _TROUBLES_ANYWHERE else ""
    detail = f": {failure.detail}" if failure.detail else ""
    return Deferred(
        reply=printable(f"{failure.trouble}{where}{detail}"),
        scope=_SCOPES.get(failure.trouble, Scope.CONNECTION),
        unknown=phase is Phase.FINAL,
    )
