"""All SQL and both database drivers; see `Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mail_proxy.store.store import Store, open_database

__all__ = ["Store", "open_database"]


def __getattr__(name: str) -> object:
    """Import late what the package exports: completion needs `names` alone, on each Tab."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mail_proxy.store import store

    return getattr(store, name)
