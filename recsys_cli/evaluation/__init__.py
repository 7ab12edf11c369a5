"""The future judges: hide the last part of time, recommend, compare."""

from ..splitting.holdout import Split, holdout, last_split, rolling, share_split, time_split
from ..splitting.task import Task
from .evaluate import evaluate, per_user
from .filled_lists import recommend
from .report import Interval, Report

__all__ = [
    "Interval",
    "Report",
    "Split",
    "Task",
    "evaluate",
    "holdout",
    "last_split",
    "per_user",
    "recommend",
    "rolling",
    "share_split",
    "time_split",
]
