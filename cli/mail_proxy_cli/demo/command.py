"""``demo``: a whole run on this machine, with nothing to configure."""

from __future__ import annotations

import click

from mail_proxy_cli.nodes import command


@command("demo")
@click.option("--keep", is_flag=True, help="Leave the server running and say what to try next.")
def demo(*, keep: bool) -> None:
    """Show a whole run on this machine, with nothing to configure."""
    from mail_proxy_cli.demo.stage import play

    play(keep=keep)
