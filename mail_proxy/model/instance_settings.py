"""What the admin sets for the whole instance while it runs: its name, and where bounces are collected."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSettings:
    """`name` is None while the configuration's holds. `bounce_poll_interval` is seconds.

    `bounce_return_path` may hold ``{token}``, in whose place each message's own token goes; `bounce_after`
    is what becomes of a mail that was read: ``keep``, ``seen``, ``delete`` or ``move:<folder>``. `unreadable`
    names the secret if it is stored and cannot be decrypted; it is None then.
    """

    name: str | None = None
    bounce_enabled: bool = False
    bounce_imap_host: str | None = None
    bounce_imap_port: int = 993
    bounce_imap_user: str | None = None
    bounce_imap_password: str | None = field(default=None, repr=False)
    bounce_imap_folder: str = "INBOX"
    bounce_imap_ssl: bool = True
    bounce_poll_interval: int = 60
    bounce_return_path: str | None = None
    bounce_after: str = "keep"
    unreadable: frozenset[str] = frozenset()
