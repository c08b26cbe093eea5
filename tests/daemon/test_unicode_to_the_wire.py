"""Arbitrary Unicode in every field of a message: refused naming the field, or intact at the SMTP server.

What arrives is read with the standard library. All that may differ from what was handed in, and why:

- line ends of bodies are CRLF, and the last line is ended: lines are so in mail (RFC 5322, section 2.1);
- space at the two ends of a header's value, and of a name that is not quoted, is left out: there it only
  separates (RFC 5322, sections 2.2 and 3.2.2);
- a domain beyond ASCII is written as A-labels wherever the local part is ASCII: it is the same (RFC 5890);
- a media type is in lower case (RFC 2045, section 5.1), a Message-ID and a Content-ID have one pair of angle
  brackets (RFC 5322, section 3.6.4).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.headerregistry import Address
from urllib.parse import quote

import idna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import Json
from tests.support.arbitrary import any_text, finite, legal_text
from tests.support.smtp_server import SmtpServer
from tests.support.whole_way import ACCOUNT, Arrived, Line, open_line
from tests.support.written_mail import filename_of, names_in, payload, text_of

many = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FILE = "attachments"


@pytest.fixture
def hidden() -> frozenset[str]:
    """What the server does not offer."""
    return frozenset()


@pytest.fixture
async def server(hidden: frozenset[str]) -> AsyncIterator[SmtpServer]:
    async with SmtpServer(hidden=hidden).running() as running_server:
        yield running_server


@pytest.fixture
async def line(database_url: str, server: SmtpServer) -> AsyncIterator[Line]:
    async with open_line(database_url, server) as opened:
        yield opened


def crlf(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


def ended(text: str) -> str:
    return crlf(text).removesuffix("\r\n") + "\r\n"


def quoted(name: str, address: str = "ann@example.net") -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + f'" <{address}>'


def file_with(**fields: object) -> list[Json]:
    return [{"filename": "a.txt", "storage_path": "base64:YQ==", **fields}]


RAW = b"From: shop@example.org\r\nTo: ann@example.net\r\n\r\nb\r\n"


def raw_mail(content: bytes = RAW, **fields: object) -> Json:
    return {"raw": base64.b64encode(content).decode(), **fields}


def wire_domain(domain: str) -> str:
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a text can be put, and where it is found on arrival."""

    put: Callable[[str], Json]
    seen: Callable[[Arrived], object]
    expected: Callable[[str], object] = lambda text: text
    texts: st.SearchStrategy[str] = any_text
    decent: str = "Grüße, 東京! 👩\u200d👩\u200d👧 =?utf-8?q?=41?="


def without(*syntax: str) -> st.SearchStrategy[str]:
    """Texts that are text only: without what has a meaning of its own at their place."""
    return any_text.map(lambda text: "".join(char for char in text if char not in syntax))


unquoted = without('"', "<", ">")
in_address = without(*'"<>(),:;@? \u3000') | st.sampled_from(
    ["josé", "用户", "e\u0301", "münchen.de", "straße.example", "例え。テスト", "x.y", "\ufb01.example", "ß"]
)
token = st.text("!#$%&'*+.^_`|~-0189ABYZabyz", min_size=1, max_size=150)
header_names = any_text | token
id_text = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<>@"), min_size=1)
message_ids = (
    any_text | st.tuples(id_text, id_text).map("@".join) | st.tuples(id_text, id_text).map("<%s@%s>".__mod__)
)

