"""``completion``: the scripts that make a shell ask this program for completions (see shells.py)."""

from __future__ import annotations

import click

from mail_proxy_cli.nodes import command

SHELLS = ("bash", "zsh", "fish")

SCRIPTS = {
    "bash": r"""
_mail_proxy_completion() {
    local offer
    COMPREPLY=()
    while IFS= read -r offer; do
        case $offer in
            '='*) COMPREPLY+=("${offer#=}") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_WORDBREAKS=$COMP_WORDBREAKS \
        _MAIL_PROXY_COMPLETE=bash "${1/#\~\//$HOME/}" 2>/dev/null)
}

complete -o nosort -F _mail_proxy_completion mail-proxy
""",
    "zsh": r"""
#compdef mail-proxy

_mail-proxy() {
    local offer
    local -a described plain
    for offer in "${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" \
        _MAIL_PROXY_COMPLETE=zsh ${~words[1]} 2>/dev/null)}"; do
        case $offer in
            '+'*) described+=("${offer#+}") ;;
            '='*) plain+=("${offer#=}") ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done
    (( $#described )) && _describe -V mail-proxy described
    (( $#plain )) && compadd -V mail-proxy -a plain
}

if [[ $funcstack[1] == _mail-proxy ]]; then
    _mail-proxy "$@"
else
    compdef _mail-proxy mail-proxy
fi
""",
    "fish": r"""
function __mail_proxy_completion
    set -l program (commandline -opc)[1]
    set -l line (commandline -cp | string collect)
    for offer in (env COMP_LINE=$line _MAIL_PROXY_COMPLETE=fish $program 2>/dev/null)
        switch $offer
            case '=*'
                string sub --start 2 -- $offer
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
        end
    end
end

complete --command mail-proxy --no-files --keep-order --arguments '(__mail_proxy_completion)'
""",
}


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash   eval "$(mail-proxy completion bash)"           in ~/.bashrc
    zsh    eval "$(mail-proxy completion zsh)"            in ~/.zshrc, after compinit
    fish   mail-proxy completion fish > ~/.config/fish/completions/mail-proxy.fish
    """  # noqa: D301 - \b keeps Click from joining the lines
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    """The completion script for one of `SHELLS`."""
    return SCRIPTS[shell].lstrip()
