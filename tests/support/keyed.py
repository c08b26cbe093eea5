"""An instance with secrets, on either engine, and what can be read of them."""

from __future__ import annotations

import asyncio

from mail_proxy.config import load_config
from mail_proxy.errors import KeyMismatch
from mail_proxy.instance import Instance
from mail_proxy.runtime import open_services
from tests.support.cli import Cli
from tests.support.everything import SECRETS, fill_secrets, secrets_of

NAME = "myserver"
FIRST_KEY = "A" * 43 + "="


def make_keyed(cli: Cli, database_url: str | None = None, *, by_environment: bool = False) -> None:
    """Make the instance 'myserver' with a secret in every place; its key is its own file, or a variable's."""
    if database_url and "://" in database_url:
        cli.environ["GMP_DATABASE_URL"] = database_url
    if by_environment or (database_url and "://" in database_url):
        cli.environ["MAIL_PROXY_ENCRYPTION_KEY"] = FIRST_KEY
    cli.instance(NAME)
    asyncio.run(_fill(cli))


def opens(cli: Cli, **environ: str) -> bool:
    """Whether a server could read every secret in this environment."""
    try:
        return asyncio.run(_read(cli, environ)) == list(SECRETS)
    except KeyMismatch:
        return False


async def _fill(cli: Cli) -> None:
    instance, config = instance_of(cli), load_config(instance_of(cli).directory, cli.environ)
    async with open_services(config, instance, environ=cli.environ) as runtime:
        await runtime.services.tenants.create({"id": "acme"})
        await runtime.services.accounts.create("acme", {"id": "main", "host": "sandbox"})
        await fill_secrets(runtime.store)


def instance_of(cli: Cli) -> Instance:
    return Instance(NAME, cli.home / NAME)


async def _read(cli: Cli, environ: dict[str, str]) -> list[str | None]:
    environ = cli.environ | environ
    instance = instance_of(cli)
    config = load_config(instance.directory, environ)
    async with open_services(config, instance, environ=environ) as runtime:
        return await secrets_of(runtime.store)
