"""An instance's directory: private, complete, and never half written."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mail_proxy.errors import InstanceError, InvalidInput
from mail_proxy.instance import Instance, home, list_instances

ROOT = Path(__file__).parents[2]


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    created = Instance.at(tmp_path / "home", "myserver")
    created.create()
    return created


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestHome:
    def test_is_in_the_users_home(self) -> None:
        assert home({}) == Path.home() / ".mail-proxy"

    def test_is_moved_by_the_environment(self) -> None:
        assert home({"MAIL_PROXY_HOME": "/srv/mail"}) == Path("/srv/mail")

    def test_empty_variable_is_not_given(self) -> None:
        assert home({"MAIL_PROXY_HOME": ""}) == home({})

    def test_is_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server changes its working directory."""
        monkeypatch.chdir(tmp_path)
        assert home({"MAIL_PROXY_HOME": "here"}) == tmp_path / "here"


class TestName:
    @pytest.mark.parametrize("name", ["a", "myserver", "0", "a_b-c", "a" * 63])
    def test_valid(self, name: str, tmp_path: Path) -> None:
        assert Instance.at(tmp_path, name).directory == tmp_path / name

    @pytest.mark.parametrize(
        "name", ["", "A", "a.b", "-a", "_a", "a" * 64, "../a", "a/b", "a\n", "a b", "é", "."]
    )
    def test_invalid(self, name: str, tmp_path: Path) -> None:
        """What is no name cannot lead out of the home directory."""
        with pytest.raises(InvalidInput, match="cannot be the name of an instance"):
            Instance.at(tmp_path, name)

    def test_commands_are_reserved(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="'list' cannot be the name of an instance: it is a command"):
            Instance.at(tmp_path, "list", reserved={"list", "start"})


class TestCreate:
    def test_files_are_those_of_the_contract(self, instance: Instance) -> None:
        """Cli.md, Instances and the daemon."""
        names = {
            "config.toml": instance.config_file,
            "mail_service.db": instance.database,
            "token": instance.token_file,
            "encryption.key": instance.key_file,
            "pid": instance.pid_file,
            "server.log": instance.log_file,
            "attachments": instance.attachments,
            "sandbox": instance.sandbox,
        }
        assert {name: instance.directory / name for name in names} == names

    def test_makes_private_directories_and_a_token(self, instance: Instance) -> None:
        assert sorted(path.name for path in instance.directory.iterdir()) == [
            "attachments",
            "sandbox",
            "token",
        ]
        assert mode(instance.directory.parent) == mode(instance.directory) == 0o700
        assert mode(instance.attachments) == mode(instance.sandbox) == 0o700
        assert mode(instance.token_file) == 0o600

    def test_token_is_43_characters(self, instance: Instance) -> None:
        """32 random bytes as URL-safe base64."""
        assert len(instance.read_token()) == 43

    def test_creating_again_changes_nothing(self, instance: Instance) -> None:
        token = instance.read_token()
        instance.create()
        assert instance.read_token() == token

    def test_creating_at_the_same_time_gives_one_token(self, tmp_path: Path) -> None:
        """Whoever reads sees the token that stays."""
        instance = Instance.at(tmp_path, "a")

        def create_and_read(_: int) -> str:
            instance.create()
            return instance.read_token()

        with ThreadPoolExecutor(8) as threads:
            tokens = set(threads.map(create_and_read, range(32)))
        assert tokens == {instance.read_token()}

    def test_home_that_is_a_file_is_one_clear_line(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("")
        with pytest.raises(InstanceError, match=r"^cannot create the instance 'a': (File exists|Not a dir)"):
            Instance.at(tmp_path / "home", "a").create()


class TestToken:
    def test_regenerated_token_replaces_the_old_one(self, instance: Instance) -> None:
        old = instance.read_token()
        new = instance.regenerate_token()
        assert instance.read_token() == new != old
        assert mode(instance.token_file) == 0o600

    def test_line_break_of_an_editor_does_not_count(self, instance: Instance) -> None:
        instance.token_file.write_text("s3cret\n")
        assert instance.read_token() == "s3cret"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty: 'mail-proxy myserver token --regenerate' makes a new token"),
            (b" \n", "is empty"),
            (b"\xff\xfe", "it is not text"),
        ],
    )
    def test_unusable_token_is_one_clear_line(self, content: bytes, message: str, instance: Instance) -> None:
        """An empty token is an error: it would let everybody in."""
        instance.token_file.write_bytes(content)
        with pytest.raises(InstanceError, match=message) as caught:
            instance.read_token()
        assert str(instance.token_file) in str(caught.value)

    def test_token_that_cannot_be_read_is_one_clear_line(self, instance: Instance) -> None:
        instance.token_file.unlink()
        instance.token_file.mkdir()
        with pytest.raises(InstanceError, match=r"^cannot read .*/token: Is a directory$"):
            instance.read_token()

    def test_missing_token_is_one_clear_line(self, tmp_path: Path) -> None:
        with pytest.raises(InstanceError, match=r"^cannot read .*/a/token: No such file or directory$"):
            Instance.at(tmp_path, "a").read_token()


