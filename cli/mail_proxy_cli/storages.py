"""``mail-proxy <instance> <tenant> storages …``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import click

from mail_proxy.errors import NotFound
from mail_proxy.model.storages import Storage, StorageProtocol, StorageTrial
from mail_proxy_cli.complete import storages as complete_storages
from mail_proxy_cli.errors import FAILED, OK
from mail_proxy_cli.fields import faults_as_options, given, may_prompt, read_secret_line
from mail_proxy_cli.nodes import Group, example, near, with_options
from mail_proxy_cli.opening import run
from mail_proxy_cli.output import Column, Row, confirm, echo_json, echo_record, echo_table, one_line, when
from mail_proxy_cli.progress import busy
from mail_proxy_cli.scope import Scope, pass_scope

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mail_proxy.runtime import Runtime

F = TypeVar("F", bound=Callable[..., object])

CONFIGURED = (
    "base_path",
    "bucket",
    "prefix",
    "endpoint_url",
    "region",
    "access_key_id",
    "secret_access_key",
    "service_account_key",
    "account_name",
    "container",
    "endpoint",
    "account_key",
    "sas_token",
)

OPTION_OF_FIELD = {f"config.{field}": "--" + field.replace("_", "-") for field in CONFIGURED}
OPTION_OF_FIELD |= {"name": "NAME", "protocol": "--protocol"}

COLUMNS = (
    Column("name", whole=True),
    Column("protocol"),
    Column("place"),
    Column("created", lambda row: when(row["created_at"]), whole=True, spare=1),
)

STEP_COLUMNS = (Column("step"), Column("result"), Column("seconds", right=True, spare=1))

UNREADABLE = "cannot be decrypted: add it again with --replace"


def configuration(function: F) -> F:
    """The options of a storage's configuration."""
    options = (
        click.option(
            "--protocol",
            type=click.Choice([str(protocol) for protocol in StorageProtocol]),
            help="What it is: a directory of the server's machine, or one of the clouds.",
        ),
        click.option("--base-path", metavar="DIRECTORY", help="local: the directory."),
        click.option("--bucket", metavar="NAME", help="s3, gcs: the bucket."),
        click.option("--prefix", metavar="PATH", help="s3, gcs, azure: what all names there begin with."),
        click.option("--endpoint-url", metavar="URL", help="s3: MinIO or another server.  [default: AWS]"),
        click.option("--region", metavar="NAME", help="s3: the region."),
        click.option(
            "--access-key-id", metavar="ID", help="s3: the key's id.  [default: the machine's credentials]"
        ),
        click.option(
            "--secret-access-key",
            metavar="SECRET",
            help="s3: the key; others on this machine may see it: rather use --secret-stdin.",
        ),
        click.option(
            "--service-account-key",
            metavar="FILE",
            type=click.Path(),
            help="gcs: the key of a service account, in JSON; '-': standard input.  "
            "[default: the machine's credentials]",
        ),
        click.option("--account-name", metavar="NAME", help="azure: the storage account."),
        click.option("--container", metavar="NAME", help="azure: the container."),
        click.option("--endpoint", metavar="URL", help="azure: another server.  [default: Azure]"),
        click.option(
            "--account-key",
            metavar="SECRET",
            help="azure: the account's key; rather use --secret-stdin.  [default: the machine's credentials]",
        ),
        click.option(
            "--sas-token",
            metavar="SECRET",
            help="azure: a SAS token instead; rather use --secret-stdin.",
        ),
        click.option(
            "--secret-stdin",
            is_flag=True,
            help="Read the secret from standard input: the key, or for azure also a SAS token.",
        ),
    )
    return with_options(function, options)


@click.group(cls=Group)
def storages() -> None:
    """List, show, add, delete and test storages of files."""


@example("mail-proxy myserver acme storages list")
@storages.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def list_storages(scope: Scope, *, as_json: bool) -> None:
    """List the tenant's storages."""
    from mail_proxy.services.views import storage_view

    found = run(scope, lambda runtime: runtime.services.storages.list(scope.tenant))
    views = [storage_view(storage) for storage in found]
    if as_json:
        echo_json(views)
    else:
        rows = [{**view, "place": place(storage)} for view, storage in zip(views, found, strict=True)]
        empty = "no storages yet: 'storages add' makes one"
        echo_table(rows, COLUMNS, color=scope.invocation.color, empty=empty)


@example("mail-proxy myserver acme storages show files")
@storages.command("show")
@click.argument("name", shell_complete=complete_storages)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def show_storage(scope: Scope, name: str, *, as_json: bool) -> None:
    """Show one storage; never its secrets."""
    from mail_proxy.services.views import storage_view

    storage = find_storage(scope, name)
    view = storage_view(storage)
    if as_json:
        echo_json(view)
        return
    config = view.pop("config")
    fields = config if isinstance(config, Mapping) else {"config": UNREADABLE}
    created, updated = view.pop("created_at"), view.pop("updated_at")
    shown = {**view, **fields, "created_at": when(created), "updated_at": when(updated)}
    echo_record(shown, color=scope.invocation.color)


@example("mail-proxy myserver acme storages add files --protocol local --base-path /srv/files")
@storages.command("add")
@click.argument("name", metavar="[NAME]", required=False)
@configuration
@click.option("--replace", is_flag=True, help="Put it in the place of the storage of that name, if there is.")
@pass_scope
def add_storage(scope: Scope, /, name: str | None, *, replace: bool, **options: object) -> None:
    """Add a storage.

    Without any option, on a terminal, the fields are asked for. 'storages test' tells whether it works.
    """
    values = fields_of(options)
    fields = _whole(scope, name, values, may_ask=not (values["config"] or replace))
    with faults_as_options(OPTION_OF_FIELD):
        stored = put(scope, fields, replace=replace)
    done = "added" if stored.created_at == stored.updated_at else "replaced"
    click.echo(f"{done} storage '{stored.name}'")


