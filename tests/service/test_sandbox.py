"""The sandbox captures what would have been sent, and plays the refusals one wants to see."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from mail_proxy.clock import SystemClock
from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.verdicts import Bounced, Deferred, Delivered, Outcome, Scope
from mail_proxy.smtp.agent import DeliveryAgent, Envelope
from tests.support.delivery import CONTENT, PATIENT, Gate

ACCOUNT = Account(tenant_id="acme", id="main", host="sandbox", tls=TlsMode.NONE)


async def deliver(
    directory: Path | None, *recipients: str, gate: Gate | None = None, sender: str = "me@here.test"
) -> Outcome:
    agent = DeliveryAgent(
        timeouts=PATIENT, max_concurrent_per_account=1, sandbox_dir=directory, clock=SystemClock()
    )
    envelope = Envelope(sender=sender, recipients=recipients)
    return await agent.deliver(ACCOUNT, envelope, CONTENT, final=gate or Gate())


def captured(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((directory / "new").glob("*.eml"))]


async def test_a_mail_is_captured_with_its_envelope_above_it(tmp_path: Path) -> None:
    gate = Gate()
    outcome = await deliver(tmp_path, "ann@there.test", "bob@there.test", gate=gate)
    assert captured(tmp_path) == [
        b"Return-Path: <me@here.test>\r\nX-Envelope-To: ann@there.test\r\nX-Envelope-To: bob@there.test\r\n"
        + CONTENT
    ]
    assert gate.passed == 1
    (path,) = (tmp_path / "new").iterdir()
    told = Delivered(code="2.0.0", reply=f"250 2.0.0 captured as {path.name}")
    assert outcome.verdicts == {"ann@there.test": told, "bob@there.test": told}


async def test_the_directory_is_a_maildir_for_its_owner_alone(tmp_path: Path) -> None:
    await deliver(tmp_path / "sandbox", "ann@there.test")
    directories = sorted(path.name for path in (tmp_path / "sandbox").iterdir())
    assert directories == ["cur", "new", "tmp"]
    assert list((tmp_path / "sandbox" / "tmp").iterdir()) == []
    (mail,) = (tmp_path / "sandbox" / "new").iterdir()
    assert stat.S_IMODE(mail.stat().st_mode) == 0o600
    assert stat.S_IMODE(mail.parent.stat().st_mode) == 0o700


async def test_mails_captured_at_once_do_not_overwrite_each_other(tmp_path: Path) -> None:
    await asyncio.gather(*(deliver(tmp_path, f"{number}@there.test") for number in range(20)))
    recipients = {mail.split(b"X-Envelope-To: ")[1].split(b"@")[0] for mail in captured(tmp_path)}
    assert recipients == {str(number).encode() for number in range(20)}


async def test_the_simulated_refusals_leave_the_other_recipients_their_mail(tmp_path: Path) -> None:
    outcome = await deliver(
        tmp_path, "reject@sandbox", "defer@sandbox", "Bounce@SANDBOX", "ann@sandbox", "reject@there.test"
    )
    assert outcome.verdicts["reject@sandbox"] == Bounced(
        code="5.1.1", reply="550 5.1.1 no such user (simulated)"
    )
    assert outcome.verdicts["defer@sandbox"] == Deferred(
        code="4.7.1", reply="451 4.7.1 try again later (simulated)"
    )
    assert outcome.verdicts["Bounce@SANDBOX"] == Bounced(
        code="5.1.1", reply="550 5.1.1 no such user, said after the content (simulated)", scope=Scope.MESSAGE
    )
    assert isinstance(outcome.verdicts["ann@sandbox"], Delivered)
    assert isinstance(outcome.verdicts["reject@there.test"], Delivered)
    (mail,) = captured(tmp_path)
    assert mail.count(b"X-Envelope-To") == 2


@pytest.mark.parametrize(
    ("recipient", "passed"), [("reject@sandbox", 0), ("defer@sandbox", 0), ("bounce@sandbox", 1)]
)
async def test_data_begins_only_for_accepted_recipients_and_refused_mail_is_not_captured(
    tmp_path: Path, recipient: str, passed: int
) -> None:
    gate = Gate()
    await deliver(tmp_path, recipient, gate=gate)
    assert gate.passed == passed
    assert captured(tmp_path) == []


async def test_what_the_final_step_raises_comes_out_and_nothing_is_captured(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lease lost"):
        await deliver(tmp_path, "ann@there.test", gate=Gate(RuntimeError("lease lost")))
    assert captured(tmp_path) == []


async def test_a_message_whose_lease_was_lost_is_not_captured(tmp_path: Path) -> None:
    outcome = await deliver(tmp_path, "reject@sandbox", "ann@there.test", gate=Gate(lost_at=1))
    assert captured(tmp_path) == []
    assert outcome.verdicts["ann@there.test"] == Deferred(
        reply="the lease ran out while this server slept, and the message was not sent",
        scope=Scope.NODE,
    )
    assert isinstance(outcome.verdicts["reject@sandbox"], Bounced)


async def test_an_envelope_cannot_write_header_fields(tmp_path: Path) -> None:
    await deliver(tmp_path, "ann@there.test\r\nX-Evil: yes", sender="me@here.test\nX-Evil: yes")
    assert b"\nX-Evil" not in captured(tmp_path)[0]


async def test_a_sandbox_that_cannot_be_written_defers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    outcome = await deliver(tmp_path / "file", "ann@there.test")
    verdict = outcome.verdicts["ann@there.test"]
    assert isinstance(verdict, Deferred)
    assert not verdict.unknown
    assert "Not a directory" in verdict.reply


async def test_a_server_without_a_sandbox_says_so() -> None:
    outcome = await deliver(None, "ann@there.test")
    verdict = outcome.verdicts["ann@there.test"]
    assert isinstance(verdict, Deferred)
    assert verdict.scope is Scope.ACCOUNT
    assert "no sandbox directory" in verdict.reply
