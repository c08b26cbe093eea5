"""What trying an account's logins came to, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.logins import LoginTrial, Step
from mail_proxy_cli.output import Column, Row

if TYPE_CHECKING:
    from mail_proxy.services.account_check import AccountCheck

STEP_COLUMNS = (Column("server", whole=True), Column("step"), Column("result"))

OK = "ok"
KEEPS_MAIL = "ok, it keeps the mail and sends none"


def steps(account: Account, check: AccountCheck) -> list[Row]:
    """Return what worked, in order, and of each server what did not, in its own words."""
    rows: list[Row]
    if account.is_sandbox:
        rows = [{"server": account.host, "step": Step.CONNECT, "result": KEEPS_MAIL}]
    else:
        planned = _planned(check.smtp, [Step.LOGIN, Step.NOOP] if account.user else [Step.NOOP])
        rows = list(_rows(f"smtp {account.host}:{account.port}", check.smtp, planned))
    if check.imap is not None:
        planned = _planned(check.imap, [Step.LOGIN, Step.FOLDER])
        rows += _rows(f"imap {account.imap_host}:{account.imap_port}", check.imap, planned)
    return rows


def failures(account: Account, check: AccountCheck) -> list[str]:
    """Return a line for each server whose login does not work: what it said, and what may help."""
    tried = {"smtp": check.smtp, "imap": check.imap}
    return [
        f"{kind}: {trial.error}" + (_cure(account) if trial.is_untrusted else "")
        for kind, trial in tried.items()
        if trial is not None and trial.error is not None
    ]


def _cure(account: Account) -> str:
    return f" (accounts update {account.id} --tls-ca FILE names who signs it)"


def _planned(trial: LoginTrial, last: Sequence[Step]) -> list[Step]:
    """The steps of a login as they follow each other; TLS begins with the connection, or in the midst."""
    first = {
        TlsMode.SSL: [Step.CONNECT, Step.TLS, Step.GREETING],
        TlsMode.STARTTLS: [Step.CONNECT, Step.GREETING, Step.TLS],
        TlsMode.NONE: [Step.CONNECT, Step.GREETING],
    }
    return [*first[trial.tls], *last]


def _rows(server: str, trial: LoginTrial, planned: Sequence[Step]) -> Iterator[Row]:
    """What worked, and what did not; of a failure that nobody knows the place of, that alone."""
    end = Step.TLS if trial.is_untrusted else trial.failed_at
    done = planned if trial.error is None else planned[: planned.index(end) if end in planned else 0]
    for step in done:
        yield {"server": server, "step": step, "result": OK}
    if trial.error is not None:
        yield {"server": server, "step": trial.failed_at, "result": trial.error}
