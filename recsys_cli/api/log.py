"""The server's log: one JSON object a line on standard error, without customers' ids."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import orjson


def log(event: str, **facts: Any) -> None:
    """Write one line: when, which process, what, and its facts."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"time": stamp, "pid": os.getpid(), "event": event, **facts}
    sys.stderr.write(orjson.dumps(line, default=str).decode() + "\n")
    sys.stderr.flush()
