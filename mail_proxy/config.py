"""Every setting, and where its value comes from: option, environment, config.toml, default.

Read here alone, at start and on SIGHUP, into one frozen `Config`. Documentation, man pages and
``config show`` are made from the declarations below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from mail_proxy.errors import Fault, InvalidConfig, InvalidInput
from mail_proxy.files import one_at_a_time
from mail_proxy.instance import Instance, read_toml, write_toml
from mail_proxy.model.names import is_instance_name
from mail_proxy.settings import METADATA, Setting, masked_url, setting

__all__ = [
    "CONFIG_FILE",
    "SETTINGS",
    "Config",
    "change_settings",
    "describe_settings",
    "load_config",
    "masked_url",
    "reload_config",
    "save_settings",
]

CONFIG_FILE = "config.toml"
OPTION = "option"
ENVIRONMENT = "environment"

_SHORTEST = 0.01  # seconds; a wait of nothing would be a busy loop
_PRIORITIES = ("immediate", "high", "medium", "low")  # those of model.messages, which is slow to load
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _is_postgres_url(text: str) -> bool:
    return text.startswith(("postgresql://", "postgres://")) and _has_valid_host(text)


def _is_http_url(text: str) -> bool:
    parts = urlsplit(text)
    return (
        text.startswith(("http://", "https://"))
        and bool(parts.hostname)
        and "@" not in parts.netloc  # a login has settings of its own
        and _has_valid_host(text)
    )


def _has_valid_host(url: str) -> bool:
    parts = urlsplit(url)
    return "," in parts.netloc or parts.port is None or parts.port > 0  # `port` raises ValueError


def _is_network(text: str) -> bool:
    import ipaddress

    ipaddress.ip_network(text)  # raises ValueError
    return True


def _is_host(text: str) -> bool:
    return re.search(r"[\s/@]", text) is None


_seconds = partial(setting, unit="seconds", minimum=_SHORTEST, reloadable=True)
_count = partial(setting, minimum=1, reloadable=True)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config:
    """The values in force. `sources` tells for each key where its value came from."""

    host: str = setting(
        "127.0.0.1", "Address the API listens on.", form="a host name or an address", check=_is_host
    )
    port: int = setting(8000, "TCP port the API listens on; 0 is any free one.", minimum=0, maximum=65535)
    db_path: Path | None = setting(  # noqa: RUF009 - it makes a dataclass field
        None,
        "SQLite database file; by default mail_service.db in the instance's directory.",
        form="a path (a PostgreSQL URL belongs in database_url)",
        check=lambda text: "://" not in text,
    )
    database_url: str | None = setting(
        None,
        "PostgreSQL database, instead of SQLite. A URL with a password is given by the environment.",
        form="postgresql://user@host:port/database (a path belongs in db_path)",
        check=_is_postgres_url,
    )
    api_token: str | None = setting(
        None, "Admin token; by default the instance's token file.", secret=True, reloadable=True
    )
    instance_name: str | None = setting(
        None,
        "Name of the instance that `serve` runs when it is given none.",
        form="a-z, 0-9, '-' and '_', at most 63, beginning with a letter or a digit",
        check=is_instance_name,
    )
    scheduler_active: bool = setting(
        True,
        "Whether messages are dispatched from the start; false takes them in only.",
        env=("GMP_START_ACTIVE",),
    )
    test_mode: bool = setting(False, "Dispatch and report only on run-now.")
    send_loop_interval: float = _seconds(5, "Time between the dispatcher's back-up polls.")
    default_priority: int = setting(
        2,
        "Priority of a message that names none; 0 is the most urgent.",
        minimum=0,
        maximum=3,
        choices=_PRIORITIES,
        reloadable=True,
    )
    batch_size_per_account: int = _count(
        50, "Messages of one account sent before the others have their turn."
    )
    max_concurrent_sends: int = _count(100, "Messages this node sends at a time.")
    max_concurrent_per_account: int = _count(10, "Connections to one account's server at a time.")
    max_enqueue_batch: int = _count(1000, "Messages taken in one request.")
    max_body_mb: int = setting(64, "Size of a request's body.", unit="MB", minimum=1)
    max_retries: int = setting(
        5, "Attempts after the first, then the message fails.", minimum=0, reloadable=True
    )
    retry_delays: tuple[float, ...] = _seconds(
        (60.0, 300.0, 900.0, 3600.0, 7200.0), "Waits before each further attempt; the last one repeats."
    )
    max_account_wait: float = _seconds(
        86_400, "Time for which a message waits for an account that cannot be used; then it fails."
    )
    smtp_connect_timeout: float = _seconds(30, "Time to connect to an SMTP server, TLS included.")
    smtp_command_timeout: float = _seconds(60, "Time for the reply to an SMTP command.")
    smtp_data_timeout: float = _seconds(
        300, "Time for an SMTP server to take the next piece of a message, 64 KB."
    )
    smtp_final_timeout: float = _seconds(600, "Time for the reply to the final dot (RFC 5321).")
    max_inflight_mb: int = setting(256, "Message bytes in memory while sending.", unit="MB", minimum=1)
    client_sync_url: str | None = setting(
        None,
        "Where the reports of tenants without a base URL go.",
        form="http://… or https://…, without user name",
        check=_is_http_url,
        reloadable=True,
    )
    client_sync_token: str | None = setting(
        None, "Bearer token for client_sync_url.", secret=True, reloadable=True
    )
    client_sync_user: str | None = setting(None, "User for client_sync_url.", reloadable=True)
    client_sync_password: str | None = setting(
        None, "Password for client_sync_url.", secret=True, reloadable=True
    )
    sync_interval: float = _seconds(
        300, "Time after which an application is posted to although there is nothing to report."
    )
    allowed_networks: tuple[str, ...] = setting(
        (),
        "Private networks that the addresses given by tenants may reach.",
        form="networks such as 10.0.0.0/8, separated by commas",
        check=_is_network,
        reloadable=True,
    )
    auth_failure_limit: int = setting(
        10,
        "Unknown tokens a minute from one address before they are refused with 429; 0 is no limit.",
        minimum=0,
        maximum=1000,
        reloadable=True,
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Proxies before the API, whose X-Forwarded-For names the client.",
        form="addresses or networks such as 10.0.0.0/8, separated by commas",
        check=_is_network,
        reloadable=True,
    )
    log_level: str = setting("INFO", "Least level that is logged.", choices=_LOG_LEVELS, reloadable=True)
    log_format: str = setting("text", "Form of the log lines.", choices=("text", "json"), reloadable=True)
    delivery_report_retention_seconds: float = _seconds(
        604_800, "Time for which a message is kept after all that became of it was reported."
    )
    command_log_retention_seconds: float = _seconds(
        2_592_000, "Time for which the command log keeps what was asked of the API."
    )
    log_delivery_activity: bool = setting(False, "Log each message's way at INFO.", reloadable=True)
    debug: bool = setting(False, "Show the whole traceback of an error, in commands.", reloadable=True)

    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={self.shown(key)!r}" for key in SETTINGS if key in self.sources)
        return f"Config({given})"

    @property
    def uses_postgres(self) -> bool:
        return self.database_url is not None

    def admin_token(self, instance: Instance) -> str:
        """Return the token given, else the instance's own; raise InstanceError."""
        return self.api_token or instance.read_token()

    def source(self, key: str) -> str:
        """Tell where a value came from: option, environment NAME, config.toml or default."""
        return self.sources.get(key, "default")

    def shown(self, key: str) -> str:
        """Render a value for people, secrets masked; what is not set is empty."""
        return SETTINGS[key].shown(getattr(self, key))


