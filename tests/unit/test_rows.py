"""Values as they lie in columns."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.model.messages import Recipient, RecipientStatus
from mail_proxy.store.rows import compact, new_recipients_text, recipients_of, recipients_text

recipients = st.lists(
    st.builds(
        Recipient,
        address=st.text(max_size=30),
        status=st.sampled_from(RecipientStatus),
        code=st.none() | st.text(max_size=5),
        reply=st.none() | st.text(max_size=30),
    ),
    max_size=4,
)


@given(st.lists(st.text(max_size=30), max_size=4))
def test_new_recipients_are_written_as_any_others(addresses: list[str]) -> None:
    """The quick way, of those that nobody has tried yet, is not another format."""
    assert new_recipients_text(addresses) == recipients_text(
        [Recipient(address=address) for address in addresses]
    )


@given(recipients)
def test_recipients_are_written_as_json(these: list[Recipient]) -> None:
    objects = [
        {"address": each.address, "status": each.status, "code": each.code, "reply": each.reply}
        for each in these
    ]
    assert recipients_text(these) == compact(objects)
    assert json.loads(recipients_text(these)) == objects


@given(recipients)
def test_recipients_come_back(these: list[Recipient]) -> None:
    assert recipients_of(recipients_text(these)) == tuple(these)


@given(st.text(max_size=30) | st.text(st.sampled_from('a@b.",\\:{}[]\n\x1f\x7f'), max_size=30))
def test_one_recipient_that_was_not_tried_comes_back_whatever_its_address_holds(address: str) -> None:
    """The quick way, of what nearly every message has when it is claimed, reads nothing differently."""
    assert recipients_of(new_recipients_text([address])) == (Recipient(address=address),)


def test_what_only_begins_and_ends_like_one_recipient_is_read_as_what_it_is() -> None:
    two = new_recipients_text(["a@b.test", "c@d.test"])
    assert [each.address for each in recipients_of(two)] == ["a@b.test", "c@d.test"]
