"""Asking for a new SMTP account: whose server, which login, and whether that works."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from mail_proxy.errors import Conflict
from mail_proxy.model.accounts import SANDBOX_HOST, SMTPS_PORT, SUBMISSION_PORT, TlsMode
from mail_proxy.services.inputs import MASK, AccountInput
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import certificates
from mail_proxy_cli.progress import busy
from mail_proxy_cli.scope import Scope
from mail_proxy_cli.wizards.asking import Check, Dialogue, Fields, new_id, of_field, whole_number
from mail_proxy_cli.wizards.logins import try_logins
from mail_proxy_cli.wizards.providers import OWN, PROVIDERS, Provider

if TYPE_CHECKING:
    from mail_proxy.model.logins import LoginTrial
    from mail_proxy.runtime import Runtime
    from mail_proxy.services.account_check import AccountCheck

TLS = {
    TlsMode.STARTTLS.value: "goes over to TLS after the greeting (port 587)",
    TlsMode.SSL.value: "TLS from the beginning (port 465)",
    TlsMode.NONE.value: "not at all",
}
USUAL_TLS = {SMTPS_PORT: TlsMode.SSL, SUBMISSION_PORT: TlsMode.STARTTLS}
LIMITS = {"limit_per_minute": "a minute", "limit_per_hour": "an hour", "limit_per_day": "a day"}


def ask(scope: Scope, name: str | None) -> Fields:
    """Ask for the fields of an account, whose id may be known already; raises Abort if it is not to be."""
    accounts = run(scope, lambda runtime: runtime.services.accounts.list(scope.tenant))
    taken = {account.id for account in accounts}
    if name is not None and name in taken:
        raise Conflict(f"there is an account '{name}' already")
    dialogue = Dialogue(color=scope.invocation.color)
    dialogue.say("A new account: a login at the server that sends the mail. Ctrl+C leaves without a trace.")
    trusted: dict[object, Fields] = {}
    while True:
        provider = _ask_provider(dialogue)
        fields = _ask_fields(dialogue, provider, name, taken)
        trust = trusted.setdefault(fields["host"], {})
        is_tried = fields["host"] == SANDBOX_HOST or _try(dialogue, scope, provider, fields, trust)
        fields |= trust
        if is_tried and dialogue.settle("add this account?", _shown(fields)):
            return fields


def _try(dialogue: Dialogue, scope: Scope, provider: Provider, fields: Fields, trust: Fields) -> bool:
    async def check(runtime: Runtime) -> AccountCheck:
        account = runtime.services.accounts.draft(scope.tenant, fields | trust)
        return await runtime.services.account_check.check(account)

    def attempt() -> dict[str, LoginTrial]:
        with busy(f"trying {fields['host']}"):
            found = run(scope, check)
        return {"SMTP login": found.smtp} | ({"IMAP login": found.imap} if found.imap else {})

    def ask_login() -> None:
        fields.update(_ask_login(dialogue, provider, str(fields["host"])))
        if provider.is_pec:
            fields.update(_ask_mailbox(dialogue, provider, fields))

    return try_logins(dialogue, attempt, ask_login, trust)


def _ask_provider(dialogue: Dialogue) -> Provider:
    labels = {word: provider.label for word, provider in PROVIDERS.items()}
    provider = PROVIDERS[dialogue.choose("provider", labels, OWN)]
    if provider.hint:
        dialogue.say(provider.hint)
    return provider


def _ask_fields(dialogue: Dialogue, provider: Provider, name: str | None, taken: Collection[str]) -> Fields:
    is_free = new_id(of_field(AccountInput, "id"), "an account", taken)
    fields: Fields = {"id": name or dialogue.ask("id", "" if "main" in taken else "main", check=is_free)}
    if provider.host != SANDBOX_HOST:
        fields |= _ask_server(dialogue, provider)
    if fields.setdefault("host", SANDBOX_HOST) != SANDBOX_HOST:
        fields |= _ask_login(dialogue, provider, str(fields["host"]))
    fields |= _ask_sender(dialogue, str(fields.get("user", "")))
    if fields["host"] != SANDBOX_HOST:
        fields |= _ask_limits(dialogue, provider)
    if provider.is_pec:
        fields |= _ask_mailbox(dialogue, provider, fields)
    return fields


def _ask_server(dialogue: Dialogue, provider: Provider) -> Fields:
    is_host = of_field(AccountInput, "host")
    usual = provider.host
    if provider.regions:
        region = dialogue.ask("region", provider.regions[0], check=is_host, suggestions=provider.regions)
        usual = usual.format(region=region)
    host = dialogue.ask("SMTP server", usual, check=is_host)
    if host == SANDBOX_HOST:
        return {"host": host}
    is_port = of_field(AccountInput, "port", whole_number)
    port = dialogue.ask_number("port", provider.port, check=is_port)
    tls = dialogue.choose("encryption", TLS, USUAL_TLS.get(port, provider.tls).value)
    return {"host": host, "port": port, "tls": tls}


def _ask_login(dialogue: Dialogue, provider: Provider, host: str) -> Fields:
    user = dialogue.ask(
        provider.user_is,
        provider.user,
        check=of_field(AccountInput, "user"),
        empty=None if provider.host else "no login",
    )
    if not user:
        return {}
    password = dialogue.ask_secret(provider.unseen, host, check=of_field(AccountInput, "password"))
    return {"user": user, "password": password}


def _ask_sender(dialogue: Dialogue, user: str) -> Fields:
    is_address = of_field(AccountInput, "from_address")
    usual = user if "@" in user and is_address(user) is None else ""
    sender = dialogue.ask("from address", usual, check=is_address, empty="none")
    return {"from_address": sender} if sender else {}


def _ask_limits(dialogue: Dialogue, provider: Provider) -> Fields:
    usual = {name: int(getattr(provider, name, 0)) for name in LIMITS}
    known = [f"{usual[name]} {span}" for name, span in LIMITS.items() if usual[name]]
    fields: Fields = {name: limit for name, limit in usual.items() if limit}
    if provider.max_concurrent:
        fields["max_concurrent"] = provider.max_concurrent
    dialogue.say(f"Limits: {', '.join(known) or 'none'}.")
    if dialogue.agree("other limits?", default=False):
        for name, span in LIMITS.items():
            is_count = of_field(AccountInput, name, whole_number)
            fields[name] = dialogue.ask_number(
                f"messages {span} (0: any number)", usual[name], check=is_count
            )
    return fields


def _ask_mailbox(dialogue: Dialogue, provider: Provider, smtp: Mapping[str, object]) -> Fields:
    dialogue.say("The mailbox where the receipts of certified mail arrive:")
    host = dialogue.ask("IMAP server", provider.imap_host, check=of_field(AccountInput, "imap_host"))
    is_port = of_field(AccountInput, "imap_port", whole_number)
    fields: Fields = {
        "is_pec_account": True,
        "imap_host": host,
        "imap_port": dialogue.ask_number("IMAP port", 993, check=is_port),
    }
    is_user: Check = of_field(AccountInput, "imap_user")
    fields["imap_user"] = dialogue.ask("IMAP user", str(smtp.get("user", "")), check=is_user)
    is_password = of_field(AccountInput, "imap_password")
    empty = "the same" if "password" in smtp else None
    fields["imap_password"] = (
        dialogue.ask_secret("IMAP password", host, check=is_password, empty=empty) or smtp["password"]
    )
    return fields


def _shown(fields: Mapping[str, object]) -> Fields:
    """The fields as they may be seen, and read."""
    shown = {name: MASK if name in ("password", "imap_password") else fields[name] for name in fields}
    if "tls_ca" in shown:
        shown["tls_ca"] = certificates(str(fields["tls_ca"]))
    return shown