PLACES = {
    "quoted name in from": Place(
        put=lambda text: {"from": quoted(text)}, seen=lambda mail: mail.name("From")
    ),
    "name in from": Place(
        put=lambda text: {"from": f"{text} <ann@example.net>"},
        seen=lambda mail: mail.name("From"),
        expected=str.strip,
        texts=unquoted,
    ),
    "name in to": Place(
        put=lambda text: {"to": [f"{text} <ann@example.net>"]},
        seen=lambda mail: mail.name("To"),
        expected=str.strip,
        texts=unquoted,
    ),
    "quoted name in to, in one string": Place(
        put=lambda text: {"to": f"{quoted(text)}, "}, seen=lambda mail: mail.name("To")
    ),
    "quoted name in cc": Place(put=lambda text: {"cc": [quoted(text)]}, seen=lambda mail: mail.name("Cc")),
    "quoted name in reply_to": Place(
        put=lambda text: {"reply_to": quoted(text)}, seen=lambda mail: mail.name("Reply-To")
    ),
    "quoted name in Reply-To": Place(
        put=lambda text: {"headers": {"Reply-To": quoted(text)}}, seen=lambda mail: mail.name("Reply-To")
    ),
    "quoted name in Sender": Place(
        put=lambda text: {"headers": {"Sender": quoted(text)}}, seen=lambda mail: mail.name("Sender")
    ),
    "local part in bcc": Place(
        put=lambda text: {"to": [], "bcc": [f"{text}@example.net"]},
        seen=lambda mail: mail.mail.rcpt_tos,
        expected=lambda text: (f"{text}@example.net",),
        texts=in_address,
        decent="josé",
    ),
    "quoted local part in to": Place(
        put=lambda text: {"to": [quoted(text).partition(" <")[0] + "@example.net"]},
        seen=lambda mail: mail.mail.rcpt_tos,
        expected=lambda text: (Address(username=text, domain="example.net").addr_spec,),
        texts=without("<", ">", "?"),
        decent="a b, c",
    ),
    "domain in cc": Place(
        put=lambda text: {"to": [], "cc": [f"ann@{text}"]},
        seen=lambda mail: (mail.mail.rcpt_tos, mail.header("Cc")),
        expected=lambda text: ((f"ann@{wire_domain(text)}",), f"ann@{wire_domain(text)}"),
        texts=in_address,
        decent="Bücher.例え。テスト",
    ),
    "local part in from": Place(
        put=lambda text: {"from": f"{text}@example.net"},
        seen=lambda mail: (mail.mail.mail_from, mail.header("From")),
        expected=lambda text: (f"{text}@example.net", f"{text}@example.net"),
        texts=in_address,
        decent="josé",
    ),
    "domain in from": Place(
        put=lambda text: {"from": f"ann@{text}"},
        seen=lambda mail: (mail.mail.mail_from, mail.header("From")),
        expected=lambda text: (f"ann@{wire_domain(text)}",) * 2,
        texts=in_address,
        decent="straße.example",
    ),
    "local part in return_path": Place(
        put=lambda text: {"return_path": f"{text}@example.net"},
        seen=lambda mail: mail.mail.mail_from,
        expected=lambda text: f"{text}@example.net",
        texts=in_address,
        decent="josé",
    ),
    "subject": Place(put=lambda text: {"subject": text}, seen=lambda mail: mail.header("Subject")),
    "body": Place(
        put=lambda text: {"body": text}, seen=lambda mail: ended(text_of(mail.parsed)), expected=ended
    ),
    "body in HTML": Place(
        put=lambda text: {"body": text, "content_type": "html"},
        seen=lambda mail: (mail.parsed.get_content_type(), ended(text_of(mail.parsed))),
        expected=lambda text: ("text/html", ended(text)),
    ),
    "body_html": Place(
        put=lambda text: {"body": "b", "body_html": text},
        seen=lambda mail: [text_of(part) for part in mail.parts],
        expected=lambda text: ["b", crlf(text)],
        texts=any_text.filter(bool),
    ),
    "message_id": Place(
        put=lambda text: {"message_id": text},
        seen=lambda mail: (mail.raw("Message-ID"), mail.record["message_id"]),
        expected=lambda text: (f"<{text.strip('<>')}>",) * 2,
        texts=message_ids,
        decent="<a.b+c@[1.2.3.4]>",
    ),
    "name of a header": Place(
        put=lambda text: {"headers": {text: "value"}},
        seen=lambda mail: [name for name, value in mail.parsed.raw_items() if value == "value"],
        expected=lambda text: [text],
        texts=header_names,
        decent="X-Any_thing",
    ),
    "value of a header": Place(
        put=lambda text: {"headers": {"X-Text": text}},
        seen=lambda mail: mail.header("X-Text"),
        expected=lambda text: text.strip(" "),
    ),
    "filename": Place(
        put=lambda text: {FILE: file_with(filename=text)}, seen=lambda mail: filename_of(mail.file)
    ),
    "mime_type": Place(
        put=lambda text: {FILE: file_with(mime_type=text)},
        seen=lambda mail: mail.file.get_content_type(),
        expected=str.lower,
        texts=any_text | token.map("application/".__add__) | token.map("Multipart/".__add__),
        decent="application/Vnd.x+json",
    ),
    "content_id": Place(
        put=lambda text: {FILE: file_with(content_id=text, inline=True)},
        seen=lambda mail: mail.header_of_file("Content-ID"),
        expected=lambda text: f"<{text.strip('<>')}>",
        texts=any_text.filter(lambda text: bool(text.strip("<>"))),
    ),
    "content of a file": Place(
        put=lambda text: {
            FILE: file_with(storage_path=base64.b64encode(text.encode()).decode(), fetch_mode="base64")
        },
        seen=lambda mail: payload(mail.file).decode(),
        texts=any_text.map(lambda text: text.encode(errors="replace").decode()),
    ),
    "local part in the envelope of a raw message": Place(
        put=lambda text: raw_mail(envelope={"to": [f"{text}@example.net"]}),
        seen=lambda mail: mail.mail.rcpt_tos,
        expected=lambda text: (f"{text}@example.net",),
        texts=in_address,
        decent="josé",
    ),
    "batch_code": Place(put=lambda text: {"batch_code": text}, seen=lambda mail: mail.record["batch_code"]),
    "value in metadata": Place(
        put=lambda text: {"metadata": {"a": text}}, seen=lambda mail: mail.record["metadata"]["a"]
    ),
    "key in metadata": Place(
        put=lambda text: {"metadata": {text: 1}},
        seen=lambda mail: mail.record["metadata"],
        expected=lambda text: {text: 1},
    ),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@many
@given(data=st.data())
async def test_any_text_at_any_place_is_refused_naming_it_or_arrives(
    line: Line, place: Place, data: st.DataObject
) -> None:
    text = data.draw(place.texts)
    put = place.put(text)
    arrived = await line.send(line.message(**put))
    if isinstance(arrived, Arrived):
        assert place.seen(arrived) == place.expected(text)
    else:
        assert arrived
        assert arrived <= put.keys(), "another field is blamed"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
async def test_decent_text_is_not_refused(line: Line, place: Place) -> None:
    arrived = await line.send(line.message(**place.put(place.decent)))
    assert isinstance(arrived, Arrived)
    assert place.seen(arrived) == place.expected(place.decent)


def first_255(text: str) -> str:
    return text[:255]


any_body = any_text.map(lambda text: text.encode(errors="replace").decode())
any_metadata = st.dictionaries(
    st.text(max_size=20),
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=40),
    max_size=5,
)


