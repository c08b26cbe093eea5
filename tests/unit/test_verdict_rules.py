"""Replies of real providers: what is the account's, the server's, the recipient's and the message's.

Each table has its other side: words that are near, and must not be taken for it.
"""

from __future__ import annotations

import pytest

from mail_proxy.model.verdicts import Bounced, Deferred, Scope, Verdict
from mail_proxy.smtp.verdict import MAX_REPLY, Phase, Reply, is_too_many, judge

EXCHANGE = "STOREDRV.Submission.Exception"
MAIL, RCPT, DATA, FINAL = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL


def judged(phase: Phase, said: str) -> Verdict:
    """Judge a reply; ` / ` parts its lines, the code being said once."""
    return judge(phase, Reply(int(said[:3]), said[4:].replace(" / ", "\n")))


def meaning(verdict: Verdict) -> tuple[type[Verdict], Scope]:
    assert isinstance(verdict, Deferred | Bounced)
    return type(verdict), verdict.scope


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (FINAL, "554 5.5.0 Error: improper use of SMTP command pipelining"),
        (MAIL, "554 SMTP synchronization error"),
        (FINAL, "554 SMTP protocol synchronization error"),
        (DATA, "550 5.5.1 Protocol error: unauthorized pipelining"),
    ],
)
def test_a_server_that_was_spoken_to_too_soon_says_nothing_of_the_mail(phase: Phase, said: str) -> None:
    assert meaning(judged(phase, said)) == (Deferred, Scope.CONNECTION)


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        # Gmail
        (FINAL, "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail"),
        (FINAL, "550 5.4.5 Daily user sending / 5.4.5 limit exceeded. - gsmtp"),
        (RCPT, "550 5.4.5 Daily SMTP relay sending limit exceeded for this user."),
        (RCPT, "550 5.7.1 Daily SMTP relay limit exceeded for customer. For more information"),
        (RCPT, "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error."),
        (FINAL, "550 5.7.1 Email quota exceeded. - gsmtp"),
        # Exchange Online and Outlook
        (
            FINAL,
            f"554 5.2.0 {EXCHANGE}:SubmissionQuotaExceededException; Failed to process message",
        ),
        (
            FINAL,
            f"554 5.2.2 mailbox full; {EXCHANGE}:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
        ),
        (
            FINAL,
            f"554 5.2.0 {EXCHANGE}:OutboundSpamException; WASCL UserAction verdict is RefuseQuota.",
        ),
        (MAIL, "550 5.2.252 Sender throttled due to continuous send as denied errors."),
        (FINAL, "550 5.1.90 Your message can't be sent because you've reached your daily limit"),
        (FINAL, "550 5.1.8 Access denied, bad outbound sender"),
        (FINAL, "550 5.7.232 Your trial tenant has exceeded its daily limit for external recipients"),
        (MAIL, "550 5.7.705 Access denied, tenant has exceeded threshold"),
        (MAIL, "550 5.7.708 Access denied, traffic not accepted from this IP."),
        # Amazon SES
        (FINAL, "454 Throttling failure: Maximum sending rate exceeded."),
        (FINAL, "454 Throttling failure: Daily message quota exceeded."),
        # others
        (FINAL, "550 5.4.6 Unusual sending activity detected. Please try after sometime"),
        (RCPT, "550 Domain x.test has exceeded the max emails per hour (313/250 (125%)) allowed."),
        (RCPT, "554 5.7.1 <a@x.test>: Recipient address rejected: You have exceeded your Outmail quota."),
        (RCPT, "554 5.7.1 <a@x.test>: Recipient address rejected: Message count quota exceeded."),
        (RCPT, "554 5.7.1 <ann@x.test>: Recipient address rejected: Number recipients per hour exceeded"),
        (MAIL, "452 4.5.3 Daily message limit exceeded"),
        (RCPT, "550 5.7.1 daily sending quota reached"),
        (RCPT, "550 5.4.6 User me@shop.test has exceeded its 24-hour sending limit."),
        (MAIL, "550 5.7.1 You have reached your hourly relay quota"),
        (FINAL, "550 5.7.0 Requested action not taken: too many emails per second"),
        (MAIL, "554 5.7.1 too many messages, try tomorrow"),
        (MAIL, "550 Sender rate limit exceeded"),
        (MAIL, "421 4.7.0 Too many login attempts, please try again later"),
        (Phase.GREETING, "554 m1plded01.prod : DED : You've reached your daily relay quota - 192.0.2.1"),
    ],
)  # fmt: skip
def test_a_limit_on_what_may_be_sent_is_the_accounts_whatever_its_code(phase: Phase, said: str) -> None:
    """It rests until it may send again; no message fails for it."""
    assert meaning(judged(phase, said)) == (Deferred, Scope.ACCOUNT)


