"""Which database an instance works on: it stays the same one, whatever a later shell knows."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli import Cli


def test_a_database_given_as_a_path(cli: Cli, tmp_path: Path) -> None:
    """An SQLite file may lie elsewhere; it is remembered."""
    cli.ok("start", "a", "--database-url", tmp_path / "other.db")
    assert (tmp_path / "other.db").exists()
    assert not (cli.home / "a" / "mail_service.db").exists()
    cli.ok("restart", "a")
    assert f'db_path = "{tmp_path / "other.db"}"' in (cli.home / "a" / "config.toml").read_text()


def test_a_database_named_by_the_environment_is_remembered(cli: Cli, tmp_path: Path) -> None:
    """A shell that lacks the variable takes no other database for the instance's."""
    there = Cli(cli.root, {"GMP_DB_PATH": str(tmp_path / "other.db")})
    there.ok("start", "a")
    there.ok("a", "tenants", "add", "acme")
    assert '"acme"' in cli.ok("a", "tenants", "list", "--json")
    assert not (cli.home / "a" / "mail_service.db").exists()


def test_of_a_database_url_all_is_remembered_but_the_password(cli: Cli) -> None:
    """So a command without it is told that the database refuses, instead of working on an empty one."""
    url = "postgresql://gmp:hunter2@127.0.0.1:1/mail?sslpassword=hunter2&application_name=a"
    done = Cli(cli.root, {"GMP_DATABASE_URL": url})("start", "a")
    kept = (cli.home / "a" / "config.toml").read_text()
    assert done.code == 1
    assert 'database_url = "postgresql://gmp@127.0.0.1:1/mail?application_name=a"' in kept
    assert "hunter2" not in kept + done.err
