"""``rotate-key``: every secret has a new key, or the old one; the instance can be opened at any moment."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

import asyncpg
import pytest

from mail_proxy.encryption import KEY_VARIABLE, FoundKey, Vault, decode_key, generate_key, write_next_key
from mail_proxy.store.rekey import rekey
from mail_proxy.store.store import open_database
from tests.support.cli import PROGRAM, TIMEOUT, Cli, QuickCli
from tests.support.everything import be_seen
from tests.support.keyed import FIRST_KEY, NAME, instance_of, make_keyed, opens
from tests.support.stores import target_of
from tests.support.terminal import Terminal
from tests.support.waiting import until

POLL = 0.02


def key_files(cli: Cli) -> list[str]:
    return sorted(path.name for path in instance_of(cli).directory.glob("encryption.key*"))


def key_of(cli: Cli) -> str:
    return instance_of(cli).key_file.read_text().strip()


def test_a_key_of_the_instance_itself_is_replaced(quick: QuickCli) -> None:
    """Nothing is left of the old one, and no key is shown."""
    make_keyed(quick)
    old = key_of(quick)

    done = quick(NAME, "rotate-key", "--force")

    assert (done.code, done.out) == (0, "")
    assert done.err == f"encrypted 6 secrets anew; the new key is in {instance_of(quick).key_file}\n"
    assert key_of(quick) not in (old, "", done.err)
    assert opens(quick)
    assert not opens(quick, **{KEY_VARIABLE: old})
    assert key_files(quick) == ["encryption.key"]
    assert instance_of(quick).key_file.stat().st_mode & 0o777 == 0o600


def test_it_asks_before(quick: QuickCli) -> None:
    """Where it cannot, it does nothing, and shows no key for nothing."""
    make_keyed(quick, by_environment=True)

    done = quick(NAME, "rotate-key")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Error: Encrypt all secrets of '{NAME}' anew? There is no terminal to ask on")
    assert opens(quick)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_key_that_was_given_is_printed_before_anything_is_changed(
    quick: QuickCli, request: pytest.FixtureRequest, engine: str
) -> None:
    """Alone on standard output; from then on nothing opens without it."""
    make_keyed(quick, request.getfixturevalue(f"{engine}_url"), by_environment=True)

    done = quick(NAME, "rotate-key", "--force")

    assert done.code == 0
    new = decode_key(done.out, "printed")
    assert len(new.key) == 32
    assert f"This new key will replace the one from {KEY_VARIABLE}: keep it now.\n" in done.err
    assert "needs the new key from now on" in done.err
    assert opens(quick, **{KEY_VARIABLE: done.out.strip()})
    refused = quick(NAME, "info")
    assert (refused.code, f"the key from {KEY_VARIABLE} is not the one" in refused.err) == (1, True)
    assert key_files(quick) == []


def test_on_a_terminal_the_key_is_seen_before_the_question(cli: Cli) -> None:
    """Who says no has changed nothing; who says yes has the key."""
    make_keyed(cli, by_environment=True)
    with Terminal(cli, NAME, "rotate-key") as terminal:
        terminal.wait_for("keep it now")
        terminal.answer("anew?", "n")
        assert terminal.end() == 1
        assert terminal.screen.endswith("nothing was done")
    assert opens(cli)
    with Terminal(cli, NAME, "rotate-key") as terminal:
        terminal.answer("anew?", "y")
        assert terminal.end() == 0
        assert opens(cli, **{KEY_VARIABLE: terminal.lines[0]})


def test_a_new_key_may_be_given(quick: QuickCli) -> None:
    """Then none is shown; one that is none, and the one in use, are refused."""
    make_keyed(quick)
    new = generate_key()
    rotate = (NAME, "rotate-key", "--new-key-stdin", "--force")

    assert quick(*rotate, stdin="short\n").err.startswith("Error: the new key: not an encryption key")
    assert quick(*rotate, stdin="").err.startswith("Error: the new key: ")
    assert "the new key is the one in use" in quick(*rotate, stdin=key_of(quick)).err
    done = quick(*rotate, stdin=f"{new}\n")

    assert (done.code, done.out) == (0, "")
    assert key_of(quick) == new
    assert opens(quick)


def test_secrets_that_cannot_be_read_are_named(quick: QuickCli) -> None:
    """Before anything is asked, and nothing is changed."""
    make_keyed(quick)
    old = key_of(quick)
    with closing(sqlite3.connect(instance_of(quick).database, isolation_level=None)) as raw:
        raw.execute("UPDATE tenants SET enc_webhook_secret = 'ENC:AAAA' WHERE id = 'acme'")

    done = quick(NAME, "rotate-key")

    assert done.code == 1
    assert "these secrets cannot be read: tenants/acme/webhook_secret; set them anew" in done.err
    assert key_of(quick) == old
    assert key_files(quick) == ["encryption.key"]


def test_without_a_key_there_is_none_to_change(quick: QuickCli, postgres_url: str) -> None:
    quick.environ["GMP_DATABASE_URL"] = postgres_url
    quick.instance(NAME)

    done = quick(NAME, "rotate-key", "--force")

    assert (done.code, "there is no key to change yet" in done.err) == (1, True)


def test_other_servers_are_named_and_must_be_stopped(quick: QuickCli, postgres_url: str) -> None:
    """They would go on with the old key."""
    make_keyed(quick, postgres_url)
    asyncio.run(be_seen(postgres_url))

    done = quick(NAME, "rotate-key", "--force")

    assert (done.code, done.out) == (1, "")
    assert "servers are at work on this database: yours@there (pid 1); stop them" in done.err
    assert opens(quick)


def test_the_instances_own_server_that_died_is_not_waited_for(quick: QuickCli, postgres_url: str) -> None:
    """It counts as alive for half a minute, but its process is gone."""
    make_keyed(quick, postgres_url)
    with subprocess.Popen(["true"]) as ended:
        ended.wait(TIMEOUT)
    asyncio.run(be_seen(postgres_url, f"{NAME}@{socket.gethostname()}", ended.pid))

    assert quick(NAME, "rotate-key", "--force").code == 0


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_running_server_goes_on_with_the_new_key(
    cli: Cli, request: pytest.FixtureRequest, engine: str
) -> None:
    """It is stopped after what it is sending, and started again where it was."""
    make_keyed(cli, request.getfixturevalue(f"{engine}_url") if engine == "postgres" else None)
    cli.ok("start", NAME)
    before = cli("status", NAME, "--json").json()

    done = cli(NAME, "rotate-key", "--force")

    assert done.code == 0, done.err
    environ = {KEY_VARIABLE: done.out.strip()} if engine == "postgres" else {}
    after = cli("status", NAME, "--json", env=environ).json()
    assert (after["state"], after["port"]) == ("running", before["port"])
    assert after["pid"] != before["pid"]
    assert opens(cli, **environ)
    cli.environ |= environ
    cli.ok(NAME, "acme", "run-now")


def test_a_server_that_was_stopped_in_vain_runs_on(cli: Cli, postgres_url: str) -> None:
    """Another was started meanwhile: nothing is changed, and its own is started again with the old key."""
    make_keyed(cli, postgres_url)
    cli.ok("start", NAME)
    pid = cli("status", NAME, "--json").json()["pid"]
    with Terminal(cli, NAME, "rotate-key") as terminal:
        terminal.wait_for("anew?")
        asyncio.run(be_seen(postgres_url))
        terminal.enter("y")
        assert terminal.end() == 1
        assert "yours@there" in terminal.screen
    after = cli("status", NAME, "--json").json()
    assert (after["state"], after["pid"] != pid) == ("running", True)
    assert opens(cli)


@contextmanager
def rotating(cli: Cli) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command, and kill it when the block ends."""
    process = subprocess.Popen(
        [*PROGRAM, NAME, "rotate-key", "--force"],
        env=cli.environ,
        cwd=cli.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=TIMEOUT)


