"""Opening what a configuration names: the database, its key, the tenant that always exists."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from mail_proxy.config import load_config
from mail_proxy.encryption import KEY_VARIABLE, generate_key
from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable, InvalidConfig, KeyMismatch
from mail_proxy.instance import Instance
from mail_proxy.runtime import Runtime, open_services
from tests.support.services import config_of

ACCOUNT = {"id": "main", "host": "smtp.example.org", "password": "s3cret"}


@asynccontextmanager
async def opened(
    url: str, environ: Mapping[str, str] | None = None, instance: Instance | None = None
) -> AsyncIterator[Runtime]:
    config = load_config(None, config_of(url))
    async with open_services(config, instance, environ=environ or {}) as runtime:
        yield runtime


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance.at(tmp_path / "home", "mine")
    made.create()
    return made


@asynccontextmanager
async def opened_instance(
    instance: Instance, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Runtime]:
    config = load_config(instance.directory, {})
    async with open_services(config, instance, environ=environ or {}) as runtime:
        yield runtime


# The database


async def test_nothing_names_a_database() -> None:
    """Says how to."""
    with pytest.raises(InvalidConfig, match="no database: give an instance, or set GMP_DB_PATH"):
        async with open_services(load_config(None, {}), None, environ={}):
            pass


async def test_a_new_instance_gets_its_database(instance: Instance) -> None:
    """With the schema, the tenant `default`, and files for its owner alone."""
    async with opened_instance(instance) as runtime:
        tenants = await runtime.services.tenants.list()
        where = runtime.where
        principal = await runtime.services.authentication.identify(instance.read_token())

    assert [tenant.id for tenant in tenants] == ["default"]
    assert (where, principal.is_admin) == (str(instance.database), True)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (instance.database, instance.key_file)}
    assert modes == {"mail_service.db": 0o600, "encryption.key": 0o600}


async def test_a_node_keeps_its_identity(instance: Instance) -> None:
    """So that a server that starts again knows its own leases; without an instance each is new."""
    async with opened_instance(instance) as runtime:
        first = runtime.node_id
    async with opened_instance(instance) as runtime:
        assert runtime.node_id == first


async def test_opening_again_changes_nothing(database_url: str) -> None:
    """Neither tenants, nor the secret that ids are made with."""
    environ = {KEY_VARIABLE: generate_key()}
    async with opened(database_url, environ) as runtime:
        await runtime.services.tenants.update("default", {"name": "Mine"})
        tracked = runtime.tracking.id_for("01890000-0000-7000-8000-000000000000")
    async with opened(database_url, environ) as runtime:
        assert (await runtime.services.tenants.get("default")).name == "Mine"
        assert runtime.tracking.id_for("01890000-0000-7000-8000-000000000000") == tracked


async def open_once(url: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    async with opened(url, environ) as runtime:
        names = [tenant.id for tenant in await runtime.services.tenants.list()]
        return runtime.tracking.id_for("01890000-0000-7000-8000-000000000000"), names


async def test_nodes_that_start_together_agree(database_url: str) -> None:
    """On the tenant that always exists and on the secret of ids."""
    environ = {KEY_VARIABLE: generate_key()}
    answers = await asyncio.gather(*(open_once(database_url, environ) for _ in range(5)))

    assert {str(answer) for answer in answers} == {str(answers[0])}
    assert answers[0][1] == ["default"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no database, but a text long enough for a header " * 20, "is not a SQLite database")],
)
async def test_a_file_that_is_no_database(tmp_path: Path, content: bytes, words: str) -> None:
    """One line, and nothing is left open."""
    path = tmp_path / "x.db"
    path.write_bytes(content)

    with pytest.raises(DatabaseUnusable, match=words):
        async with opened(str(path)):
            pass
    assert path.read_bytes() == content


async def test_a_database_in_nobodys_directory(tmp_path: Path) -> None:
    """Is worth trying again: it may be mounted."""
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        async with opened(str(tmp_path / "nowhere" / "x.db")):
            pass


# The key


async def test_an_instances_key_is_made_once(instance: Instance) -> None:
    """Beside its SQLite database; what it encrypts is read after a restart."""
    async with opened_instance(instance) as runtime:
        await runtime.services.accounts.create("default", ACCOUNT)
    key = instance.key_file.read_bytes()
    async with opened_instance(instance) as runtime:
        assert (await runtime.services.accounts.get("default", "main")).password == "s3cret"

    assert instance.key_file.read_bytes() == key


async def test_a_given_key_is_taken_before_the_file(instance: Instance) -> None:
    """And no file is made then."""
    async with opened_instance(instance, {KEY_VARIABLE: generate_key()}):
        pass

    assert not instance.key_file.exists()


async def test_a_lost_key_is_not_replaced(instance: Instance) -> None:
    """A new one would read nothing: the line says what cannot be read and where to give the key."""
    async with opened_instance(instance):
        pass
    instance.key_file.unlink()

    with pytest.raises(KeyMismatch) as caught:
        async with opened_instance(instance):
            pass

    assert str(caught.value) == (
        f"the secrets in database {instance.database} are encrypted, and there is no key: give the one they "
        "were written with as MAIL_PROXY_ENCRYPTION_KEY or /run/secrets/encryption_key, "
        f"or put it back as {instance.key_file}"
    )
    assert not instance.key_file.exists()


async def test_a_key_file_is_for_the_file_beside_it(instance: Instance, postgres_url: str) -> None:
    """It never becomes the key of a PostgreSQL database, which other nodes could not read then."""
    async with opened_instance(instance):
        assert instance.key_file.exists()

    config = load_config(None, config_of(postgres_url))
    async with open_services(config, instance, environ={}) as runtime:
        with pytest.raises(KeyMismatch, match="storing a secret needs an encryption key"):
            await runtime.services.accounts.create("default", ACCOUNT)


async def test_a_wrong_key_is_refused_at_the_start(database_url: str) -> None:
    """Naming where it came from, before anything is read or written with it."""
    async with opened(database_url, {KEY_VARIABLE: generate_key()}) as runtime:
        await runtime.services.accounts.create("default", ACCOUNT)

    with pytest.raises(
        KeyMismatch,
        match=r"the key from MAIL_PROXY_ENCRYPTION_KEY is not the one that database .* was written with",
    ):
        async with opened(database_url, {KEY_VARIABLE: generate_key()}):
            pass


async def test_a_wrong_key_file_is_named(instance: Instance) -> None:
    """With its path."""
    async with opened_instance(instance):
        pass
    instance.key_file.write_text(generate_key())

    with pytest.raises(KeyMismatch, match=f"the key from {instance.key_file} is not the one"):
        async with opened_instance(instance):
            pass


@pytest.mark.parametrize("key", ["short", "!" * 44, ""])
async def test_a_key_that_is_none(instance: Instance, key: str) -> None:
    """Is not taken for one; an empty file neither."""
    instance.key_file.write_text(key)

    with pytest.raises(KeyMismatch, match=str(instance.key_file)):
        async with opened_instance(instance):
            pass


async def test_nodes_with_different_keys_cannot_share_a_database(postgres_url: str) -> None:
    """The first that comes decides, even when they come together."""
    attempts = await asyncio.gather(
        *(open_once(postgres_url, {KEY_VARIABLE: generate_key()}) for _ in range(4)), return_exceptions=True
    )

    assert sorted(type(each).__name__ for each in attempts) == ["KeyMismatch"] * 3 + ["tuple"]


async def test_postgres_without_a_key_keeps_no_secrets(postgres_url: str) -> None:
    """Never keyed by a node for itself: what needs no secret works, what does is refused."""
    async with opened(postgres_url) as runtime:
        await runtime.services.accounts.create("default", {"id": "open", "host": "h"})
        with pytest.raises(KeyMismatch, match="storing a secret needs an encryption key"):
            await runtime.services.accounts.create("default", ACCOUNT)
        with pytest.raises(KeyMismatch):
            await runtime.services.tenants.update("default", {"webhook_secret": "s3cret"})
        assert [each.id for each in await runtime.services.accounts.list()] == ["open"]


async def test_an_instance_on_postgres_makes_no_key(postgres_url: str, instance: Instance) -> None:
    """Another node would not have it."""
    async with opened(postgres_url, instance=instance):
        pass

    assert not instance.key_file.exists()


async def test_no_secret_of_ours_lies_in_clear_beside_the_database(instance: Instance) -> None:
    """Tenants' keys are kept as hashes; the check value does not tell the key."""
    async with opened_instance(instance) as runtime:
        _, api_key = await runtime.services.tenants.create({"id": "acme"})
        await runtime.services.accounts.create("acme", ACCOUNT)
        content = b"".join(path.read_bytes() for path in files(instance))

    assert api_key.encode() not in content
    assert b"s3cret" not in content
    assert instance.key_file.read_bytes().strip() not in content


