"""Secrets open only with their key and in their place; tokens and ids cannot be guessed."""

from __future__ import annotations

import base64
import stat
import string
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.encryption import (
    FoundKey,
    Tracking,
    Vault,
    create_key_file,
    find_key,
    generate_key,
    hash_token,
    new_token,
    same_token,
)
from mail_proxy.errors import InstanceError, KeyMismatch

KEY = bytes(range(32))
OTHER_KEY = bytes(reversed(range(32)))
KEY_TEXT = base64.b64encode(KEY).decode()
OTHER_TEXT = base64.b64encode(OTHER_KEY).decode()
PLACE = "accounts/acme/main/password"


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A secret file that does not exist."""
    return tmp_path / "nowhere"


class TestVault:
    @given(text=st.text(st.characters(exclude_categories=["Cs"])))
    def test_returns_what_was_put_in(self, text: str) -> None:
        vault = Vault(KEY)
        assert vault.decrypt(vault.encrypt(text, PLACE), PLACE) == text

    def test_value_is_nonce_ciphertext_and_tag(self) -> None:
        """ENC:, then base64 of 12 + len + 16 bytes."""
        value = Vault(KEY).encrypt("hunter2", PLACE)
        assert value.startswith("ENC:")
        assert len(base64.b64decode(value[4:], validate=True)) == 12 + len("hunter2") + 16

    def test_each_encryption_has_its_own_nonce(self) -> None:
        vault = Vault(KEY)
        assert vault.encrypt("hunter2", PLACE) != vault.encrypt("hunter2", PLACE)

    def test_value_moved_to_another_place_does_not_open(self) -> None:
        """Copying a password to another row gains nothing."""
        vault = Vault(KEY)
        with pytest.raises(KeyMismatch, match="accounts/evil/main/password"):
            vault.decrypt(vault.encrypt("hunter2", PLACE), "accounts/evil/main/password")

    def test_another_key_names_itself_and_the_place(self) -> None:
        """The error tells which key was tried and what it cannot read, and nothing of the key."""
        value = Vault(KEY).encrypt("hunter2", PLACE)
        with pytest.raises(KeyMismatch) as caught:
            Vault(OTHER_KEY, "/run/secrets/encryption_key").decrypt(value, PLACE)
        assert "/run/secrets/encryption_key" in str(caught.value)
        assert PLACE in str(caught.value)
        assert OTHER_TEXT not in str(caught.value)

    @pytest.mark.parametrize(
        "value", ["", "hunter2", "ENC:", "ENC:!!!", "ENC:AAAA", "ENC:é", "enc:" + "A" * 44, "A" * 44]
    )
    def test_malformed_value_is_refused(self, value: str) -> None:
        """What is no encrypted value is never handed out as a password."""
        with pytest.raises(KeyMismatch, match="not an encrypted value"):
            Vault(KEY).decrypt(value, PLACE)

    @pytest.mark.parametrize("index", [0, 12, -1])
    def test_changed_value_does_not_open(self, index: int) -> None:
        """A flipped bit in nonce, ciphertext or tag is noticed."""
        sealed = bytearray(base64.b64decode(Vault(KEY).encrypt("hunter2", PLACE)[4:]))
        sealed[index] ^= 1
        with pytest.raises(KeyMismatch):
            Vault(KEY).decrypt("ENC:" + base64.b64encode(sealed).decode(), PLACE)

    def test_without_a_key_nothing_is_stored(self) -> None:
        with pytest.raises(KeyMismatch, match="storing a secret needs an encryption key"):
            Vault.without_key().encrypt("hunter2", PLACE)

    def test_without_a_key_nothing_is_read(self) -> None:
        with pytest.raises(KeyMismatch, match=f"cannot read {PLACE}"):
            Vault.without_key().decrypt(Vault(KEY).encrypt("hunter2", PLACE), PLACE)

    def test_vault_of_a_found_key_names_its_origin(self) -> None:
        assert repr(Vault.of(FoundKey(KEY, "the safe"))) == "Vault(the safe)"

    @pytest.mark.parametrize("size", [0, 16, 31, 33])
    def test_key_of_wrong_length_is_refused(self, size: int) -> None:
        with pytest.raises(KeyMismatch, match=f"32 bytes, not {size}"):
            Vault(bytes(size))


class TestCheckValue:
    def test_recognises_its_key(self) -> None:
        assert Vault(KEY).matches(Vault(KEY).check_value())

    @pytest.mark.parametrize("vault", [Vault(OTHER_KEY), Vault.without_key()], ids=repr)
    def test_refuses_another_key_and_none(self, vault: Vault) -> None:
        assert not vault.matches(Vault(KEY).check_value())

    def test_is_not_any_encrypted_value(self) -> None:
        """A password of this key, put where the check value lies, does not pass."""
        assert not Vault(KEY).matches(Vault(KEY).encrypt("mail-proxy", PLACE))


class TestFindKey:
    def test_environment_comes_first(self, tmp_path: Path) -> None:
        """Then neither the mounted secret nor the instance's file is looked at."""
        mounted = tmp_path / "secret"
        mounted.write_text(OTHER_TEXT)
        found = find_key({"MAIL_PROXY_ENCRYPTION_KEY": KEY_TEXT}, mounted, secret_file=mounted)
        assert found == FoundKey(KEY, "MAIL_PROXY_ENCRYPTION_KEY")

    def test_mounted_secret_comes_before_the_instance(self, tmp_path: Path) -> None:
        mounted, own = tmp_path / "secret", tmp_path / "encryption.key"
        mounted.write_text(KEY_TEXT)
        own.write_text(OTHER_TEXT)
        assert find_key({}, own, secret_file=mounted) == FoundKey(KEY, str(mounted))

    def test_own_file_is_last(self, tmp_path: Path, nowhere: Path) -> None:
        own = tmp_path / "encryption.key"
        own.write_text(KEY_TEXT)
        assert find_key({}, own, secret_file=nowhere) == FoundKey(KEY, str(own))

    @pytest.mark.parametrize("environ", [{}, {"MAIL_PROXY_ENCRYPTION_KEY": ""}])
    def test_no_key_anywhere_is_none(self, environ: dict[str, str], nowhere: Path) -> None:
        assert find_key(environ, nowhere, secret_file=nowhere) is None
        assert find_key(environ, None, secret_file=nowhere) is None

    def test_variable_may_name_a_file(self, tmp_path: Path, nowhere: Path) -> None:
        (tmp_path / "mounted").write_text(KEY_TEXT + "\n")
        environ = {"MAIL_PROXY_ENCRYPTION_KEY_FILE": str(tmp_path / "mounted")}
        found = find_key(environ, None, secret_file=nowhere)
        assert found is not None
        assert found.key == KEY

    def test_file_named_by_the_variable_must_exist(self, nowhere: Path) -> None:
        """A forgotten mount is an error, not a reason to take another key."""
        environ = {"MAIL_PROXY_ENCRYPTION_KEY_FILE": str(nowhere)}
        with pytest.raises(KeyMismatch, match="no such file"):
            find_key(environ, None, secret_file=nowhere)

    def test_variable_and_file_together_contradict(self, nowhere: Path) -> None:
        environ = {"MAIL_PROXY_ENCRYPTION_KEY": KEY_TEXT, "MAIL_PROXY_ENCRYPTION_KEY_FILE": "x"}
        with pytest.raises(KeyMismatch, match="both set"):
            find_key(environ, None, secret_file=nowhere)

    @pytest.mark.parametrize(
        "content",
        [
            KEY,
            KEY_TEXT.encode(),
            KEY_TEXT.encode() + b"\n",
            KEY_TEXT.rstrip("=").encode(),
            base64.urlsafe_b64encode(KEY) + b"\r\n",
        ],
        ids=["raw", "base64", "with line break", "without padding", "url-safe"],
    )
    def test_file_holds_raw_bytes_or_base64(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(content)
        found = find_key({}, None, secret_file=tmp_path / "secret")
        assert found is not None
        assert found.key == KEY

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "has 32 bytes, this one has 0"),
            (b"c2hvcnQ=", "has 32 bytes, this one has 5"),
            (b"not base64 at all!", "not an encryption key"),
            (b"\xff" * 40, "not an encryption key"),
            (KEY_TEXT.encode() * 2, "not an encryption key"),
        ],
    )
    def test_malformed_key_is_refused(self, content: bytes, message: str, tmp_path: Path) -> None:
        """The error names the file, and the next place is not tried."""
        mounted, own = tmp_path / "secret", tmp_path / "encryption.key"
        mounted.write_bytes(content)
        own.write_text(KEY_TEXT)
        with pytest.raises(KeyMismatch, match=message) as caught:
            find_key({}, own, secret_file=mounted)
        assert str(mounted) in str(caught.value)

    def test_malformed_variable_is_not_repeated(self, nowhere: Path) -> None:
        """A mistyped key stays out of the logs."""
        with pytest.raises(KeyMismatch) as caught:
            find_key({"MAIL_PROXY_ENCRYPTION_KEY": "almost-a-key?"}, None, secret_file=nowhere)
        assert "almost-a-key" not in str(caught.value)
        assert "MAIL_PROXY_ENCRYPTION_KEY" in str(caught.value)

    def test_unreadable_key_is_an_error_of_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(KeyMismatch, match="Is a directory"):
            find_key({}, None, secret_file=tmp_path)

    def test_key_is_not_in_the_repr(self) -> None:
        assert "key=" not in repr(FoundKey(KEY, "the safe"))


