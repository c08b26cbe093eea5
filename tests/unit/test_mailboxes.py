"""Which texts are mailboxes, and what is read from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_proxy.errors import InvalidInput
from mail_proxy.smtp import headers
from mail_proxy.smtp.addresses import Mailbox, is_plain, parse_list, parse_one, to_ascii, wire_address

atoms = st.text(st.sampled_from("ab0=?_'.-"), min_size=1, max_size=12) | st.just("x" * 40)
mailbox_texts = st.builds(
    "{}{}@{}{}".format, st.just("") | atoms.map("{} <".format), atoms, atoms, st.sampled_from(["", ">"])
) | st.lists(
    st.sampled_from(["a", "b.c", "@", " ", "<", ">", ".", '"', ",", "é", "\t", "=?"]), max_size=9
).map("".join)

# Made plain, and short enough: filtering those above would leave too few.
plain_names = st.lists(st.text(st.sampled_from("ab0=?_'-"), min_size=1, max_size=12), min_size=1, max_size=2)
plain_domains = st.lists(st.text(st.sampled_from("ab0_-"), min_size=1, max_size=4), min_size=1, max_size=3)
plain_addresses = st.builds(
    "{}@{}".format,
    st.text(st.sampled_from("ab0=?_'.-"), min_size=1, max_size=12) | st.just("x" * 40),
    plain_domains.map(".".join),
)
plain_texts = plain_addresses | st.builds("{} <{}>".format, plain_names.map(" ".join), plain_addresses)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b", [("", "a@b")]),
        ("<a@b>", [("", "a@b")]),
        (" Name  <a@b> ", [("Name", "a@b")]),
        ("First M. Last <a@b>", [("First M. Last", "a@b")]),
        ('"Last, First" <a@b>, c@d', [("Last, First", "a@b"), ("", "c@d")]),
        (r'"a \"b\" \\" <a@b>', [(r'a "b" \ '.strip(), "a@b")]),
        ("a@b (Name), c@d", [("Name", "a@b"), ("", "c@d")]),
        (
            "Pete(A nice \\) (nested) chap) <pete(his account)@silly.test(his host)>",
            [("Pete", "pete@silly.test")],
        ),
        ("a@b; c@d", [("", "a@b"), ("", "c@d")]),
        (", a@b,, c@d,", [("", "a@b"), ("", "c@d")]),
        ("A Group:Ed <e@d>,joe@where.test;, x@y", [("Ed", "e@d"), ("", "joe@where.test"), ("", "x@y")]),
        ("undisclosed-recipients:;", []),
        ("", []),
        ('"quoted local"@b', [("", '"quoted local"@b')]),
        ("a@[127.0.0.1]", [("", "a@[127.0.0.1]")]),
        ("me@home <a@b>", [("me@home", "a@b")]),
        ("=?utf-8?Q?Rossi,_M?= <a@b>", [("=?utf-8?Q?Rossi,_M?=", "a@b")]),
        ("José <josé@münchen.de>", [("José", "josé@münchen.de")]),
    ],
)
def test_a_list_is_read_as(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(box.name, box.address) for box in parse_list(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a",
            "a@",
            "@b",
            "a b@c",
            "a@b@c",
            "a@b c@d",
            "a@b..c",
            "a@.b",
            "a@b.",
            "<a@b",
            "a@b>",
            "<>",
            "N <>",
        ),
        *("<a@b> x", "<a@b><c@d>", '"a@b', "a@b (", "a@b)", "a@b\\", "[x]", "a\0@b", "a@b\x7f", "a@\udc80b"),
        *("a@b\x85c", '"\x01"@b', "x" * 320 + "@b", "Undisclosed Recipients", "a@b, c"),
    ],
)
def test_what_is_no_list_is_refused_in_one_printable_line(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^'?.*'? is not an e-mail address$") as caught:
        parse_list(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Rossi, Mario <a@b>", "Rossi, Mario"),
        ("ACME (Italy); Sales <a@b>", "ACME (Italy); Sales"),
        ("ACME (Italy) <a@b>", "ACME (Italy)"),
        ("Re: Ann <a@b>", "Re: Ann"),
        (', "Ann" <a@b>', ", Ann"),
        ('" Ann\u3000" <a@b>', " Ann\u3000"),
        ('A "quote <a@b>', 'A "quote'),
        ("x@ y <a@b>", "x@ y"),
    ],
)
def test_a_single_mailbox_may_have_an_unquoted_name_with_separators(text: str, name: str) -> None:
    assert parse_one(text) == Mailbox(name, "a", "b")


@pytest.mark.parametrize(
    "text", ["", "a@b, c@d", "a@b, C <c@d>", "A <a@b>, <c@d>", "undisclosed-recipients:;", "x:a"]
)
def test_a_single_mailbox_is_one(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_one(text)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("München.de", "xn--mnchen-3ya.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("ΟΔΟΣ.gr", "xn--pxavbq.gr"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("mu\u0308nchen.de", "xn--mnchen-3ya.de"),
        ("\uff25xample.com", "example.com"),
    ],
)
def test_domains_become_a_labels(domain: str, expected: str) -> None:
    assert to_ascii(domain) == expected


@pytest.mark.parametrize("domain", ["a\uff1eé.b", "\uff20.b", "é…b", "é..b", "é" * 63, "a\u2100.é"])
def test_a_domain_that_maps_to_no_host_name_is_refused(domain: str) -> None:
    with pytest.raises(InvalidInput, match="is not a domain name"):
        to_ascii(domain)


@given(st.text(st.sampled_from('a@.<>"\\(),:; é\r\n[]=?\0') | st.characters(), max_size=60))
@settings(deadline=None)
def test_any_text_is_read_or_refused_and_no_address_holds_space_or_controls(text: str) -> None:
    for read in (parse_list, parse_one):
        try:
            found = read(text)
        except InvalidInput:
            continue
        for box in (found,) if isinstance(found, Mailbox) else found:
            assert re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", box.address) is None
            assert re.search(r"\s", box.domain) is None


@pytest.mark.parametrize(
    "text", ['"' * 99_999, "(" * 100_000, "a(" * 50_000, "=?" * 50_000, '\\"' * 50_000, "<" * 100_000]
)
def test_hostile_lists_take_no_time(text: str) -> None:
    begin = perf_counter()
    with pytest.raises(InvalidInput):
        parse_list(text)
    assert perf_counter() - begin < 20


def outcome_of(read: Callable[[str], object], text: str) -> object:
    try:
        return read(text)
    except InvalidInput as error:
        return str(error)


@given(mailbox_texts)
@settings(deadline=None)
def test_what_is_read_at_a_glance_is_what_reading_every_token_gives(text: str) -> None:
    """A space before it, which changes nothing, makes any text one that is not read at a glance."""
    slowly = f" {text}"
    assert not is_plain(slowly)
    assert outcome_of(parse_one, text) == outcome_of(parse_one, slowly)
    assert outcome_of(parse_list, text) == outcome_of(parse_list, slowly)
    assert outcome_of(wire_address, text) == outcome_of(lambda given: parse_one(given).wire_address, slowly)


@given(st.lists(plain_texts.filter(is_plain), min_size=1, max_size=5))
@settings(deadline=None)
def test_mailboxes_written_as_they_are_given_are_written_as_any_others(texts: list[str]) -> None:
    quickly = headers.plain_mailboxes("To", texts)
    if quickly is None:
        assert any("=?" in text for text in texts)
    else:
        assert quickly == headers.mailboxes("To", [parse_one(f" {text}") for text in texts])


@pytest.mark.parametrize(
    "text", ["a@b", "Mario Rossi <mario.rossi@example.it>", "o'neill+x@sub.domain-1.test"]
)
def test_the_commonest_forms_are_read_at_a_glance(text: str) -> None:
    assert is_plain(text)
    assert headers.plain_mailboxes("To", [text]) == f"To: {text}\r\n"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a",
            "a@",
            "@b",
            "a@b.",
            "a@.b",
            "a@b..c",
            "a@@b",
            "<a@b>",
            " a@b",
            "a@b ",
            "a@b\n",
            "N  N <a@b>",
        ),
        *("M. R <a@b>", '"N" <a@b>', "N <a@b", "N<a@b>", "a@b, c@d", "è <a@b>", "a@è", "è@b", "a@[1.2.3.4]"),
        *("N <a@b>\n", "a\n@b", "a@b\u0660", "x" * 300 + "@b"),
    ],
)
def test_all_that_needs_to_be_read_or_quoted_is_not(text: str) -> None:
    assert not is_plain(text)
