"""``completion``: the scripts that make a shell ask this program for completions."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mail_proxy_cli.nodes import command

PROGRAM = "mail-proxy"
COMPLETE_VARIABLE = "_MAIL_PROXY_COMPLETE"

SHELLS = ("bash", "zsh", "fish")


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash   eval "$(mail-proxy completion bash)"           in ~/.bashrc
    zsh    eval "$(mail-proxy completion zsh)"            in ~/.zshrc, after compinit
    fish   mail-proxy completion fish > ~/.config/fish/completions/mail-proxy.fish
    """  # noqa: D301 - \b keeps Click from joining the lines
    click.echo(script(shell))


def script(shell: str) -> str:
    """The completion script for one of `SHELLS`, made by Click."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}: {', '.join(SHELLS)} have one")
    maker = kind(click.Command(PROGRAM), {}, PROGRAM, COMPLETE_VARIABLE)
    # Not `source()`, which asks an installed bash for its version before it prints.
    return maker.source_template % maker.source_vars()