@pytest.mark.parametrize(
    ("phase", "said", "kind", "scope"),
    [
        (RCPT, "552 5.2.2 The account that you tried to reach is over quota.", Bounced, Scope.RECIPIENT),
        (RCPT, "452 4.2.2 The recipient's inbox is out of storage space.", Deferred, Scope.RECIPIENT),
        (RCPT, "552 mailbox quota exceeded", Bounced, Scope.RECIPIENT),
        (RCPT, "554 5.2.2 mailbox full", Bounced, Scope.RECIPIENT),
        (RCPT, "550 5.2.1 The user is receiving mail too quickly.", Bounced, Scope.RECIPIENT),
        (RCPT, "450 4.2.1 The user is receiving mail at a rate that", Deferred, Scope.RECIPIENT),
        (RCPT, "550 5.2.122 The recipient has exceeded their limit of messages", Bounced, Scope.RECIPIENT),
        (RCPT, "550 recipient has reached the daily limit", Bounced, Scope.RECIPIENT),
        (RCPT, "552 this mailbox has too many messages", Bounced, Scope.RECIPIENT),
        (RCPT, "552 5.2.2 too many messages", Bounced, Scope.RECIPIENT),
        (RCPT, "450 4.7.1 too many messages to this recipient", Deferred, Scope.RECIPIENT),
        (RCPT, "451 4.7.1 too many messages for this recipient, try later", Deferred, Scope.RECIPIENT),
        (RCPT, "552 5.7.1 too many messages in this mailbox", Bounced, Scope.RECIPIENT),
        (RCPT, "550 <daily-limit-exceeded@there.test>: no such user", Bounced, Scope.RECIPIENT),
        (RCPT, "550 no such user <a#5.4.5@there.test>", Bounced, Scope.RECIPIENT),
        (FINAL, "552 5.3.4 Message size exceeds the sending limit", Bounced, Scope.MESSAGE),
        (FINAL, "552 outgoing message size limit exceeded", Bounced, Scope.MESSAGE),
        (FINAL, "552 5.2.3 Your message exceeded Google's message size limits", Bounced, Scope.MESSAGE),
        (FINAL, "554 5.4.6 Hop count exceeded, possible mail loop", Bounced, Scope.MESSAGE),
        (FINAL, f"554 5.2.252 SendAsDenied; {EXCHANGE}:SendAsDeniedException", Bounced, Scope.MESSAGE),
    ],
)  # fmt: skip
def test_a_limit_of_the_recipient_or_of_one_message_is_not_the_accounts(
    phase: Phase, said: str, kind: type[Verdict], scope: Scope
) -> None:
    """An account that rested for these would hold back all others for one."""
    assert meaning(judged(phase, said)) == (kind, scope)


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (MAIL, "530 5.7.0 Must issue a STARTTLS command first."),
        (MAIL, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM"),
        (MAIL, "530 5.5.1 Authentication Required."),
        (MAIL, "530 5.7.1 Client was not authenticated"),
        (RCPT, "530 SMTP authentication is required."),
        (MAIL, "530 5.7.1 Please log in first"),
        (FINAL, "535 5.7.8 Username and Password not accepted"),
        (Phase.AUTH, "534 5.7.14 Please log in through your web browser and then try again."),
        (Phase.AUTH, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled"),
        (Phase.AUTH, "454 4.7.0 Too many login attempts, please try again later."),
        (Phase.AUTH, "432 4.7.12 A password transition is needed"),
        (MAIL, "550 5.7.1 Authentication required"),
        (MAIL, "550 5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address you've registered"),
        (MAIL, "550 5.7.1 Client does not have permissions to submit to this server"),
    ],
)
def test_a_login_that_is_wanted_or_refused_is_the_accounts(phase: Phase, said: str) -> None:
    assert meaning(judged(phase, said)) == (Deferred, Scope.ACCOUNT)


