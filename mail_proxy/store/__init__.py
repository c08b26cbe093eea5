"""All SQL and both database drivers; see `Store`."""

from mail_proxy.store.store import Store, open_database

__all__ = ["Store", "open_database"]
