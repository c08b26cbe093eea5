"""Which key the secrets of a database are encrypted with, asked again by whoever writes one."""

from __future__ import annotations

import json

from mail_proxy.encryption import Vault
from mail_proxy.errors import KeyMismatch
from mail_proxy.store.database import Call, Work
from mail_proxy.store.queries import load

SQL = load("rekey")

KEY_CHECK = "key_check"


def check_key(vault: Vault) -> Work[None]:
    """Raise `KeyMismatch` if the secrets have been given another key since this process read its own.

    A change of the key waits for the end of this transaction, so nothing is left in it with the old one.
    """
    rows = yield Call(SQL["check"], {"key": KEY_CHECK})
    if rows and not vault.matches(str(json.loads(rows[0]["value"]))):
        raise KeyMismatch(
            "the encryption key was changed while this was running: start it again with the new one"
        )