@example("mail-proxy myserver acme storages delete files --force")
@storages.command("delete")
@click.argument("name", shell_complete=complete_storages)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_scope
def delete_storage(scope: Scope, name: str, *, force: bool) -> None:
    """Delete a storage; the files in it stay where they are."""
    find_storage(scope, name)
    confirm(f"Delete storage '{name}' of tenant '{scope.tenant}'?", force=force)
    run(scope, lambda runtime: runtime.services.storages.delete(scope.tenant, name))
    click.echo(f"deleted storage '{name}'")


@example("mail-proxy myserver acme storages test files")
@storages.command("test")
@click.argument("name", shell_complete=complete_storages)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def test_storage(scope: Scope, name: str, *, as_json: bool) -> int:
    """Write a small object to a storage, read it back and delete it, and tell how that goes.

    Each step takes 10 s at most. The exit code is 1 when one does not work.
    """
    from mail_proxy.services.views import storage_check_view

    storage = find_storage(scope, name)
    with busy(f"trying {place(storage) or name}"):
        trial = run(scope, lambda runtime: runtime.services.storage_check.check(storage))
    if as_json:
        echo_json(storage_check_view(trial))
    else:
        echo_table(_steps(trial), STEP_COLUMNS, color=scope.invocation.color, empty="")
    if trial.error is not None:
        left = f" (what may be left of it: {trial.left})" if trial.left is not None else ""
        click.echo(f"Error: {name}: {one_line(trial.error)}{left}", err=True)
        return FAILED
    return OK


def find_storage(scope: Scope, name: str) -> Storage:
    """The tenant's storage of that name; an unknown one is told with its like."""
    found = run(scope, lambda runtime: runtime.services.storages.list(scope.tenant))
    by_name = {storage.name: storage for storage in found}
    if name not in by_name:
        raise NotFound("storage", name, near(name, by_name))
    return by_name[name]


def put(scope: Scope, fields: Mapping[str, object], *, replace: bool) -> Storage:
    """Store what was given."""

    def work(runtime: Runtime) -> Awaitable[Storage]:
        service = runtime.services.storages
        return (service.replace if replace else service.create)(scope.tenant, fields)

    return run(scope, work)


def _whole(scope: Scope, name: str | None, values: dict[str, object], *, may_ask: bool) -> dict[str, object]:
    """The fields of a new storage: from the options, or asked for."""
    if may_ask and "protocol" not in values and may_prompt():
        from mail_proxy_cli.wizards.storages import ask

        return ask(scope, name)
    if name is None:
        raise click.UsageError("which name? mail-proxy … storages add NAME --protocol PROTOCOL")
    return {"name": name, **values}


def place(storage: Storage) -> str | None:
    """Where the files lie, as a URL; None when that cannot be decrypted."""
    config = storage.config
    if storage.is_unreadable:
        return None
    if storage.protocol is StorageProtocol.LOCAL:
        return config["base_path"]
    scheme = {StorageProtocol.S3: "s3", StorageProtocol.GCS: "gs"}.get(storage.protocol, "az")
    inside = f"{config.get('bucket') or config['container']}/{config.get('prefix', '')}".rstrip("/")
    server = config.get("endpoint_url") or config.get("endpoint") or config.get("account_name")
    return f"{scheme}://{inside}" + (f" at {server}" if server else "")


def fields_of(options: dict[str, object]) -> dict[str, object]:
    """Turn the options given into the fields of the service."""
    values = given(options)
    protocol = values.pop("protocol", None)
    if values.pop("secret_stdin", False):
        _put_secret(protocol, values)
    if "service_account_key" in values:
        from mail_proxy.services.storage_inputs import MAX_KEY_FILE

        with click.open_file(str(values["service_account_key"]), encoding="utf-8", errors="replace") as file:
            values["service_account_key"] = file.read(MAX_KEY_FILE + 1)
    if protocol is not None:
        _refuse_strange(StorageProtocol(str(protocol)), values)
    return {"protocol": protocol, "config": values} if protocol is not None else {"config": values}


def _put_secret(protocol: object, values: dict[str, object]) -> None:
    """Read the secret of the protocol; a SAS token shows by its signature."""
    if protocol not in {StorageProtocol.S3, StorageProtocol.AZURE}:
        raise click.UsageError("--secret-stdin is for the protocols s3 and azure")
    secret = read_secret_line("secret")
    name = "secret_access_key"
    if protocol == StorageProtocol.AZURE:
        name = "sas_token" if "sig=" in secret else "account_key"
    if name in values:
        raise click.UsageError(f"the secret is given twice: --{name.replace('_', '-')} and --secret-stdin")
    values[name] = secret


def _refuse_strange(protocol: StorageProtocol, values: Mapping[str, object]) -> None:
    from mail_proxy.services.storage_inputs import CONFIGS

    strange = [name for name in values if name not in CONFIGS[protocol].model_fields]
    if strange:
        options = ", ".join(OPTION_OF_FIELD[f"config.{name}"] for name in strange)
        raise click.UsageError(f"{options}: meaningless for the protocol {protocol}")


def _steps(trial: StorageTrial) -> list[Row]:
    return [
        {"step": step.name, "result": step.error or "ok", "seconds": f"{step.seconds:.3f}"}
        for step in trial.steps
    ]
