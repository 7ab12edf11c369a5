"""The server's log: `logging` as one JSON object a line on standard error, without customers' ids."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson

logger = logging.getLogger(__name__)


def log(event: str, **facts: Any) -> None:
    """Log something that happened, by the name of the event, with its facts."""
    logger.info(event, extra={"facts": facts})


class JsonLines(logging.Formatter):
    """One object a line: when, which process, what, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line: dict[str, Any] = {"time": stamp, "pid": record.process}
        facts = getattr(record, "facts", None)
        if facts is not None:
            line |= {"event": record.getMessage(), **facts}
        else:
            line |= {"event": record.levelname.lower(), "message": record.getMessage()}
        return orjson.dumps(line, default=str).decode()


def log_to_stderr() -> None:
    """Write what our package logs from now on to standard error; for processes of the server."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    ours = logging.getLogger(__package__.partition(".")[0])
    ours.handlers[:] = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
