"""Header fields of a request, read straight from what the server parsed: most requests ask for few."""

from __future__ import annotations

from starlette.types import Scope


def field(scope: Scope, name: bytes) -> str | None:
    """Return the first field of this name, given in lower case, as the Latin-1 that HTTP is; None: absent."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
