"""Where the command starts, also as `python -m recsys_cli`."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Load the command and run it."""
    # Threads of OpenMP that wait would keep a core busy, which the server or the worker beside this command needs; they
    # read it when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listening:
        # Ctrl-C while modules are loaded ends at once: interrupted imports answer with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli.main import main as run

    if listening:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
