"""What is raised when a mailbox cannot be read."""

from __future__ import annotations


class ImapFailed(Exception):
    """A session could not be had; the text says why in one line. It never leaves this package."""
