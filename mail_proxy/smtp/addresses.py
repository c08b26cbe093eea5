"""Reading mailboxes, ``Name <local@domain>``, out of address fields (RFC 5322, section 3.4; RFC 6532).

Our own reader, because the answers of ``email.utils`` differ between Python versions, and because it
answers something for anything. This one takes what RFC 5322 lets us write, common sloppiness
(dots in names, ``;`` between addresses, empty elements), and refuses the rest. It is linear in its input.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from mail_proxy.errors import InvalidInput

MAX_ADDRESS = 320  # octets: 64 of local part, @, 255 of domain (RFC 5321, section 4.5.3.1)
MAX_PLAIN = 64  # characters of a mailbox that may be read at a glance

# Controls (C0, DEL, C1) and surrogates are in no address; spaces only inside quotes.
_NEVER = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_WORD = rf'[^\s"()<>,;:\[\]\\@{_NEVER}]'
_LABEL = _WORD.replace("@", "@.")
_ADDRESS = re.compile(
    rf'(?P<local>{_WORD}+|"(?:[^"\\{_NEVER}]|\\[^{_NEVER}])*")'
    rf"@(?P<domain>{_LABEL}+(?:\.{_LABEL}+)*|\[[^\s\[\]\\{_NEVER}]+\])"
)
_NAME_SPECIAL = re.compile(r'["()<>,;:\[\]\\@]')


# What is the same however it is read.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_BARE = r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)@([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)"
_PLAIN_ADDRESS = re.compile(_BARE)
_PLAIN_MAILBOX = re.compile(rf"({_ATOM}(?: {_ATOM})*) <{_BARE}>")

_TOKEN = re.compile(
    r"""
      (?P<word> =\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=  # an encoded word, whose commas are not ours
              | [^\s"()<>,;:\[\]\\]+ )
    | (?P<quoted> "(?:[^"\\]|\\.)*" )
    | (?P<literal> \[[^\[\]\\]*\] )
    | (?P<space> \s+ )
    | (?P<special> [(<>,;:] )
    """,
    re.VERBOSE | re.DOTALL,
)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_HOST_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")  # mapping may yield anything: a full-width > becomes >
_IDEOGRAPHIC_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address and the display name before it (or the empty string)."""

    name: str
    local: str
    domain: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def wire_address(self) -> str:
        """The address for a header: ASCII, the domain as A-labels, wherever the local part is ASCII.

        Raise InvalidInput for a domain that has no A-label form.
        """
        if not self.local.isascii() or self.domain.isascii():
            return self.address
        return f"{self.local}@{to_ascii(self.domain)}"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def is_plain(text: str) -> bool:
    """Tell at a glance whether this is a mailbox of the commonest form; False may only mean it is long.

    That is ``local@domain`` or ``Name <local@domain>``: ASCII, no quotes, nothing left out or repeated.
    """
    if len(text) > MAX_PLAIN:
        return False
    return bool(_PLAIN_ADDRESS.fullmatch(text) or _PLAIN_MAILBOX.fullmatch(text))


def wire_address(text: str) -> str:
    """Give the address of the one mailbox in `text` as it stands in an envelope; raise InvalidInput."""
    if len(text) <= MAX_PLAIN and _PLAIN_ADDRESS.fullmatch(text):
        return text
    return parse_one(text).wire_address


def parse_one(text: str) -> Mailbox:
    """Read exactly one mailbox; raise InvalidInput.

    A name may hold commas, parentheses, a lone quote and such: nothing else can be meant by
    ``Rossi, Mario <m@x.it>``, and what stands there is no comment and no group. Quotes are taken off.
    """
    return _parse_plain(text) or _parse_any(text)


def _parse_plain(text: str) -> Mailbox | None:
    """Read a mailbox for which `is_plain` holds."""
    if len(text) > MAX_PLAIN:
        return None
    if bare := _PLAIN_ADDRESS.fullmatch(text):
        return Mailbox("", bare[1], bare[2])
    named = _PLAIN_MAILBOX.fullmatch(text)
    return named and Mailbox(named[1], named[2], named[3])


def _parse_any(text: str) -> Mailbox:
    text = text.strip()
    name, spec = "", text
    if text.endswith(">"):
        name, _, spec = text[:-1].rpartition("<")
    match = _ADDRESS.fullmatch(spec.strip())
    if match and not _NAME_SPECIAL.search(name):
        return _checked(name.strip(), match, text)
    try:
        found = _parse_list(text)
    except InvalidInput:
        if match and "<" not in name and ">" not in name:
            return _checked(name.strip(), match, text)
        raise _refusal(text) from None
    if len(found) != 1:
        raise _refusal(text)
    return _checked(_phrase(list(_tokens(name))), match, text) if match else found[0]


def parse_list(text: str) -> tuple[Mailbox, ...]:
    """Read a list of mailboxes and groups; raise InvalidInput naming the first element that is neither."""
    plain = _parse_plain(text)
    return (plain,) if plain else _parse_list(text)


def _parse_list(text: str) -> tuple[Mailbox, ...]:
    mailboxes = []
    for element in _elements(text):
        mailbox = _mailbox(element)
        if mailbox is not None:
            mailboxes.append(mailbox)
    return tuple(mailboxes)


def to_ascii(domain: str) -> str:
    """Give a domain as A-labels (RFC 5891, mapped as UTS 46 does); raise InvalidInput for what has none.

    The codec ``idna`` knows only IDNA 2003, in which ``straße`` is another name.
    """
    mapped = "".join(char.lower() for char in unicodedata.normalize("NFKC", domain))
    labels = unicodedata.normalize("NFC", mapped).translate(_IDEOGRAPHIC_DOTS).split(".")
    encoded = [x if x.isascii() else "xn--" + x.encode("punycode").decode("ascii") for x in labels]
    if not all(_HOST_LABEL.fullmatch(label) for label in encoded):
        raise InvalidInput(f"{domain!r} is not a domain name")
    return ".".join(encoded)


def _elements(text: str) -> Iterator[list[_Token]]:
    """Cut a list at its separators; a group leaves its members."""
    element: list[_Token] = []
    for token in _tokens(text):
        if token.kind != "special" or token.text in "<>":
            element.append(token)
            continue
        if token.text != ":":  # what stands before a colon is a group's name
            yield element
        element = []
    yield element


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refusal(text[position:])
        if match[0] == "(":
            end = _comment_end(text, position)
            yield _Token("comment", text[position + 1 : end - 1])
        else:
            end = match.end()
            yield _Token(str(match.lastgroup), match[0])
        position = end


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for match in _PARENTHESIS.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    raise _refusal(text[start:])


def _mailbox(tokens: list[_Token]) -> Mailbox | None:
    """Read one element of a list; None if it is empty."""
    words = [token for token in tokens if token.kind != "comment"]
    comments = [token.text.strip() for token in tokens if token.kind == "comment"]
    shown = "".join(token.text for token in words).strip()
    if not shown:
        return None
    if all(token.text != "<" for token in words):
        name, spec = " ".join(comments), shown
    else:
        opening = [token.text for token in words].index("<")
        name = _phrase(words[:opening])
        spec = "".join(token.text for token in words[opening + 1 :]).strip()
        if not spec.endswith(">"):
            raise _refusal(shown)
        spec = spec[:-1].strip()
    match = _ADDRESS.fullmatch(spec)
    if match is None:
        raise _refusal(shown)
    return _checked(name, match, shown)


def _phrase(tokens: list[_Token]) -> str:
    """Give a name as it is shown; space at its ends counts only within quotes."""
    solid = [index for index, token in enumerate(tokens) if token.kind != "space"]
    return "".join(_shown(token) for token in tokens[solid[0] : solid[-1] + 1]) if solid else ""


def _shown(token: _Token) -> str:
    match token.kind:
        case "quoted":
            return _QUOTED_PAIR.sub(r"\1", token.text[1:-1])
        case "comment":
            return f"({token.text})"
        case _:
            return token.text


def _checked(name: str, match: re.Match[str], shown: str) -> Mailbox:
    if len(match[0].encode()) > MAX_ADDRESS:
        raise _refusal(shown)
    return Mailbox(name, match["local"], match["domain"])


def _refusal(text: str) -> InvalidInput:
    shown = text.strip()
    return InvalidInput(f"{shown if len(shown) <= 80 else shown[:77] + '...'!r} is not an e-mail address")
