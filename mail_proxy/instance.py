"""An instance's directory: its files, their permissions, and the little that is kept in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mail_proxy.errors import InstanceError, InvalidConfig, InvalidInput
from mail_proxy.files import create_private, read_small, reporting, write_private
from mail_proxy.model.names import is_instance_name

HOME_VARIABLE = "MAIL_PROXY_HOME"

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700

_NODE_BYTES = 16


def home(environ: Mapping[str, str]) -> Path:
    """Return the directory that holds all instances of this user, as an absolute path."""
    moved = environ.get(HOME_VARIABLE)
    try:
        root = Path(moved).expanduser() if moved else Path.home() / ".mail-proxy"
    except RuntimeError as error:
        raise InstanceError(f"cannot tell the home directory: {error}; set {HOME_VARIABLE}") from error
    return root.absolute()


@dataclass(frozen=True, slots=True)
class Instance:
    """One named server and the directory it owns (contract: cli.md, Instances and the daemon)."""

    name: str
    directory: Path

    @classmethod
    def at(cls, home: Path, name: str, *, reserved: Container[str] = ()) -> Instance:
        """Name an instance, which may not exist yet.

        Raises InvalidInput for what cannot be a name, among them the words in `reserved`.
        """
        if not is_instance_name(name):
            raise InvalidInput(
                f"'{name}' cannot be the name of an instance: use a-z, 0-9, '-' and '_', at most 63, "
                "beginning with a letter or a digit"
            )
        if name in reserved:
            raise InvalidInput(f"'{name}' cannot be the name of an instance: it is a command")
        return cls(name, home / name)

    @property
    def config_file(self) -> Path:
        return self.directory / "config.toml"

    @property
    def database(self) -> Path:
        return self.directory / "mail_service.db"

    @property
    def token_file(self) -> Path:
        return self.directory / "token"

    @property
    def key_file(self) -> Path:
        return self.directory / "encryption.key"

    @property
    def node_file(self) -> Path:
        return self.directory / "node"

    @property
    def pid_file(self) -> Path:
        return self.directory / "pid"

    @property
    def log_file(self) -> Path:
        return self.directory / "server.log"

    @property
    def attachments(self) -> Path:
        return self.directory / "attachments"

    @property
    def sandbox(self) -> Path:
        return self.directory / "sandbox"

    def exists(self) -> bool:
        """Tell whether the directory is there and looks like an instance's."""
        return _exists(self.config_file) or _exists(self.token_file)

    def create(self) -> None:
        """Make the directory and what belongs in it; what is there already stays as it is."""
        with reporting(f"cannot create the instance '{self.name}'"):
            self.directory.parent.parent.mkdir(parents=True, exist_ok=True)
            for directory in (self.directory.parent, self.directory, self.attachments, self.sandbox):
                directory.mkdir(PRIVATE_DIRECTORY, exist_ok=True)
        if not _exists(self.token_file):
            create_private(self.token_file, _new_token())

    def read_token(self) -> str:
        """Return the admin token; InstanceError if it is missing, unreadable or empty."""
        token = _read_line(self.token_file)
        if not token:
            raise InstanceError(
                f"{self.token_file} is empty: 'mail-proxy {self.name} token --regenerate' makes a new token"
            )
        return token

    def regenerate_token(self) -> str:
        """Replace the admin token and return the new one."""
        write_private(self.token_file, token := _new_token())
        return token

    def node_id(self) -> str:
        """Return the id under which this directory's server owns leases.

        It outlives the process, so that a restarted server frees what its predecessor had claimed.
        """
        if not _exists(self.node_file):
            create_private(self.node_file, os.urandom(_NODE_BYTES).hex())
        return _read_line(self.node_file) or self._renewed_node_id()

    def _renewed_node_id(self) -> str:
        write_private(self.node_file, node := os.urandom(_NODE_BYTES).hex())
        return node

    def repair_permissions(self) -> list[str]:
        """Take away what others may do here (contract: security.md, Files); return a warning for each."""
        found = [_restrict(path, allowed) for path, allowed in self._guarded()]
        return [warning for warning in (_foreign(self.directory), *found) if warning is not None]

    def loose_permissions(self) -> list[str]:
        """Say what `repair_permissions` would warn of; nothing is changed."""
        found = [_foreign(self.directory)]
        for path, allowed in self._guarded():
            mode = _excess(path, allowed)
            if mode is not None:
                found.append(f"{path} is open to others (mode {mode:04o})")
        return [warning for warning in found if warning is not None]

    def _guarded(self) -> Iterator[tuple[Path, int]]:
        yield self.directory, PRIVATE_DIRECTORY
        with reporting(f"cannot read the instance '{self.name}'"):
            entries = sorted(self.directory.iterdir())
        for entry in entries:
            yield entry, PRIVATE_DIRECTORY if entry.is_dir() else PRIVATE_FILE


