"""Read by Python when it starts with this directory on its path: makes the process's clock wrong.

`TEST_CLOCK` names a file with the seconds by which it is ahead, a C double; whoever writes it sets the clock.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

_true = time.time

with open(os.environ["TEST_CLOCK"], "rb") as _file:  # noqa: PTH123 - before anything else is imported
    _ahead = mmap.mmap(_file.fileno(), struct.calcsize("d"), access=mmap.ACCESS_READ)


def _wrong() -> float:
    (seconds,) = struct.unpack("d", _ahead)
    return _true() + float(seconds)


time.time = _wrong
