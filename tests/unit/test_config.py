"""Settings: which value wins, which are refused and how, and what may be written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proxy.config import (
    SETTINGS,
    Config,
    describe_settings,
    load_config,
    masked_url,
)
from mail_proxy.errors import InvalidConfig
from mail_proxy.model.messages import Priority
from mail_proxy.settings import without_password

WITH_PASSWORD = "postgresql://gmp:hunter2@db.example/mail"


def of_environment(environ: Mapping[str, str]) -> Config:
    return load_config(None, environ, {})


def of_file(directory: Path, text: str) -> Config:
    (directory / "config.toml").write_text(text, encoding="utf-8")
    return load_config(directory, {}, {})


def refusal_of(environ: Mapping[str, str]) -> str:
    with pytest.raises(InvalidConfig) as caught:
        of_environment(environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refusal_of_file(directory: Path, text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        of_file(directory, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestPrecedence:
    def test_defaults_are_those_of_the_contract(self) -> None:
        """Operations.md, Configuration and delivery.md."""
        config = Config()
        assert (config.host, config.port) == ("127.0.0.1", 8000)
        assert (config.send_loop_interval, config.default_priority, config.smtp_data_timeout) == (5, 2, 300)
        assert (config.batch_size_per_account, config.max_concurrent_sends) == (50, 100)
        assert (config.max_concurrent_per_account, config.max_enqueue_batch) == (10, 1000)
        assert (config.max_retries, config.retry_delays) == (5, (60, 300, 900, 3600, 7200))
        assert (config.smtp_connect_timeout, config.smtp_command_timeout) == (30, 60)
        assert (config.smtp_data_timeout, config.smtp_final_timeout) == (300, 600)
        assert (config.log_level, config.log_format) == ("INFO", "text")

    def test_nothing_given_is_all_defaults(self, tmp_path: Path) -> None:
        """A directory without config.toml is as good as none."""
        assert load_config(tmp_path, {}, {}) == load_config(None, {}, {}) == Config()

    @pytest.mark.parametrize(
        ("option", "environ", "port", "source"),
        [
            (1, {"GMP_PORT": "2"}, 1, "option"),
            (None, {"GMP_PORT": "2"}, 2, "environment GMP_PORT"),
            (None, {"GMP_PORT": ""}, 3, "config.toml"),
            (None, {}, 3, "config.toml"),
        ],
    )
    def test_option_environment_file_default(
        self, option: int | None, environ: dict[str, str], port: int, source: str, tmp_path: Path
    ) -> None:
        """The first one given wins, and `source` tells which; an empty variable is not given."""
        (tmp_path / "config.toml").write_text("port = 3\n")
        config = load_config(tmp_path, environ, {"port": option})
        assert (config.port, config.source("port")) == (port, source)
        assert config.source("host") == "default"

    def test_variables_of_other_versions_are_ignored(self) -> None:
        assert of_environment({"GMP_NOT_YET_INVENTED": "1"}) == Config()

    def test_where_a_value_came_from_does_not_matter_to_equality(self) -> None:
        assert of_environment({"GMP_PORT": "8000"}) == Config()

    @pytest.mark.parametrize("name", ["GMP_SCHEDULER_ACTIVE", "GMP_START_ACTIVE"])
    def test_scheduler_has_two_names(self, name: str) -> None:
        config = of_environment({name: "false"})
        assert (config.scheduler_active, config.source("scheduler_active")) == (False, f"environment {name}")

    def test_config_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            Config().port = 1  # type: ignore[misc]  # what is tested


class TestMountedSecrets:
    def test_variable_may_name_a_file(self, tmp_path: Path) -> None:
        """What surrounds the secret in the file is dropped."""
        (tmp_path / "secret").write_text(" s3cret \n")
        config = of_environment({"GMP_API_TOKEN_FILE": str(tmp_path / "secret")})
        assert (config.api_token, config.source("api_token")) == ("s3cret", "environment GMP_API_TOKEN")

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        refusal = refusal_of({"GMP_API_TOKEN_FILE": str(tmp_path / "nowhere")})
        assert refusal == f"GMP_API_TOKEN_FILE: cannot read {tmp_path}/nowhere: No such file or directory"

    def test_file_that_is_not_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"\xff\xfe")
        assert "is not text" in refusal_of({"GMP_API_TOKEN_FILE": str(tmp_path / "secret")})

    def test_empty_file_is_not_an_empty_token(self, tmp_path: Path) -> None:
        """An empty token would let everybody in."""
        (tmp_path / "secret").write_text("\n")
        assert "not empty" in refusal_of({"GMP_API_TOKEN_FILE": str(tmp_path / "secret")})

    def test_variable_and_file_together_contradict(self) -> None:
        assert "keep one of them" in refusal_of({"GMP_PORT": "1", "GMP_PORT_FILE": "x"})


class TestValues:
    @pytest.mark.parametrize("word", ["true", "1", "yes", "on", "True", " ON "])
    def test_true(self, word: str) -> None:
        assert of_environment({"GMP_DEBUG": word}).debug is True

    @pytest.mark.parametrize("word", ["false", "0", "no", "off", "No"])
    def test_false(self, word: str) -> None:
        assert of_environment({"GMP_SCHEDULER_ACTIVE": word}).scheduler_active is False

    @pytest.mark.parametrize(("word", "priority"), [("immediate", 0), ("High", 1), ("medium", 2), ("3", 3)])
    def test_priority_is_a_word_or_a_number(self, word: str, priority: int) -> None:
        assert of_environment({"GMP_DEFAULT_PRIORITY": word}).default_priority == priority

    @pytest.mark.parametrize("priority", Priority)
    def test_every_priority_of_the_model_has_its_word(self, priority: Priority) -> None:
        assert of_environment({"GMP_DEFAULT_PRIORITY": priority.name}).default_priority == priority

    def test_lists_are_separated_by_commas(self) -> None:
        config = of_environment({"GMP_RETRY_DELAYS": "1, 2.5", "GMP_ALLOWED_NETWORKS": "10.0.0.0/8,fd00::/8"})
        assert config.retry_delays == (1.0, 2.5)
        assert config.allowed_networks == ("10.0.0.0/8", "fd00::/8")

    def test_level_is_read_in_any_case(self) -> None:
        assert of_environment({"GMP_LOG_LEVEL": "warning"}).log_level == "WARNING"

    @pytest.mark.parametrize(
        ("text", "key", "value"),
        [
            ("port = 9", "port", 9),
            ('port = "9"', "port", 9),
            ("smtp_data_timeout = 1", "smtp_data_timeout", 1.0),
            ("debug = true", "debug", True),
            ("debug = 1", "debug", True),
            ("retry_delays = [1, 2.5]", "retry_delays", (1.0, 2.5)),
            ("allowed_networks = []", "allowed_networks", ()),
            ('client_sync_user = "è"', "client_sync_user", "è"),
        ],
    )
    def test_file_holds_typed_values(self, text: str, key: str, value: object, tmp_path: Path) -> None:
        assert getattr(of_file(tmp_path, text), key) == value

    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("GMP_PORT", "http", "a whole number from 0 to 65535"),
            ("GMP_PORT", "65536", "a whole number from 0 to 65535"),
            ("GMP_PORT", "80.5", "a whole number from 0 to 65535"),
            ("GMP_PORT", "1_000", "a whole number from 0 to 65535"),
            ("GMP_PORT", "9" * 5000, "a whole number from 0 to 65535"),
            ("GMP_DEFAULT_PRIORITY", "urgent", "from 0 to 3, or immediate, high, medium, low"),
            ("GMP_MAX_RETRIES", "-1", "a whole number from 0"),
            ("GMP_MAX_BODY_MB", "0", "a whole number of MB from 1"),
            ("GMP_SMTP_DATA_TIMEOUT", "nan", "a number of seconds from 0.01"),
            ("GMP_SMTP_DATA_TIMEOUT", "inf", "a number of seconds from 0.01"),
            ("GMP_SEND_LOOP_INTERVAL", "0", "a number of seconds from 0.01"),
            ("GMP_RETRY_DELAYS", "60;300", "one or more numbers, separated by commas, of seconds"),
            ("GMP_RETRY_DELAYS", "60,", "one or more numbers, separated by commas, of seconds"),
            ("GMP_DEBUG", "maybe", "true or false"),
            ("GMP_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
            ("GMP_LOG_FORMAT", "xml", "text, json"),
            ("GMP_HOST", "http://localhost", "a host name or an address"),
            ("GMP_INSTANCE_NAME", "My Server", "a-z, 0-9"),
            ("GMP_DATABASE_URL", "mysql://db/mail", "postgresql://"),
            ("GMP_DATABASE_URL", "postgresql://db:port/mail", "postgresql://"),
            ("GMP_DATABASE_URL", "postgresql://[::1/mail", "postgresql://"),
            ("GMP_DB_PATH", "postgresql://db/mail", "database_url"),
            ("GMP_CLIENT_SYNC_URL", "ftp://app/", "http://"),
            ("GMP_CLIENT_SYNC_URL", "http://", "http://"),
            ("GMP_CLIENT_SYNC_URL", "http://user@app/", "without user name"),
            ("GMP_ALLOWED_NETWORKS", "10.0.0.1/8", "networks such as 10.0.0.0/8"),
            ("GMP_CLIENT_SYNC_USER", "a\nb", "in one line"),
            ("GMP_CLIENT_SYNC_USER", "\udcff", "in one line"),
        ],
    )
    def test_bad_value_is_named_with_what_is_allowed(self, name: str, value: str, allowed: str) -> None:
        refusal = refusal_of({name: value})
        assert refusal.startswith(f"{name}: {repr(value)[:90]}")
        assert allowed in refusal

    @pytest.mark.parametrize(
        "text",
        [
            "port = true", "port = 1.5", "port = 1979-05-27", "debug = 2", "debug = 1.0", "host = 1",
            'host = ""', "retry_delays = []", "retry_delays = 60", "retry_delays = [[1]]",
            "smtp_data_timeout = inf", "allowed_networks = [1]", "[port]\nx = 1",
        ],
    )  # fmt: skip
    def test_value_of_the_wrong_type_is_refused_with_its_place(self, text: str, tmp_path: Path) -> None:
        assert f" in {tmp_path}/config.toml: " in refusal_of_file(tmp_path, text)

    def test_all_faults_are_told_at_once(self) -> None:
        with pytest.raises(InvalidConfig) as caught:
            of_environment({"GMP_PORT": "x", "GMP_DEBUG": "y"})
        assert [fault.loc for fault in caught.value.faults] == [("GMP_PORT",), ("GMP_DEBUG",)]

    def test_bad_option_is_named_as_the_user_wrote_it(self) -> None:
        with pytest.raises(InvalidConfig, match=r"^--max-retries: 'x' is not allowed"):
            load_config(None, {}, {"max_retries": "x"})

    @given(text=st.text(), key=st.sampled_from(sorted(SETTINGS)))
    def test_any_text_is_a_value_or_an_error_of_ours(self, text: str, key: str) -> None:
        """No value of a variable ends in a traceback."""
        try:
            of_environment({f"GMP_{key.upper()}": text})
        except InvalidConfig as error:
            assert "\n" not in str(error)  # noqa: PT017 - most texts raise, none may raise otherwise


class TestFile:
    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("prot = 1", "prot in {}: there is no such setting; did you mean port?"),
            ("GMP_PORT = 1", "GMP_PORT in {}: there is no such setting; did you mean port?"),
            ("zzz = 1", "zzz in {}: there is no such setting"),
        ],
    )
    def test_unknown_key_is_refused(self, text: str, hint: str, tmp_path: Path) -> None:
        assert refusal_of_file(tmp_path, text) == hint.format(tmp_path / "config.toml")

    def test_malformed_file_names_the_line(self, tmp_path: Path) -> None:
        refusal = refusal_of_file(tmp_path, 'host = "a"\nport 8000\ndebug = true\n')
        assert refusal.startswith(f"{tmp_path}/config.toml is not valid TOML: ")
        assert "line 2" in refusal

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"x = " + b"[" * 50_000], ids=["not UTF-8", "too deep"])
    def test_file_that_cannot_be_parsed_is_one_line(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "config.toml").write_bytes(content)
        with pytest.raises(InvalidConfig, match=r"config\.toml is not"):
            load_config(tmp_path, {}, {})

    @pytest.mark.parametrize(
        ("text", "variable"),
        [
            ('api_token = "hunter2"', "GMP_API_TOKEN"),
            ('client_sync_token = "hunter2"', "GMP_CLIENT_SYNC_TOKEN"),
            ('client_sync_password = "hunter2"', "GMP_CLIENT_SYNC_PASSWORD"),
            (f'database_url = "{WITH_PASSWORD}"', "GMP_DATABASE_URL"),
            ('database_url = "postgresql://db/mail?password=hunter2"', "GMP_DATABASE_URL"),
        ],
    )
    def test_secrets_do_not_belong_there(self, text: str, variable: str, tmp_path: Path) -> None:
        """The error names the variable to use, and not the secret."""
        refusal = refusal_of_file(tmp_path, text)
        assert f"give it as {variable} or {variable}_FILE" in refusal
        assert "hunter2" not in refusal

    def test_a_login_in_the_url_of_reports_is_refused_wherever_it_is_given(self, tmp_path: Path) -> None:
        """No post could be made with it: the login has settings of its own."""
        url = "https://u:hunter2@app.example/"
        for refusal in (
            refusal_of({"GMP_CLIENT_SYNC_URL": url}),
            refusal_of_file(tmp_path, f'client_sync_url = "{url}"'),
        ):
            assert "without user name" in refusal
            assert "hunter2" not in refusal

    def test_database_url_without_a_password_may_be_there(self, tmp_path: Path) -> None:
        config = of_file(tmp_path, 'database_url = "postgresql://gmp@db.example:5432/mail"')
        assert config.database_url == "postgresql://gmp@db.example:5432/mail"


class TestDatabase:
    def test_sqlite_unless_a_url_is_given(self) -> None:
        assert not Config().uses_postgres
        assert not of_environment({"GMP_DB_PATH": "/var/lib/mail.db"}).uses_postgres
        assert of_environment({"GMP_DATABASE_URL": WITH_PASSWORD}).uses_postgres

    def test_the_one_of_higher_precedence_wins(self, tmp_path: Path) -> None:
        """A path in the environment is not overruled by a URL in the file."""
        (tmp_path / "config.toml").write_text('database_url = "postgresql://db/mail"\n')
        config = load_config(tmp_path, {"GMP_DB_PATH": "/var/lib/mail.db"}, {})
        assert (config.db_path, config.database_url) == (Path("/var/lib/mail.db"), None)
        assert config.source("database_url") == "default"

    def test_both_in_one_place_contradict(self) -> None:
        refusal = refusal_of({"GMP_DB_PATH": "/var/lib/mail.db", "GMP_DATABASE_URL": WITH_PASSWORD})
        assert refusal == "database_url: db_path is given as well (environment GMP_DB_PATH): keep one of them"

    def test_path_in_the_file_is_relative_to_the_instance(self, tmp_path: Path) -> None:
        """The server works in another directory than the shell that wrote it."""
        assert of_file(tmp_path, 'db_path = "other.db"').db_path == tmp_path / "other.db"

    def test_path_in_the_environment_is_relative_to_the_caller(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert of_environment({"GMP_DB_PATH": "other.db"}).db_path == tmp_path / "other.db"

    def test_home_of_nobody_is_one_clear_line(self) -> None:
        assert refusal_of({"GMP_DB_PATH": "~nobody-of-that-name/x.db"}).startswith(
            "db_path: cannot tell where"
        )


class TestSecrecy:
    @pytest.mark.parametrize(
        ("url", "masked"),
        [
            (WITH_PASSWORD, "postgresql://gmp:***@db.example/mail"),
            ("postgresql://gmp@db.example:5432/mail", "postgresql://gmp@db.example:5432/mail"),
            ("postgresql://db.example:5432/mail", "postgresql://db.example:5432/mail"),
            ("postgresql://u:p@ss/w:rd@h1,h2:5433/mail", "postgresql://u:***@h1,h2:5433/mail"),
            ("postgresql://:p@h/mail", "postgresql://:***@h/mail"),
            ("postgresql://h/mail?user=u&password=p&x=1", "postgresql://h/mail?user=u&password=***&x=1"),
            ("postgresql://h/mail?sslpassword=p", "postgresql://h/mail?sslpassword=***"),
            ("postgresql://h/mail?password=p#q&x=1", "postgresql://h/mail?password=***&x=1"),
            ("postgresql://u@[::1]:5432/mail", "postgresql://u@[::1]:5432/mail"),
            ("/var/lib/mail.db", "/var/lib/mail.db"),
            ("", ""),
        ],
    )
    def test_password_in_a_url_is_masked(self, url: str, masked: str) -> None:
        assert masked_url(url) == masked

    @pytest.mark.parametrize(
        ("url", "without"),
        [
            (WITH_PASSWORD, "postgresql://gmp@db.example/mail"),
            ("postgresql://db.example/mail?password=x&a=b&sslpassword=y", "postgresql://db.example/mail?a=b"),
            ("postgresql://gmp@db.example/mail", "postgresql://gmp@db.example/mail"),
        ],
    )
    def test_password_in_a_url_is_left_out(self, url: str, without: str) -> None:
        assert without_password(url) == without

    @given(
        user=st.sampled_from(["u", "u@server", "domain/u", "u?", "u#1", "u v"]),
        password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    )
    def test_no_password_gets_through_the_mask(self, user: str, password: str) -> None:
        """Whatever its characters and those of the name before it, escaped or not."""
        assert masked_url(f"postgresql://{user}:{password}@h/d") == f"postgresql://{user}:***@h/d"
        assert without_password(f"postgresql://{user}:{password}@h/d") == f"postgresql://{user}@h/d"

    @pytest.mark.parametrize(
        "environ",
        [
            {"GMP_API_TOKEN": "hunter2"},
            {"GMP_CLIENT_SYNC_TOKEN": "hunter2"},
            {"GMP_CLIENT_SYNC_PASSWORD": "hunter2"},
            {"GMP_DATABASE_URL": WITH_PASSWORD},
        ],
    )
    def test_secrets_are_masked_in_every_output(self, environ: dict[str, str]) -> None:
        config = of_environment(environ)
        assert "hunter2" not in repr(config)
        assert not any("hunter2" in config.shown(key) for key in SETTINGS)

    def test_refused_secret_is_not_repeated(self) -> None:
        assert "hunter2" not in refusal_of({"GMP_API_TOKEN": "hunter2\n"})
        assert "hunter2" not in refusal_of({"GMP_DATABASE_URL": "mysql://u:hunter2@db/mail"})

    @pytest.mark.parametrize(
        ("key", "shown"),
        [
            ("port", "8000"), ("db_path", ""), ("api_token", ""), ("debug", "false"),
            ("smtp_data_timeout", "300"), ("retry_delays", "60,300,900,3600,7200"), ("allowed_networks", ""),
            ("log_level", "INFO"),
        ],
    )  # fmt: skip
    def test_values_are_shown_as_a_variable_would_hold_them(self, key: str, shown: str) -> None:
        assert Config().shown(key) == shown

    def test_what_is_shown_can_be_given_again(self) -> None:
        """`config show` and the variables speak one language."""
        shown = {entry.env[0]: entry.shown(entry.default) for entry in describe_settings()}
        assert of_environment(shown) == Config()


class TestDescription:
    def test_every_field_is_described(self) -> None:
        """Documentation is made from the declarations: each has its variable and a sentence."""
        declared = {field.name for field in dataclasses.fields(Config)} - {"sources"}
        described = {entry.key: entry for entry in describe_settings()}
        assert set(described) == declared
        assert all(entry.env[0] == f"GMP_{key.upper()}" for key, entry in described.items())
        assert all(entry.doc.endswith(".") and entry.allowed for entry in described.values())

    def test_defaults_are_allowed_values(self) -> None:
        for entry in describe_settings():
            assert entry.default is None or entry.read(entry.default) == entry.default