def _declared() -> Iterator[tuple[str, Setting]]:
    for entry in fields(Config):
        if (declared := entry.metadata.get(METADATA)) is not None:
            names = (f"GMP_{entry.name.upper()}", *declared.env)
            yield entry.name, replace(declared, key=entry.name, kind=str(entry.type), env=names)


SETTINGS: Mapping[str, Setting] = MappingProxyType(dict(_declared()))


def describe_settings() -> tuple[Setting, ...]:
    """Return every setting in the order of declaration, for documentation."""
    return tuple(SETTINGS.values())


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that somebody gave, unchecked; `where` is how an error calls it."""

    value: object
    source: str
    where: str


def load_config(
    directory: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] = MappingProxyType({})
) -> Config:
    """Read all settings. `overrides` are options by key, None for those not given.

    Raises InvalidConfig with a fault for each unknown key and value that is not allowed.
    """
    file = read_toml(directory / CONFIG_FILE) if directory else {}
    return _loaded(file, directory, environ, overrides)


def _loaded(
    file: Mapping[str, object],
    directory: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
) -> Config:
    faults = [_unknown(key, _in_file(key, directory)) for key in file if key not in SETTINGS]
    faults += [_unknown(key, _as_option(key)) for key in overrides if key not in SETTINGS]
    values: dict[str, Any] = {}  # checked against each field's type by Setting.read
    sources: dict[str, str] = {}
    for key, declared in SETTINGS.items():
        try:
            given = _given(declared, overrides, environ, file, directory)
            if given is not None:
                values[key], sources[key] = _checked(declared, given), given.source
        except InvalidConfig as error:
            faults += error.faults
    if faults:
        raise InvalidConfig.of(faults)
    _choose_database(values, sources)
    _complete_path(values, sources, directory)
    return replace(Config(), **values, sources=MappingProxyType(sources))


def reload_config(current: Config, fresh: Config) -> tuple[Config, tuple[str, ...]]:
    """Return `current` with what may change in a running server taken from `fresh`.

    The second value names the settings that differ but need a restart.
    """
    changed = [key for key in SETTINGS if getattr(current, key) != getattr(fresh, key)]
    applied = {key: getattr(fresh, key) for key in changed if SETTINGS[key].reloadable}
    sources = {
        key: source
        for key, declared in SETTINGS.items()
        if (source := (fresh if declared.reloadable else current).sources.get(key)) is not None
    }
    config = replace(current, **applied, sources=MappingProxyType(sources))
    return config, tuple(key for key in changed if key not in applied)


def save_settings(path: Path, changes: Mapping[str, object]) -> None:
    """Set keys in a config.toml, as text or typed; None takes one out. The others stay.

    Raises InvalidConfig for what `load_config` would refuse there, and InstanceError if it cannot be written.
    """
    with one_at_a_time(path.parent):
        write_toml(path, _changed(read_toml(path), changes))


def change_settings(directory: Path, environ: Mapping[str, str], changes: Mapping[str, object]) -> Config:
    """Do as `save_settings`, unless the configuration as a whole could not be loaded then; return that.

    Raises InvalidConfig and writes nothing for what cannot be, InstanceError if it cannot be written. A key
    that is no setting may be taken out where the file has it.
    """
    path = directory / CONFIG_FILE
    with one_at_a_time(directory):
        values = _changed(read_toml(path), changes)
        config = _loaded(values, directory, environ, {})
        write_toml(path, values)
    return config


def _changed(file: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return what the file holds after the changes; None takes a key out."""
    values = dict(file)
    for key, value in changes.items():
        if key not in SETTINGS and not (value is None and key in values):
            raise InvalidConfig.of([_unknown(key, key)])
        if value is None:
            values.pop(key, None)
        else:
            values[key] = _checked(SETTINGS[key], _Given(value, CONFIG_FILE, key))
    return values


