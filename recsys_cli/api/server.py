"""Server processes: one that answers, or several on one socket with this one watching over them."""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from ..artifacts.versions import METRICS_DRAFT
from ..connections import DetailsSettings
from ..durable_files import draft_dir, private_dir, sweep_drafts
from ..errors import CorruptArtifact, UsageError
from ..processes import own_command, own_environment
from ..settings import IngestSettings, RuleSettings, ServeSettings
from ..supervisor import Supervisor
from .log import log, log_to_stderr

if TYPE_CHECKING:
    from ..artifacts import Artifacts, Version
    from .live_settings import Source

_BACKLOG = 2048
_DIED_TOO_SOON = 2.0  # seconds
_GRACE = 10.0  # seconds that a stopping process gets for the requests it has begun


@dataclass(frozen=True)
class ServePlan:
    """All that a server process needs to know; `earliest` is the day before which no event is taken, and `satellite`
    that the database is on another machine."""

    settings: ServeSettings
    rules: RuleSettings
    artifacts: Path
    secret: str
    images: Path | None
    swap_share: float = 0.0
    earliest: str = IngestSettings.earliest
    event_types: dict[str, str] = field(default_factory=dict)
    placements: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    details: DetailsSettings = DetailsSettings()
    satellite: bool = False

    def dump(self) -> bytes:
        """For another process; holds the secret, so it goes through a pipe and never into arguments."""
        return json.dumps(asdict(self), default=str).encode()

    @staticmethod
    def load(data: bytes) -> ServePlan:
        """What `dump` wrote."""
        tree = json.loads(data)
        given: dict[str, Any] = tree["settings"]
        given |= {name: tuple(given[name]) for name in ("cors_origins", "trusted_proxies")}
        given["jwt_keys"] = Path(given["jwt_keys"]) if given["jwt_keys"] else None
        images = Path(tree["images"]) if tree["images"] else None
        rules = RuleSettings(**(tree["rules"] | {"campaigns": tuple(tree["rules"]["campaigns"])}))
        config = Path(tree["config"]) if tree["config"] else None
        details: dict[str, Any] = {n: Path(v) if v and n.endswith("_file") else v for n, v in tree["details"].items()}
        plain = "swap_share", "earliest", "event_types", "placements", "flags", "satellite"
        more = {name: tree[name] for name in plain} | {"config": config, "details": DetailsSettings(**details)}
        return ServePlan(ServeSettings(**given), rules, Path(tree["artifacts"]), tree["secret"], images, **more)

    @property
    def source(self) -> Source | None:
        """What a server process follows for changes."""
        from .live_settings import Source

        return Source(self.config, self.flags) if self.config is not None else None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises
    ------
    UsageError
        The address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(sock, address)
        sock.listen(_BACKLOG)
    except OSError as e:
        raise UsageError(
            f"The address {host}:{port} cannot be listened on: {e.strerror or e}.",
            "Another server may be running; choose another --port or --host.",
        ) from None
    sock.set_inheritable(True)
    return sock


def _bind(sock: socket.socket, address: Any) -> None:
    """Bind; a predecessor that was killed may take a moment to let go."""
    deadline = time.monotonic() + 1.0
    while True:
        try:
            sock.bind(address)
            return
        except OSError as e:
            if e.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def serve(plan: ServePlan, sock: socket.socket) -> None:
    """Answer until told to stop (SIGTERM or SIGINT). With one worker this process becomes it."""
    if plan.settings.workers == 1:
        _become_worker(plan, sock)
    log_to_stderr()
    # Beside the versions, where no cleaner of temporary files takes it away from a server that runs for months, and
    # where the next server or worker finds what a killed one left.
    sweep_drafts(plan.artifacts, METRICS_DRAFT)
    with draft_dir(plan.artifacts, METRICS_DRAFT) as folder:
        _Supervisor(plan, sock, folder).run()


def _command(sock: socket.socket, watch: str) -> list[str]:
    return own_command("recsys_cli.api.worker_process", str(sock.fileno()), watch)


def _become_worker(plan: ServePlan, sock: socket.socket) -> NoReturn:
    """Start this process again, without what the command line has loaded (DuckDB above all)."""
    read, write = os.pipe()
    os.write(write, plan.dump() + b"\n")  # far less than a pipe holds
    os.close(write)
    os.dup2(read, 0)
    os.execve(sys.executable, _command(sock, "alone"), own_environment())