@pytest.mark.parametrize(
    ("phase", "said", "scope"),
    [
        (RCPT, "530 5.7.1 blocked by the recipient's policy", Scope.RECIPIENT),
        (FINAL, "530 5.7.1 content refused", Scope.MESSAGE),
        (RCPT, "530 5.1.1 no such user", Scope.RECIPIENT),
        (RCPT, "550 5.7.1 Relaying denied. Proper authentication required.", Scope.RECIPIENT),
        (RCPT, "554 5.7.1 <ann@there.test>: Relay access denied", Scope.RECIPIENT),
        (RCPT, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", Scope.RECIPIENT),
        (FINAL, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", Scope.MESSAGE),
        (FINAL, "550 5.7.26 Unauthenticated email is not accepted due to DMARC policy", Scope.MESSAGE),
        (MAIL, "550 5.7.26 SPF or DKIM: authentication required of all senders", Scope.MESSAGE),
        (MAIL, "550 5.1.8 Sender address rejected: Domain not found", Scope.MESSAGE),
        (MAIL, "553 5.7.1 <me@x.test>: Sender address rejected: not owned by user shop", Scope.MESSAGE),
    ],
)  # fmt: skip
def test_a_policy_against_a_message_or_a_recipient_is_not_the_accounts(
    phase: Phase, said: str, scope: Scope
) -> None:
    assert meaning(judged(phase, said)) == (Bounced, scope)


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.GREETING, "554 5.7.1 You are not welcome"),
        (Phase.GREETING, "450 4.3.2 try later"),
        (Phase.HELLO, "550 5.7.1 Helo command rejected"),
        (RCPT, "554 5.7.1 <host[192.0.2.1]>: Client host rejected: Access denied"),
        (RCPT, "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"),
        (MAIL, "421 4.7.0 too many messages in this session"),
        (MAIL, "451 4.7.0 too many messages in this session"),
        (MAIL, "432 4.3.2 Concurrent connections limit exceeded."),
        (DATA, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
        (MAIL, "452 4.3.1 Insufficient system resources"),
        (FINAL, "452 4.3.1 Insufficient system storage"),
        (FINAL, "451 4.3.2 System is not accepting network messages"),
        (MAIL, "452 4.4.5 Insufficient disk space; try again later"),
        (MAIL, "503 5.5.1 nested MAIL command"),
        (MAIL, "503 bad sequence"),
        (MAIL, "555 5.5.4 Unsupported option: SIZE=1"),
        (RCPT, "500 5.5.1 Command unrecognized: XXXX"),
        (DATA, "502 5.5.1 not implemented"),
    ],
)
def test_what_says_nothing_of_the_message_is_the_connections(phase: Phase, said: str) -> None:
    """A server that does not serve us now, or that is out of step, has not judged the message."""
    assert meaning(judged(phase, said)) == (Deferred, Scope.CONNECTION)


@pytest.mark.parametrize(
    ("phase", "said", "scope"),
    [
        (MAIL, "501 5.1.7 Bad sender address syntax", Scope.MESSAGE),
        (MAIL, "501 5.5.4 Syntax: MAIL FROM:<address>", Scope.MESSAGE),
        (MAIL, "552 5.3.4 Message size exceeds fixed limit", Scope.MESSAGE),
        (MAIL, "552 message too large", Scope.MESSAGE),
        (RCPT, "500 5.1.3 bad address syntax", Scope.RECIPIENT),
        (RCPT, "501 5.1.3 Bad recipient address syntax", Scope.RECIPIENT),
        (RCPT, "504 5.5.2 <ann>: Recipient address rejected: need fully-qualified address", Scope.RECIPIENT),
        (RCPT, "553 5.1.2 no such domain", Scope.RECIPIENT),
        (DATA, "554 5.5.1 no valid recipients", Scope.MESSAGE),
        (FINAL, "554 5.6.0 malformed", Scope.MESSAGE),
    ],
)
def test_what_the_server_finds_wrong_for_good_ends_what_it_speaks_of(
    phase: Phase, said: str, scope: Scope
) -> None:
    assert meaning(judged(phase, said)) == (Bounced, scope)


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ("550 4.7.1 greylisted", Deferred, "4.7.1"),
        ("552 4.2.2 over quota", Deferred, "4.2.2"),
        ("450 5.1.1 unknown user, perhaps", Deferred, "5.1.1"),
        ("550 greylisted (#4.7.1)", Deferred, "4.7.1"),
        ("550 5.1.1 unknown", Bounced, "5.1.1"),
        ("550 2.1.5 fine, but no", Bounced, "2.1.5"),
    ],
)
def test_a_refusal_is_for_now_if_either_of_its_codes_says_so(
    said: str, kind: type[Verdict], code: str
) -> None:
    verdict = judged(RCPT, said)
    assert meaning(verdict) == (kind, Scope.RECIPIENT)
    assert (verdict.code, verdict.reply) == (code, said)


@pytest.mark.parametrize("phase", [MAIL, RCPT, DATA, FINAL])
@pytest.mark.parametrize(
    "text", ["\x00\x01 5.4.5", "sending limit" * 100_000, "daily " * 100_000, "\n5.4.5" * 100_000]
)
def test_words_without_end_are_judged_and_kept_in_short(phase: Phase, text: str) -> None:
    """No rule takes long over what a server makes up."""
    verdict = judge(phase, Reply(550, text))
    assert len(verdict.reply) <= MAX_REPLY
    assert verdict.reply.isprintable()


def test_a_sending_limit_met_at_rcpt_ends_the_naming_of_recipients_too() -> None:
    assert is_too_many(Reply(452, "4.5.3 Daily recipients limit exceeded"))
