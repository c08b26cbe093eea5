"""What a storage may be, protocol by protocol: a name that means nothing there is refused, not ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from mail_proxy.model.storages import StorageProtocol
from mail_proxy.services.fields import BaseUrl, HeaderText, Identifier, Secret, shape
from mail_proxy.services.inputs import MASK, Input

MAX_KEY_FILE = 16_384

_NEEDED_OF_A_KEY = ("client_email", "private_key")


def _absolute(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError("must be an absolute path, without '..'")
    return text


def _prefix(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError("must not begin with '/', nor hold '..'")
    return text


def _service_account(value: object) -> object:
    """Take the key file's JSON, as an object or as text, and keep it as text."""
    if value == MASK:
        return value
    try:
        fields = json.loads(value) if isinstance(value, str) else value
        text = json.dumps(fields, ensure_ascii=True, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        fields, text = None, ""
    if not isinstance(fields, dict):
        raise ValueError("must be the JSON of a service account's key")
    if absent := [name for name in _NEEDED_OF_A_KEY if not isinstance(fields.get(name), str)]:
        raise ValueError(f"must be the JSON of a service account's key: it has no {' and no '.join(absent)}")
    return text


_UPWARDS = {"pattern": r"(^|/)\.\.(/|$)"}

Bucket = Annotated[
    HeaderText,
    Field(min_length=1, max_length=255, pattern=r"^[^/\s?#\\]+$"),
    shape(pattern=r"^[^/\s?#\\\x00-\x1f\x7f-\x9f]+$"),
]
Prefix = Annotated[
    HeaderText,
    Field(max_length=1000),
    AfterValidator(_prefix),
    shape(
        pattern=r"^([^/\x00-\x1f\x7f-\x9f\u2028\u2029][^\x00-\x1f\x7f-\x9f\u2028\u2029]*)?$",
        **{"not": _UPWARDS},
    ),
]
Label = Annotated[HeaderText, Field(min_length=1, max_length=255)]
AccountName = Annotated[str, Field(pattern=r"^[a-z0-9]{3,24}$")]
ServiceAccountKey = Annotated[
    str,
    Field(min_length=1, max_length=MAX_KEY_FILE),
    BeforeValidator(_service_account),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "required": list(_NEEDED_OF_A_KEY),
                    "properties": {name: {"type": "string"} for name in _NEEDED_OF_A_KEY},
                },
                {"type": "string", "contentMediaType": "application/json", "format": "service-account-key"},
            ]
        }
    ),
]


_S3_KEY = ("access_key_id", "secret_access_key")


def _all(kind: str, names: Sequence[str], *, required: bool = False) -> JsonValue:
    """Say in JSON Schema that these fields are all of a kind."""
    return {
        "properties": {name: {"type": kind} for name in names},
        "required": list(names) if required else [],
    }


class StorageConfig(Input):
    """The configuration of one protocol."""

    model_config = ConfigDict(extra="forbid")


class LocalStorage(StorageConfig):
    """A directory of the server's machine; the admin's alone."""

    base_path: Annotated[
        HeaderText,
        Field(max_length=4000),
        AfterValidator(_absolute),
        shape(pattern=r"^/[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$", **{"not": _UPWARDS}),
    ]


class S3Storage(StorageConfig):
    """A bucket of S3, or of a server that speaks its protocol. Without keys: those of the machine."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [_all("string", _S3_KEY, required=True), _all("null", _S3_KEY)]}
    )

    bucket: Bucket
    prefix: Prefix | None = None
    endpoint_url: BaseUrl | None = None
    region: Label | None = None
    access_key_id: Label | None = None
    secret_access_key: Secret | None = None


class GcsStorage(StorageConfig):
    """A bucket of Google Cloud Storage. Without a key: the credentials of the machine."""

    bucket: Bucket
    prefix: Prefix | None = None
    service_account_key: ServiceAccountKey | None = None


class AzureStorage(StorageConfig):
    """A container of Azure Blob Storage. Without key and token: the credentials of the machine."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [_all("null", ["account_key"]), _all("null", ["sas_token"])]}
    )

    container: Bucket
    account_name: AccountName
    prefix: Prefix | None = None
    account_key: Secret | None = None
    sas_token: Secret | None = None
    endpoint: BaseUrl | None = None


CONFIGS: Mapping[str, type[StorageConfig]] = {
    StorageProtocol.LOCAL: LocalStorage,
    StorageProtocol.S3: S3Storage,
    StorageProtocol.GCS: GcsStorage,
    StorageProtocol.AZURE: AzureStorage,
}


def _of_protocol(value: object, _handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    """Validate by the protocol given beside, so that faults are told of the one that is meant."""
    model = CONFIGS.get(info.data.get("protocol", ""))
    return value if model is None else model.model_validate(value)  # a wrong protocol is fault enough


def _by_protocol(schema: dict[str, JsonValue]) -> None:
    """Tell JSON Schema which `config` belongs to which `protocol`."""
    match schema:
        case {"properties": {"config": {"anyOf": list(kinds)}}}:
            schema["oneOf"] = [
                {"properties": {"protocol": {"const": str(protocol)}, "config": kind}}
                for protocol, kind in zip(CONFIGS, kinds, strict=True)
            ]


class StorageInput(Input):
    """A storage; what is left out of `config` takes its default."""

    model_config = ConfigDict(json_schema_extra=_by_protocol)

    tenant_id: Identifier | None = None
    name: Identifier
    protocol: StorageProtocol
    config: Annotated[LocalStorage | S3Storage | GcsStorage | AzureStorage, WrapValidator(_of_protocol)]
