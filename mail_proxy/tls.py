"""What a connection to somebody's mail server trusts: the system's authorities, or those of the account."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

PEM_MARK = "-----BEGIN"
"""What holds it are certificates; what does not is the path of a file of them."""

MAX_CA_BYTES = 1024 * 1024


def client_context(verify: bool, authorities: str | None) -> ssl.SSLContext:
    """Make a context; `authorities` are certificates in PEM, or the path of a file of them. Blocks.

    Raises `ssl.SSLError`, OSError or ValueError when they cannot be read.
    """
    if authorities is not None and PEM_MARK not in authorities:
        authorities = _read_authorities(Path(authorities))
    if authorities is not None and PEM_MARK not in authorities:
        raise ValueError("it holds no certificate that can be read")
    return _cached_context(verify, authorities)


def _read_authorities(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    with path.open("rb") as file:
        content = file.read(MAX_CA_BYTES + 1)
    if len(content) > MAX_CA_BYTES:
        raise ValueError(f"{path} has more than {MAX_CA_BYTES} bytes")
    return content.decode("ascii", "ignore")


@lru_cache(maxsize=64)
def _cached_context(verify: bool, authorities: str | None) -> ssl.SSLContext:
    """Loading the system's authorities takes tens of milliseconds: once is enough."""
    context = ssl.create_default_context(cadata=authorities)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
