"""E-mail addresses as people and applications write them: ``a@b.it``, ``Name <a@b.it>``, lists of these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from mail_proxy.smtp.addresses import parse_one, to_ascii

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)")

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no header field may hold: control characters, line breaks of any kind, lone surrogates."""


@lru_cache(maxsize=4096)
def bare_address(text: str) -> str:
    """Return the address in `text`, which may be ``Name <address>``.

    Raises ValueError saying what is wrong. International addresses (RFC 6531, IDNA) are allowed; whether a
    domain exists is not asked.
    """
    if CONTROL.search(text):
        raise ValueError("has control characters or line breaks")
    mailbox = parse_one(text)
    _check(mailbox.address)
    mailbox.wire_address  # noqa: B018 - raises for a domain that cannot be written in ASCII
    return mailbox.address


def split_addresses(text: str) -> list[str]:
    """Split a comma-separated list; commas within quotes and angle brackets do not separate."""
    return [part for part in (piece.strip() for piece in _pieces(text)) if part]


def domain_of(address: str) -> str:
    """Return what follows the last ``@``."""
    return address.rpartition("@")[2]


def _check(address: str) -> None:
    plain = _PLAIN.fullmatch(address)
    if plain is not None:
        if len(plain["local"]) > 64 or len(plain["domain"]) > 253:
            raise ValueError(f"is not an e-mail address (a part is too long): {_shortened(address)!r}")
        return
    if address.isascii() and '"' not in address and "[" not in address:
        raise ValueError(f"is not an e-mail address: {_shortened(address)!r}")
    _check_unusual(address)


def _check_unusual(address: str) -> None:
    """Judge internationalised, quoted and literal forms by a library that knows the RFCs."""
    from email_validator import EmailNotValidError, validate_email

    try:
        known = validate_email(
            address,
            check_deliverability=False,
            allow_quoted_local=True,
            allow_domain_literal=True,
            test_environment=True,
        )
    except EmailNotValidError as error:
        raise ValueError(f"is not an e-mail address: {_shortened(address)!r} ({error})") from error
    domain = domain_of(address)
    if not domain.isascii() and to_ascii(domain) != known.ascii_domain:
        # Characters that the mapping drops, or has since changed: which server is meant is not certain.
        raise ValueError(f"is not an e-mail address: {_shortened(address)!r} (its domain is ambiguous)")


def _pieces(text: str) -> Iterator[str]:
    start, quoted, angled, escaped = 0, False, False, False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char in "<>" and not quoted:
            angled = char == "<"
        elif char == "," and not quoted and not angled:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
