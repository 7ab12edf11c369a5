"""Keeping the served version fresh: one pass of the update worker, and the loop around it."""

from .loop import loop, recorded_pass, run_once
from .one_pass import AnotherWorker, Pass, alone, beside_server, expect_work, run_pass

__all__ = [
    "AnotherWorker",
    "Pass",
    "alone",
    "beside_server",
    "expect_work",
    "loop",
    "recorded_pass",
    "run_once",
    "run_pass",
]
