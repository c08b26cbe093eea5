"""The policy of failure, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Scope
from mail_proxy.smtp.verdict import (
    MAX_REPLY,
    Failure,
    Phase,
    Reply,
    Trouble,
    enhanced_code,
    is_too_many,
    judge,
    words,
)

RECIPIENT, TRANSACTION, MESSAGE, CONNECTION, ACCOUNT, NODE = Scope


@pytest.mark.parametrize(
    ("phase", "reply", "verdict", "scope", "code"),
    [
        # RCPT: the recipient's
        (Phase.RCPT, "550 5.1.1 no such user", Bounced, RECIPIENT, "5.1.1"),
        (Phase.RCPT, "550 no such user", Bounced, RECIPIENT, "550"),
        (Phase.RCPT, "552 5.2.2 mailbox full", Bounced, RECIPIENT, "5.2.2"),
        (Phase.RCPT, "553 5.1.3 malformed", Bounced, RECIPIENT, "5.1.3"),
        (Phase.RCPT, "450 4.2.0 mailbox busy", Deferred, RECIPIENT, "4.2.0"),
        (Phase.RCPT, "451 4.7.1 greylisted", Deferred, RECIPIENT, "4.7.1"),
        (Phase.RCPT, "452 4.2.2 over quota", Deferred, RECIPIENT, "4.2.2"),
        # too many recipients, however it is said
        (Phase.RCPT, "452 4.5.3 Error: too many recipients", Deferred, TRANSACTION, "4.5.3"),
        (Phase.RCPT, "552 4.5.3 too many", Deferred, TRANSACTION, "4.5.3"),
        (Phase.RCPT, "552 Too many recipients", Deferred, TRANSACTION, "552"),
        (Phase.RCPT, "550 5.5.3 too many", Deferred, TRANSACTION, "5.5.3"),
        # MAIL, DATA, content: the message's
        (Phase.MAIL, "550 5.7.1 sender rejected", Bounced, MESSAGE, "5.7.1"),
        (Phase.MAIL, "552 5.3.4 message too big", Bounced, MESSAGE, "5.3.4"),
        (Phase.MAIL, "451 4.3.0 later", Deferred, MESSAGE, "4.3.0"),
        (Phase.DATA, "554 5.5.1 no valid recipients", Bounced, MESSAGE, "5.5.1"),
        (Phase.DATA, "451 later", Deferred, MESSAGE, "451"),
        (Phase.CONTENT, "552 5.3.4 too much", Bounced, MESSAGE, "5.3.4"),
        (Phase.FINAL, "554 5.7.1 spam", Bounced, MESSAGE, "5.7.1"),
        (Phase.FINAL, "451 4.3.0 later", Deferred, MESSAGE, "4.3.0"),
        # the server closes
        (Phase.MAIL, "421 4.7.0 too many mails", Deferred, CONNECTION, "4.7.0"),
        (Phase.RCPT, "421 closing", Deferred, CONNECTION, "421"),
        (Phase.FINAL, "421 4.3.2 shutting down", Deferred, CONNECTION, "4.3.2"),
        # turned away at the door
        (Phase.GREETING, "554 5.7.1 no service for you", Deferred, CONNECTION, "5.7.1"),
        (Phase.GREETING, "450 busy", Deferred, CONNECTION, "450"),
        (Phase.HELLO, "550 bad name", Deferred, CONNECTION, "550"),
        # the login
        (Phase.AUTH, "535 5.7.8 bad credentials", Deferred, ACCOUNT, "5.7.8"),
        (Phase.AUTH, "534 5.7.9 application password wanted", Deferred, ACCOUNT, "5.7.9"),
        (Phase.AUTH, "538 5.7.11 encryption wanted", Deferred, ACCOUNT, "5.7.11"),
        (Phase.AUTH, "454 4.7.0 temporary failure", Deferred, ACCOUNT, "4.7.0"),
        (Phase.AUTH, "504 mechanism unknown", Deferred, ACCOUNT, "504"),
        (Phase.MAIL, "530 5.7.0 authentication required", Deferred, ACCOUNT, "5.7.0"),
        (Phase.RCPT, "530 5.7.0 must issue STARTTLS first", Deferred, ACCOUNT, "5.7.0"),
        (Phase.STARTTLS, "454 TLS not available", Deferred, ACCOUNT, "454"),
        (Phase.STARTTLS, "501 no parameters", Deferred, ACCOUNT, "501"),
    ],
)
def test_a_refusal_is_judged_by_where_and_how_it_is_said(
    phase: Phase, reply: str, verdict: type[Bounced | Deferred], scope: Scope, code: str
) -> None:
    said = Reply(int(reply[:3]), reply[4:])
    assert judge(phase, said) == verdict(code=code, reply=reply, scope=scope)


@pytest.mark.parametrize(
    ("code", "text", "told"), [(250, "2.0.0 queued as 17", "2.0.0"), (250, "OK", "250"), (251, "fine", "251")]
)
def test_a_positive_reply_to_the_dot_is_a_delivery(code: int, text: str, told: str) -> None:
    assert judge(Phase.FINAL, Reply(code, text)) == Delivered(code=told, reply=f"{code} {text}")


TROUBLES = {
    Trouble.UNREACHABLE: CONNECTION,
    Trouble.TIMEOUT: CONNECTION,
    Trouble.LOST: CONNECTION,
    Trouble.GARBLED: CONNECTION,
    Trouble.CERTIFICATE: ACCOUNT,
    Trouble.TLS: ACCOUNT,
    Trouble.NO_STARTTLS: ACCOUNT,
    Trouble.NO_AUTH: ACCOUNT,
    Trouble.UNENCRYPTED: ACCOUNT,
    Trouble.SETTINGS: ACCOUNT,
    Trouble.SLEPT: NODE,
}


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_is_deferred_and_is_somebodys(trouble: Trouble) -> None:
    """A server that slept past its lease says nothing of the account; nor may three such let it rest."""
    scope = TROUBLES[trouble]
    verdict = judge(Phase.MAIL, Failure(trouble, "why"))
    assert isinstance(verdict, Deferred)
    assert (verdict.scope, verdict.code, verdict.unknown) == (scope, None, False)
    assert verdict.reply.startswith(trouble.value)
    assert verdict.reply.endswith(": why")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("trouble", [Trouble.TIMEOUT, Trouble.LOST, Trouble.GARBLED])
def test_only_after_the_final_dot_is_the_outcome_unknown(phase: Phase, trouble: Trouble) -> None:
    verdict = judge(phase, Failure(trouble))
    assert isinstance(verdict, Deferred)
    assert verdict.unknown is (phase is Phase.FINAL)


@pytest.mark.parametrize("code", [-1, 0, 99, 199, 354, 600, 999])
def test_a_code_that_answers_nothing_is_trouble_not_a_verdict(code: int) -> None:
    verdict = judge(Phase.RCPT, Reply(code, "what?"))
    assert isinstance(verdict, Deferred)
    assert verdict.scope is CONNECTION
    assert f"{code} what?" in verdict.reply


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5.1.1 no such user", "5.1.1"),
        ("5.7.509 access denied", "5.7.509"),
        ("sorry, no mailbox here by that name. (#5.1.1)", "5.1.1"),
        ("no such user", None),
        ("5.1 short", None),
        ("5.1.1.4 is an address", None),
        ("blocked: 5.9.3.4 is listed", None),
        ("3.1.1 no such class", None),
        ("<ann#5.4.5@there.test>: no such user", None),
        ("", None),
    ],
)
def test_the_enhanced_code_is_found_where_servers_put_it(text: str, code: str | None) -> None:
    assert enhanced_code(text) == code


@pytest.mark.parametrize(
    ("reply", "too_many"),
    [
        (Reply(452, "4.5.3 too many recipients"), True),
        (Reply(552, "too many recipients"), True),
        (Reply(452, "4.2.2 over quota"), False),
        (Reply(550, "5.1.1 no such user"), False),
        (Reply(250, "4.5.3 too many recipients"), False),
    ],
)
def test_too_many_recipients_is_recognised(reply: Reply, too_many: bool) -> None:
    assert is_too_many(reply) is too_many


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (
            Reply(550, "5.1.1 The account does not exist.\n5.1.1 Check for typos."),
            "550 5.1.1 The account does not exist. Check for typos.",
        ),
        (Reply(550, "no\nsuch\nuser"), "550 no such user"),
        (Reply(550, "bell\x07 escape\x1b[31m nul\x00 next\x85line"), "550 bell escape [31m nul next line"),
        (Reply(550, "right-to-left \u202egpj.exe"), "550 right-to-left gpj.exe"),
        (Reply(550, "hidden \u200b\u2060marks \u061c\ufeffof order"), "550 hidden marks of order"),
        (Reply(550, "\x00" * 100_000 + "nul"), "550 nul"),
        (Reply(550, "casella piena: città"), "550 casella piena: città"),
        (Reply(550, "not utf-8: \udce8"), "550 not utf-8: ?"),
        (Reply(550, ""), "550"),
    ],
)
def test_the_servers_words_are_kept_as_one_clean_line(reply: Reply, line: str) -> None:
    assert words(reply) == line


@given(st.sampled_from(Phase), st.integers(-1000, 1000), st.text(max_size=2000))
def test_any_reply_gets_a_verdict_of_bounded_printable_words(phase: Phase, code: int, text: str) -> None:
    verdict = judge(phase, Reply(code, text))
    assert len(verdict.reply) <= MAX_REPLY
    assert verdict.reply.isprintable()
    verdict.reply.encode()
