"""The parser of HTTP: the fast one if it is installed, with a limit that it does not have of itself."""

from __future__ import annotations

import asyncio

from mail_proxy.daemon.patience import MAX_HEAD, is_busy


def http_protocol() -> type[asyncio.Protocol] | str:
    """Return what uvicorn takes as `http`; h11, the other parser, takes heads of 64 KiB at most."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "h11"

    class BoundedHttpTools(HttpToolsProtocol):
        """Hangs up on a head that does not end."""

        head = 0

        def data_received(self, data: bytes) -> None:
            if not is_busy(self):
                self.head += len(data)
                if self.head > MAX_HEAD:
                    self.transport.close()
                    return
            super().data_received(data)
            if is_busy(self):
                self.head = 0

        def on_response_complete(self) -> None:
            self.head = 0
            super().on_response_complete()

    return BoundedHttpTools
