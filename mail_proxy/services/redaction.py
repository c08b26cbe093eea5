"""What the command log keeps of a request's body: no secret, and no content of a message.

Bodies are arbitrary JSON here: what is logged may have been refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic_core import to_json

from mail_proxy.services.inputs import MASK

MAX_PAYLOAD = 256 * 1024
"""Bytes of JSON; of a larger body only a summary is kept."""

REFUSED_PAYLOAD = 4 * 1024
"""The same of a request that was refused: who may only ask is not to fill the disk by it."""

SUMMARY = 100
"""How many ids, or names of fields, a summary names."""

SUMMARY_TEXT = 255
"""Characters of each of them."""

_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|credential|auth|bearer|jwt|cookie|signature|connectionstring|key$|^config$|^sas$"
)
_SHOWN_OF_AUTH = ("method", "user")

_CONTENT = {"body", "body_html", "raw", "headers", "custom_headers", "metadata", "attachments"}

_OF_NOBODY = {"id", "tenant_id", "account_id", "priority", "deferred_ts", "send_after", "batch_code"}
_KEPT = _OF_NOBODY | {
    "from", "to", "cc", "cc_addr", "bcc", "bcc_addr", "subject", "message_id", "reply_to", "return_path",
}  # fmt: skip

_WORD = re.compile(r"\S+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def payload_of(body: Mapping[str, object], *, is_one_tenants: bool = True, most: int = MAX_PAYLOAD) -> str:
    """Return a body as the command log may have it, in at most `most` bytes; see `submission_payload`."""
    kept = {
        name: _messages(value, is_one_tenants=is_one_tenants) if name == "messages" else _shown(name, value)
        for name, value in body.items()
        if name not in _CONTENT
    }
    return _bounded(kept, most)


def submission_payload(
    entries: Sequence[object], default_priority: int | None = None, *, is_one_tenants: bool = True
) -> str:
    """Return messages handed in as JSON: who writes to whom about what.

    When they are not all one tenant's, only their ids and the like: a tenant's data must go with it, and such
    a command stays.
    """
    kept: dict[str, object] = {"messages": _messages(entries, is_one_tenants=is_one_tenants)}
    if default_priority is not None:
        kept["default_priority"] = default_priority
    return _bounded(kept, MAX_PAYLOAD)


def is_secret(name: str) -> bool:
    """Tell whether what bears this name looks like a secret."""
    return _SECRET_NAME.search(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


def _messages(entries: object, *, is_one_tenants: bool) -> object:
    if not isinstance(entries, list | tuple):
        return MASK
    return [_message(entry, is_one_tenants=is_one_tenants) for entry in entries]


def _message(entry: object, *, is_one_tenants: bool) -> object:
    if not isinstance(entry, dict):
        return MASK
    names = _KEPT if is_one_tenants else _OF_NOBODY
    kept = {
        name: value if type(value) is str and "://" not in value else _plain(value)  # most are
        for name, value in entry.items()
        if name in names
    }
    if is_one_tenants and (attachments := entry.get("attachments")):
        kept["attachments"] = _file_names(attachments)
    return kept


def _plain(value: object) -> object:
    """Keep what a field of a message may be; anything else could hold anything."""
    if isinstance(value, str):
        return value if "://" not in value else _text(value)
    if isinstance(value, list):
        return [_plain(each) if isinstance(each, str) else MASK for each in value]
    return MASK if isinstance(value, dict) else value


def _file_names(attachments: object) -> object:
    if not isinstance(attachments, list):
        return MASK
    return [_plain(each.get("filename")) if isinstance(each, dict) else MASK for each in attachments]


def _shown(name: str, value: object) -> object:
    if value is None or not is_secret(name):
        return _redacted(value)
    if isinstance(value, dict) and name.endswith("auth"):
        return {
            key: each if key in _SHOWN_OF_AUTH and isinstance(each, str) else MASK
            for key, each in value.items()
        }
    return MASK


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {name: _shown(name, each) for name, each in value.items() if name not in _CONTENT}
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    return value


def _text(text: str) -> str:
    """Hide what a text may hold of secrets: private keys, logins and queries in addresses."""
    if "PRIVATE KEY" in text:
        return MASK
    return _WORD.sub(lambda word: _word(word[0]), text) if "@" in text or "?" in text else text


def _word(word: str) -> str:
    """Hide the login in ``scheme://user:password@host``, with or without the scheme, and a URL's query."""
    login, at, rest = word.rpartition("@")
    if at and (":" in login or "//" in login):
        scheme = _SCHEME.match(word)
        word = f"{scheme[0] if scheme else ''}{MASK}@{rest}"
    if "://" in word and "?" in word:
        word = f"{word.partition('?')[0]}?{MASK}"
    return word


def _bounded(kept: Mapping[str, object], most: int) -> str:
    text = to_json(kept)
    if len(text) > most:
        text = to_json(_summary(kept))
    if len(text) > most:
        text = b'{"truncated":true}'
    return text.decode()


def _summary(kept: Mapping[str, object]) -> Mapping[str, object]:
    messages, ids = kept.get("messages"), kept.get("ids")
    if isinstance(messages, list):
        named = [entry.get("id") for entry in messages[:SUMMARY] if isinstance(entry, dict)]
        return {"messages": len(messages), "truncated": True, "ids": _short(named)}
    if isinstance(ids, list):
        return {"truncated": True, "ids": _short(ids[:SUMMARY])}
    return {"truncated": True, "fields": _short(list(kept)[:SUMMARY])}


def _short(texts: Sequence[object]) -> list[str]:
    return [text[:SUMMARY_TEXT] for text in texts if isinstance(text, str)]
