"""Secrets at rest, tokens, and ids that cannot be guessed (contract: security.md).

An encrypted value is ``ENC:`` + base64(nonce ‖ ciphertext ‖ tag) of AES-256-GCM. The place it belongs to
(``accounts/acme/main/password``) is its associated data, so that it decrypts nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mail_proxy.errors import InstanceError, KeyMismatch
from mail_proxy.files import create_private, open_file, reporting, sync_directory, write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_VARIABLE = "MAIL_PROXY_ENCRYPTION_KEY"
SECRET_FILE = Path("/run/secrets/encryption_key")

PREFIX = "ENC:"

_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_TOKEN_BYTES = 32
_MAX_KEY_FILE = 4096
_NAME_DIGITS = 12

_CHECK_PLACE = "key-check"
_CHECK_TEXT = "mail-proxy"

_HOW_TO_GIVE = (
    f"give one as {KEY_VARIABLE}, {KEY_VARIABLE}_FILE or {SECRET_FILE} ('mail-proxy generate-key' makes one)"
)


@dataclass(frozen=True, slots=True)
class FoundKey:
    """An AES key of 32 bytes, and where it came from, for messages."""

    key: bytes = field(repr=False)
    origin: str


class Vault:
    """Encrypts and decrypts with one key, or refuses both when there is none."""

    def __init__(self, key: bytes | None, origin: str = "the key given") -> None:
        if key is not None and len(key) != _KEY_BYTES:
            raise KeyMismatch(f"{origin}: an encryption key has {_KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self.origin = origin

    @classmethod
    def of(cls, found: FoundKey) -> Vault:
        """Open the vault with the key that `find_key` found."""
        return cls(found.key, found.origin)

    @classmethod
    def without_key(cls) -> Vault:
        """Make a vault that can keep nothing: for databases that hold no secrets yet."""
        return cls(None, "no key")

    def __repr__(self) -> str:
        return f"Vault({self.origin})"

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def encrypt(self, text: str, place: str) -> str:
        """Return `text` encrypted for `place`; KeyMismatch without a key."""
        if self._key is None:
            raise KeyMismatch(f"storing a secret needs an encryption key: {_HOW_TO_GIVE}")
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), place.encode())
        return PREFIX + base64.b64encode(sealed).decode()

    def decrypt(self, value: str, place: str) -> str:
        """Return what was encrypted for `place`; KeyMismatch if this key does not open it."""
        if self._key is None:
            raise KeyMismatch(f"cannot read {place}: it is encrypted and there is no key; {_HOW_TO_GIVE}")
        sealed = _unpack(value, place)
        from cryptography.exceptions import InvalidTag

        try:
            text = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise KeyMismatch(
                f"cannot read {place} with the key of {self.origin}: it was encrypted with another key, "
                "for another place, or has been damaged"
            ) from None
        return text.decode()

    def decrypt_if_sound(self, value: str, place: str) -> str | None:
        """Do the same, but give None for what this key does not open; KeyMismatch only without a key."""
        try:
            return self.decrypt(value, place)
        except KeyMismatch:
            if self._key is None:
                raise
            return None

    def check_value(self) -> str:
        """Return a value by which `matches` recognises this key later."""
        return self.encrypt(_CHECK_TEXT, _CHECK_PLACE)

    def matches(self, check: str) -> bool:
        """Tell whether `check` was made with this vault's key; False without a key."""
        try:
            return self.decrypt(check, _CHECK_PLACE) == _CHECK_TEXT
        except KeyMismatch:
            return False

    @cached_property
    def _cipher(self) -> AESGCM:
        # Late: the library costs every start of the command line, few of which meet a secret.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if self._key is None:
            raise KeyMismatch(_HOW_TO_GIVE)
        return AESGCM(self._key)


def _unpack(value: str, place: str) -> bytes:
    try:
        sealed = base64.b64decode(value.removeprefix(PREFIX), validate=True)
    except ValueError:
        sealed = b""
    if not value.startswith(PREFIX) or len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise KeyMismatch(f"cannot read {place}: what is stored there is not an encrypted value")
    return sealed


