"""The first lines of ``mail-proxy``, and of ``python -m mail_proxy_cli``."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the program; an interruption before it can speak for itself ends it without a word."""
    try:
        from mail_proxy_cli.main import main as begin

        begin()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
