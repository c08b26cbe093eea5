"""What names may look like, and which ones the command line keeps for itself."""

from __future__ import annotations

import re

INSTANCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

DEFAULT_TENANT = "default"

MAX_MESSAGE_ID = 255
MAX_BATCH_CODE = 64


def is_instance_name(text: str) -> bool:
    return INSTANCE_NAME.fullmatch(text) is not None


def is_identifier(text: str) -> bool:
    """Tell whether `text` may be the id of a tenant, an account or a storage."""
    return IDENTIFIER.fullmatch(text) is not None
