"""How many files this process may have open: each connection is one."""

from __future__ import annotations

import contextlib
import resource

ENOUGH = 65_536


def allow_many_files() -> None:
    """Raise the limit as far as it may be, up to what is enough: the usual 1,024 is for users of select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_files() -> int:
    """The limit that holds now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft
