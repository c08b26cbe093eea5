"""What DNS says of a domain that mail is sent from: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489).

Without them mail is sent all the same, and receivers put it among the spam. What DNS does not answer is
told as not checked, and never taken for an absence.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from mail_proxy.errors import InvalidInput
from mail_proxy.model.findings import Finding, failure, note, ok, warning

WAIT = 5.0
"""Seconds for one answer, all tries included."""

PORT = 53

SELECTORS = (
    "default", "dkim", "mail", "smtp", "google", "selector1", "selector2", "k1", "k2", "k3", "s1", "s2",
    "mx", "mandrill", "mailjet", "pm", "sig1", "fm1", "zoho", "key1",
)  # fmt: skip
"""Where providers mostly put their DKIM keys: DNS does not tell which selectors there are."""

_AT_ONCE = 10
_REDIRECTS = 5
_SHOWN = 200

UNREACHABLE = "no DNS server answers here"


class NoAnswer(Exception):
    """DNS did not say whether there is such a name; the text tells why."""


class Dns:
    """Asks for TXT records: the servers of this machine, or the one at `address`, an IP address.

    Where nobody has ever answered, nobody is waited for a second time. Raises InvalidInput for an address
    that is none.
    """

    def __init__(self, address: str | None = None, port: int = PORT, *, wait: float = WAIT) -> None:
        self._wait = wait
        self._has_answered = False
        self._is_silent = False
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._resolver = None if address is None else _resolver_at(address, port)

    async def texts(self, name: str) -> list[str] | None:
        """Return the TXT records of a name; None says that there is no such name, nor one below it.

        Raises `NoAnswer`.
        """
        async with self._turns:
            if self._is_silent:
                raise NoAnswer(UNREACHABLE)
            try:
                answer = await self._ask(_absolute(name))
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as answered:
                self._has_answered = True
                return None if isinstance(answered, dns.resolver.NXDOMAIN) else []
            except dns.exception.Timeout:
                self._is_silent = not self._has_answered
                raise NoAnswer(f"nobody answered within {self._wait:g} s") from None
            except dns.resolver.NoResolverConfiguration:
                raise NoAnswer("this machine names no DNS server") from None
            except (dns.exception.DNSException, OSError) as error:
                raise NoAnswer(_clip(str(error))) from error
        self._has_answered = True
        return answer

    async def _ask(self, name: dns.name.Name) -> list[str]:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver()
        found = await self._resolver.resolve(
            name, dns.rdatatype.TXT, search=False, lifetime=self._wait, raise_on_no_answer=True
        )
        return [b"".join(each.strings).decode("utf-8", "backslashreplace") for each in found]


async def inspect(domain: str, asked: Dns, selectors: Sequence[str] = ()) -> list[Finding]:
    """Look at SPF, DKIM and DMARC of a domain; `selectors` are DKIM's that are known to be there."""
    try:
        _absolute(f"selector._domainkey.{domain}")
    except dns.exception.DNSException:
        return [failure("domain", "it is not the name of a domain", subject=domain)]
    with contextlib.suppress(NoAnswer):
        if await asked.texts(domain) is None:
            return [await _absence(domain, asked)]
    found = [
        await _told("spf", domain, lambda: _spf(domain, asked)),
        await _told("dkim", domain, lambda: _dkim(domain, asked, selectors)),
        await _told("dmarc", domain, lambda: _dmarc(domain, asked)),
    ]
    if all(each.reason for each in found):
        return [note("dns", f"no DNS answer: not checked ({found[0].reason})", subject=domain)]
    return [each.finding for each in found]


async def _absence(domain: str, asked: Dns) -> Finding:
    """There is no such domain, unless it is the Internet that this DNS does not know."""
    if await asked.texts(".") is None:
        return note("dns", "this DNS knows nothing of the Internet: not checked", subject=domain)
    return failure(
        "domain",
        "there is no such domain: receivers refuse what comes from it",
        "send from a domain that is yours",
        domain,
    )


class _Told(NamedTuple):
    """A finding; `reason` tells why it is only that nothing could be found out."""

    finding: Finding
    reason: str | None


async def _told(check: str, domain: str, look: Callable[[], Awaitable[Finding]]) -> _Told:
    try:
        return _Told(await look(), None)
    except NoAnswer as error:
        name = check.upper()
        return _Told(note(check, f"{name}: no DNS answer, not checked ({error})", subject=domain), str(error))


async def _spf(domain: str, asked: Dns) -> Finding:
    example = f"publish one TXT record at {domain} that names your provider: v=spf1 include:… ~all"
    where = domain
    for _ in range(_REDIRECTS):
        records = [text for text in await asked.texts(where) or () if _is_spf(text)]
        if len(records) > 1:
            return failure(
                "spf",
                f"SPF: {len(records)} records at {where}: receivers take that for an error",
                "leave one, with all that they name",
                domain,
            )
        if not records:
            if where != domain:
                return failure("spf", f"SPF: it leads to {where}, which has no record", example, domain)
            return warning("spf", "SPF: no record", example, domain)
        terms = records[0].lower().split()[1:]
        target = next((term.partition("=")[2] for term in terms if term.startswith("redirect=")), None)
        ending = next((term for term in terms if term.lstrip("+-~?") == "all"), None)
        if ending is not None or target is None:
            return _judge_spf(domain, ending)
        where = target
    return failure("spf", f"SPF: more than {_REDIRECTS} redirects", example, domain)


