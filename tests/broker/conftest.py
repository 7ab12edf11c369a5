"""A real RabbitMQ node of the tests' own: in a folder of its own, on ports of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pika = pytest.importorskip("pika")
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

_SERVERS = sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
_CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
log.console = true
log.file = false
vm_memory_high_watermark.absolute = 256MB
disk_free_limit.absolute = 1MB
"""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Broker:
    """A node that can be killed, and started again with what it had on disk."""

    folder: Path
    port: int
    environ: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    open: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(_SERVERS[-1])], env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 240
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                pika.BlockingConnection(pika.URLParameters(self.url)).close()
                return
            except (pika.exceptions.AMQPError, OSError):
                assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def channel(self) -> Any:
        """A channel on which a publish returns when the broker has the message."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        self.open.append(connection)
        channel = connection.channel()
        channel.confirm_delivery()
        return channel

    def empty(self, queue: str) -> list[tuple[Any, bytes]]:
        """Everything in a queue: properties and body."""
        channel, found = self.channel(), []
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(got[1:])
        return found

    def hang_up(self) -> None:
        for connection in self.open:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection.close()
        self.open = []


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not _SERVERS or shutil.which("erl") is None:
        pytest.skip("needs rabbitmq-server")
    folder = tmp_path_factory.mktemp("broker")
    port, between, names = _free_ports(3)
    (folder / "plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text(_CONFIG.format(port=port))
    (folder / "home").mkdir()
    ours = {
        "HOME": folder / "home",
        "RABBITMQ_NODENAME": f"recsys{port}@localhost",
        "RABBITMQ_DIST_PORT": between,
        "ERL_EPMD_PORT": names,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_RELAXED_COMMAND_CHECK": 1,
        "RABBITMQ_MNESIA_BASE": folder / "mnesia",
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,  # not the one of this machine's own node
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    broker = Broker(folder, port, {"PATH": os.environ["PATH"]} | {name: str(value) for name, value in ours.items()})
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        subprocess.run(["epmd", "-kill"], env=broker.environ, capture_output=True, check=False)  # the one on our port


@pytest.fixture
def broker(node: Broker) -> Iterator[Broker]:
    """The node, with empty queues."""
    channel = node.channel()
    for name in ("views", "searches", "interactions", "comparisons", "dead"):
        channel.queue_delete(f"recsys.{name}")
    yield node
    node.hang_up()