def run_worker(plan: ServePlan, sock: socket.socket) -> None:
    """Answer in this process."""
    log_to_stderr()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A thousand slow clients are a thousand open files.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else soft, hard))
    # Before NumPy and faiss are loaded: their threads would fight over cores with the other workers.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    # What is imported lives as long as the process: looking through it for garbage meanwhile finds none.
    gc.disable()
    from ..artifacts import Artifacts

    artifacts = Artifacts(plan.artifacts)
    with ThreadPoolExecutor(1) as beside:
        # Reading 300 MB and their checksums needs no interpreter, the imports need little else.
        first = beside.submit(newest_version, artifacts)
        import faiss
        import uvicorn
        from threadpoolctl import threadpool_limits

        from ..serving.rules import Rules
        from .asgi import application
        from .protocol import Limits, Protocol
        from .routes import ROUTES
        from .service import Service

    faiss.omp_set_num_threads(1)
    threadpool_limits(1)
    # Loading a version in a thread must not hold up answers for a whole switch interval at a time.
    sys.setswitchinterval(0.0005)
    service = Service.of(plan.settings, Rules.of(plan.rules), artifacts, plan.secret, plan.images, log, plan.swap_share)
    service.earliest, service.event_types = plan.earliest, plan.event_types
    service.live.satellite = plan.satellite
    service.enrich(plan.details)
    service.follow(plan.source, plan.placements)
    service.live.start(*first.result())
    gc.enable()

    config = uvicorn.Config(
        application(service, ROUTES),
        http=Protocol,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        lifespan="on",
        access_log=False,
        log_level="error",
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(_GRACE),
        backlog=_BACKLOG,
    )
    server = uvicorn.Server(config)
    Protocol.limits = Limits.of(plan.settings)
    # uvicorn raises the signal that stopped it once more when it is done; by then it has done its work.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[sock])
    if not server.started:
        sys.exit(6)


def newest_version(artifacts: Artifacts) -> tuple[str | None, Version, list[CorruptArtifact]]:
    """What the pointer says, the version to begin with, every byte of it checked, and why newer ones are not it.

    The pointer is read first: another version that is published meanwhile is then seen at the first look.
    """
    damaged: list[CorruptArtifact] = []
    return artifacts.current_name(), artifacts.current(damaged=damaged.append), damaged


class _Supervisor:
    """Starts the workers, starts them again when they die, and stops them all together."""

    def __init__(self, plan: ServePlan, sock: socket.socket, metrics: Path) -> None:
        self._plan = plan
        self._sock = sock
        self._metrics = metrics
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._stopping = False
        self._starting = Supervisor("starting of server processes", interval=_DIED_TOO_SOON, longest=30.0)

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while self._workers or not self._stopping:
            self._fill()
            if not self._workers:
                continue
            pid, status = os.wait()
            process, started = self._workers.pop(pid, (None, 0.0))
            if process is None:
                continue
            process.returncode = os.waitstatus_to_exitcode(status)
            self._forget_metrics(pid)
            if not self._stopping:
                log("worker_died", worker=pid, exit_code=process.returncode)
                if time.monotonic() - started < _DIED_TOO_SOON:
                    time.sleep(_DIED_TOO_SOON)  # one that cannot start must not spin

    def _fill(self) -> None:
        """Start workers until there are as many as wanted, for as long as the system has no room for another."""
        while not self._stopping and len(self._workers) < self._plan.settings.workers:
            with self._starting.turn():
                self._start()
            if self._starting.state.failures:
                time.sleep(self._starting.pause())

    def _start(self) -> None:
        private_dir(self._metrics)  # if somebody has removed it
        process = subprocess.Popen(
            _command(self._sock, "watched"),
            stdin=subprocess.PIPE,
            pass_fds=[self._sock.fileno()],
            env=own_environment(PROMETHEUS_MULTIPROC_DIR=str(self._metrics)),
        )
        assert process.stdin is not None
        process.stdin.write(self._plan.dump() + b"\n")
        process.stdin.flush()
        # Left open: when this process is killed, the worker reads the end of its input and stops.
        self._workers[process.pid] = (process, time.monotonic())

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for process, _ in list(self._workers.values()):
            process.send_signal(signal.SIGTERM)

    def _forget_metrics(self, pid: int) -> None:
        # Counters of dead workers stay in the sum; their gauges speak of a process that is no more.
        for path in self._metrics.glob(f"gauge_live*_{pid}.db"):
            path.unlink(missing_ok=True)