def _judge_spf(domain: str, ending: str | None) -> Finding:
    """By what it says of everybody who is not named."""
    advice = "let it end in ~all or -all"
    match ending:
        case "-all" | "~all":
            return ok("spf", f"SPF: one record, it ends in {ending}", domain)
        case "?all" | None:
            said = "ends in ?all" if ending else "has no 'all'"
            return warning("spf", f"SPF: the record {said}: it keeps nobody out", advice, domain)
        case _:
            return warning(
                "spf", f"SPF: the record has {ending}: anybody may send in its name", advice, domain
            )


def _is_spf(text: str) -> bool:
    return text.lower().split(" ")[0] == "v=spf1"


async def _dkim(domain: str, asked: Dns, selectors: Sequence[str]) -> Finding:
    known = [each for each in dict.fromkeys(selectors) if each not in SELECTORS]
    tried = [*known, *SELECTORS]
    place = f"_domainkey.{domain}"
    advice = "publish the key that your provider signs with"
    answers = await asyncio.gather(*(_key_at(f"{each}.{place}", asked) for each in tried))
    keys = dict(zip(tried, answers, strict=True))
    valid = [each for each, key in keys.items() if key]
    missing = [each for each in dict.fromkeys(selectors) if not keys[each]]
    if missing:
        return warning(
            "dkim",
            f"DKIM: no key at {missing[0]}.{place}",
            advice,
            domain,
        )
    if valid:
        return ok("dkim", f"DKIM: a key for {', '.join(valid)}", domain)
    if revoked := [each for each, key in keys.items() if key == ""]:
        return warning("dkim", f"DKIM: the key of {revoked[0]} is revoked", "publish the new one", domain)
    if await asked.texts(place) is None:
        return warning("dkim", "DKIM: no keys", advice, domain)
    return note(
        "dkim",
        f"DKIM: no key under {len(tried)} usual selectors; the one in use cannot be known",
        "--selector NAME looks for the one that your provider uses",
        domain,
    )


async def _key_at(name: str, asked: Dns) -> str | None:
    """The public key there; empty when it was revoked."""
    for text in await asked.texts(name) or ():
        tags = _tags(text)
        if "p" in tags and tags.get("v", "DKIM1") == "DKIM1":
            return tags["p"]
    return None


async def _dmarc(domain: str, asked: Dns) -> Finding:
    """The domain's own policy, else that of the nearest domain above it."""
    labels = domain.rstrip(".").split(".")
    advice = f"publish a TXT record at _dmarc.{domain}: v=DMARC1; p=quarantine; rua=mailto:…"
    for i in range(max(1, len(labels) - 1)):
        where = ".".join(labels[i:])
        records = [text for text in await asked.texts(f"_dmarc.{where}") or () if _is_dmarc(text)]
        if len(records) > 1:
            return warning(
                "dmarc", f"DMARC: {len(records)} records at {where} count as none", "leave one", domain
            )
        if records:
            return _judge_dmarc(domain, where, _tags(records[0]), advice)
    return warning("dmarc", "DMARC: no policy", advice, domain)


def _judge_dmarc(domain: str, where: str, tags: dict[str, str], advice: str) -> Finding:
    policy = (tags.get("p", "") if where == domain else tags.get("sp", tags.get("p", ""))).lower()
    of = "" if where == domain else f" (that of {where})"
    match policy:
        case "quarantine" | "reject":
            return ok("dmarc", f"DMARC: the policy is {policy}{of}", domain)
        case "none":
            return note("dmarc", f"DMARC: the policy is none{of}: forgeries are only reported", None, domain)
    return warning("dmarc", f"DMARC: the record{of} has no policy that can be understood", advice, domain)


def _is_dmarc(text: str) -> bool:
    return text.partition(";")[0].replace(" ", "") == "v=DMARC1"


def _tags(text: str) -> dict[str, str]:
    """The tags of a record; of a repeated one the first."""
    pairs = (part.partition("=") for part in reversed(text.split(";")) if "=" in part)
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}


def _absolute(name: str) -> dns.name.Name:
    return dns.name.from_text(name, dns.name.root, dns.name.IDNA_2008_Practical)


def _resolver_at(address: str, port: int) -> dns.asyncresolver.Resolver:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidInput(f"a DNS server is named by its IP address, which '{address}' is not") from None
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [address]
    resolver.port = port
    return resolver


def _clip(text: str) -> str:
    return " ".join(text.split())[:_SHOWN]
