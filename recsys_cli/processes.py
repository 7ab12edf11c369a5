"""What a process asks of the system for itself, and how it starts another of its own kind."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ASKED_BY = "RECSYS_ASKED_BY"  # by which a server that runs a command tells its audit entry who asked
_PR_SET_PDEATHSIG = 1
_PACKAGE = Path(__file__).resolve().parent

# The folder of our package is on the path for one import only. Left there, everything in it would pass for a module
# of the standard library; not there at all, a source tree could not start itself.
_START = (
    # Without a file DuckDB takes a process for somebody's shell, and draws a bar into its output for each slow query.
    "__file__ = ''; import signal, sys; listening = signal.getsignal(2) is signal.default_int_handler; "
    # Ctrl-C while modules are loaded ends at once: interrupted imports answer with a traceback.
    "listening and signal.signal(2, signal.SIG_DFL); "
    "root, module = sys.argv[1:3]; sys.argv[:] = [module, *sys.argv[3:]]; sys.path.insert(0, root); "
    f"import {_PACKAGE.name}; sys.path.remove(root); import importlib; main = importlib.import_module(module).main; "
    "listening and signal.signal(2, signal.default_int_handler); main()"
)


def own_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `main` of one of our modules in a Python of its own.

    The new process never imports from the working directory (`-P`): there, a file called `secrets.py` or `duckdb.py`
    may be anybody's. Start it with `own_environment`.

    Parameters
    ----------
    module
        Full name, as "recsys_cli.database_copy".
    arguments
        What `sys.argv[1:]` holds there.
    """
    return [sys.executable, "-P", "-c", _START, str(_PACKAGE.parent), module, *arguments]


def own_environment(**more: str) -> dict[str, str]:
    """The environment for `own_command`: ours, without the entries of PYTHONPATH that mean the working directory."""
    clean = dict(os.environ)
    entries = [entry for entry in clean.pop("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    if entries:
        clean["PYTHONPATH"] = os.pathsep.join(entries)
    return clean | more


def become_owner(*places: Path) -> str:
    """Where root runs a command on somebody's state, go on as that somebody: root's files would shut them out.

    Parameters
    ----------
    places
        Where the state is, or is to be; the first one that exists tells whose it is.

    Returns
    -------
    The user's name or number; empty when nothing changed.
    """
    owner = next((place.stat() for place in places if place.exists()), None)
    if os.geteuid() != 0 or owner is None or owner.st_uid == 0:
        return ""
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
        os.initgroups(name, owner.st_gid)
    except KeyError:
        name = str(owner.st_uid)
        os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    return name


def die_with_parent(by: signal.Signals, parent: int = 0) -> None:
    """Have the kernel send this process a signal when its parent dies, however that happens; on Linux only.

    Parameters
    ----------
    parent
        The parent's number, if it is known: it may have died before this was asked for, and nothing would come of it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
        if parent and os.getppid() != parent:
            os.kill(os.getpid(), by)


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal has its usual effect."""
    stop = threading.Event()
    before: dict[signal.Signals, object] = {}

    def halt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, halt)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def give_memory_back() -> None:
    """Return to the system what was needed and is free: an allocator keeps it, in pieces that the next piece of work
    does not fit into. Of 10 million events half a gigabyte stood so after a model was chosen."""
    import pyarrow as pa  # here: a server's first process does without

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others give back by themselves or not at all
    if trim is not None:
        trim(0)
