"""``python -m mail_proxy_cli``: the same program as ``mail-proxy``."""

from mail_proxy_cli.main import main

if __name__ == "__main__":
    main()
