"""A process that holds an instance as a server does, and ends as told: the counterpart of process control.

Run as ``python -m tests.support.held_instance DIRECTORY graceful|stubborn``; it prints ``held`` when up,
and ``rung`` for each wake-up signal.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from mail_proxy.daemon.process import hold
from mail_proxy.instance import Instance

PORT = 18025


def say(word: str) -> None:
    print(word, flush=True)


def main(directory: Path, manner: str) -> None:
    instance = Instance(directory.name, directory)
    with hold(instance) as lock:
        if manner == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1} | ({signal.SIGTERM} - _ignored(manner)))
        lock.announce("0.0.0.0", PORT)
        say("held")
        while signal.sigwait({signal.SIGUSR1, signal.SIGTERM}) == signal.SIGUSR1:
            say("rung")


def _ignored(manner: str) -> set[signal.Signals]:
    return {signal.SIGTERM} if manner == "stubborn" else set()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
