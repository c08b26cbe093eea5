"""Trying a login before anything is written, and what can be done when it is refused."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from mail_proxy.model.logins import LoginTrial, Step
from mail_proxy.tls import client_context
from mail_proxy_cli.wizards.asking import Dialogue, Fields

Attempt = Callable[[], Mapping[str, LoginTrial]]
"""Tries logins, each of which has a name for people."""

TRUST, UNVERIFIED, LOGIN = "trust", "unverified", "login"
CHANGE, AGAIN, KEEP, LEAVE = "change", "again", "keep", "leave"

WAYS_ON = {
    LOGIN: "give user and password again",
    CHANGE: "change any of the answers",
    AGAIN: "try again",
    KEEP: "go on, although it does not work now",
    LEAVE: "leave, nothing is written",
}
WAYS_TO_TRUST = {
    TRUST: "trust the certificates in a file",
    UNVERIFIED: "take any certificate (unsafe)",
}


def try_logins(
    dialogue: Dialogue, attempt: Attempt, ask_login: Callable[[], None], trust: Fields | None = None
) -> bool:
    """Offer to log in: True to go on, False to change answers before. Raises Abort to leave.

    `ask_login` asks for user and password again. What is decided about a certificate that is not accepted
    goes into `trust`, where there is a choice.
    """
    if not dialogue.agree("try the login now?", default=True):
        return True
    while True:
        trials = attempt()
        for name, trial in trials.items():
            _tell(dialogue, name, trial)
        if all(trial.error is None for trial in trials.values()):
            return True
        is_untrusted = any(trial.is_untrusted for trial in trials.values())
        ways = WAYS_TO_TRUST | WAYS_ON if is_untrusted and trust is not None else WAYS_ON
        is_refused = any(trial.failed_at is Step.LOGIN for trial in trials.values())
        answer = dialogue.decide("what now", ways, LOGIN if is_refused else CHANGE)
        if answer == LEAVE:
            raise click.Abort
        if answer in (KEEP, CHANGE):
            return answer == KEEP
        if answer == LOGIN:
            ask_login()
        if trust is not None and answer in WAYS_TO_TRUST:
            trust |= _trusting(dialogue, answer)


def _tell(dialogue: Dialogue, name: str, trial: LoginTrial) -> None:
    if trial.error is None:
        dialogue.say(f"{name}: works ({trial.tls.value}, {trial.seconds:.1f} s)")
    else:
        dialogue.complain(f"{name}: {trial.error}")


def _trusting(dialogue: Dialogue, answer: str) -> Fields:
    if answer == UNVERIFIED:
        dialogue.complain("Anybody in between can now pass for the server, and read password and mail.")
        return {"tls_verify": False}
    path = dialogue.ask_file("file with certificates (PEM)", check=_holds_certificates)
    return {"tls_verify": True, "tls_ca": _content(path)}


def _holds_certificates(path: str) -> str | None:
    file = Path(path).expanduser()
    if not file.is_file():
        return f"{path}: no such file"
    try:
        client_context(True, str(file))
    except ssl.SSLError:
        return f"{path}: it holds no certificate that can be read"
    except (OSError, ValueError) as error:
        return f"{path}: {error.strerror if isinstance(error, OSError) else error}"
    return None


def _content(path: str) -> str:
    return Path(path).expanduser().read_text("ascii", errors="replace")
