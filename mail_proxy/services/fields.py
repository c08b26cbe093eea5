"""The types of single fields, shared by every input model; each says what is wrong in a person's words."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema
from pydantic.fields import FieldInfo

from mail_proxy.clock import LAST_SECOND
from mail_proxy.model.messages import Priority
from mail_proxy.model.names import IDENTIFIER, MAX_BATCH_CODE, MAX_MESSAGE_ID
from mail_proxy.model.standing import EVERYTHING
from mail_proxy.model.tenants import climbs
from mail_proxy.services.addresses import CONTROL, bare_address, split_addresses
from mail_proxy.signing import key_of
from mail_proxy.tls import PEM_MARK

_HOST = re.compile(r"[^\s/@?#\\]{1,253}")
_LINE_ENDS = str.maketrans("\r\n\t", "   ")
MAX_ADDRESSES = 1000
MAX_ADDRESS_TEXT = 1_000_000
MAX_HEADERS = 200
MAX_METADATA = 4096
MAX_LARGE_FILE_CONFIG = 16_384

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MEDIA_TYPE = re.compile(
    r"(?![mM][uU][lL][tT][iI][pP][aA][rR][tT]/)[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}"
)
_TOKEN_ALONE = f"^{_TOKEN.pattern}$"
_BASE64 = "^(base64:)?([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_WEBHOOK_KEY = (  # 24 to 64 bytes
    "^whsec_(([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}==)?|([A-Za-z0-9+/]{4}){8,20}[A-Za-z0-9+/]{3}=)$"
)
_MESSAGE_ID = re.compile(r"<?([^<>\s@]+@[^<>\s@]+)>?")
_REFUSED_HEADERS = {
    *("from", "to", "cc", "bcc", "resent-bcc", "subject", "received", "return-path", "x-genro-mail-id"),
}
_REFUSED_PREFIXES = ("content-", "mime-")


def _header_text(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("may not hold control characters or line breaks")
    return text


def _webhook_secret(text: str) -> str:
    key_of(_header_text(text))
    return text


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds a lone surrogate and cannot be encoded") from error
    return text


def _batch_code(text: str) -> str:
    if text == EVERYTHING:
        raise ValueError(f"'{EVERYTHING}' stands for all batches: no batch can be called so")
    return _header_text(text)


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
    """Take a list, or one comma-separated string; null is none."""
    if isinstance(value, str):
        if len(value) > MAX_ADDRESS_TEXT:
            raise ValueError(f"must have at most {MAX_ADDRESS_TEXT} characters")
        value = split_addresses(value)
    return () if value is None else not_too_many(value, MAX_ADDRESSES)


def not_too_many(value: object, limit: int) -> object:
    """Count the items before each is looked at, which takes time and tells a fault of every one."""
    if isinstance(value, list | tuple | dict) and len(value) > limit:
        raise ValueError(f"must have at most {limit} items, not {len(value)}")
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
    if not 0 <= value <= LAST_SECOND:
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
    if not text.startswith("/") or climbs(text):
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
    if not valid or "@" in parts.netloc or set(text) & set(" ?#"):
        raise ValueError("must be http://… or https://…, without user name, query or fragment")
    return text


def _certificates(text: str) -> str:
    """Take certificates themselves, or the path of a file of them."""
    is_pem = PEM_MARK in text
    if not text or CONTROL.search(text.translate(_LINE_ENDS) if is_pem else text):
        raise ValueError("must be certificates in PEM")
    return text


def decoded_base64(value: object) -> object:
    """Decode base64, the ``base64:`` prefix being optional."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be base64 text")
    try:
        return base64.b64decode(value.removeprefix("base64:"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not valid base64") from None


def _media_type(text: str) -> str:
    """Take what a part may be called (RFC 6838, section 4.2); a file is no multipart, which has parts."""
    if not _MEDIA_TYPE.fullmatch(text):
        raise ValueError("must be type/subtype, and not multipart")
    return text


def _header_name(name: str) -> str:
    low = name.lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a header name")
    if low in _REFUSED_HEADERS or low.startswith(_REFUSED_PREFIXES):
        raise ValueError("cannot be set here")
    return name


def _headers(headers: dict[str, str]) -> dict[str, str]:
    """Check those headers that set the fields of their name."""
    for name, value in headers.items():
        if name.lower() == "reply-to":
            bare_address(value)
        if name.lower() == "message-id":
            message_id(value)
    return headers


def _json_size(value: Mapping[str, object]) -> int:
    try:
        return len(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except (ValueError, TypeError, RecursionError):
        raise ValueError("holds what JSON in UTF-8 cannot") from None


def _metadata(value: dict[str, object]) -> dict[str, object]:
    if any(isinstance(each, dict | list) for each in value.values()):
        raise ValueError("must be flat: no objects or lists in it")
    if _json_size(value) > MAX_METADATA:
        raise ValueError(f"is larger than {MAX_METADATA} bytes")
    return value


def _large_files(value: dict[str, object]) -> dict[str, object]:
    if _json_size(value) > MAX_LARGE_FILE_CONFIG:
        raise ValueError(f"is larger than {MAX_LARGE_FILE_CONFIG} bytes")
    return value


def message_id(text: str) -> str:
    """Return a Message-ID with its angle brackets, which may be left out; raise ValueError."""
    match = _MESSAGE_ID.fullmatch(text)
    if match is None or CONTROL.search(text) or not text.isascii():
        raise ValueError("must be a Message-ID such as <left@right>")
    return f"<{match[1]}>"


TEXT = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_MAILBOX = {"type": "string", "maxLength": 1000, "format": "mailbox", "pattern": r"^[^\x00-\x1f\x7f]*@.*$"}
_INSTANT = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": LAST_SECOND},
        {"type": "string", "format": "date-time"},
    ],
    "description": "Unix seconds, or an ISO 8601 time (UTC, unless it says otherwise).",
}


def shape(**schema: JsonValue) -> FieldInfo:
    """Tell JSON Schema what a validator checks in code, as far as it can be told there."""
    told: FieldInfo = Field(json_schema_extra=schema)
    return told


def _return_path(text: str) -> str:
    """Take a bare address; ``{token}`` in its local part stands for a message's own token."""
    local, _, domain = text.rpartition("@")
    plain = f"{local.replace('{token}', 'token', 1)}@{domain}" if local else text
    if "{token}" in plain or bare_address(plain) != plain:
        raise ValueError("must be an address alone, which may hold {token} before the @")
    return text


def _after_reading(text: str) -> str:
    if text not in ("keep", "seen", "delete") and not re.fullmatch("move:.+", text):
        raise ValueError("must be keep, seen, delete, or move:<folder>")
    return text


def _drop_null(schema: dict[str, JsonValue]) -> None:
    match schema.pop("anyOf"):
        case [dict(kind), _]:
            schema |= kind


NOT_NULL: FieldInfo = Field(json_schema_extra=_drop_null)
"""Of what may be left out, but not be null: None stands for its absence."""

HeaderText = Annotated[str, Field(max_length=4000), AfterValidator(_header_text), shape(pattern=TEXT)]
HeaderValue = Annotated[str, Field(max_length=10_000), AfterValidator(_header_text), shape(pattern=TEXT)]
BodyText = Annotated[str, AfterValidator(_encodable)]
Identifier = Annotated[str, AfterValidator(_identifier), shape(pattern=f"^{IDENTIFIER.pattern}$")]
MessageId = Annotated[
    str,
    Field(min_length=1, max_length=MAX_MESSAGE_ID),
    AfterValidator(_header_text),
    shape(pattern=TEXT),
]
BatchCode = Annotated[
    str,
    Field(min_length=1, max_length=MAX_BATCH_CODE),
    AfterValidator(_batch_code),
    shape(pattern=TEXT, **{"not": {"const": EVERYTHING}}),
]
Address = Annotated[str, Field(max_length=1000), AfterValidator(_address), WithJsonSchema(_MAILBOX)]
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(_addresses),
    Field(max_length=MAX_ADDRESSES),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _MAILBOX, "maxItems": MAX_ADDRESSES},
                {
                    "type": "string",
                    "description": "Several, separated by commas.",
                    "format": "mailboxes",
                    "maxLength": MAX_ADDRESS_TEXT,
                },
                {"type": "null"},
            ]
        }
    ),
]
Integer = Annotated[int, BeforeValidator(_integer)]
Count = Annotated[Integer, Field(ge=0, le=1_000_000_000)]
Positive = Annotated[Integer, Field(ge=1, le=1_000_000)]
Port = Annotated[Integer, Field(ge=1, le=65535)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
PriorityLevel = Annotated[
    int,
    BeforeValidator(_priority),
    Field(ge=0, le=3),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 3},
                {"enum": [each.name.lower() for each in Priority]},
            ]
        }
    ),
]
Moment = Annotated[float, BeforeValidator(_moment), WithJsonSchema(_INSTANT)]
Certificates = Annotated[
    str,
    Field(max_length=1_000_000),
    AfterValidator(_certificates),
    shape(minLength=1, format="pem"),
]
Host = Annotated[
    str,
    AfterValidator(_host),
    shape(pattern=r"^[^\s/@?#\\\x00-\x1f\x7f-\x9f\u2028\u2029]{1,253}$"),
]
ReturnPath = Annotated[
    str,
    Field(max_length=1000),
    AfterValidator(_return_path),
    shape(pattern=r"^[^\s<>@]+@[^\s<>@]+$", format="return-path"),
]
AfterReading = Annotated[
    HeaderText,
    AfterValidator(_after_reading),
    shape(pattern=r"^(keep|seen|delete|move:[^\x00-\x1f\x7f-\x9f\u2028\u2029]+)$"),
]
Secret = Annotated[
    str,
    Field(min_length=1, max_length=4096),
    AfterValidator(_header_text),
    shape(pattern=TEXT, format="password"),
]
WebhookSecret = Annotated[
    str,
    Field(min_length=1, max_length=4096),
    AfterValidator(_webhook_secret),
    shape(pattern=f"{_WEBHOOK_KEY}|^(?!whsec_){TEXT[1:]}", format="password"),
]
Path = Annotated[
    str,
    Field(max_length=2000),
    AfterValidator(_path),
    shape(pattern=r"^/[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$", format="path"),
]
BaseUrl = Annotated[
    str,
    Field(max_length=2000),
    AfterValidator(_base_url),
    shape(pattern=r"^[hH][tT][tT][pP][sS]?://[^\x00-\x20@?#]+$", format="base-url"),
]
BASE64_TEXT = WithJsonSchema({"type": "string", "contentEncoding": "base64", "pattern": _BASE64})
Base64 = Annotated[bytes, BeforeValidator(decoded_base64), BASE64_TEXT]
MediaType = Annotated[
    HeaderText,
    AfterValidator(_media_type),
    shape(pattern=f"^{_MEDIA_TYPE.pattern}$"),
]
MessageIdField = Annotated[
    str,
    Field(max_length=900),
    AfterValidator(message_id),
    shape(pattern=r"^<?[!-;=?A-~]+@[!-;=?A-~]+>?$"),
]
Metadata = Annotated[
    dict[str, object],
    AfterValidator(_metadata),
    shape(additionalProperties={"type": ["string", "number", "boolean", "null"]}),
]
LargeFileConfig = Annotated[dict[str, object], AfterValidator(_large_files)]
Headers = Annotated[
    dict[
        Annotated[str, Field(max_length=200), AfterValidator(_header_name), shape(pattern=_TOKEN_ALONE)],
        HeaderValue,
    ],
    Field(max_length=MAX_HEADERS),
    shape(additionalProperties=False),
    AfterValidator(_headers),
    BeforeValidator(lambda value: {} if value is None else not_too_many(value, MAX_HEADERS)),
]
