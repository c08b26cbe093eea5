"""MIME parts (RFC 2045, 2046): a header and the body encoded so that no server needs 8BITMIME."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mail_proxy.errors import InvalidInput
from mail_proxy.model.messages import Attachment
from mail_proxy.smtp import headers

_UNKNOWN = "application/octet-stream"
_LINE = 76  # characters of a line of base64 (RFC 2045, section 6.8)
_BLOCK = 57 * 16384  # octets encoded at a time: whole lines, so that a large file makes no huge list
_PRINTABLE = bytes([*range(32, 61), *range(62, 127), 9, 13, 10])  # stand for themselves in quoted-printable

_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?:;[ -~]{0,200})?", re.ASCII
)  # RFC 6838, section 4.2
_UNSAFE = re.compile(r"[^\w .()+,;=@-]", re.ASCII)

# What mail carries daily and tables of Python or of the machine may lack.
_TYPES = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "p7m": "application/pkcs7-mime",
    "ics": "text/calendar",
    "md": "text/markdown",
    "webp": "image/webp",
    "gz": "application/gzip",
    "7z": "application/x-7z-compressed",
}


@dataclass(slots=True)  # not frozen: at least one is made for each message
class Part:
    """`header` is whole lines; `body` comes in pieces, once, so that a large one lies nowhere in between."""

    header: str
    body: Iterable[bytes]


def text(subtype: str, content: str, *, ends_line: bool = False) -> Part:
    """Make a text part, with `ends_line` one whose last line is ended.

    Raise InvalidInput for what UTF-8 cannot encode.
    """
    try:
        data = with_crlf(content.encode())
    except UnicodeEncodeError:
        raise InvalidInput("the body holds a lone surrogate, which no encoding can express") from None
    encoding, body = _encode_text(data)
    if ends_line and data and not body[-1].endswith(b"\r\n"):
        body.append(b"\r\n")
    return Part(
        f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n', body
    )


def multipart(subtype: str, parts: Sequence[Part], token: str, *parameters: str) -> Part:
    """Put parts into one. `token` is random; no boundary is the beginning of one of another subtype."""
    boundary = f"=_{subtype[0]}_{token}"  # neither base64 nor quoted-printable can contain "=_"
    value = [f'boundary="{boundary}"', *parameters]
    header = headers.with_parameters("Content-Type", f"multipart/{subtype}", value)
    return Part(header, _bounded(parts, boundary))


def _bounded(parts: Sequence[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        yield f"--{boundary}\r\n{part.header}\r\n".encode("ascii")
        yield from part.body
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")


def attached(attachment: Attachment) -> Part:
    """Make the part of one file.

    A message that is ASCII in lines of legal length travels as such (RFC 2046 forbids to encode it), any
    other one, and what calls itself multipart, as a file of unknown type.
    """
    kind = _media_type(attachment)
    encoding: str = "base64"
    body: Iterable[bytes] | None = None
    if kind.startswith(("message/", "multipart/")):
        data = with_crlf(attachment.content)
        if kind.startswith("message/") and _is_7bit(data):
            encoding, body = "7bit", [data]
        elif not kind.startswith("message/global"):  # RFC 6532 lets these be encoded
            kind = _UNKNOWN
    if body is None:
        body = _base64(attachment.content)
    header = _content_type(kind, attachment) + f"Content-Transfer-Encoding: {encoding}\r\n"
    if attachment.content_id:
        header += headers.unstructured("Content-ID", f"<{attachment.content_id.strip('<>')}>")
    disposition = "inline" if is_inline(attachment) else "attachment"
    names = headers.parameter("filename", attachment.filename) if attachment.filename else []
    return Part(header + headers.with_parameters("Content-Disposition", disposition, names), body)


def is_inline(attachment: Attachment) -> bool:
    """Tell whether the text refers to the file, rather than the file standing beside it."""
    return attachment.inline or bool(attachment.content_id)


def with_crlf(data: bytes) -> bytes:
    """Make every line end (CRLF, LF or CR) a CRLF; what has only these is returned as it is."""
    if b"\r" not in data:
        return data.replace(b"\n", b"\r\n")
    feeds = data.count(b"\n")
    if feeds == data.count(b"\r") == data.count(b"\r\n"):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _is_7bit(data: bytes) -> bool:
    """Tell whether text with CRLF line ends may go unencoded (RFC 2045, section 2.7)."""
    if not data.isascii() or b"\0" in data:
        return False
    return len(data) <= headers.MAX_LINE or max(map(len, data.split(b"\r\n"))) <= headers.MAX_LINE


def _encode_text(data: bytes) -> tuple[str, list[bytes]]:
    if _is_7bit(data):
        return "7bit", [data]
    escaped = len(data.translate(None, _PRINTABLE))
    if escaped * 6 > len(data):  # three octets for one, against four for three
        return "base64", list(_base64(data))
    quoted = b2a_qp(data.replace(b"\r\n", b"\n"), quotetabs=False, istext=True)
    return "quoted-printable", [quoted.replace(b"\n", b"\r\n")]


def _base64(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _BLOCK):
        if start:
            yield b"\r\n"
        encoded = b2a_base64(data[start : start + _BLOCK], newline=False)
        yield b"\r\n".join([encoded[i : i + _LINE] for i in range(0, len(encoded), _LINE)])


def _media_type(attachment: Attachment) -> str:
    """Give the type asked for, unless it is malformed; else the one of the file name."""
    asked = (attachment.mime_type or "").strip()
    if asked:
        value, semicolon, parameters = asked.partition(";")
        return value.lower() + semicolon + parameters if _TYPE.fullmatch(asked) else _UNKNOWN
    _, dot, suffix = attachment.filename.rpartition(".")
    return _type_of_suffix(suffix.lower()) if dot else _UNKNOWN


@lru_cache(maxsize=256)
def _type_of_suffix(suffix: str) -> str:
    guessed = mimetypes.guess_type(f"x.{suffix}", strict=False)[0] if suffix.isalnum() else None
    return _TYPES.get(suffix) or guessed or _UNKNOWN


def _content_type(kind: str, attachment: Attachment) -> str:
    """Write the type, with the file name in ASCII for readers that do not know ``filename*``."""
    value, *parameters = [piece.strip() for piece in kind.split(";") if piece.strip()]
    if value.startswith("text/") and "charset=" not in kind.lower() and _is_utf8(attachment.content):
        parameters.append('charset="utf-8"')
    if attachment.filename and "name=" not in kind.lower():
        parameters.append(f'name="{_ascii_name(attachment.filename)}"')
    return headers.with_parameters("Content-Type", value, parameters)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ascii_name(filename: str) -> str:
    letters = [x for x in unicodedata.normalize("NFKD", filename) if not unicodedata.combining(x)]
    safe = _UNSAFE.sub("_", "".join(letters))
    return safe if len(safe) <= 60 else safe[:48] + safe[-12:]
