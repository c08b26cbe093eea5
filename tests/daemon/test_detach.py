"""Starting a server that outlives its starter: what is waited for, and what is left when it fails."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.daemon.detach import absolute_paths, choose_free_port, is_free, start_detached
from mail_proxy.errors import InstanceError, StartFailed
from mail_proxy.instance import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance("a", tmp_path / "a")
    made.create()
    return made


def has_ipv6() -> bool:
    """Tell whether this machine has the loopback address of IPv6."""
    try:
        with closing(socket.socket(socket.AF_INET6)) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def program(folder: Path, body: str) -> dict[str, str]:
    """An environment in which the server program is `body`."""
    package = folder / "fake" / "mail_proxy_cli"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()  # without it an installed package of that name would win
    (package / "__main__.py").write_text(body)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(package.parent)}


@pytest.mark.parametrize(
    ("body", "why", "tail"),
    [
        ("import sys; print('Error: no luck', file=sys.stderr); sys.exit(1)", "no luck", ""),
        ("print('last words'); raise SystemExit(3)", "it ended with exit code 3", "last words"),
        ("import os; os.kill(os.getpid(), 9)", "it was ended by signal 9", ""),
    ],
)
def test_a_start_that_fails(instance: Instance, body: str, why: str, tail: str) -> None:
    """The reason, and the end of what this start has written to the log."""
    instance.log_file.write_text("of yesterday\n")
    with pytest.raises(StartFailed) as caught:
        start_detached(instance, [], program(instance.directory, body), timeout=60)
    assert str(caught.value) == f"instance 'a' did not start: {why}"
    assert caught.value.log_tail == tail


def test_what_does_not_answer_is_ended(instance: Instance) -> None:
    """Nothing half alive stays behind, not even what ignores SIGTERM."""
    body = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(StartFailed) as caught:
        start_detached(instance, [], program(instance.directory, body), timeout=3)
    assert "it did not answer within 3 s" in str(caught.value)
    with pytest.raises(ProcessLookupError):
        os.kill(int(caught.value.log_tail), 0)


def test_the_program_is_called_for_its_instance(instance: Instance) -> None:
    """With what it was given and where to say that it is ready; nothing in the root directory is imported."""
    body = "import os, sys; print(*sys.argv[1:], os.getcwd(), sys.flags.safe_path)"
    with pytest.raises(StartFailed) as caught:
        start_detached(instance, ["--port", "1"], program(instance.directory, body), timeout=60)
    *words, descriptor, folder, safe = caught.value.log_tail.split()
    assert words == ["serve", "a", "--port", "1", "--ready-fd"]
    assert descriptor.isdigit()
    assert (folder, safe) == ("/", "True")


def test_paths_mean_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names a file in the environment is made absolute; the rest stays."""
    monkeypatch.chdir(tmp_path)
    given = {
        "GMP_DB_PATH": "mail.db",
        "GMP_API_TOKEN_FILE": "secrets/token",
        "MAIL_PROXY_ENCRYPTION_KEY_FILE": "/run/key",
        "GMP_DATABASE_URL": "postgresql://h/d",
        "PYTHONPATH": "src:/lib",
        "OTHER_FILE": "x",
    }
    assert absolute_paths(given, tmp_path / "home") == {
        "GMP_DB_PATH": f"{tmp_path}/mail.db",
        "GMP_API_TOKEN_FILE": f"{tmp_path}/secrets/token",
        "MAIL_PROXY_ENCRYPTION_KEY_FILE": "/run/key",
        "GMP_DATABASE_URL": "postgresql://h/d",
        "PYTHONPATH": f"{tmp_path}/src:/lib",
        "OTHER_FILE": "x",
        "MAIL_PROXY_HOME": f"{tmp_path}/home",
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", *(["::1"] if has_ipv6() else [])])
def test_the_next_free_port(host: str) -> None:
    """A taken one is passed over."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(host, port)
        assert choose_free_port(host, port) > port


@pytest.mark.parametrize(
    ("host", "said"),
    [("no.such.host.invalid", "no.such.host.invalid"), ("192.0.2.1", "cannot listen on 192.0.2.1:0")],
)
def test_an_address_that_is_not_ours(host: str, said: str) -> None:
    """It is told apart from a taken port."""
    with pytest.raises(InstanceError, match=said):
        is_free(host, 0)