def beside(path: str) -> list[str]:
    return [each.name for each in Path(path).parent.glob("mail_service.db*")]


def files(instance: Instance) -> list[Path]:
    return list(instance.directory.glob("mail_service.db*"))


# The bell


async def test_services_ring_the_bell_they_are_given(database_url: str) -> None:
    """And the other nodes'."""
    rings = []

    class Noting:
        async def ring(self, *, run_now: bool = False) -> None:
            rings.append(run_now)

    config = load_config(None, config_of(database_url))
    async with open_services(config, None, bell=Noting(), environ={}) as runtime:
        await runtime.services.instance.run_now()

    assert rings == [True]


async def test_other_nodes_hear_the_bell(postgres_url: str) -> None:
    """But not the one that rang."""
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        heard: asyncio.Queue[bool | None] = asyncio.Queue()
        listening = asyncio.create_task(
            other.store.database.listen(lambda text: heard.put_nowait(other.neighbours.heard(text)))
        )
        try:
            while heard.empty():
                await one.services.instance.run_now()
                await asyncio.sleep(0)
            assert await asyncio.wait_for(heard.get(), 60) is True
            await other.bell.ring()
            found = await asyncio.wait_for(heard.get(), 60)
            while found is True:
                found = await asyncio.wait_for(heard.get(), 60)
            assert found is None
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def test_the_file_is_whole_after_an_error_inside(sqlite_url: str) -> None:
    """Whatever ends the block, the database is closed, and nothing is left in its log."""
    with pytest.raises(RuntimeError, match="boom"):
        async with opened(sqlite_url, {KEY_VARIABLE: generate_key()}):
            raise RuntimeError("boom")

    with closing(sqlite3.connect(sqlite_url)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert beside(sqlite_url) == ["mail_service.db"]
