"""SPF, DKIM and DMARC of a sender's domain, asked of a real DNS server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from mail_proxy.errors import InvalidInput
from mail_proxy.model.findings import Finding, Level
from mail_proxy.sender_domains import SELECTORS, Dns, inspect
from tests.support.dns_server import HOST, DnsServer

KEY = "v=DKIM1; k=rsa; p=" + "MIIB" * 90

Records = Mapping[str, Sequence[str]]


async def look(server: DnsServer, domain: str = "acme.test", *selectors: str) -> dict[str, Finding]:
    """What is found of a domain, by check."""
    async with server.running():
        found = await inspect(domain, Dns(HOST, server.port), selectors)
    assert {each.subject for each in found} == {domain}
    return {each.check: each for each in found}


async def one(check: str, records: Records, domain: str = "acme.test", *selectors: str) -> tuple[Level, str]:
    """The level and the text of one check."""
    found = (await look(DnsServer({"acme.test": [], **records}), domain, *selectors))[check]
    assert (found.advice is None) == (found.level is Level.OK or "are only reported" in found.found)
    return found.level, found.found


@pytest.mark.parametrize(
    ("records", "level", "said"),
    [
        (["v=spf1 include:_spf.provider.test ~all"], Level.OK, "one record, it ends in ~all"),
        (["V=SPF1 MX -ALL", "google-site-verification=x"], Level.OK, "one record, it ends in -all"),
        (["v=spf1 -all"], Level.OK, "one record, it ends in -all"),
        (["v=spf1 mx ?all"], Level.WARNING, "the record ends in ?all: it keeps nobody out"),
        (["v=spf1 mx"], Level.WARNING, "the record has no 'all': it keeps nobody out"),
        (["v=spf1 mx +all"], Level.WARNING, "the record has +all: anybody may send in its name"),
        (["v=spf1 all"], Level.WARNING, "the record has all: anybody may send in its name"),
        (["v=spf1 mx -all", "v=spf1 a -all"], Level.FAILURE, "2 records at acme.test"),
        ([], Level.WARNING, "no record"),
        (["v=spf10 -all", "spf"], Level.WARNING, "no record"),
        (["v=spf1 redirect=_spf.provider.test"], Level.OK, "one record, it ends in ~all"),
        (["v=spf1 redirect=nowhere.test"], Level.FAILURE, "it leads to nowhere.test, which has no record"),
        (["v=spf1 redirect=acme.test"], Level.FAILURE, "more than 5 redirects"),
        (["v=spf1 redirect=_spf.provider.test -all"], Level.OK, "one record, it ends in -all"),
    ],
)
async def test_spf_is_one_record_that_keeps_others_out(records: list[str], level: Level, said: str) -> None:
    """All of it, over any number of redirects (RFC 7208)."""
    found = await one("spf", {"acme.test": records, "_spf.provider.test": ["v=spf1 ip4:192.0.2.1 ~all"]})
    assert found[0] is level
    assert found[1].startswith(f"SPF: {said}")


@pytest.mark.parametrize(
    ("records", "selectors", "level", "said"),
    [
        ({"google._domainkey.acme.test": [KEY]}, (), Level.OK, "a key for google"),
        (
            {"s1._domainkey.acme.test": ["p=MIIB"], "own._domainkey.acme.test": [KEY]},
            ("own",),
            Level.OK,
            "a key for own, s1",
        ),
        ({"s1._domainkey.acme.test": [KEY]}, ("own",), Level.WARNING, "no key at own._domainkey.acme.test"),
        ({"own._domainkey.acme.test": [KEY]}, (), Level.NOTE, "no key under 20 usual selectors"),
        ({"k1._domainkey.acme.test": ["v=DKIM1; p="]}, (), Level.WARNING, "the key of k1 is revoked"),
        ({"mail._domainkey.acme.test": ["v=spf1 -all"]}, (), Level.NOTE, "no key under"),
        ({}, (), Level.WARNING, "no keys"),
    ],
)
async def test_dkim_is_looked_for_where_providers_put_it(
    records: Records, selectors: tuple[str, ...], level: Level, said: str
) -> None:
    """Only where there is nothing at all can it be said that there is none (RFC 6376)."""
    found = await one("dkim", records, "acme.test", *selectors)
    assert found[0] is level
    assert found[1].startswith(f"DKIM: {said}")


@pytest.mark.parametrize(
    ("records", "domain", "level", "said"),
    [
        ({"_dmarc.acme.test": ["v=DMARC1; p=reject"]}, "acme.test", Level.OK, "the policy is reject"),
        ({"_dmarc.acme.test": ["v=DMARC1;p=Quarantine"]}, "acme.test", Level.OK, "the policy is quarantine"),
        (
            {"_dmarc.acme.test": ["v=DMARC1; p=none; rua=mailto:a@acme.test"]},
            "acme.test",
            Level.NOTE,
            "the policy is none: forgeries are only reported",
        ),
        (
            {"_dmarc.acme.test": ["v=DMARC1; p=none; sp=reject"], "news.acme.test": []},
            "news.acme.test",
            Level.OK,
            "the policy is reject (that of acme.test)",
        ),
        (
            {"_dmarc.acme.test": ["v=DMARC1; p=reject"], "a.news.acme.test": []},
            "a.news.acme.test",
            Level.OK,
            "the policy is reject (that of acme.test)",
        ),
        ({"_dmarc.acme.test": ["v=DMARC1; p=on"]}, "acme.test", Level.WARNING, "the record has no policy"),
        (
            {"_dmarc.acme.test": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]},
            "acme.test",
            Level.WARNING,
            "2 records at acme.test count as none",
        ),
        ({"_dmarc.acme.test": ["v=spf1 -all"]}, "acme.test", Level.WARNING, "no policy"),
        ({}, "acme.test", Level.WARNING, "no policy"),
    ],
)
async def test_dmarc_is_the_domains_own_or_that_of_one_above(
    records: Records, domain: str, level: Level, said: str
) -> None:
    """What asks for no more than reports is worth a note (RFC 7489)."""
    found = await one("dmarc", records, domain)
    assert found[0] is level
    assert found[1].startswith(f"DMARC: {said}")


async def test_a_domain_that_does_not_exist_is_a_failure() -> None:
    """There is nothing more to look for then."""
    found = await look(DnsServer({"other.test": []}))
    assert {name: each.level for name, each in found.items()} == {"domain": Level.FAILURE}
    assert found["domain"].found == "there is no such domain: receivers refuse what comes from it"


async def test_an_international_name_is_asked_for_as_dns_knows_it() -> None:
    server = DnsServer({"xn--bcher-kva.test": ["v=spf1 -all"]})
    assert (await look(server, "bücher.test"))["spf"].level is Level.OK


@pytest.mark.parametrize(
    "domain", ["a..b", "x" * 64 + ".test", "\ud800.test", ".".join("x" * 60 for _ in range(4))]
)
async def test_what_can_be_no_domain_is_said_to_be_none(domain: str) -> None:
    server = DnsServer({})
    assert [each.level for each in (await look(server, domain)).values()] == [Level.FAILURE]
    assert server.asked == []


async def test_dns_that_refuses_leaves_it_unchecked() -> None:
    """One note, with the reason, and no failure."""
    found = await look(DnsServer({}, refused="*"))
    assert [(each.check, each.level) for each in found.values()] == [("dns", Level.NOTE)]
    assert "no DNS answer: not checked" in found["dns"].found
    assert "SERVFAIL" in found["dns"].found


async def test_what_dns_does_not_answer_of_a_domain_is_not_taken_for_absent() -> None:
    """The rest is checked."""
    server = DnsServer(
        {"acme.test": ["v=spf1 -all"], "s1._domainkey.acme.test": [KEY]}, refused=["_dmarc.acme.test"]
    )
    found = await look(server)
    assert [found[name].level for name in ("spf", "dkim", "dmarc")] == [Level.OK, Level.OK, Level.NOTE]
    assert found["dmarc"].found.startswith("DMARC: no DNS answer, not checked")


async def test_silent_dns_is_waited_for_once() -> None:
    """However many domains there are: the second costs nothing."""
    server = DnsServer({}, silent="*")
    async with server.running():
        asked = Dns(HOST, server.port, wait=0.2)
        first = await inspect("acme.test", asked)
        questions = len(server.asked)
        second = await inspect("other.test", asked)
    assert [each.level for each in (*first, *second)] == [Level.NOTE, Level.NOTE]
    assert questions
    assert len(server.asked) == questions


async def test_dns_without_the_internet_is_no_proof_that_a_domain_is_missing() -> None:
    """One that does not know the root knows names of its own alone."""
    found = await look(DnsServer({}, knows_internet=False))
    assert found["dns"].level is Level.NOTE
    assert found["dns"].found == "this DNS knows nothing of the Internet: not checked"


async def test_all_selectors_are_asked_for_side_by_side() -> None:
    """So that a check-up takes as long as an answer, not as twenty."""
    server = DnsServer({"acme.test": []})
    await look(server)
    assert set(server.asked) >= {f"{each}._domainkey.acme.test" for each in SELECTORS}


def test_a_dns_server_is_named_by_its_address() -> None:
    with pytest.raises(InvalidInput, match="IP address"):
        Dns("dns.acme.test")


async def test_checks_of_many_domains_at_once_share_one_line() -> None:
    """Each gets its own answer."""
    names = [f"d{i}.test" for i in range(20)]
    server = DnsServer({name: [f"v=spf1 ip4:192.0.2.{i} -all"] for i, name in enumerate(names)})
    async with server.running():
        asked = Dns(HOST, server.port)
        found = await asyncio.gather(*(inspect(name, asked) for name in names))
    assert [each[0].level for each in found] == [Level.OK] * 20
