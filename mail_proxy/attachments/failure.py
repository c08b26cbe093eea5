"""What is raised when a storage does not do what was asked."""

from __future__ import annotations


class StorageFailed(Exception):
    """The text says why in one line, in the server's own words where there are any."""


class StorageUnclear(StorageFailed):
    """There was no answer: whether it was done is not known."""
