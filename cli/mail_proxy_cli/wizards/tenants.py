"""Asking for a new tenant."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mail_proxy.errors import Conflict
from mail_proxy.model.tenants import DEFAULT_SYNC_PATH, AuthMethod
from mail_proxy.services.inputs import MASK, AuthInput, RateLimitsInput, TenantInput
from mail_proxy_cli.fields import refuse_reserved
from mail_proxy_cli.opening import run
from mail_proxy_cli.registry import RESERVED
from mail_proxy_cli.scope import Scope
from mail_proxy_cli.wizards.asking import Check, Dialogue, Fields, new_id, of_field, whole_number

LIMITS = {"hourly": "messages an hour", "daily": "messages a day"}


def ask(scope: Scope, name: str | None) -> Fields:
    """Ask for the fields of a tenant, whose id may be known already; raises Abort if it is not to be."""
    taken = {tenant.id for tenant in run(scope, lambda runtime: runtime.services.tenants.list())}
    if name is not None:
        refuse_reserved("tenant", name)
        if name in taken:
            raise Conflict(f"there is a tenant '{name}' already")
    dialogue = Dialogue(color=scope.invocation.color)
    dialogue.say("A new tenant: an organisation whose mail is kept apart. Ctrl+C leaves without a trace.")
    while True:
        fields = _ask_fields(dialogue, name, taken)
        if dialogue.settle("add this tenant?", _shown(fields)):
            return fields


def _ask_fields(dialogue: Dialogue, name: str | None, taken: Collection[str]) -> Fields:
    tenant_id = name or dialogue.ask("id", check=_free_id(taken))
    fields: Fields = {
        "id": tenant_id,
        "name": dialogue.ask("name", tenant_id, check=of_field(TenantInput, "name")),
    }
    is_base = of_field(TenantInput, "client_base_url")
    base = dialogue.ask("URL of its application", check=is_base, empty="no reports")
    if base:
        is_path = of_field(TenantInput, "client_sync_path")
        fields["client_base_url"] = base
        fields["client_sync_path"] = dialogue.ask("path for reports", DEFAULT_SYNC_PATH, check=is_path)
        fields["client_auth"] = _ask_login(dialogue, base)
    dialogue.say("Limits; 0 means any number.")
    fields["rate_limits"] = {
        field: dialogue.ask_number(question, 0, check=of_field(RateLimitsInput, field, whole_number))
        for field, question in LIMITS.items()
    }
    return fields


def _ask_login(dialogue: Dialogue, base: str) -> Fields:
    methods = dict.fromkeys((method.value for method in AuthMethod), "")
    method = dialogue.choose("how to log in there", methods, AuthMethod.NONE)
    fields: Fields = {"method": method}
    if method == AuthMethod.BEARER:
        fields["token"] = dialogue.ask_secret("token", base, check=of_field(AuthInput, "token"))
    elif method == AuthMethod.BASIC:
        fields["user"] = dialogue.ask("user", check=of_field(AuthInput, "user"))
        fields["password"] = dialogue.ask_secret("password", base, check=of_field(AuthInput, "password"))
    return fields


def _free_id(taken: Collection[str]) -> Check:
    free = new_id(of_field(TenantInput, "id"), "a tenant", taken)
    return lambda text: f"'{text}' is a command, no id" if text in RESERVED else free(text)


def _shown(fields: Mapping[str, object]) -> Fields:
    """The fields as they may be seen."""
    shown = dict(fields)
    match shown.get("client_auth"):
        case dict(auth):
            shown["client_auth"] = {key: MASK if key in ("token", "password") else auth[key] for key in auth}
    return shown
