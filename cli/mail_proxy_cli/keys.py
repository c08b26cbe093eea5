"""``generate-key``: a new encryption key."""

from __future__ import annotations

import click

from mail_proxy_cli.nodes import command


@command("generate-key")
def generate_key() -> None:
    """Print a new encryption key.

    It is base64 of 32 random bytes, for MAIL_PROXY_ENCRYPTION_KEY or a secret file.
    """
    from mail_proxy.encryption import generate_key as make

    click.echo(make())