def test_killed_before_the_transaction_the_old_key_counts(cli: Cli) -> None:
    """The new one lies beside it already; the next change leaves nothing of it."""
    make_keyed(cli)
    old = key_of(cli)
    with closing(sqlite3.connect(instance_of(cli).database, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")  # what the command waits for
        with rotating(cli) as process:
            until(lambda: len(key_files(cli)) == 2, "the new key")
            assert process.poll() is None
        raw.execute("ROLLBACK")

    assert (key_of(cli), len(key_files(cli))) == (old, 2)
    assert opens(cli)
    cli.ok(NAME, "rotate-key", "--force")
    assert key_files(cli) == ["encryption.key"]
    assert opens(cli)


def test_killed_after_the_transaction_the_new_key_counts(quick: QuickCli) -> None:
    """Whoever opens the instance first puts it into its place: here two at once."""
    make_keyed(quick)
    old = key_of(quick)
    new = decode_key(generate_key(), "new")
    write_next_key(instance_of(quick).key_file, new)
    asyncio.run(change(str(instance_of(quick).database), decode_key(old, "old"), new))

    assert key_of(quick) == old
    commands = [
        subprocess.Popen([*PROGRAM, NAME, "info"], env=quick.environ, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [command.wait(TIMEOUT) for command in commands] == [0, 0]
    assert decode_key(key_of(quick), "file").key == new.key
    assert key_files(quick) == ["encryption.key"]
    assert opens(quick)


async def change(url: str, old: FoundKey, new: FoundKey) -> None:
    """What the command does last before it puts the key into its place."""
    async with open_database(target_of(url), url) as database:
        await rekey(database, Vault.of(old), Vault.of(new), is_over=lambda _: True, since=0.0)


def test_killed_in_the_transaction_the_old_key_counts(cli: Cli, postgres_url: str) -> None:
    """The database undoes it; the key that was printed is of no use, and nothing needs it."""
    make_keyed(cli, postgres_url)
    asyncio.run(_kill_in_transaction(cli, postgres_url))

    assert opens(cli, **{KEY_VARIABLE: FIRST_KEY})


async def _kill_in_transaction(cli: Cli, url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            # The last of the rows that it changes is held: all others are changed, and nothing is committed.
            await connection.execute("SELECT 1 FROM settings WHERE key = 'instance' FOR UPDATE")
            with rotating(cli) as process:
                waiting = (
                    "SELECT COUNT(*) FROM pg_locks "
                    "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
                )
                while not await connection.fetchval(waiting):
                    assert process.poll() is None
                    await asyncio.sleep(POLL)
    finally:
        await connection.close()


def test_a_server_starts_with_what_a_killed_change_has_left(cli: Cli) -> None:
    """Not only commands put the key into its place."""
    make_keyed(cli)
    new = decode_key(generate_key(), "new")
    write_next_key(instance_of(cli).key_file, new)
    asyncio.run(change(str(instance_of(cli).database), decode_key(key_of(cli), "old"), new))

    cli.ok("start", NAME)

    assert decode_key(key_of(cli), "file").key == new.key
