"""`recsys ingest --watch`: a line for every file that arrives."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from .common import Run
from .safe_output import plain_json, printable_json

if TYPE_CHECKING:
    from ..ingest import Request
    from ..ingest.watch import Outcome


def watch_folder(run: Run, path: Path, request: Request, *, interval: float, once: bool) -> None:
    """Take what is there, or go on until told to stop; a file under way is finished first."""
    from ..ingest.watch import Folder, SetAside, take_ready, watch

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    folder = Folder(path)
    outcomes = (
        take_ready(run.settings, folder, request, progress=run.progress, waiting=run.waiting)
        if once
        else watch(
            run.settings,
            folder,
            request,
            interval=interval,
            stop=stop.is_set,
            progress=run.progress,
            waiting=run.waiting,
        )
    )
    aside = 0
    for outcome in outcomes:
        aside += isinstance(outcome, SetAside)
        _show(run, outcome)
    if once and aside:
        raise SystemExit(3)


def _show(run: Run, outcome: Outcome) -> None:
    from ..ingest.watch import SetAside

    if run.as_json:
        text = plain_json(orjson.dumps(outcome.as_dict()))
        sys.stdout.write(printable_json(text, sys.stdout.encoding) + "\n")
        sys.stdout.flush()
    elif isinstance(outcome, SetAside):
        text = f"{outcome.file} was set aside as {outcome.moved_to}: {outcome.error}"
        run.out.print(text, highlight=False, markup=False)
    else:
        run.out.print(outcome.sentence(), highlight=False, markup=False)
