"""A check-up of what an instance works with: its queue, its applications, its accounts, its senders.

Each part gives findings for people. Nothing is changed, nothing is sent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from email.utils import parseaddr

from mail_proxy.model.accounts import Account
from mail_proxy.model.findings import Finding, failure, note, ok, warning
from mail_proxy.model.logins import LoginTrial
from mail_proxy.model.reports import ReportState
from mail_proxy.services.account_check import SHARE, AccountCheck
from mail_proxy.services.reports import SyncStatus
from mail_proxy.services.services import Services

LATE = 900.0
"""Seconds that a message may wait, though it may leave, before that is worth a warning."""

LOGINS_AT_ONCE = 12

NAMED = 5
"""Accounts that are named in one line."""


async def check_queue(services: Services, *, is_served: bool) -> list[Finding]:
    """Whether what waits will leave; `is_served`: there is a server to send it."""
    found: list[Finding] = []
    if not await services.instance.is_active():
        found.append(
            warning("active", "the instance is suspended: nothing leaves", "mail-proxy … activate lets it")
        )
    pressure = await services.instance.pressure()
    waiting = pressure.pending_messages
    said = f"{waiting} message{'s' if waiting != 1 else ''} to send"
    if not waiting:
        found.append(ok("queue", "no message waits"))
    elif not is_served:
        found.append(warning("queue", f"{said}, and no server runs", "mail-proxy start"))
    elif pressure.oldest_seconds > LATE:
        advice = "'messages explain ID' tells of each why it waits"
        found.append(
            warning(
                "queue", f"{said}; the first has waited for {pressure.oldest_seconds / 60:.0f} min", advice
            )
        )
    else:
        found.append(ok("queue", said))
    for account in await services.accounts.list():
        if account.rest is not None:
            found.append(
                warning(
                    "circuit",
                    f"it rests after failures: {account.last_error}",
                    "its messages wait meanwhile; it is tried again by itself",
                    _name_of(account),
                )
            )
    return found


async def check_reports(services: Services) -> list[Finding]:
    """Whether the applications take what they are told."""
    found = [each for status in await services.reports.sync_status() for each in _report_findings(status)]
    given_up = await services.reports.untold(states=frozenset({ReportState.GIVEN_UP}), limit=1)
    if given_up.events:
        found.append(
            warning(
                "given_up",
                "there are events that no application took for so long that they were given up",
                "'reports list --failed' shows them, 'reports replay' tells them again",
            )
        )
    return found or [ok("reports", "applications take what they are told")]


def _report_findings(status: SyncStatus) -> Iterator[Finding]:
    state = status.state
    if state.failures:
        times = "the last post" if state.failures == 1 else f"the last {state.failures} posts"
        yield warning(
            "application",
            f"its application did not take {times}: {state.last_error}",
            "it is tried again by itself; 'run-now' tries at once",
            state.tenant_id,
        )
    elif state.refused:
        yield warning(
            "application",
            f"its application did not take {state.refused} of the events it was told",
            "'reports list --failed' shows them",
            state.tenant_id,
        )
    if state.pending and status.next_due is None and state.client_base_url is None:
        yield note(
            "application",
            f"it has no application to be told: {state.pending} events wait",
            "'tenants update --base-url URL' names the application",
            state.tenant_id,
        )


async def check_secrets(services: Services) -> list[Finding]:
    """Whether the key opens each secret that is stored."""
    found = [
        _unreadable(name, _name_of(account), "give it again with 'accounts update'")
        for account in await services.accounts.list()
        for name in sorted(account.unreadable)
    ]
    for tenant in await services.tenants.list():
        for name in sorted(tenant.unreadable):
            found.append(_unreadable(name, tenant.id, "give it again with 'tenants update'"))
    for storage in await services.storages.list():
        if storage.is_unreadable:
            place = f"{storage.tenant_id}/{storage.name}"
            found.append(_unreadable("the storage's configuration", place, "add the storage again"))
    settings = await services.instance_settings.get()
    for name in sorted(settings.unreadable):
        found.append(_unreadable(name, "bounce mailbox", "give it again with 'config bounce'"))
    return found or [ok("secrets", "every stored secret can be read")]


def _unreadable(name: str, subject: str, advice: str) -> Finding:
    return failure("secrets", f"{name} cannot be decrypted", advice, subject)


async def check_logins(services: Services, tried: Callable[[int], None]) -> list[Finding]:
    """Log in at every account's servers, some at a time; `tried` is told how many more are done."""
    accounts = await services.accounts.list()
    if not accounts:
        return [note("login", "there are no accounts yet", "'accounts add' makes one")]
    turns = asyncio.Semaphore(LOGINS_AT_ONCE)
    shares: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(SHARE))

    async def check(account: Account) -> list[Finding]:
        async with shares[account.tenant_id], turns:
            done = await services.account_check.check(account)
        tried(1)
        return list(_login_findings(account, done))

    found = await asyncio.gather(*map(check, accounts))
    return [each for of_account in found for each in of_account]


def _login_findings(account: Account, check: AccountCheck) -> Iterator[Finding]:
    subject = _name_of(account)
    if account.is_sandbox:
        yield ok("login", "sandbox: mail is kept here", subject)
    else:
        yield _login_finding(check.smtp, f"{account.host}:{account.port}", account.user, subject)
    if check.imap is not None:
        user = account.imap_user or account.user
        yield _login_finding(check.imap, f"{account.imap_host}:{account.imap_port} (IMAP)", user, subject)


def _login_finding(trial: LoginTrial, where: str, user: str | None, subject: str) -> Finding:
    if trial.error is not None:
        advice = f"'accounts update' changes it, 'accounts test {subject.partition('/')[2]}' tries again"
        return failure("login", f"{where}: {trial.error}", advice, subject)
    what = f"the login of {user} works" if user else "it can be used, without a login"
    return ok("login", f"{where}: {what}", subject)


async def check_senders(
    services: Services, selectors: Sequence[str], server: tuple[str, int] | None
) -> list[Finding]:
    """Ask DNS about the domains of the accounts' senders.

    The senders of messages are not gone through: only what an account has as its sender is known here.
    """
    accounts = [account for account in await services.accounts.list() if not account.is_sandbox]
    domains = {domain for account in accounts if (domain := _domain_of(account))}
    found = await check_domains(sorted(domains), selectors, server)
    nameless = [_name_of(account) for account in accounts if _domain_of(account) is None]
    if nameless:
        more = len(nameless) - NAMED
        names = ", ".join(nameless[:NAMED]) + (f" and {more} more" if more > 0 else "")
        said = f"no from_address, so the domains they send from are not known: {names}"
        found.append(note("senders", said, "doctor --domain NAME checks one"))
    return found or [note("senders", "no account sends to the Internet")]


async def check_domains(
    domains: Sequence[str], selectors: Sequence[str], server: tuple[str, int] | None
) -> list[Finding]:
    """Ask DNS, or the `server` at an address and port, whether receivers can trust these domains.

    `selectors` are those of DKIM that are known to be in use.
    """
    from mail_proxy.sender_domains import Dns, inspect  # late: the library takes a while

    asked = Dns(*server) if server else Dns()
    wanted = dict.fromkeys(domain.lower().rstrip(".") for domain in domains)
    told = await asyncio.gather(*(inspect(domain, asked, selectors) for domain in wanted))
    return [each for of_domain in told for each in of_domain]


def _domain_of(account: Account) -> str | None:
    _, address = parseaddr(account.from_address or "")
    return address.rpartition("@")[2].lower() or None


def _name_of(account: Account) -> str:
    return f"{account.tenant_id}/{account.id}"
