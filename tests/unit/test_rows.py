"""Values as they lie in columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.model.messages import Recipient
from mail_proxy.store.rows import new_recipients_text, recipients_text


@given(st.lists(st.text(max_size=30), max_size=4))
def test_new_recipients_are_written_as_any_others(addresses: list[str]) -> None:
    """The quick way, of those that nobody has tried yet, is not another format."""
    assert new_recipients_text(addresses) == recipients_text(
        [Recipient(address=address) for address in addresses]
    )
