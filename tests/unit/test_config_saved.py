"""Settings written to a config.toml: what is read back, what is kept, and what is refused."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.config import change_settings, load_config, save_settings
from mail_proxy.errors import InvalidConfig

Save = Callable[[Path, Mapping[str, object]], object]

WITH_PASSWORD = "postgresql://gmp:hunter2@db.example/mail"


class TestSave:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "config.toml"

    @pytest.mark.parametrize(
        ("key", "given", "line"),
        [
            ("port", 9000, "port = 9000"),
            ("port", "9000", "port = 9000"),
            ("debug", "on", "debug = true"),
            ("debug", False, "debug = false"),
            ("smtp_data_timeout", "1.5", "smtp_data_timeout = 1.5"),
            ("smtp_data_timeout", 60, "smtp_data_timeout = 60"),
            ("retry_delays", "60,300", "retry_delays = [60, 300]"),
            ("default_priority", "high", "default_priority = 1"),
            ("client_sync_user", 'a "b" \\ è', r'client_sync_user = "a \"b\" \\ è"'),
            ("db_path", Path("/var/lib/mail.db"), 'db_path = "/var/lib/mail.db"'),
            ("allowed_networks", "10.0.0.0/8", 'allowed_networks = ["10.0.0.0/8"]'),
        ],
    )
    def test_value_is_written_as_toml_and_read_back(
        self, key: str, given: object, line: str, path: Path
    ) -> None:
        save_settings(path, {key: given})
        assert path.read_text(encoding="utf-8") == line + "\n"
        assert load_config(path.parent, {}, {}).source(key) == "config.toml"

    def test_file_is_private_and_alone(self, path: Path) -> None:
        """Nothing temporary stays beside it."""
        save_settings(path, {"port": 9000})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_other_keys_and_comments_stay(self, path: Path) -> None:
        path.write_text('# ours\nhost = "::1"  # v6\nport = 1\n\ndebug = true\n')
        save_settings(path, {"port": 2, "log_format": "json"})
        assert path.read_text() == (
            '# ours\nhost = "::1"  # v6\nport = 2\n\ndebug = true\nlog_format = "json"\n'
        )

    def test_none_takes_a_key_out(self, path: Path) -> None:
        path.write_text("port = 1\ndebug = true\n")
        save_settings(path, {"port": None, "host": None})
        assert path.read_text() == "debug = true\n"

    @pytest.mark.parametrize(
        "old",
        [
            "retry_delays = [\n  60,  # one\n  300,\n]\nport = 1\n",
            '"port" = 1\nretry_delays = [60, 300]\n',
            "port = 1\r\nretry_delays = [60, 300]",
        ],
    )
    def test_layout_that_a_person_chose_is_understood(self, old: str, path: Path) -> None:
        """Several lines, quoted keys, other line ends: the values are what counts."""
        path.write_bytes(old.encode())
        save_settings(path, {"port": 2})
        config = load_config(path.parent, {}, {})
        assert (config.port, config.retry_delays) == (2, (60, 300))

    def test_array_over_several_lines_can_be_replaced(self, path: Path) -> None:
        path.write_text("retry_delays = [\n  60,\n  300,\n]\nport = 1\n")
        save_settings(path, {"retry_delays": [1]})
        config = load_config(path.parent, {}, {})
        assert (config.port, config.retry_delays) == (1, (1,))

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("prot", "1", "prot: there is no such setting; did you mean port"),
            ("port", "x", "port: 'x' is not allowed: use a whole number from 0 to 65535"),
            ("api_token", "x", "api_token: a secret does not belong in config.toml"),
            ("database_url", WITH_PASSWORD, "database_url: a secret does not belong in config.toml"),
        ],
    )
    def test_what_would_be_refused_is_not_written(
        self, key: str, value: str, message: str, path: Path
    ) -> None:
        path.write_text("port = 1\n")
        with pytest.raises(InvalidConfig, match=f"^{message}"):
            save_settings(path, {key: value})
        assert path.read_text() == "port = 1\n"

    def test_malformed_file_is_left_alone(self, path: Path) -> None:
        path.write_text("port 1\n")
        with pytest.raises(InvalidConfig, match="not valid TOML"):
            save_settings(path, {"port": 2})
        assert path.read_text() == "port 1\n"

    @pytest.mark.parametrize("save", [save_settings, lambda path, it: change_settings(path.parent, {}, it)])
    def test_of_several_at_once_none_is_lost(self, save: Save, path: Path) -> None:
        """Each reads what is there, and writes it with its own setting."""
        changes = [
            {key: 70}
            for key in (
                "port",
                "max_concurrent_sends",
                "sync_interval",
                "batch_size_per_account",
                "max_body_mb",
            )
        ]
        with ThreadPoolExecutor(len(changes)) as people:
            for _ in range(5):
                path.unlink(missing_ok=True)
                list(people.map(save, repeat(path), changes))
                assert tomllib.loads(path.read_text()).keys() == {key for change in changes for key in change}

    @given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z", "Cf", "Co", "Cn"]), min_size=1))
    def test_any_printable_text_survives(self, text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("save") / "config.toml"
        save_settings(path, {"client_sync_user": text})
        assert load_config(path.parent, {}, {}).client_sync_user == text