class TestNode:
    def test_id_outlives_the_process(self, instance: Instance) -> None:
        """A restarted server knows the leases of its predecessor as its own."""
        assert instance.node_id() == Instance(instance.name, instance.directory).node_id()
        assert mode(instance.node_file) == 0o600

    def test_ids_of_two_instances_differ(self, instance: Instance, tmp_path: Path) -> None:
        other = Instance.at(tmp_path / "home", "other")
        other.create()
        assert other.node_id() != instance.node_id()

    def test_empty_file_is_replaced(self, instance: Instance) -> None:
        instance.node_file.write_text("")
        assert len(instance.node_id()) == 32
        assert instance.node_id() == instance.node_id()


class TestList:
    def test_of_no_home_is_empty(self, tmp_path: Path) -> None:
        assert list_instances(tmp_path / "nowhere") == []

    def test_is_sorted_and_leaves_out_what_is_no_instance(self, tmp_path: Path) -> None:
        """An instance is a directory with a config.toml or a token."""
        for name in ("b", "a"):
            Instance.at(tmp_path, name).create()
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "config.toml").write_text("")
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("")
        (tmp_path / "Not a name").mkdir()
        (tmp_path / "Not a name" / "token").write_text("x")
        assert [instance.name for instance in list_instances(tmp_path)] == ["a", "b", "c"]

    def test_of_a_home_that_is_a_file_is_one_clear_line(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("")
        with pytest.raises(InstanceError, match="cannot list the instances"):
            list_instances(tmp_path / "home")


class TestPermissions:
    def test_nothing_to_say_of_a_private_directory(self, instance: Instance) -> None:
        assert instance.repair_permissions() == []

    def test_what_was_open_is_closed_with_a_warning(self, instance: Instance) -> None:
        instance.directory.chmod(0o755)
        instance.token_file.chmod(0o644)
        assert instance.repair_permissions() == [
            f"{instance.directory} was open to others (mode 0755); it is now 0700",
            f"{instance.token_file} was open to others (mode 0644); it is now 0600",
        ]
        assert (mode(instance.directory), mode(instance.token_file)) == (0o700, 0o600)

    def test_stricter_permissions_stay(self, instance: Instance) -> None:
        instance.token_file.chmod(0o400)
        assert instance.repair_permissions() == []
        assert mode(instance.token_file) == 0o400

    def test_links_are_not_followed(self, instance: Instance, tmp_path: Path) -> None:
        """A link's target belongs to somebody else."""
        target = tmp_path / "certificate"
        target.write_text("")
        target.chmod(0o644)
        (instance.directory / "link").symlink_to(target)
        assert instance.repair_permissions() == []
        assert mode(target) == 0o644

    def test_a_directory_of_somebody_else_is_a_warning(
        self, instance: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who made it may have put a token of theirs into it, and links."""
        if os.geteuid() == 0:
            os.chown(instance.directory, 4242, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 4242)
        (warning,) = instance.repair_permissions()
        assert warning.startswith(f"{instance.directory} belongs to another user (uid ")

    def test_what_cannot_be_changed_is_a_warning(
        self, instance: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A volume that belongs to another user must not keep the server from starting."""

        def refuse(path: Path, mode: int) -> None:
            raise PermissionError(1, "Operation not permitted", str(path))

        instance.token_file.chmod(0o644)
        monkeypatch.setattr(Path, "chmod", refuse)  # root may change everything
        (warning,) = instance.repair_permissions()
        assert warning.startswith(f"{instance.token_file} may be open to others")
        assert warning.endswith("Operation not permitted")

    def test_missing_directory_is_one_clear_line(self, tmp_path: Path) -> None:
        with pytest.raises(InstanceError, match="cannot read the instance 'a': No such file"):
            Instance.at(tmp_path, "a").repair_permissions()
