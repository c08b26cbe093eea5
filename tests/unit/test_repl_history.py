"""What a session remembers of what was typed, and what it never does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mail_proxy_repl.history import LARGEST, keeps, open_history


@pytest.mark.parametrize(
    "line",
    [
        "messages list --status error",
        "accounts add main --host smtp.acme.com --user bot --password-stdin",
        "tenants update acme --no-webhook-secret --active",
        "tenants update acme --webhook-secret-stdin",
        "token --regenerate",
        "tenants api-key acme --revoke",
        "config set max_retries 3",
        "config unset client_sync_token",
        "proxy.tenants.new_api_key('acme')",
        "sorted(x, key=len)",
        "db copy --to postgresql://host/mail",
        "bypassed = passed + 1",
        "send hello.eml --at 2026-03-01T09:00",
    ],
)
def test_kept(line: str) -> None:
    assert keeps(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " messages list",
        "accounts add main --host h --password hunter2",
        "accounts add main --password=hunter2",
        "accounts add main --imap-password 'hunter 2'",
        "accounts add main --password-stdin --imap-password x",
        "tenants update acme --webhook-secret whsec_x",
        "tenants update acme --auth-token x",
        "storages add f --secret-access-key x",
        "storages add f --account-key x",
        "storages add f --sas-token x",
        "config set client_sync_token abc",
        "config set client_sync_password abc",
        "db copy --to postgresql://ann:hunter2@host/mail",
        "db copy --to postgresql://ann@server:hunter2@host/mail",
        "db copy --to postgresql://ann:hunter/2@host/mail",
        "proxy.accounts.update('main', password='hunter2')",
        "auth_password = 'hunter2'",
        "PASSWORD = 'x'",
        "proxy.tenants.add('acme', client_auth={'method': 'bearer', 'token': 'x'})",
        'x = {"secret_access_key": "x"}',
        "for x in y:\n    f(imap_password='x')",
        "fields['password'] = 'x'",
        'setattr(fields, "password", "x")',
        "fields.update([('password', 'x')])",
        "pw = 'x'",
        "accounts update main --pass x",
        "config set -- client_sync_token abc",
        'os.environ["GMP_API_TOKEN"] = "x"',
        'headers = {"Authorization": "Bearer x"}',
    ],
)
def test_not_kept(line: str) -> None:
    assert not keeps(line)


def test_what_is_kept_is_there_next_time_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history" / "myserver"
    history = open_history(path)
    for line in ("stats", "auth_password = 'hunter2'", "for x in y:\n    print(x)"):
        history.append_string(line)
    assert history.get_strings() == ["stats", "for x in y:\n    print(x)"]
    assert list(open_history(path).load_history_strings()) == ["for x in y:\n    print(x)", "stats"]
    assert "hunter2" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_text(tmp_path: Path) -> None:
    """A terminal may send any bytes; the line is kept as far as it can be."""
    history = open_history(tmp_path / "myserver")
    history.append_string("stats \udcff")
    assert list(open_history(tmp_path / "myserver").load_history_strings()) == ["stats ?"]


def test_a_history_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "myserver"
    path.touch(0o644)
    path.chmod(0o644)
    open_history(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "other"
    (tmp_path / "myserver").symlink_to(target)
    open_history(tmp_path / "myserver").append_string("stats")
    assert not target.exists()


def test_where_nothing_can_be_written_it_lasts_for_the_session(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    history = open_history(tmp_path / "state" / "history" / "myserver")
    history.append_string("stats")
    history.append_string("password = 1")
    assert history.get_strings() == ["stats"]


def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "myserver"
    history = open_history(path)
    history.store_string("first")
    for number in range(4):
        history.store_string(f"{number}: {'x' * (LARGEST // 4)}")
    found = [each[0] for each in open_history(path).load_history_strings()]
    assert found == ["3", "2", "1"]
    assert path.stat().st_size < LARGEST


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """The session goes on, and remembers as long as it lasts."""
    os.mkfifo(tmp_path / "history")
    history = open_history(tmp_path / "history")
    history.store_string("stats")
    assert list(history.load_history_strings()) == ["stats"]


def test_a_history_without_end(tmp_path: Path) -> None:
    """No more of it is read than is kept."""
    path = tmp_path / "history"
    path.touch()
    os.truncate(path, 2**40)
    with path.open("ab") as file:
        file.write(b"\n# 2026-01-31\n+stats\n")
    assert list(open_history(path).load_history_strings()) == ["stats"]
