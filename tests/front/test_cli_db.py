"""``db version|upgrade|backup|copy``: looking after the database while servers run, and moving it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mail_proxy.encryption import KEY_VARIABLE
from mail_proxy.store.migration import current_version, migrate_sqlite, migrations
from tests.support.cli import Cli, QuickCli
from tests.support.everything import be_seen, dump
from tests.support.keyed import NAME, instance_of, make_keyed, opens
from tests.support.server import Client
from tests.support.stores import Bench, open_store
from tests.support.terminal import Terminal

NEWEST = current_version()
EML = "From: bot@acme.test\nTo: ann@example.test\nSubject: Hi\n\nHello\n"


@pytest.fixture
def shop(quick: QuickCli, database_url: str) -> QuickCli:
    """An instance with secrets in every place, on either engine."""
    make_keyed(quick, database_url)
    return quick


def make_older(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        migrate_sqlite(raw, str(path), upto=version)


def test_the_version_of_a_database(shop: QuickCli) -> None:
    """With the names of the columns that a program can rely on, too."""
    shown = dict(re.split(r"  +", line) for line in shop.ok(NAME, "db", "version").splitlines())
    assert shown["schema version"] == shown["this program"] == str(NEWEST)
    assert shown["engine"].startswith(("SQLite 3.", "PostgreSQL "))
    assert "missing" in shown
    assert "problems" not in shown
    found = shop(NAME, "db", "version", "--json").json()
    assert found["database"] == shown["database"]
    assert (found["version"], found["newest"], found["missing"], found["problems"]) == (
        NEWEST,
        NEWEST,
        [],
        [],
    )


def test_looking_at_the_version_makes_nothing(quick: QuickCli) -> None:
    """A database that is not there is empty."""
    quick.instance(NAME)

    done = quick(NAME, "db", "version")

    assert done.code == 0
    assert "schema version  none: it is empty" in done.out
    assert f"'mail-proxy {NAME} db upgrade' takes the missing steps" in done.err
    assert not instance_of(quick).database.exists()


def test_an_older_database_is_upgraded_step_by_step(quick: QuickCli) -> None:
    """And only by 'upgrade': 'version' and 'backup' leave it as it is."""
    quick.instance(NAME)
    make_older(instance_of(quick).database, 2)
    steps = [step.title for step in migrations()][2:]
    quick.ok(NAME, "db", "backup", "older.db")

    assert quick(NAME, "db", "version", "--json").json()["missing"] == steps
    assert quick.ok(NAME, "db", "upgrade").splitlines() == [
        *(f"took step {step}" for step in steps),
        f"database {instance_of(quick).database} has now schema version {NEWEST}",
    ]
    assert "already has schema version" in quick.ok(NAME, "db", "upgrade")
    assert quick(NAME, "db", "version", "--json").json()["missing"] == []
    backup = quick(NAME, "db", "version", "--json", env={"GMP_DB_PATH": "older.db"}).json()
    assert backup["version"] == 2


def test_a_newer_database_is_refused_and_left_alone(quick: QuickCli) -> None:
    """Its version is told all the same."""
    quick.instance(NAME)
    quick.ok(NAME, "db", "upgrade")
    with closing(sqlite3.connect(instance_of(quick).database, isolation_level=None)) as raw:
        raw.execute(f"INSERT INTO schema_version VALUES ({NEWEST + 1}, 'later', 'x', 0)")

    refused = quick(NAME, "db", "upgrade")
    shown = quick(NAME, "db", "version")

    assert (refused.code, "was written by a newer version; upgrade mail-proxy" in refused.err) == (1, True)
    assert (shown.code, shown.err) == (
        0,
        "a newer mail-proxy has written this database: upgrade mail-proxy\n",
    )
    assert f"schema version  {NEWEST + 1}" in shown.out


def test_a_backup_can_be_used_in_place_of_the_database(shop: QuickCli) -> None:
    """Of either engine it is a SQLite file, which an instance can work with, given the key."""
    done = shop(NAME, "db", "backup", "backup.db")

    assert done.code == 0
    assert re.fullmatch(r"backed up to backup\.db \(\d+\.\d MB\)\n", done.out)
    assert re.fullmatch(
        r"keep (/.*/encryption\.key|its encryption key) as well, but not in the same place\n", done.err
    )
    (shop.root / "backup.db").rename(shop.root / "restored.db")
    environ = {"GMP_DATABASE_URL": "", "GMP_DB_PATH": str(shop.root / "restored.db")}
    assert opens(shop, **environ)
    assert "'acme'" in str(shop(NAME, "tenants", "list", "--json", env=environ).json())


def test_what_comes_after_a_return_is_not_taken_for_what_is_known(shop: QuickCli) -> None:
    """What happens in a database that was put back has other numbers than what has happened since then."""
    returned = {"GMP_DATABASE_URL": "", "GMP_DB_PATH": str(shop.root / "backup.db")}

    def happens(**environ: str) -> list[int]:
        words = (NAME, "acme", "send", "-", "--id", "since", "--account", "main")
        assert shop(*words, stdin=EML, env=environ).code == 0
        events = shop(NAME, "acme", "messages", "events", "since", "--json", env=environ).json()
        return [event["event_id"] for event in events]

    shop.ok(NAME, "db", "backup", "backup.db")
    known = happens()

    assert known
    assert min(happens(**returned)) > max(known)


def test_a_backup_replaces_nothing_unasked(quick: QuickCli) -> None:
    """Nor what cannot be replaced at all."""
    make_keyed(quick)
    taken = quick.root / "taken.db"
    taken.write_text("mine")

    refused = quick(NAME, "db", "backup", "taken.db")
    assert (refused.code, taken.read_text()) == (2, "mine")
    assert refused.err.startswith("Error: Replace taken.db? There is no terminal to ask on: give --force")
    quick.ok(NAME, "db", "backup", "taken.db", "--force")
    assert taken.read_bytes().startswith(b"SQLite format 3")

    itself = quick(NAME, "db", "backup", instance_of(quick).database, "--force")
    assert (itself.code, "is the database itself" in itself.err) == (1, True)
    nowhere = quick(NAME, "db", "backup", "nowhere/b.db")
    assert (nowhere.code, "No such file or directory" in nowhere.err) == (1, True)
    assert opens(quick)


@contextmanager
def submitting(client: Client) -> Iterator[list[str]]:
    """Submit messages one after the other for the length of the block; their ids."""
    ids: list[str] = []
    over = threading.Event()

    def submit() -> None:
        while not over.is_set():
            name = f"m{len(ids)}"
            fields = {"id": name, "account_id": "main", "from": "a@example.org", "to": ["b@example.org"]}
            client.post("/commands/add-messages", {"messages": [fields | {"subject": "s", "body": "b"}]})
            ids.append(name)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_backups_while_a_server_works(cli: Cli, request: pytest.FixtureRequest, engine: str) -> None:
    """Each is sound and holds what was taken in before it began; the server is not disturbed."""
    make_keyed(cli, request.getfixturevalue(f"{engine}_url") if engine == "postgres" else None)
    cli.ok("start", NAME)
    port = cli("status", NAME, "--json").json()["port"]
    key = cli.ok(NAME, "tenants", "api-key", "acme").strip()
    known = []
    with closing(Client("127.0.0.1", port, key)) as client:
        with submitting(client) as ids:
            for number in range(3):
                before = len(ids)
                cli.ok(NAME, "db", "backup", f"backup-{number}.db")
                known.append((before, len(ids)))
        waiting = cli.ok(NAME, "acme", "messages", "list", "--limit", "1000", "--json")

    assert ids
    for number, (before, after) in enumerate(known):
        held = asyncio.run(dump(str(cli.root / f"backup-{number}.db")))
        assert before <= len(held["messages"]) <= after + 1
        assert len(held["payloads"]) == len(held["messages"])
    assert waiting.count('"id"') == len(ids)


def test_everything_moves_to_postgres(cli: Cli, postgres_url: str) -> None:
    """With what is printed and nothing else, the server goes on there with the messages and secrets."""
    make_keyed(cli)
    (cli.root / "hello.eml").write_text("From: a@example.org\nTo: b@example.org\nSubject: s\n\nhello\n")
    cli.ok(NAME, "acme", "send", "hello.eml", "--account", "main")
    url = postgres_url.replace("postgres@", "postgres:hunter2@")

    done = cli(NAME, "db", "copy", "--to", url, "--switch")

    assert done.code == 0, done.err
    masked = postgres_url.replace("postgres@", "postgres:***@")
    assert re.fullmatch(rf"copied \d+ rows from /.*/mail_service\.db to {re.escape(masked)}\n", done.out)
    kept = (instance_of(cli).directory / "config.toml").read_text()
    assert (f'database_url = "{postgres_url}"' in kept, "hunter2" in kept + done.out + done.err) == (
        True,
        False,
    )
    assert "give the whole URL as GMP_DATABASE_URL" in done.err
    name, _, value = done.err.partition(": set ")[2].partition(", or")[0].partition("=")
    assert (name, value) == (f"{KEY_VARIABLE}_FILE", str(instance_of(cli).key_file))

    assert cli("start", NAME).code == 1, "without the key"
    cli.environ |= {"GMP_DATABASE_URL": url, name: value}
    cli.ok("start", NAME)
    assert opens(cli)
    [moved] = cli(NAME, "acme", "messages", "list", "--json").json()
    cli.ok(NAME, "acme", "run-now")
    assert cli("status", NAME, "--json").json()["database"] == "postgresql"
    assert moved["status"] in ("pending", "sending", "sent")


def test_a_copy_leaves_the_instance_where_it_was(shop: QuickCli) -> None:
    """And says how it comes to use it."""
    done = shop(NAME, "db", "copy", "--to", "copy.db")

    copy = shop.root / "copy.db"
    assert done.code == 0, done.err
    assert done.out.endswith(f" to {copy}\n")
    first = f"to let '{NAME}' use the copy: mail-proxy start {NAME} --database-url {copy}"
    assert done.err.splitlines()[0] == first
    assert "copy.db" not in (instance_of(shop).directory / "config.toml").read_text()
    again = shop(NAME, "db", "copy", "--to", "copy.db", "--switch")
    assert (again.code, "is there already: give another name" in again.err) == (1, True)
    assert "copy.db" not in (instance_of(shop).directory / "config.toml").read_text()


def test_what_counts_more_than_the_switch_is_told(shop: QuickCli) -> None:
    """A variable that names another database."""
    shop.environ.pop("GMP_DATABASE_URL", None)
    shop.environ["GMP_DB_PATH"] = "first.db"
    shop.ok(NAME, "tenants", "add", "acme")

    done = shop(NAME, "db", "copy", "--to", "second.db", "--switch")

    assert done.code == 0, done.err
    assert "environment GMP_DB_PATH counts more than config.toml" in done.err
    assert (
        f'db_path = "{shop.root / "second.db"}"' in (instance_of(shop).directory / "config.toml").read_text()
    )


@pytest.mark.parametrize(
    ("to", "said", "code"),
    [
        ("mysql://x/y", "--to: 'mysql://x/y' is not allowed: use postgresql://", 2),
        ("postgresql://u:pw@[::1/x", "--to: 'postgresql://u:***@[::1/x' is not allowed", 2),
        ("postgresql://u:pw@127.0.0.1:1/x", "database postgresql://u:***@127.0.0.1:1/x is not available", 1),
        ("nowhere/copy.db", "No such file or directory", 1),
    ],
)
def test_a_place_that_will_not_do(quick: QuickCli, to: str, said: str, code: int) -> None:
    """In one line, without the password."""
    make_keyed(quick)

    done = quick(NAME, "db", "copy", "--to", to)

    assert (done.code, said in done.err, len(done.err.splitlines())) == (code, True, 1), done.err


def test_a_running_server_is_not_copied_from_under(cli: Cli) -> None:
    make_keyed(cli)
    cli.ok("start", NAME)

    done = cli(NAME, "db", "copy", "--to", "copy.db")

    assert (done.code, done.err) == (
        1,
        f"Error: instance '{NAME}' is running: mail-proxy stop {NAME}\n",
    )
    assert not (cli.root / "copy.db").exists()


def test_other_servers_on_the_database_are_named(quick: QuickCli, postgres_url: str) -> None:
    """What they take in meanwhile would stay behind."""
    make_keyed(quick, postgres_url)
    asyncio.run(be_seen(postgres_url))

    done = quick(NAME, "db", "copy", "--to", "copy.db")

    assert (done.code, "servers are at work on this database: yours@there (pid 1)" in done.err) == (1, True)
    assert not (quick.root / "copy.db").exists()


def test_a_bar_shows_how_far_it_has_come(cli: Cli) -> None:
    """On a terminal, and nothing is left of it."""
    make_keyed(cli)
    asyncio.run(fill(str(instance_of(cli).database)))
    for words, label in ((("backup", "b.db"), "backing up"), (("copy", "--to", "c.db"), "copying")):
        with Terminal(cli, NAME, "db", *words) as terminal:
            assert terminal.end() == 0
            assert label in terminal.output
            assert label not in terminal.screen


async def fill(path: str) -> None:
    async with open_store(path) as store:
        bench = Bench(store, path, (await store.accounts.get("acme", "main")).lane)
        await bench.add(*(f"m{number}" for number in range(2000)))
