"""Asking for a message: from, to, subject, text and files."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mail_proxy.errors import Conflict
from mail_proxy.services.message_inputs import MessageInput
from mail_proxy_cli.wizards.asking import Dialogue, Fields, of_field

if TYPE_CHECKING:
    from mail_proxy_repl.place import Place
    from mail_proxy_repl.proxy import Proxy
    from mail_proxy_repl.results import Record


def ask_message(proxy: Proxy, place: Place, *, color: bool) -> Record:
    """Ask for a message, and queue it; raises Abort if it is not to be."""
    accounts = proxy.accounts.list(place.needed(None))
    if not accounts:
        raise Conflict(f"tenant '{place.tenant}' has no account to send through: new_account()")
    dialogue = Dialogue(color=color)
    dialogue.say("A new message. Ctrl+C leaves without a trace.")
    while True:
        fields = _ask_fields(dialogue, {str(each["id"]): each for each in accounts})
        if not dialogue.settle("queue this message?", _shown(fields)):
            continue
        done = proxy.messages.add(fields)
        if not done["rejected"]:
            return done
        for each in done["rejected"]:
            dialogue.complain(_refusal(each))


def _ask_fields(dialogue: Dialogue, accounts: Mapping[str, Mapping[str, object]]) -> Fields:
    account = next(iter(accounts))
    if len(accounts) > 1:
        account = dialogue.choose("account", dict.fromkeys(accounts, ""), account)
    sender = str(accounts[account]["from_address"] or "")
    fields: Fields = {
        "account_id": account,
        "from": dialogue.ask("from", sender, check=of_field(MessageInput, "from")),
        "to": dialogue.ask("to", check=of_field(MessageInput, "to")),
        "subject": dialogue.ask("subject", check=of_field(MessageInput, "subject"), empty="none"),
        "body": _ask_text(dialogue),
    }
    if files := _ask_files(dialogue):
        fields["attachments"] = files
    return fields


def _ask_text(dialogue: Dialogue) -> str:
    lines: list[str] = []
    while line := dialogue.ask(
        "more text" if lines else "text", check=of_field(MessageInput, "body"), empty="that is all"
    ):
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _ask_files(dialogue: Dialogue) -> list[Fields]:
    files: list[Fields] = []
    while name := dialogue.ask_file(
        "another file" if files else "file to attach", check=_unreadable, empty="none"
    ):
        path = Path(name).expanduser()
        content = base64.b64encode(path.read_bytes()).decode("ascii")
        files.append({"filename": path.name, "storage_path": f"base64:{content}"})
    return files


def _unreadable(name: str) -> str | None:
    try:
        with Path(name).expanduser().open("rb"):
            return None
    except (OSError, ValueError, RuntimeError) as error:
        return getattr(error, "strerror", None) or str(error)


def _shown(fields: Fields) -> Fields:
    """The message as it may be seen: of files the names."""
    files = fields.get("attachments")
    names = [str(each["filename"]) for each in files] if isinstance(files, list) else []
    return {**fields, "attachments": names} if names else fields


def _refusal(rejected: Mapping[str, object]) -> str:
    faults = rejected.get("errors")
    told = [f"{each['loc'][0]}: {each['msg']}" for each in faults] if isinstance(faults, list) else []
    return "; ".join(told) or str(rejected["reason"])
