"""Asking for a new storage: where it is, and the keys to it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mail_proxy.errors import Conflict
from mail_proxy.model.storages import StorageProtocol
from mail_proxy.services.storage_inputs import CONFIGS, AzureStorage, GcsStorage, StorageInput
from mail_proxy.services.storages import masked_config
from mail_proxy_cli.opening import run
from mail_proxy_cli.scope import Scope
from mail_proxy_cli.wizards.asking import Dialogue, Fields, new_id, of_field

PROTOCOLS = {
    StorageProtocol.LOCAL.value: "a directory of the server's machine",
    StorageProtocol.S3.value: "a bucket of S3, or of what speaks its protocol",
    StorageProtocol.GCS.value: "a bucket of Google Cloud Storage",
    StorageProtocol.AZURE.value: "a container of Azure Blob Storage",
}


class Question(NamedTuple):
    """What is asked for a field of a storage's configuration; with `empty` it may be left out."""

    field: str
    words: str
    empty: str | None = None


OF_THE_MACHINE = "the machine's own credentials"
PREFIX = Question("prefix", "all keys begin with", "anything")

QUESTIONS = {
    StorageProtocol.LOCAL: (Question("base_path", "directory"),),
    StorageProtocol.S3: (
        Question("bucket", "bucket"),
        PREFIX,
        Question("region", "region", "the machine's own"),
        Question("endpoint_url", "URL of the server", "Amazon's own"),
        Question("access_key_id", "access key ID", OF_THE_MACHINE),
    ),
    StorageProtocol.GCS: (
        Question("bucket", "bucket"),
        PREFIX,
    ),
    StorageProtocol.AZURE: (
        Question("account_name", "storage account"),
        Question("container", "container"),
        PREFIX,
        Question("endpoint", "URL of the server", "Azure's own"),
    ),
}


def ask(scope: Scope, name: str | None) -> Fields:
    """Ask for the fields of a storage, whose name may be known already; raises Abort if it is not to be."""
    storages = run(scope, lambda runtime: runtime.services.storages.list(scope.tenant))
    taken = {storage.name for storage in storages}
    if name is not None and name in taken:
        raise Conflict(f"there is a storage '{name}' already")
    dialogue = Dialogue(color=scope.invocation.color)
    dialogue.say("A new storage: a place for files that messages name. Ctrl+C leaves without a trace.")
    is_free = new_id(of_field(StorageInput, "name"), "a storage", taken)
    while True:
        fields: Fields = {
            "name": name or dialogue.ask("name", check=is_free),
            "protocol": dialogue.choose("protocol", PROTOCOLS, StorageProtocol.LOCAL),
        }
        protocol = StorageProtocol(str(fields["protocol"]))
        config = _ask_config(dialogue, protocol)
        if dialogue.settle("add this storage?", fields | masked_config(protocol, config)):
            return fields | {"config": config}


def _ask_config(dialogue: Dialogue, protocol: StorageProtocol) -> dict[str, str]:
    model = CONFIGS[protocol]
    answers = {
        field: dialogue.ask(words, check=of_field(model, field), empty=empty)
        for field, words, empty in QUESTIONS[protocol]
    }
    config = {field: answer for field, answer in answers.items() if answer}
    if protocol is StorageProtocol.S3 and "access_key_id" in config:
        check = of_field(model, "secret_access_key")
        config["secret_access_key"] = dialogue.ask_secret(
            "secret access key", config["access_key_id"], check=check
        )
    elif protocol is StorageProtocol.GCS:
        config |= _ask_key_file(dialogue)
    elif protocol is StorageProtocol.AZURE:
        config |= _ask_key_or_token(dialogue, config["account_name"])
    return config


def _ask_key_file(dialogue: Dialogue) -> dict[str, str]:
    """Ask for the file with the key of a service account, and return what it holds."""
    is_key = of_field(GcsStorage, "service_account_key")

    def check(path: str) -> str | None:
        try:
            return is_key(_content(path))
        except OSError as error:
            return f"{path}: {error.strerror or error}"

    path = dialogue.ask_file("file of the service account's key", check=check, empty=OF_THE_MACHINE)
    return {"service_account_key": _content(path)} if path else {}


def _ask_key_or_token(dialogue: Dialogue, account: str) -> dict[str, str]:
    ways = {"key": "the account's key", "token": "a token (SAS)", "machine": OF_THE_MACHINE}
    way = dialogue.choose("logs in by", ways, "key")
    if way == "key":
        is_key = of_field(AzureStorage, "account_key")
        return {"account_key": dialogue.ask_secret("account key", account, check=is_key)}
    if way == "token":
        is_token = of_field(AzureStorage, "sas_token")
        return {"sas_token": dialogue.ask_secret("SAS token", account, check=is_token)}
    return {}


def _content(path: str) -> str:
    return Path(path).expanduser().read_text("utf-8", errors="replace")
