"""How a page of messages is parted before their contents are read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mail_proxy.model.messages import Message, Status
from mail_proxy.services.messages import HANDFUL, HANDFUL_BYTES, handfuls

HALF = HANDFUL_BYTES // 2

MESSAGE = Message(
    seq=0,
    pk="",
    tenant_id="acme",
    id="",
    account_id="main",
    status=Status.PENDING,
    priority=2,
    batch_code=None,
    recipients=(),
    envelope_from=None,
    message_id="<a@b.test>",
    is_pec=False,
    metadata=None,
    size=0,
    created_at=0.0,
    updated_at=0.0,
    deferred_ts=None,
    sent_ts=None,
    error_ts=None,
    error=None,
    last_error=None,
    retry_count=0,
    reported_ts=None,
    bounce_type=None,
    bounce_code=None,
    bounce_reason=None,
    bounce_ts=None,
)


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], []),
        ([1], [[1]]),
        ([HALF, HALF], [[HALF, HALF]]),
        ([HALF, HALF, 1], [[HALF, HALF], [1]]),
        ([1, HANDFUL_BYTES + 1, 1], [[1], [HANDFUL_BYTES + 1], [1]]),
        ([0] * (HANDFUL + 1), [[0] * HANDFUL, [0]]),
    ],
)
def test_contents_of_a_part_fit_into_memory_together(sizes: list[int], parts: list[list[int]]) -> None:
    """In their order, none left out; what is too large for company stands alone."""
    messages = [replace(MESSAGE, seq=seq, size=size) for seq, size in enumerate(sizes)]
    found = list(handfuls(messages))
    assert [[message.size for message in part] for part in found] == parts
    assert [message.seq for part in found for message in part] == list(range(len(sizes)))