@many
@given(
    names=st.lists(legal_text, min_size=4, max_size=4),
    subject=legal_text,
    bodies=st.tuples(any_body, any_body.filter(bool)),
    value=legal_text,
    files=st.lists(st.tuples(legal_text.filter(bool).map(first_255), st.binary(max_size=300)), max_size=3),
)
async def test_legal_text_in_all_fields_at_once_arrives(
    line: Line,
    names: list[str],
    subject: str,
    bodies: tuple[str, str],
    value: str,
    files: list[tuple[str, bytes]],
) -> None:
    message = line.message(
        **{"from": quoted(names[0], "josé@example.org")},
        to=[quoted(names[1], "用户@example.net"), quoted(names[1], "bob@münchen.de")],
        cc=[quoted(names[2], "c@例え.jp")],
        bcc=["dörte@example.net"],
        reply_to=quoted(names[3]),
        subject=subject,
        body=bodies[0],
        body_html=bodies[1],
        headers={"X-Text": value},
        attachments=[
            {"filename": name, "storage_path": f"base64:{base64.b64encode(content).decode()}"}
            for name, content in files
        ],
    )
    arrived = await line.send(message)
    assert isinstance(arrived, Arrived)
    shown = {field: names_in(arrived.mail.content, field) for field in ("From", "To", "Cc", "Reply-To")}
    assert shown == {
        "From": [names[0]],
        "To": [names[1], names[1]],
        "Cc": [names[2]],
        "Reply-To": [names[3]],
    }
    assert arrived.mail.mail_from == "josé@example.org"
    assert set(arrived.mail.rcpt_tos) == {
        *("用户@example.net", "bob@xn--mnchen-3ya.de", "c@xn--r8jz45g.jp", "dörte@example.net"),
    }
    assert "dörte" not in arrived.text
    assert (arrived.header("Subject"), arrived.header("X-Text")) == (subject, value.strip(" "))
    plain, html, *parts = arrived.parts
    assert [text_of(plain), text_of(html)] == [crlf(bodies[0]), crlf(bodies[1])]
    assert [(filename_of(part), payload(part)) for part in parts] == files


@many
@given(text=any_text)
async def test_any_id_is_refused_by_name_or_is_the_messages(line: Line, text: str) -> None:
    message_id = f"{text}{next(line.numbers)}"
    arrived = await line.send(line.message(id=message_id))
    assert arrived == {"id"} or (isinstance(arrived, Arrived) and arrived.record["id"] == message_id)


