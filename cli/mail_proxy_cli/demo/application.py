"""The demo's application: a tiny HTTP server on loopback that takes delivery reports."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Entry = dict[str, object]

LARGEST = 1024 * 1024
STEP = 0.05


class Application:
    """Keeps the entries of the reports it was posted, by the message's id and the event."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._entries: dict[tuple[str, str], Entry] = {}
        self._lock = threading.Lock()

    def take(self, entries: list[Entry]) -> None:
        with self._lock:
            for entry in entries:
                self._entries[str(entry.get("id")), str(entry.get("event"))] = entry

    def wait_for(self, message_id: str, event: str, seconds: float) -> Entry | None:
        """Return the report of an event once it has come; None if it does not come in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._lock:
                found = self._entries.get((message_id, event))
            if found is not None:
                return found
            time.sleep(STEP)
        return None


@contextlib.contextmanager
def running() -> Iterator[Application]:
    """Run the application for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), LARGEST))
            application.take(json.loads(body).get("delivery_report", []))
            answer = b'{"ok": true}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing: the demo tells what it saw."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    application = Application(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": STEP}, daemon=True)
    thread.start()
    try:
        yield application
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
