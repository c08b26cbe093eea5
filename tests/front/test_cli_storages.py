"""``storages list|show|add|delete|test``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.cli import Cli, QuickCli
from tests.support.s3_server import BUCKET, HANG, KEY_ID, MISMATCH, SECRET, S3Server
from tests.support.terminal import Terminal

S3 = ("--protocol", "s3", "--bucket", BUCKET)
KEY = ("--access-key-id", KEY_ID)
AZURE = ("--protocol", "azure", "--account-name", "acmefiles", "--container", "mail")
KEY_FILE = {
    "type": "service_account",
    "client_email": "a@b.test",
    "private_key": SECRET,
    "private_key_id": "1",
}


@pytest.fixture
def acme(quick: QuickCli, database_url: str) -> QuickCli:
    """A program whose context is the tenant 'acme' of the instance 'myserver', on either engine."""
    return prepared(quick, database_url)


@pytest.fixture
def on_sqlite(quick: QuickCli, sqlite_url: str) -> QuickCli:
    """The same, for what the database has no part in."""
    return prepared(quick, sqlite_url)


def prepared(cli: QuickCli, database_url: str) -> QuickCli:
    if "://" in database_url:
        cli.environ["GMP_DATABASE_URL"] = database_url
        cli.environ["MAIL_PROXY_ENCRYPTION_KEY"] = "A" * 43 + "="
    cli.instance("myserver")
    cli.ok("myserver", "tenants", "add", "acme", "--name", "Acme Ltd")
    cli.environ |= {"MAIL_PROXY_INSTANCE": "myserver", "MAIL_PROXY_TENANT": "acme"}
    return cli


def test_a_storage_is_added_shown_listed_and_deleted(acme: QuickCli, tmp_path: Path) -> None:
    """By itself a whole life, as a person would see it."""
    assert acme("storages", "list").err == "no storages yet: 'storages add' makes one\n"
    assert acme.ok("storages", "add", "files", "--protocol", "local", "--base-path", "/srv/files") == (
        "added storage 'files'\n"
    )
    options = (*S3, *KEY, "--secret-stdin", "--prefix", "mail/", "--endpoint-url", "https://minio.acme.test")
    acme.ok("storages", "add", "cloud", *options, stdin=f"{SECRET}\n")

    listed = acme.ok("storages", "list").splitlines()
    assert [line.split()[:2] for line in listed] == [
        ["name", "protocol"],
        ["cloud", "s3"],
        ["files", "local"],
    ]
    assert f"s3://{BUCKET}/mail at https://minio.acme.test" in listed[1]
    assert [each["name"] for each in acme("storages", "list", "--json").json()] == ["cloud", "files"]

    shown = acme("storages", "show", "cloud", "--json").json()
    assert shown["config"] == {
        "bucket": BUCKET,
        "prefix": "mail/",
        "endpoint_url": "https://minio.acme.test",
        "access_key_id": KEY_ID,
        "secret_access_key": "***",
    }
    record = dict(line.split(maxsplit=1) for line in acme.ok("storages", "show", "cloud").splitlines())
    assert (record["bucket"], record["secret_access_key"]) == (BUCKET, "***")

    assert acme.ok("storages", "delete", "cloud", "-f") == "deleted storage 'cloud'\n"
    assert [each["name"] for each in acme("storages", "list", "--json").json()] == ["files"]


@pytest.mark.parametrize(
    ("options", "stdin", "config"),
    [
        ((*S3,), "", {"bucket": BUCKET}),
        ((*S3, "--region", "eu-south-1", *KEY, "--secret-access-key", SECRET), "",
         {"bucket": BUCKET, "region": "eu-south-1", "access_key_id": KEY_ID, "secret_access_key": "***"}),
        (("--protocol", "gcs", "--bucket", "b", "--service-account-key", "-"), json.dumps(KEY_FILE),
         {"bucket": "b", "service_account_key": "***"}),
        (("--protocol", "gcs", "--bucket", "b", "--service-account-key", "key.json"), "",
         {"bucket": "b", "service_account_key": "***"}),
        ((*AZURE, "--secret-stdin"), SECRET,
         {"account_name": "acmefiles", "container": "mail", "account_key": "***"}),
        ((*AZURE, "--secret-stdin"), f"?sv=1&sig={SECRET}",
         {"account_name": "acmefiles", "container": "mail", "sas_token": "***"}),
        ((*AZURE, "--account-key", SECRET, "--endpoint", "https://azure.acme.test"), "",
         {"account_name": "acmefiles", "container": "mail", "account_key": "***",
          "endpoint": "https://azure.acme.test"}),
        ((*AZURE, "--sas-token", SECRET), "",
         {"account_name": "acmefiles", "container": "mail", "sas_token": "***"}),
    ],
)  # fmt: skip
def test_options_become_the_configuration(
    on_sqlite: QuickCli, options: tuple[str, ...], stdin: str, config: dict[str, str]
) -> None:
    """Secrets are kept, encrypted, and never printed."""
    (on_sqlite.root / "key.json").write_text(json.dumps(KEY_FILE))
    on_sqlite.ok("storages", "add", "cloud", *options, stdin=stdin)
    shown = on_sqlite("storages", "show", "cloud", "--json")
    assert shown.json()["config"] == config
    told = shown.out + on_sqlite.ok("storages", "show", "cloud") + on_sqlite.ok("storages", "list")
    stored = b"".join(path.read_bytes() for path in on_sqlite.home.rglob("mail_service.db*"))
    assert SECRET not in told
    assert SECRET.encode() not in stored


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add",), 2, "which name?"),
        (("add", "files"), 2, "--protocol: is required"),
        (("add", "files", "--bucket", "b"), 2, "--protocol: is required"),
        (("add", "files", "--protocol", "ftp"), 2, "--protocol"),
        (("add", "files", "--protocol", "local"), 2, "--base-path: is required"),
        (("add", "files", "--protocol", "local", "--base-path", "files"), 2,
         "--base-path: must be an absolute path"),
        (("add", "files", "--protocol", "local", "--base-path", "/f", "--region", "r", "--bucket", "b"), 2,
         "--region, --bucket: meaningless for the protocol local"),
        (("add", "a b", *S3), 2, "NAME: must be 1 to 128"),
        (("add", "cloud", *S3, *KEY), 2, "--secret-access-key: is required"),
        (("add", "cloud", *S3, "--endpoint-url", "minio"), 2, "--endpoint-url: "),
        (("add", "cloud", *S3, *KEY, "--secret-stdin"), 2, "standard input holds no secret"),
        (("add", "cloud", "--secret-stdin"), 2, "--secret-stdin is for the protocols s3 and azure"),
        (("add", "cloud", *AZURE, "--account-key", "k", "--sas-token", "t"), 2,
         "--sas-token: cannot be given beside account_key"),
        (("add", "cloud", "--protocol", "gcs", "--bucket", "b", "--service-account-key", "no-such-file"), 1,
         "no-such-file: No such file or directory"),
        (("add", "cloud", "--protocol", "gcs", "--bucket", "b", "--service-account-key", "-"), 2,
         "--service-account-key: must be the JSON of a service account's key"),
        (("show", "flies"), 2, "no storage 'flies'"),
        (("delete", "flies", "--force"), 2, "no storage 'flies'"),
        (("test", "flies"), 2, "no storage 'flies'"),
    ],
)  # fmt: skip
def test_what_is_refused(on_sqlite: QuickCli, words: tuple[str, ...], code: int, said: str) -> None:
    """One line in terms of the options, and the right exit code."""
    done = on_sqlite("storages", *words)
    assert (done.code, done.out, len(done.err.splitlines())) == (code, "", 1)
    assert said in done.err


def test_the_secret_is_given_once(on_sqlite: QuickCli) -> None:
    done = on_sqlite(
        "storages", "add", "c", *S3, *KEY, "--secret-access-key", "x", "--secret-stdin", stdin="y"
    )
    assert done.code == 2
    assert "the secret is given twice: --secret-access-key and --secret-stdin" in done.err


def test_adding_is_not_replacing_unless_that_is_said(acme: QuickCli) -> None:
    acme.ok("storages", "add", "files", "--protocol", "local", "--base-path", "/srv/files")
    again = ("storages", "add", "files", "--protocol", "local", "--base-path", "/srv/others")
    assert acme(*again).err == "Error: tenant 'acme' has a storage 'files' already\n"
    assert acme("storages", "show", "files", "--json").json()["config"] == {"base_path": "/srv/files"}
    acme.ok(*again, "--replace")
    assert acme("storages", "show", "files", "--json").json()["config"] == {"base_path": "/srv/others"}
    assert "did you mean 'files'?" in acme("storages", "show", "flies").err


def test_nothing_is_deleted_without_a_word(on_sqlite: QuickCli) -> None:
    on_sqlite.ok("storages", "add", "files", "--protocol", "local", "--base-path", "/srv/files")
    done = on_sqlite("storages", "delete", "files")
    assert (done.code, "give --force to go ahead" in done.err) == (2, True)
    assert on_sqlite("storages", "list", "--json").json()


def test_a_directory_is_tried(acme: QuickCli, tmp_path: Path) -> None:
    """And whoever asks is told what to do with: which step failed, and why."""
    folder = tmp_path / "files"
    acme.ok("storages", "add", "files", "--protocol", "local", "--base-path", str(folder))
    done = acme("storages", "test", "files")
    assert (done.code, done.err) == (1, f"Error: files: {folder}: No such file or directory\n")
    folder.mkdir()
    steps = [line.split()[:2] for line in acme.ok("storages", "test", "files").splitlines()]
    assert steps == [["step", "result"], ["write", "ok"], ["read", "ok"], ["delete", "ok"]]
    assert list(folder.iterdir()) == []


async def test_a_bucket_is_tried(on_sqlite: QuickCli) -> None:
    """With the key that is stored; what the server refuses is told in its own words."""

    async def run(*words: str) -> tuple[int, dict[str, object], str]:
        done = await asyncio.to_thread(on_sqlite, "storages", *words)
        return done.code, json.loads(done.out) if done.out.startswith("{") else {}, done.err

    async with S3Server().running() as server:
        options = (*S3, *KEY, "--endpoint-url", server.url)
        await run("add", "cloud", *options, "--secret-access-key", SECRET)
        code, told, said = await run("test", "cloud", "--json")
        assert (code, told["ok"], told["left"], said) == (0, True, None, "")

        await run("add", "cloud", *options, "--secret-access-key", "wrong", "--replace")
        reason = f"403 Forbidden: SignatureDoesNotMatch: {MISMATCH}"
        code, told, said = await run("test", "cloud", "--json")
        [step] = told["steps"] if isinstance(told["steps"], list) else []
        assert (code, step["step"], step["error"]) == (1, "write", reason)
        assert said == f"Error: cloud: {reason}\n"


def test_without_the_library_it_is_said_what_to_install(on_sqlite: QuickCli, tmp_path: Path) -> None:
    """Storages of clouds are an extra; everything else goes without it."""
    on_sqlite.ok("storages", "add", "cloud", *S3)
    (tmp_path / "absent" / "obstore").mkdir(parents=True)
    absent = tmp_path / "absent" / "obstore" / "__init__.py"
    absent.write_text("raise ModuleNotFoundError(\"No module named 'obstore'\", name='obstore')\n")
    path = f"{tmp_path / 'absent'}:{on_sqlite.environ['PYTHONPATH']}"
    done = Cli(on_sqlite.root, on_sqlite.environ | {"PYTHONPATH": path})("storages", "test", "cloud")
    assert done.code == 1
    assert done.err == (
        "Error: cloud: storages of the protocol s3 need obstore, which is not installed: "
        "pip install 'mail-proxy[cloud]'\n"
    )


async def test_who_does_not_want_to_wait_interrupts_it(on_sqlite: QuickCli) -> None:
    """Ctrl+C ends it at once, and in peace, while the server says nothing; on a terminal it asks first."""
    async with S3Server({"PUT": HANG}).running() as server:
        options = (*S3, *KEY, "--endpoint-url", server.url, "--secret-access-key", SECRET)
        await asyncio.to_thread(on_sqlite, "storages", "add", "cloud", *options)

        def walk() -> None:
            with Terminal(on_sqlite, "storages", "test", "cloud") as terminal:
                terminal.wait_for(f"trying s3://{BUCKET}")
                asyncio.run_coroutine_threadsafe(server.met.wait(), loop).result(20)
                terminal.press("ctrl-c")
                assert terminal.end() == 130
            with Terminal(on_sqlite, "storages", "delete", "cloud") as terminal:
                terminal.answer("Delete storage 'cloud' of tenant 'acme'?", "n")
                assert terminal.end() == 1
                assert "nothing was done" in terminal.screen

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(walk)
        await server.closed.wait()