class TestKeyFile:
    def test_is_private_and_found_again(self, tmp_path: Path, nowhere: Path) -> None:
        created = create_key_file(tmp_path / "encryption.key")
        assert stat.S_IMODE((tmp_path / "encryption.key").stat().st_mode) == 0o600
        assert find_key({}, tmp_path / "encryption.key", secret_file=nowhere) == created

    def test_is_never_replaced(self, tmp_path: Path) -> None:
        """Of two processes that make it, both use the first one's key; nothing else is left behind."""
        first = create_key_file(tmp_path / "encryption.key")
        assert create_key_file(tmp_path / "encryption.key") == first
        assert [path.name for path in tmp_path.iterdir()] == ["encryption.key"]

    def test_directory_that_is_missing_is_one_clear_line(self, nowhere: Path) -> None:
        with pytest.raises(InstanceError, match=r"cannot create .*encryption\.key: No such file"):
            create_key_file(nowhere / "encryption.key")


def test_generated_key_is_base64_of_32_bytes() -> None:
    assert len(base64.b64decode(generate_key(), validate=True)) == 32
    assert generate_key() != generate_key()


def test_module_does_not_load_the_library_before_it_is_needed() -> None:
    """Completion runs the program on each Tab; few of its runs meet a secret."""
    code = "import sys, mail_proxy.encryption; print('cryptography' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout.strip() == "False"


