"""The types of single fields, shared by every input model; each says what is wrong in a person's words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from mail_proxy.model.messages import Priority
from mail_proxy.model.names import IDENTIFIER
from mail_proxy.services.addresses import CONTROL, bare_address, split_addresses

_HOST = re.compile(r"[^\s/@?#\\]{1,253}")
_FAR_FUTURE = 253_402_300_799  # the year 9999


def _header_text(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("may not hold control characters or line breaks")
    return text


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds a lone surrogate and cannot be encoded") from error
    return text


def _integer(value: object) -> object:
    """Take 3 and 3.0, not "3" and not true: what JSON Schema calls an integer."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be an integer")
    return value


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _address(text: str) -> str:
    bare_address(text)
    return text.strip()


def _addresses(value: object) -> object:
    """Take a list, or one comma-separated string."""
    if isinstance(value, str):
        return split_addresses(value)
    return value


def _priority(value: object) -> object:
    if isinstance(value, str):
        try:
            return int(Priority[value.upper()])
        except KeyError:
            raise ValueError("must be 0 to 3, or immediate, high, medium, low") from None
    return _integer(value)


def _moment(value: object) -> float:
    """Take Unix seconds, or ISO 8601 (without a zone: UTC)."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be Unix seconds or an ISO 8601 time") from None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be Unix seconds or an ISO 8601 time")
    if not 0 <= value <= _FAR_FUTURE:
        raise ValueError("must be a time between 1970 and 9999")
    return float(value)


def _identifier(text: str) -> str:
    if not IDENTIFIER.fullmatch(text):
        raise ValueError("must be 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-', beginning with a letter or digit")
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text) or CONTROL.search(text):
        raise ValueError("must be a host name or an address")
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError("must begin with '/' and hold no '..'")
    return _header_text(text)


def _base_url(text: str) -> str:
    from urllib.parse import urlsplit

    _header_text(text)
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or "@" in parts.netloc or parts.fragment or " " in text:
        raise ValueError("must be http://… or https://…, without user name or fragment")
    return text


HeaderText = Annotated[str, Field(max_length=4000), AfterValidator(_header_text)]
BodyText = Annotated[str, AfterValidator(_encodable)]
Identifier = Annotated[str, AfterValidator(_identifier)]
MessageId = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_header_text)]
BatchCode = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_header_text)]
Address = Annotated[str, Field(max_length=1000), AfterValidator(_address)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_addresses), Field(max_length=1000)]
Integer = Annotated[int, BeforeValidator(_integer)]
Count = Annotated[Integer, Field(ge=0, le=1_000_000_000)]
Positive = Annotated[Integer, Field(ge=1, le=1_000_000)]
Port = Annotated[Integer, Field(ge=1, le=65535)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
PriorityLevel = Annotated[int, BeforeValidator(_priority), Field(ge=0, le=3)]
Moment = Annotated[float, BeforeValidator(_moment)]
Host = Annotated[str, AfterValidator(_host)]
Secret = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_header_text)]
Path = Annotated[str, Field(max_length=2000), AfterValidator(_path)]
BaseUrl = Annotated[str, Field(max_length=2000), AfterValidator(_base_url)]
