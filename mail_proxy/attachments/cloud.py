"""Storages of S3, Google Cloud Storage and Azure, through obstore: the one module that knows it.

Only its blocking calls are used: the others may end the process with SIGABRT when it exits after a failure
(pyo3-async-runtimes, issues 40 and 90). What a storage does not say the library takes from the machine's
environment; secrets that were given are therefore handed over in a way that leaves no room for others.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from mail_proxy.attachments.failure import StorageFailed, StorageUnclear
from mail_proxy.model.storages import Storage, StorageProtocol

if TYPE_CHECKING:
    from obstore.store import (
        AzureAccessKey,
        AzureConfig,
        AzureCredentialProvider,
        AzureSASToken,
        AzureStore,
        ClientConfig,
        GCSConfig,
        GCSStore,
        RetryConfig,
        S3Config,
        S3Credential,
        S3CredentialProvider,
        S3Store,
    )

    Store = S3Store | GCSStore | AzureStore

T = TypeVar("T")

NEEDED = "storages of the protocol {} need obstore, which is not installed: pip install 'mail-proxy[cloud]'"

DEFAULT_REGION = "us-east-1"
"""For servers that speak S3 and have no regions."""

MAX_SAID = 300
"""Characters of what a server says."""

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3}[^:]*):(.*)", re.DOTALL)
_CODE = re.compile(r"<Code>\s*([^<]+?)\s*</Code>")
_MESSAGE = re.compile(r"<Message>\s*([^<]+?)\s*</Message>")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")


class CloudFiles:
    """Blocking."""

    def __init__(self, storage: Storage, proxy: str, wait: float) -> None:
        """Connect to nothing yet. Requests go through `proxy`, and `wait` seconds are more than they need."""
        try:
            import obstore
        except ImportError:
            raise StorageFailed(NEEDED.format(storage.protocol)) from None
        self._library = obstore
        self._store = self._told(lambda: _opened(storage, proxy, wait))

    def put(self, path: str, content: bytes) -> None:
        """Write an object, in place of one of that name."""
        self._told(lambda: self._library.put(self._store, path, content))

    def get(self, path: str, limit: int) -> bytes:
        """Read an object of at most `limit` bytes."""

        def read() -> bytes:
            found = self._library.get(self._store, path)
            if found.meta["size"] > limit:
                raise StorageFailed(f"{path} has more than {limit} bytes")
            return bytes(found.bytes())

        return self._told(read)

    def delete(self, path: str) -> None:
        """Remove an object."""
        self._told(lambda: self._library.delete(self._store, path))

    def _told(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (self._library.exceptions.BaseError, OSError, ValueError) as error:
            raise _fault(str(error)) from error


def _opened(storage: Storage, proxy: str, wait: float) -> Store:
    config = storage.config
    options: ClientConfig = {
        "proxy_url": proxy,
        "proxy_excludes": "",
        "pool_max_idle_per_host": "0",  # the proxy passes on one request in each connection
        "timeout": timedelta(seconds=wait),
        "connect_timeout": timedelta(seconds=wait),
    }
    retries: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=wait)}
    match storage.protocol:
        case StorageProtocol.GCS:
            return _gcs(config, options, retries)
        case StorageProtocol.AZURE:
            return _azure(config, options, retries)
        case _:
            return _s3(config, options, retries)


def _s3(config: Mapping[str, str], options: ClientConfig, retries: RetryConfig) -> Store:
    from obstore.store import S3Store

    settings: S3Config = {"disable_bulk_delete": True}  # many servers know only the plain DELETE
    if endpoint := config.get("endpoint_url"):
        settings["endpoint"] = endpoint
        settings["virtual_hosted_style_request"] = False
        options["allow_http"] = _is_plain(endpoint)
    if "access_key_id" in config:
        settings["region"] = DEFAULT_REGION
    if region := config.get("region"):
        settings["region"] = region
    return S3Store(
        config["bucket"],
        prefix=config.get("prefix"),
        config=settings,
        client_options=options,
        retry_config=retries,
        credential_provider=_of_s3(config),
    )


def _of_s3(config: Mapping[str, str]) -> S3CredentialProvider | None:
    key, secret = config.get("access_key_id"), config.get("secret_access_key")
    if key is None or secret is None:
        return None
    pair: S3Credential = {
        "access_key_id": key,
        "secret_access_key": secret,
        "token": None,
        "expires_at": None,
    }
    return lambda: pair


def _gcs(config: Mapping[str, str], options: ClientConfig, retries: RetryConfig) -> Store:
    from obstore.store import GCSStore

    settings: GCSConfig = {}
    if key := config.get("service_account_key"):
        settings["service_account_key"] = key
    return GCSStore(
        config["bucket"],
        prefix=config.get("prefix"),
        config=settings,
        client_options=options,
        retry_config=retries,
    )


def _azure(config: Mapping[str, str], options: ClientConfig, retries: RetryConfig) -> Store:
    from obstore.store import AzureStore

    settings: AzureConfig = {"account_name": config["account_name"]}
    if endpoint := config.get("endpoint"):
        settings["endpoint"] = endpoint
        options["allow_http"] = _is_plain(endpoint)
    return AzureStore(
        config["container"],
        prefix=config.get("prefix"),
        config=settings,
        client_options=options,
        retry_config=retries,
        credential_provider=_of_azure(config),
    )


def _of_azure(config: Mapping[str, str]) -> AzureCredentialProvider | None:
    if key := config.get("account_key"):
        try:
            base64.b64decode(key, validate=True)
        except ValueError:
            raise StorageFailed("the account key is not base64") from None
        shared: AzureAccessKey = {"access_key": key, "expires_at": None}
        return lambda: shared
    if token := config.get("sas_token"):
        pairs = parse_qsl(token.removeprefix("?"))
        if not pairs:
            raise StorageFailed("the SAS token is none: it has no name=value")
        signed: AzureSASToken = {"sas_token": pairs, "expires_at": None}
        return lambda: signed
    return None


def _is_plain(url: str) -> bool:
    return url.lower().startswith("http://")


def _fault(text: str) -> StorageFailed:
    """Find in the library's report what the server said, or what went wrong on the way to it."""
    report, _, source = text.partition("\n\nDebug source:")
    if found := _STATUS.search(report):
        return StorageFailed(_clipped(": ".join([found[1].strip(), *_words(found[2])])))
    if found := _CERTIFICATE.search(source):
        return StorageFailed(f"the certificate of the server was refused: {_clipped(found[1])}")
    if "HTTP error" in report:
        return StorageUnclear("the connection broke, or what came was not HTTP")
    return StorageFailed(_clipped(report.rpartition(" - ")[2]))


def _words(body: str) -> list[str]:
    """The code and the message of an error in XML, or of any other the text."""
    named = [found[1] for found in (_CODE.search(body), _MESSAGE.search(body)) if found]
    return named or ([body] if body.strip() else [])


def _clipped(text: str) -> str:
    """Make one printable line of what a stranger wrote."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * MAX_SAID]).split())
    return line if len(line) <= MAX_SAID else line[:MAX_SAID] + "…"
