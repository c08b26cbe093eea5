"""Asking for the mailbox where bounces arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mail_proxy.model.instance_settings import InstanceSettings
from mail_proxy.model.logins import LoginTrial
from mail_proxy.services.inputs import MASK, BounceInput
from mail_proxy_cli.opening import run
from mail_proxy_cli.progress import busy
from mail_proxy_cli.scope import Scope
from mail_proxy_cli.wizards.asking import Dialogue, Fields, of_field, whole_number
from mail_proxy_cli.wizards.logins import try_logins

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

ADDRESS = ("bounce_imap_host", "bounce_imap_port", "bounce_imap_ssl")


def ask(scope: Scope) -> Fields:
    """Ask for the fields of the bounce mailbox, those in force proposed; raises Abort if it is not to be."""
    current = run(scope, lambda runtime: runtime.services.instance_settings.get())
    dialogue = Dialogue(color=scope.invocation.color)
    dialogue.say("The mailbox where bounces arrive. Ctrl+C leaves without a trace.")
    while True:
        fields: Fields = {"bounce_enabled": dialogue.agree("collect bounces?", default=True)}
        is_tried = True
        if fields["bounce_enabled"]:
            fields |= _ask_mailbox(dialogue, current)
            is_tried = _try(dialogue, scope, current, fields)
        if is_tried and dialogue.settle("keep these settings?", _shown(fields)):
            return fields


def _ask_mailbox(dialogue: Dialogue, current: InstanceSettings) -> Fields:
    fields: Fields = {
        "bounce_imap_host": _ask(dialogue, "IMAP server", "bounce_imap_host", current.bounce_imap_host),
        "bounce_imap_port": _ask_number(dialogue, "port", "bounce_imap_port", current.bounce_imap_port),
        "bounce_imap_ssl": dialogue.agree("TLS from the beginning?", default=current.bounce_imap_ssl),
    }
    fields |= _ask_login(dialogue, current, fields)
    folder = _ask(dialogue, "folder", "bounce_imap_folder", current.bounce_imap_folder)
    question = "seconds between two looks"
    interval = _ask_number(dialogue, question, "bounce_poll_interval", current.bounce_poll_interval)
    return_path = dialogue.ask(
        "return path",
        current.bounce_return_path or "",
        check=of_field(BounceInput, "bounce_return_path"),
        empty="each message's sender",
    )
    return fields | {
        "bounce_imap_folder": folder,
        "bounce_poll_interval": interval,
        "bounce_return_path": return_path or None,
    }


def _ask_login(dialogue: Dialogue, current: InstanceSettings, address: Fields) -> Fields:
    """Ask for user and password; the stored one stays where it is, and goes nowhere else."""
    user = _ask(dialogue, "user", "bounce_imap_user", current.bounce_imap_user)
    is_same = all(address[name] == getattr(current, name) for name in ADDRESS)
    password = dialogue.ask_secret(
        "password",
        str(address["bounce_imap_host"]),
        check=of_field(BounceInput, "bounce_imap_password"),
        empty="as it is" if is_same and current.bounce_imap_password else None,
    )
    fields: Fields = {"bounce_imap_user": user}
    return fields | {"bounce_imap_password": password} if password else fields


def _ask(dialogue: Dialogue, question: str, name: str, current: str | None) -> str:
    return dialogue.ask(question, current or "", check=of_field(BounceInput, name))


def _ask_number(dialogue: Dialogue, question: str, name: str, current: int) -> int:
    return dialogue.ask_number(question, current, check=of_field(BounceInput, name, whole_number))


def _try(dialogue: Dialogue, scope: Scope, current: InstanceSettings, fields: Fields) -> bool:
    async def check(runtime: Runtime) -> LoginTrial:
        drafted = await runtime.services.instance_settings.draft_bounce(fields)
        return await runtime.services.account_check.check_bounces(drafted)

    def attempt() -> dict[str, LoginTrial]:
        with busy(f"trying {fields['bounce_imap_host']}"):
            return {"IMAP login": run(scope, check)}

    return try_logins(dialogue, attempt, lambda: fields.update(_ask_login(dialogue, current, fields)))


def _shown(fields: Fields) -> Fields:
    """The fields as they may be seen."""
    return {name: MASK if name == "bounce_imap_password" else fields[name] for name in fields}
