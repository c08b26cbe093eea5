"""The clock of a machine of its own for a server process: as wrong as the test says, and set by it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

SHIM = Path(__file__).parent / "wrong_clock"


class MachineClock:
    """`settings` are the environment variables of a process that shall go by it."""

    def __init__(self, file: Path, ahead: float = 0.0) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        self.set(ahead)
        self.settings = {"TEST_CLOCK": str(file)}

    def set(self, ahead: float) -> None:
        """Let it be so many seconds ahead of the true time, from now on."""
        os.pwrite(self._file, struct.pack("d", ahead), 0)

    def close(self) -> None:
        os.close(self._file)
