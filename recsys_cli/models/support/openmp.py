"""GNU OpenMP for implicit, whose wheel expects the system to have it; small systems and slim images do not.

faiss-cpu's wheel brings a copy, but under a name of its own (`libgomp-e985bcbb.so.1.0.0`), as which the loader does not
take it for the `libgomp.so.1` that implicit's files ask for. So the copy is loaded with that name put back.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from functools import cache
from pathlib import Path

from ...errors import MissingLibrary

LIBRARY = "libgomp.so.1"


@cache
def provide() -> None:
    """Have `libgomp.so.1` in this process: the system's, or else the one that came with faiss.

    Raises
    ------
    MissingLibrary
        There is neither.
    """
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        try:
            load(bundled())
        except (OSError, ValueError) as e:
            raise MissingLibrary(
                f"The models need {LIBRARY}, which this system lacks ({e}).",
                "Install it, on Debian and Ubuntu with: apt-get install libgomp1",
            ) from e


def bundled() -> Path:
    """The copy in faiss's wheel.

    Raises
    ------
    FileNotFoundError
        The wheel has none.
    """
    faiss = importlib.util.find_spec("faiss")
    folder = Path((faiss and faiss.origin) or "").parent.with_name("faiss_cpu.libs")
    found = next(folder.glob("libgomp-*.so*"), None)
    if found is None:
        raise FileNotFoundError("and faiss-cpu brought no copy of it")
    return found


def load(copy: Path) -> None:
    """Load a copy of the library that goes by another name, for all that ask for `libgomp.so.1` from now on.

    Raises
    ------
    OSError, ValueError
        It cannot be loaded, or does not say its own name.
    """
    other, content = copy.name.encode() + b"\0", copy.read_bytes()
    if content.count(b"\0" + other) != 1:
        raise ValueError(f"and {copy.name} does not say its own name")
    name = LIBRARY.encode().ljust(len(other), b"\0")  # of the same length, so that nothing moves
    # In memory: a file would be left behind somewhere, and folders for temporary ones may not allow programs.
    fd = os.memfd_create(LIBRARY)
    try:
        with os.fdopen(os.dup(fd), "wb") as f:
            f.write(content.replace(b"\0" + other, b"\0" + name))
        ctypes.CDLL(f"/proc/self/fd/{fd}", mode=ctypes.RTLD_GLOBAL)
    finally:
        os.close(fd)
