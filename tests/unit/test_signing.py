"""Signatures of posts, by known answers and by what must not pass for one."""

from __future__ import annotations

import base64
from email.message import Message

import pytest

from mail_proxy.signing import disbelief, key_of, sign, signed_headers

KEY = bytes(range(32))
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = '{"delivery_report":[{"id":"città"}]}'.encode()
NOW = 1735689600.75
HEADERS = {
    "webhook-id": "batch_1f2e",
    "webhook-timestamp": "1735689600",
    "webhook-signature": "v1,SewOW+v2UXq2COpkj8pwByKvKYDY0AIJ2GOPYKP8Xs4=",
}


@pytest.mark.parametrize(
    ("secret", "webhook_id", "timestamp", "body", "signature"),
    [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (SECRET, "batch_1f2e", 1735689600, BODY, HEADERS["webhook-signature"]),
        (
            "città, nothing of base64",
            "batch_1f2e",
            1735689600,
            BODY,
            "v1,m1uv80E/8HcNI/y6LYHySMXr7d/UNb74h/aNfOb5A+o=",
        ),
    ],
    ids=["the example of the libraries", "a generated secret", "a secret of one's own"],
)
def test_signatures_are_those_of_other_programs(
    secret: str, webhook_id: str, timestamp: int, body: bytes, signature: str
) -> None:
    """The answers were computed by the reference library of Standard Webhooks."""
    assert sign(secret, webhook_id, timestamp, body) == signature


def test_the_headers_of_a_post() -> None:
    assert signed_headers(SECRET, "batch_1f2e", NOW, BODY) == HEADERS


class TestSecrets:
    @pytest.mark.parametrize(
        ("secret", "key"),
        [
            (SECRET, KEY),
            ("whsec_" + base64.b64encode(b"k" * 24).decode(), b"k" * 24),
            ("whsec_" + base64.b64encode(b"k" * 64).decode(), b"k" * 64),
            (SECRET.removeprefix("whsec_"), SECRET.removeprefix("whsec_").encode()),
            ("whsec", b"whsec"),
            ("è", "è".encode()),
        ],
    )
    def test_the_key(self, secret: str, key: bytes) -> None:
        assert key_of(secret) == key

    @pytest.mark.parametrize(
        "secret",
        [
            "",
            "whsec_",
            "whsec_" + base64.b64encode(b"k" * 23).decode(),
            "whsec_" + base64.b64encode(b"k" * 65).decode(),
            SECRET.rstrip("="),
            SECRET + "\n",
            SECRET.replace("A", "-", 1),
            "whsec_città" + "A" * 32,
            "\ud800",
        ],
    )
    def test_what_cannot_be_one(self, secret: str) -> None:
        """It is refused on both sides: by a guess at what was meant, they might not agree."""
        with pytest.raises(ValueError, match=r"must|surrogates"):
            sign(secret, "batch_1f2e", 1735689600, BODY)
        with pytest.raises(ValueError, match=r"must|surrogates"):
            disbelief(secret, {}, BODY, now=NOW)