def generate_key() -> str:
    """Return a new key as base64, the form in which the environment and the files hold it."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def find_key(
    environ: Mapping[str, str], instance_key_file: Path | None, *, secret_file: Path = SECRET_FILE
) -> FoundKey | None:
    """Return the first key given: by the environment, the mounted secret, or the instance's own file.

    A key that is there but cannot be used raises KeyMismatch; the next place is never tried in its stead.
    """
    return (
        _key_of_environment(environ)
        or _key_of_file(secret_file, str(secret_file))
        or (instance_key_file and _key_of_file(instance_key_file, str(instance_key_file)))
        or None
    )


def _key_of_environment(environ: Mapping[str, str]) -> FoundKey | None:
    text, file = environ.get(KEY_VARIABLE), environ.get(f"{KEY_VARIABLE}_FILE")
    if text and file:
        raise KeyMismatch(f"{KEY_VARIABLE} and {KEY_VARIABLE}_FILE are both set: keep one of them")
    if text:
        return FoundKey(_decode_key(text, KEY_VARIABLE), KEY_VARIABLE)
    if not file:
        return None
    origin = f"{KEY_VARIABLE}_FILE ({file})"
    found = _key_of_file(Path(file), origin, lambda path: path.open("rb"))  # it may be a pipe
    if found is None:
        raise KeyMismatch(f"{origin}: there is no such file")
    return found


def _key_of_file(path: Path, origin: str, opened: Callable[[Path], BinaryIO] = open_file) -> FoundKey | None:
    try:
        with opened(path) as file:
            content = file.read(_MAX_KEY_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KeyMismatch(f"{origin}: cannot read the encryption key: {error.strerror or error}") from error
    if len(content) == _KEY_BYTES:
        return FoundKey(content, origin)
    return FoundKey(_decode_key(content.decode("ascii", "replace"), origin), origin)


def _decode_key(text: str, origin: str) -> bytes:
    compact = text.strip().translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        key = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise KeyMismatch(
            f"{origin}: not an encryption key, which is base64 of {_KEY_BYTES} bytes "
            "('mail-proxy generate-key' makes one)"
        ) from None
    if len(key) != _KEY_BYTES:
        raise KeyMismatch(f"{origin}: an encryption key has {_KEY_BYTES} bytes, this one has {len(key)}")
    return key


def create_key_file(path: Path) -> FoundKey:
    """Make the instance's key file (mode 0600), safely on the disk before any secret depends on it.

    If another process was first, its key is returned: the file is never replaced. Raises InstanceError.
    """
    create_private(path, generate_key() + "\n")
    found = _key_of_file(path, str(path))
    if found is None:
        raise InstanceError(f"cannot create {path}: it was removed by another program")
    return found


def decode_key(text: str, origin: str) -> FoundKey:
    """Read a key as people give it; raise `KeyMismatch`, naming `origin`, for what is none."""
    return FoundKey(_decode_key(text, origin), origin)


def encode_key(found: FoundKey) -> str:
    """Write a key as base64, the form in which the environment and the files hold it."""
    return base64.b64encode(found.key).decode()


def write_next_key(path: Path, key: FoundKey) -> None:
    """Lay a key safely beside the instance's key file `path`, to follow it; raise InstanceError."""
    # Under a name of its own: whoever puts it into its place cannot take another for it.
    name = hashlib.sha256(key.key).hexdigest()[:_NAME_DIGITS]
    write_private(path.with_name(f"{path.name}.{name}.new"), encode_key(key) + "\n")


def finish_next_key(path: Path, check: str) -> None:
    """Put the key beside the key file `path` into its place that `check` was made with, if there is one.

    Several processes may do this at once. Raises InstanceError.
    """
    for following in _next_keys(path):
        found = _key_of_file(following, str(following))
        if found is not None and Vault.of(found).matches(check):
            with reporting(f"cannot write {path}"), contextlib.suppress(FileNotFoundError):
                following.replace(path)  # unless another process was faster
                sync_directory(path.parent)


def forget_next_keys(path: Path) -> None:
    """Remove keys beside the key file `path` that did not come to be used."""
    for following in _next_keys(path):
        following.unlink(missing_ok=True)


def _next_keys(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.{'[0-9a-f]' * _NAME_DIGITS}.new"))


def new_token() -> str:
    """Return a new token: 43 characters of URL-safe base64, 32 random bytes."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token in hex, the only form in which tenants' tokens are kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same_token(a: str, b: str) -> bool:
    """Compare two tokens in a time that tells nothing of where they differ."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))


_PK_DIGITS = 32
_MAC_DIGITS = 16


class Tracking:
    """The opaque ids that messages carry to the outside (X-Genro-Mail-ID, return paths).

    An id is the message's pk (a UUID) in hex, then 16 hex digits of its HMAC-SHA256: who has not seen a
    message cannot make up its id.
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod="sha256")  # copied for each id: to key it anew takes longer

    def id_for(self, pk: str) -> str:
        """Return the id of the message whose pk is `pk`, a UUID with or without dashes."""
        digits = pk.replace("-", "").lower()
        return digits + self._mac(digits)

    def pk_of(self, tracking_id: str) -> str | None:
        """Return the pk (a UUID with dashes) of an id made here; None for every other text."""
        text = tracking_id.lower()
        if len(text) != _PK_DIGITS + _MAC_DIGITS or not text.isascii():
            return None
        digits = text[:_PK_DIGITS]
        if not hmac.compare_digest(text[_PK_DIGITS:], self._mac(digits)):
            return None
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _mac(self, digits: str) -> str:
        mac = self._keyed.copy()
        mac.update(digits.encode())
        return mac.hexdigest()[:_MAC_DIGITS]
