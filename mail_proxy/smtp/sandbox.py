"""The account with host ``sandbox``: no server, every mail becomes a file to look at.

Files are .eml in a Maildir (tmp, new, cur), the envelope in header fields at their top. The addresses
``reject@sandbox`` and ``defer@sandbox`` are refused at RCPT, ``bounce@sandbox`` after the content.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mail_proxy.files import sync_directory, write_through
from mail_proxy.model.verdicts import Outcome, Verdict
from mail_proxy.smtp.verdict import Failure, Phase, Reply, Trouble, judge, printable

if TYPE_CHECKING:
    from mail_proxy.smtp.agent import FinalStep

DOMAIN = "sandbox"

AT_RCPT = {
    "reject": Reply(550, "5.1.1 no such user (simulated)"),
    "defer": Reply(451, "4.7.1 try again later (simulated)"),
}
AT_FINAL = {"bounce": Reply(550, "5.1.1 no such user, said after the content (simulated)")}


async def deliver(
    directory: Path | None,
    sender: str,
    recipients: Sequence[str],
    content: bytes,
    final: FinalStep,
) -> Outcome:
    """Go through the motions of a conversation, and capture the mail for those who take it."""
    verdicts: dict[str, Verdict] = {}
    for address in recipients:
        if (refusal := AT_RCPT.get(_actor(address))) is not None:
            verdicts[address] = judge(Phase.RCPT, refusal)
    accepted = [address for address in recipients if address not in verdicts]
    if accepted:
        await final.begin()
        if not final.holds():
            return Outcome(
                verdicts=dict.fromkeys(accepted, judge(Phase.CONTENT, Failure(Trouble.SLEPT))) | verdicts
            )
        bounced = [address for address in accepted if _actor(address) in AT_FINAL]
        taken = [address for address in accepted if address not in bounced]
        verdicts |= {address: judge(Phase.FINAL, AT_FINAL[_actor(address)]) for address in bounced}
        if taken:
            verdicts |= dict.fromkeys(taken, await _capture(directory, sender, taken, content))
    return Outcome(verdicts=verdicts)


def _actor(address: str) -> str:
    """The simulating local part of an address, empty for one that simulates nothing."""
    local, _, domain = address.lower().rpartition("@")
    return local if domain == DOMAIN else ""


async def _capture(directory: Path | None, sender: str, recipients: Sequence[str], content: bytes) -> Verdict:
    if directory is None:
        return judge(Phase.DATA, Failure(Trouble.SETTINGS, "this server has no sandbox directory"))
    fields = [f"Return-Path: <{sender}>", *(f"X-Envelope-To: {address}" for address in recipients)]
    trace = "".join(f"{printable(field)}\r\n" for field in fields).encode()
    name = f"{time.time_ns()}.P{os.getpid()}R{secrets.token_hex(4)}.{_host()}.eml"
    try:
        await asyncio.to_thread(store, directory, name, trace + content)
    except OSError as error:
        reason = error.strerror or str(error)
        return judge(Phase.DATA, Failure(Trouble.UNREACHABLE, f"sandbox: {directory}: {reason}"))
    return judge(Phase.FINAL, Reply(250, f"2.0.0 captured as {name}"))


def store(directory: Path, name: str, content: bytes) -> Path:
    """Write a file into the Maildir's `new`, durably, whole or not at all. Raises OSError."""
    for part in ("tmp", "new", "cur"):
        (directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    draft, final = directory / "tmp" / name, directory / "new" / name
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_through(descriptor, content)
        draft.rename(final)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(final.parent)
    return final


def _host() -> str:
    """The machine's name as it may stand in a Maildir file name."""
    return socket.gethostname().replace("/", "_").replace(":", "_")