class TestBelief:
    @pytest.mark.parametrize("now", [NOW, 1735689600 - 300, 1735689600 + 300])
    def test_what_was_signed_lately(self, now: float) -> None:
        assert disbelief(SECRET, HEADERS, BODY, now=now) is None

    def test_names_are_in_any_case(self) -> None:
        assert (
            disbelief(SECRET, {name.title(): value for name, value in HEADERS.items()}, BODY, now=NOW) is None
        )

    def test_headers_as_the_standard_library_reads_them(self) -> None:
        headers = Message()
        for name, value in HEADERS.items():
            headers[name.upper()] = value
        assert disbelief(SECRET, headers, BODY, now=NOW) is None

    @pytest.mark.parametrize(
        "signatures",
        [
            "v1,{other} {right}",
            "v1a,AAAA {right} v2,BBBB",
            "{right} v1,{other}",
        ],
    )
    def test_one_of_several_signatures_is_enough(self, signatures: str) -> None:
        """While a secret is being replaced, a post may be signed with both."""
        given = signatures.format(other="A" * 43 + "=", right=HEADERS["webhook-signature"])
        assert disbelief(SECRET, HEADERS | {"webhook-signature": given}, BODY, now=NOW) is None

    @pytest.mark.parametrize("place", range(len(BODY)))
    def test_one_changed_byte_is_seen(self, place: int) -> None:
        changed = bytearray(BODY)
        changed[place] ^= 1
        assert "no signature" in str(disbelief(SECRET, HEADERS, bytes(changed), now=NOW))

    @pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\n"])
    def test_so_is_a_body_of_another_length(self, body: bytes) -> None:
        assert "no signature" in str(disbelief(SECRET, HEADERS, body, now=NOW))

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"webhook-id": "batch_1f2f"}, "no signature"),
            ({"webhook-timestamp": "1735689601"}, "no signature"),
            ({"webhook-signature": "v1,TewOW+v2UXq2COpkj8pwByKvKYDY0AIJ2GOPYKP8Xs4="}, "no signature"),
            ({"webhook-signature": "SewOW+v2UXq2COpkj8pwByKvKYDY0AIJ2GOPYKP8Xs4="}, "no signature"),
            ({"webhook-signature": "v2,SewOW+v2UXq2COpkj8pwByKvKYDY0AIJ2GOPYKP8Xs4="}, "no signature"),
            ({"webhook-signature": "v1,"}, "no signature"),
            ({"webhook-signature": "v1,è\udcff"}, "no signature"),
            ({"webhook-id": "\ud800"}, "no signature"),
            ({"webhook-signature": ""}, "there is no header webhook-signature"),
            ({"webhook-id": ""}, "there is no header webhook-id"),
            ({"webhook-timestamp": ""}, "there is no header webhook-timestamp"),
            ({"webhook-timestamp": "soon"}, "webhook-timestamp is not"),
            ({"webhook-timestamp": "-1735689600"}, "webhook-timestamp is not"),
            ({"webhook-timestamp": "1735689600.0"}, "webhook-timestamp is not"),
            ({"webhook-timestamp": "١٧٣٥٦٨٩٦٠٠"}, "webhook-timestamp is not"),
            ({"webhook-timestamp": "9" * 5000}, "webhook-timestamp is not"),
            ({"webhook-timestamp": "9" * 15}, "it was signed"),
        ],
    )
    def test_changed_headers_are_seen(self, changed: dict[str, str], reason: str) -> None:
        assert reason in str(disbelief(SECRET, HEADERS | changed, BODY, now=NOW))

    def test_what_was_signed_cannot_be_split_elsewhere(self) -> None:
        """A part of the body would pass for the time, and the rest for a body."""
        body = b'{"reply":"no.1735689600.{}"}'
        signature = sign(SECRET, "batch_1f2e", 1735689600, body)
        forged = HEADERS | {
            "webhook-id": 'batch_1f2e.1735689600.{"reply":"no',
            "webhook-signature": signature,
        }
        assert disbelief(SECRET, forged, b'{}"}', now=NOW) == "webhook-id holds a dot"

    def test_headers_that_are_missing_are_named(self) -> None:
        assert disbelief(SECRET, {}, BODY, now=NOW) == "there is no header webhook-id"

    @pytest.mark.parametrize(
        ("now", "reason"),
        [(1735689600 + 301, "it was signed 301 s ago"), (1735689600 - 301, "it was signed 301 s from now")],
    )
    def test_an_old_post_is_not_believed(self, now: float, reason: str) -> None:
        """Or whoever once saw one could post it again for ever."""
        assert disbelief(SECRET, HEADERS, BODY, now=now) == reason
        assert disbelief(SECRET, HEADERS, BODY, now=now, tolerance=301) is None

    @pytest.mark.parametrize("secret", [SECRET[:-2] + "A=", SECRET.removeprefix("whsec_"), "something else"])
    def test_nor_one_of_another_secret(self, secret: str) -> None:
        assert "no signature" in str(disbelief(secret, HEADERS, BODY, now=NOW))