@many
@given(message_id=legal_text.filter(bool), batch=legal_text.filter(bool), metadata=any_metadata)
async def test_what_is_the_applications_own_comes_back_in_answers_and_reports(
    line: Line, message_id: str, batch: str, metadata: Json
) -> None:
    message_id, batch = f"{message_id[:200]}{next(line.numbers)}", batch[:64]
    arrived = await line.send(line.message(id=message_id, batch_code=batch, metadata=metadata))
    assert isinstance(arrived, Arrived)
    assert (arrived.record["id"], arrived.record["batch_code"]) == (message_id, batch)
    assert same(arrived.record["metadata"], metadata)
    _, listed = await line.call("GET", f"/messages?batch_code={quote(batch, safe='')}&limit=1")
    assert [each["id"] for each in listed["messages"]] == [message_id]
    line.reports.app.posts.clear()
    await line.reports.work()
    [entry] = [each for each in line.reports.app.entries if each["event"] == "sent"]
    assert entry["id"] == message_id
    assert same(entry["metadata"], metadata)


def same(one: object, other: object) -> bool:
    """Tell whether two values are the same JSON: 1 is not 1.0, nor true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


raw_value = st.binary(max_size=60).map(lambda each: each.translate(None, b"\r\n"))
raw_field = st.tuples(st.from_regex(rb"\AX-[!-9;-~]{1,30}\Z"), st.lists(raw_value, min_size=1, max_size=3))


@many
@given(
    fields=st.lists(raw_field, max_size=4),
    name=any_body.map(lambda text: re.sub(r'[\x00-\x1f\x7f-\x9f"\\]', "", text)[:300]),
    body=st.binary(max_size=300) | any_body.map(str.encode).filter(lambda each: len(each) < 900),
    end=st.sampled_from([b"\r\n", b"\n", b"\r"]),
)
async def test_a_raw_message_arrives_byte_for_byte(
    line: Line, fields: list[tuple[bytes, list[bytes]]], name: str, body: bytes, end: bytes
) -> None:
    """But for line ends, Bcc and what is put before it; a NUL, which mail cannot carry, is refused."""
    head = [name + b": " + (end + b" ").join(values) for name, values in fields]
    head += [f'To: "{name}" <ann@example.net>'.encode(), b"From: shop@example.org", b"Message-ID: <a@b>"]
    content = end.join([*head, "Bcc: josé@example.net".encode(), b"Date: x", b"", body])
    arrived = await line.send({"id": f"m{next(line.numbers)}", "account_id": ACCOUNT, **raw_mail(content)})
    if b"\0" in content:
        assert arrived == {"raw"}
        return
    assert isinstance(arrived, Arrived)
    assert arrived.mail.rcpt_tos == ("ann@example.net", "josé@example.net")
    own, rest = arrived.mail.content.split(b"\r\n", 1)
    assert own.startswith(b"X-Genro-Mail-ID: ")
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", end.join([*head, b"Date: x", b"", body]))
    assert rest == lines.removesuffix(b"\r\n") + b"\r\n"


@pytest.mark.parametrize("hidden", [frozenset({"SMTPUTF8"})])
@many
@given(
    locals_=st.fixed_dictionaries(
        {field: st.sampled_from(["ann", "josé", "用户"]) for field in ("from", "to", "cc", "bcc", "reply_to")}
    ),
    domain=st.sampled_from(["example.net", "münchen.de"]),
    name=legal_text,
)
async def test_without_smtputf8_what_needs_it_fails_and_says_why(
    line: Line, locals_: dict[str, str], domain: str, name: str
) -> None:
    """Names, texts and domains beyond ASCII do not need it; local parts do, wherever they stand."""
    message = line.message(**{field: quoted(name, f"{local}@{domain}") for field, local in locals_.items()})
    needs = any(not local.isascii() for local in locals_.values())
    if not needs:
        arrived = await line.send(message)
        assert isinstance(arrived, Arrived)
        assert arrived.text.isascii()
        assert "SMTPUTF8" not in arrived.mail.mail_options
        return
    line.server.received.clear()
    line.reports.app.posts.clear()
    assert (await line.submit(message))[0] == 200
    await line.reports.rig.work()
    await line.reports.work()
    _, record = await line.call("GET", f"/messages/{message['id']}")
    assert line.server.received == []
    assert record["status"] == "error"
    assert "the server does not offer SMTPUTF8" in record["error"]
    [entry] = [each for each in line.reports.app.entries if each["event"] == "error"]
    assert "the server does not offer SMTPUTF8" in str(entry["error"])
