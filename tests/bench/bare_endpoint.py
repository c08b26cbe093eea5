"""The least that a POST can cost: Starlette under uvicorn reads the body and answers. A limit for intake.

A process of its own, as the server is: ``with BareEndpoint() as bare: ... bare.port``.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.children import tethered
from tests.support.server import REPOSITORY

PATH = "/commands/add-messages"
STOP_TIMEOUT = 10.0


class BareEndpoint:
    """The process."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = tethered([sys.executable, "-m", "tests.bench.bare_endpoint"])
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=STOP_TIMEOUT)
        self._process.kill()


async def _endpoint(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"ok": True, "queued": 1, "rejected": []})


def main() -> None:
    """Serve until terminated."""
    app = Starlette(routes=[Route(PATH, _endpoint, methods=["POST"])])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(app, access_log=False, log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