def _given(
    declared: Setting,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    file: Mapping[str, object],
    directory: Path | None,
) -> _Given | None:
    key = declared.key
    if (option := overrides.get(key)) is not None:
        return _Given(option, OPTION, _as_option(key))
    for name in declared.env:
        if (text := _from_environment(name, environ)) is not None:
            return _Given(text, f"{ENVIRONMENT} {name}", name)
    if key in file:
        return _Given(file[key], CONFIG_FILE, _in_file(key, directory))
    return None


def _from_environment(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a variable, or what its _FILE holds; an empty variable counts as not given."""
    text, file = environ.get(name), environ.get(f"{name}_FILE")
    if text and file:
        raise _fault(name, f"{name}_FILE is set as well: keep one of them")
    if not file:
        return text or None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _fault(f"{name}_FILE", f"cannot read {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise _fault(f"{name}_FILE", f"cannot read {file}: it is not text") from error


def _checked(declared: Setting, given: _Given) -> object:
    try:
        value = declared.read(given.value)
    except (ValueError, OverflowError):
        shown = "what it holds" if declared.secret else repr(declared.shown(given.value))[:100]
        raise _fault(given.where, f"{shown} is not allowed: use {declared.allowed}") from None
    if given.source == CONFIG_FILE and declared.holds_secret(given.value):
        name = declared.env[0]
        raise _fault(
            given.where, f"a secret does not belong in {CONFIG_FILE}: give it as {name} or {name}_FILE"
        )
    return value


_RANKS = (OPTION, ENVIRONMENT, CONFIG_FILE)


def _choose_database(values: dict[str, Any], sources: dict[str, str]) -> None:
    """Let the database named with the higher precedence win; two of the same are a contradiction."""
    if "db_path" not in values or "database_url" not in values:
        return
    ranks = {key: _RANKS.index(sources[key].partition(" ")[0]) for key in ("db_path", "database_url")}
    if ranks["db_path"] == ranks["database_url"]:
        raise _fault("database_url", f"db_path is given as well ({sources['db_path']}): keep one of them")
    loser = max(ranks, key=ranks.__getitem__)
    del values[loser], sources[loser]


def _complete_path(values: dict[str, Any], sources: dict[str, str], directory: Path | None) -> None:
    """Make db_path absolute: the server changes its directory, config.toml speaks of its own."""
    path = values.get("db_path")
    if isinstance(path, Path):
        base = directory if directory and sources["db_path"] == CONFIG_FILE else Path()
        try:
            values["db_path"] = (base / path.expanduser()).absolute()
        except RuntimeError as error:
            raise _fault("db_path", f"cannot tell where {path} is: {error}") from error


def _as_option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _in_file(key: str, directory: Path | None) -> str:
    return f"{key} in {directory / CONFIG_FILE}" if directory else key


def _fault(where: str, message: str) -> InvalidInput:
    return InvalidConfig.of([Fault((where,), message)])


def _unknown(key: str, where: str) -> Fault:
    import difflib

    near = difflib.get_close_matches(key.lower().removeprefix("gmp_"), SETTINGS, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return Fault((where,), f"there is no such setting{hint}", "unknown_key")