def list_instances(home: Path) -> list[Instance]:
    """Return the instances under `home`, by name; none when there is no such directory."""
    with reporting(f"cannot list the instances in {home}"):
        try:
            names = sorted(entry.name for entry in home.iterdir() if is_instance_name(entry.name))
        except FileNotFoundError:
            return []
    return [instance for name in names if (instance := Instance(name, home / name)).exists()]


def read_toml(path: Path) -> dict[str, object]:
    """Return what a TOML file holds, nothing if there is no file; InvalidConfig if it is not TOML."""
    with reporting(f"cannot read {path}"):
        try:
            text = read_small(path)
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError as error:
            raise InvalidConfig(f"{path} is not text in UTF-8 (byte {error.start})") from error
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidConfig(f"{path} is not valid TOML: {error}") from error


def write_toml(path: Path, values: Mapping[str, object]) -> None:
    """Write a flat TOML file; lines of `path` whose value stays the same are kept, comments too."""
    values = {key: _plain(value) for key, value in values.items()}
    with reporting(f"cannot read {path}"):
        old = read_small(path) if path.exists() else ""
    text = _edited_toml(old, values)
    if _parsed(text) != values:  # an array over several lines, for instance: then all is written anew
        text = "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    write_private(path, text)


def _edited_toml(old: str, values: Mapping[str, object]) -> str:
    before = _parsed(old) or {}
    missing = dict(values)
    lines = []
    for line in old.splitlines():
        key = line.partition("=")[0].strip()
        if key in before and key not in values:
            continue
        if key in missing:
            value = missing.pop(key)
            lines.append(line if before.get(key) == value else f"{key} = {_toml(value)}")
        else:
            lines.append(line)
    lines += [f"{key} = {_toml(value)}" for key, value in missing.items()]
    return "".join(f"{line}\n" for line in lines)


def _parsed(text: str) -> dict[str, object] | None:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:.15g}" if value == int(value) else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    import json

    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _new_token() -> str:
    from mail_proxy.encryption import new_token  # late: completion needs no hashes

    return new_token()


def _read_line(path: Path) -> str:
    with reporting(f"cannot read {path}"):
        try:
            return read_small(path).strip()
        except UnicodeDecodeError as error:
            raise InstanceError(f"cannot read {path}: it is not text") from error


def _exists(path: Path) -> bool:
    """Like Path.exists, but what may not be looked at is an error and not an absence."""
    with reporting(f"cannot look at {path}"):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def _foreign(directory: Path) -> str | None:
    """Warn of a directory made by somebody else, who knows the token in it and can open it again."""
    owner = directory.stat().st_uid
    if owner in (os.geteuid(), 0):
        return None
    return f"{directory} belongs to another user (uid {owner}), who may read and change all that is in it"


def _excess(path: Path, allowed: int) -> int | None:
    """Return the mode of a file that allows more than this; None for one that does not, or is gone."""
    try:
        status = path.lstat()
    except FileNotFoundError:  # a temporary file that has just been put in its place
        return None
    mode = stat.S_IMODE(status.st_mode)
    return mode if mode & ~allowed and not stat.S_ISLNK(status.st_mode) else None


def _restrict(path: Path, allowed: int) -> str | None:
    """Narrow the mode of one file; what belongs to another user (a mounted volume) is only warned of."""
    try:
        mode = _excess(path, allowed)
        if mode is None:
            return None
        path.chmod(mode & allowed)
    except FileNotFoundError:
        return None
    except OSError as error:
        return (
            f"{path} may be open to others, and its permissions cannot be changed: {error.strerror or error}"
        )
    return f"{path} was open to others (mode {mode:04o}); it is now {mode & allowed:04o}"
