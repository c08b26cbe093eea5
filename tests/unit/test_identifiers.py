"""Keys of messages are UUIDs of version 7: unique, and in the order of their making."""

from __future__ import annotations

import time
import uuid

from mail_proxy.services.identifiers import new_pk


def test_a_key_is_a_uuid_of_version_7() -> None:
    """RFC 9562: version and variant are where they belong."""
    key = uuid.UUID(new_pk())

    assert key.variant == uuid.RFC_4122
    assert str(key)[14] == "7"
    assert str(key) == str(key).lower()


def test_a_key_begins_with_its_milliseconds() -> None:
    """The first 48 bits are Unix time."""
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(new_pk()).int >> 80
    after = time.time_ns() // 1_000_000

    assert before <= stamp <= after


def test_keys_do_not_repeat() -> None:
    """Not even within a millisecond."""
    assert len({new_pk() for _ in range(20_000)}) == 20_000


def test_all_other_bits_are_random() -> None:
    """74 of them: over many keys, each bit is seen set and clear."""
    fixed = (0b1111 << 76) | (0b11 << 62)
    keys = [uuid.UUID(new_pk()).int & ((1 << 80) - 1) for _ in range(500)]
    ever, always = 0, (1 << 80) - 1
    for key in keys:
        ever |= key
        always &= key

    assert ever | fixed == (1 << 80) - 1
    assert always & ~fixed == 0
