"""Start the real command by forking a process that has loaded it.

A Python with all of the package's modules takes over a second of processor to start, and the tests start a thousand.
Each command still is a process of its own, with its own environment, directory, signals, exit code and state; what it
does not do again is load modules. Tests of loading itself, of a terminal or of the interpreter's own environment start
Python itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
_NOTHING = Path(os.devnull)
_COLUMNS = "200"  # the width that consoles find when they are made, with their modules
_LOADED = "recsys_cli.cli.main", "recsys_cli.doctor", "recsys_cli.publishing.train", "recsys_cli.updates.one_pass"
_one_asks = threading.Lock()
_server: tuple[int, socket.socket, subprocess.Popen[bytes]] | None = None  # whose it is, and the way to it


def suits(env: dict[str, str]) -> bool:
    """Whether a loaded process does: not for variables that are read while Python or a module starts."""
    return all(name.startswith("RECSYS_") for name in env)


def run(args: tuple[str, ...], *, cwd: Path, env: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(..., capture_output=True, text=True)` of `python -m recsys_cli`, in a fork."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _NOTHING.open() as nothing:
        with theirs:
            ask = {"args": args, "cwd": str(cwd), "env": env, "umask": _umask()}
            fds = [theirs.fileno(), nothing.fileno(), out.fileno(), err.fileno()]
            asked = json.dumps(ask).encode()
            with _one_asks:
                way = _way()
                socket.send_fds(way, [len(asked).to_bytes(4, "big")], fds)
                way.sendall(asked)
        code = _wait(ours, timeout)
        out.seek(0)
        err.seek(0)
        said, told = (part.read().decode().replace("\r\n", "\n") for part in (out, err))
    if code is None:
        raise subprocess.TimeoutExpired(["recsys", *args], timeout, said, told)
    return subprocess.CompletedProcess(["recsys", *args], code, said, told)


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _wait(way: socket.socket, timeout: float) -> int | None:
    """The exit code; none when the command took too long and was killed."""
    lines = way.makefile("r")
    pid = int(lines.readline())
    way.settimeout(timeout)
    try:
        return int(lines.readline())
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        return None


def _way() -> socket.socket:
    """The way to the loaded process of this pytest process, which is started by the first command."""
    global _server
    if _server is None or _server[0] != os.getpid():
        ours, theirs = socket.socketpair()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=clean | {"PYTHONPATH": str(ROOT), "COLUMNS": _COLUMNS},
                stdin=subprocess.DEVNULL,
            )
        _server = os.getpid(), ours, process
        atexit.register(_end, ours, process)
    return _server[1]


def _end(way: socket.socket, process: subprocess.Popen[bytes]) -> None:
    way.close()
    process.wait(10)


def _serve(way: socket.socket) -> None:
    """Fork for each command, until the tests are over."""
    from importlib import import_module

    for module in _LOADED:
        import_module(module)
    _understand_all()
    gc.freeze()  # the forks leave what is loaded where it is
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        size, fds, _, _ = socket.recv_fds(way, 4, 4)
        if not size:
            return
        asked = b""
        while len(asked) < int.from_bytes(size, "big"):
            asked += way.recv(int.from_bytes(size, "big") - len(asked))
        if os.fork() == 0:
            way.close()
            _attend(fds, json.loads(asked))
        for fd in fds:
            os.close(fd)


def _understand_all() -> None:
    """Have the parser of every command, and what typer loads when it parses the first call, before the forks."""
    import typer.main

    from recsys_cli.cli.main import app, parser

    for name in ("", *typer.main.get_command(app).commands):  # type: ignore[attr-defined]
        parser(name)
    parser("status").commands["status"].make_context("status", [], resilient_parsing=True)


def _attend(fds: list[int], ask: dict[str, Any]) -> NoReturn:
    """Fork once more for the command itself, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    answer, *streams = fds
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        _become(streams, ask)
    with contextlib.suppress(BrokenPipeError):
        os.write(answer, b"%d\n" % pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answer, b"%d\n" % code)
    os._exit(0)


def _become(streams: list[int], ask: dict[str, Any]) -> NoReturn:
    """The command, as Python would start it and end it."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(ask["cwd"])
    os.umask(ask["umask"])
    os.environ.clear()
    os.environ.update(ask["env"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [str(ROOT / "recsys_cli" / "__main__.py"), *ask["args"]]
    code: Any = 0
    try:
        from recsys_cli.__main__ import main

        main()
    except SystemExit as e:
        code = e.code
    except BaseException:  # noqa: BLE001 - as Python itself does it
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))  # our neighbours are no modules of anybody's
    _serve(socket.socket(fileno=int(sys.argv[1])))