class TestTokens:
    def test_new_token_is_43_url_safe_characters(self) -> None:
        token = new_token()
        assert len(token) == 43
        assert set(token) <= set(string.ascii_letters + string.digits + "-_")

    def test_hash_is_sha256_in_hex(self) -> None:
        """The example of FIPS 180-2."""
        assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    @pytest.mark.parametrize(
        ("a", "b", "same"),
        [("x", "x", True), ("x", "y", False), ("x", "", False), ("é", "é", True), ("\udcff", "x", False)],
    )
    def test_comparison(self, a: str, b: str, same: bool) -> None:
        assert same_token(a, b) is same


class TestTracking:
    PK = "12345678-1234-5678-9abc-def012345678"
    tracking = Tracking(b"secret")

    def test_id_is_the_pk_and_16_digits_that_only_the_secret_gives(self) -> None:
        tracking_id = self.tracking.id_for(self.PK)
        assert tracking_id[:32] == "1234567812345678" + "9abcdef012345678"
        assert len(tracking_id) == 48

    @given(pk=st.uuids())
    def test_pk_comes_back(self, pk: uuid.UUID) -> None:
        assert self.tracking.pk_of(self.tracking.id_for(str(pk))) == str(pk)

    def test_id_survives_a_change_of_case(self) -> None:
        """Mail servers may change the case of a return path."""
        assert self.tracking.pk_of(self.tracking.id_for(self.PK).upper()) == self.PK

    @given(text=st.text() | st.text("0123456789abcdef", min_size=48, max_size=48))
    def test_any_other_text_is_none(self, text: str) -> None:
        assert self.tracking.pk_of(text) is None

    def test_id_of_another_instance_is_none(self) -> None:
        assert self.tracking.pk_of(Tracking(b"other").id_for(self.PK)) is None

    def test_id_of_another_message_is_none(self) -> None:
        """The digits of one id do not vouch for another pk."""
        tracking_id = self.tracking.id_for(self.PK)
        assert self.tracking.pk_of("0" + tracking_id[1:]) is None
