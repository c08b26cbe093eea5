"""Addresses as applications write them: which are taken, how lists are split, what a header may not hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.services.addresses import CONTROL, bare_address, domain_of, split_addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.it", "a@b.it"),
        ("  a@b.it ", "a@b.it"),
        ("<a@b.it>", "a@b.it"),
        ("Ann <a@b.it>", "a@b.it"),
        ('"Rossi, Ann" <a@b.it>', "a@b.it"),
        ("Rossi, Ann <a@b.it>", "a@b.it"),
        ("Ànn Ünïcode 日本 <a@b.it>", "a@b.it"),
        ("a.b+c_d-e@sub.example.co.uk", "a.b+c_d-e@sub.example.co.uk"),
        ("!#$%&'*+/=?^_`{|}~-@b.it", "!#$%&'*+/=?^_`{|}~-@b.it"),
        ("root@localhost", "root@localhost"),
        ("a@host-1.internal", "a@host-1.internal"),
        ("a@under_score.example", "a@under_score.example"),
        ("UPPER@Example.ORG", "UPPER@Example.ORG"),
        ("jörg@example.net", "jörg@example.net"),
        ("用户@例え.jp", "用户@例え.jp"),
        ("a@bücher.example", "a@bücher.example"),
        ('"quoted local"@b.it', '"quoted local"@b.it'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("x" * 64 + "@b.it", "x" * 64 + "@b.it"),
    ],
)
def test_an_address_is_taken(text: str, expected: str) -> None:
    """RFC 5322, with and without a name, internationalised (RFC 6531) and within intranets."""
    assert bare_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nobody",
        "@b.it",
        "a@",
        "a@@b.it",
        "a@b@c.it",
        "a b@c.it",
        "a@b c.it",
        "a@b..it",
        ".a@b.it",
        "a.@b.it",
        "a..b@c.it",
        "a@-b.it",
        "a@b-.it",
        "a@b.it,c@d.it",
        "a@b.it c@d.it",
        "Ann <a@b.it",
        "Ann a@b.it>",
        "Ann <>",
        "<a@b.it> <c@d.it>",
        "x" * 65 + "@b.it",
        "a@" + ".".join(["x" * 60] * 5) + ".it",
        "a@" + "x" * 64 + ".it",
        "a@[300.1.1.1]",
        "a@[not an address]",
        "a@exa mple.org",
        "a@пример..рф",
        "a@xn--" + "x" * 70 + ".example",
        "a@b\u034f.it",
        "é@\u13a0.it",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With a line that says so."""
    with pytest.raises(ValueError, match=r"address|longer|NUL|domain"):
        bare_address(text)


@pytest.mark.parametrize(
    "char",
    ["\r", "\n", "\r\n", "\0", "\t", "\x0b", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ud800"],
)
@pytest.mark.parametrize(
    "form", ["a{}@b.it", "a@b{}.it", "An{}n <a@b.it>", "a@b.it{}Bcc: c@d.it", '"a{}"@b.it']
)
def test_no_character_that_could_begin_another_header(form: str, char: str) -> None:
    """Neither in the name nor in the address."""
    with pytest.raises(ValueError, match="has control characters or line breaks"):
        bare_address(form.format(char))


def test_a_long_refusal_is_shortened() -> None:
    """What was given may be a whole file."""
    with pytest.raises(ValueError, match=r"…|\.\.\.") as caught:
        bare_address("no address " * 1000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" , ,", []),
        ("a@b.it", ["a@b.it"]),
        ("a@b.it,c@d.it", ["a@b.it", "c@d.it"]),
        (" a@b.it , Ann <c@d.it>,", ["a@b.it", "Ann <c@d.it>"]),
        ('"Rossi, Ann" <a@b.it>, c@d.it', ['"Rossi, Ann" <a@b.it>', "c@d.it"]),
        ('"say \\", hi" <a@b.it>, c@d.it', ['"say \\", hi" <a@b.it>', "c@d.it"]),
        ("<a,b@c.it>, d@e.it", ["<a,b@c.it>", "d@e.it"]),
        ('"unclosed, a@b.it', ['"unclosed, a@b.it']),
    ],
)
def test_lists_are_split_at_commas(text: str, expected: list[str]) -> None:
    """Not at those within quotes or angle brackets."""
    assert split_addresses(text) == expected


@given(st.lists(st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.it", fullmatch=True), max_size=5))
def test_what_is_joined_is_split_again(addresses: list[str]) -> None:
    """Any list of plain addresses."""
    assert split_addresses(", ".join(addresses)) == addresses


@given(st.text())
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Never anything but an address or ValueError; and what is taken is taken again."""
    try:
        address = bare_address(text)
    except ValueError:
        return
    assert bare_address(address) == address
    assert not CONTROL.search(address)


@pytest.mark.parametrize(
    ("address", "expected"), [("a@b.it", "b.it"), ('"a@x"@b.it', "b.it"), ("a@[192.0.2.1]", "[192.0.2.1]")]
)
def test_the_domain_is_behind_the_last_at(address: str, expected: str) -> None:
    """A quoted local part may hold one, too."""
    assert domain_of(address) == expected
