"""A real server on loopback, on a shop in which the right answers are known."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys_cli.artifacts.keys import owner_key

ROOT = Path(__file__).resolve().parents[2]
# Seconds until something is held to have failed. Servers look around five times a second; how long that takes on a
# machine that does other things, nobody knows. The benchmarks measure it on one that is idle.
PATIENCE = 60.0


def eventually(look: Callable[[], Any]) -> Any:
    """The first answer that is something, or the last one."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.03)
    return found


_spec = importlib.util.spec_from_file_location("shop_of_api_tests", ROOT / "tests" / "serving" / "shop.py")
assert _spec is not None
assert _spec.loader is not None
shop_module = sys.modules.setdefault("shop_of_api_tests", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(shop_module)


class Server:
    """A running `recsys serve`."""

    def __init__(self, shop: Any, log: Path, *args: str, cwd: Path | None = None) -> None:
        self.shop = shop
        self.log = log
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RECSYS_")}
        state = ["--db", str(shop.settings.db), "--artifacts", str(shop.settings.artifacts)]
        config = (cwd or log.parent) / "recsys.toml"
        if config.exists():  # which a shop in another folder is not run by, unless it is named
            state += ["--config", str(config)]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recsys_cli", "serve", "--port", "0", *state, *args],
                env=clean | {"PYTHONPATH": str(ROOT)},
                stderr=out,
                stdout=out,
                cwd=cwd or log.parent,
            )
        self.url = self._wait()
        self.key = owner_key(shop.settings.artifacts)
        self.header = {"x-api-key": self.key}
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, headers=self.header)

    def _wait(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            match = re.search(r"http://\S+?:\d+", self.log.read_text())
            if match:
                try:
                    if httpx.get(f"{match[0]}/ready", timeout=PATIENCE).status_code == 200:
                        return match[0]
                except httpx.TransportError:
                    pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self.log.read_text()}")

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a 200."""
        reply = self.http.get(path, params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: Any, status: int = 202) -> Any:
        """The JSON of a 202."""
        reply = self.http.post(path, json=body)
        assert reply.status_code == status, reply.text
        return reply.json()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.http.close()
        return code


@pytest.fixture(name="eventually")
def _eventually() -> Callable[[Callable[[], Any]], Any]:
    return eventually


@pytest.fixture(scope="session")
def one_shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shop, made once; not to be changed."""
    return shop_module.make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(one_shop: Any, tmp_path: Path) -> Any:
    """A copy of the shop that a test may change."""
    return copy_of(one_shop, tmp_path / "copy")


def copy_of(shop: Any, folder: Path) -> Any:
    shutil.copytree(shop.settings.db.parent, folder)
    db, artifacts = folder / shop.settings.db.name, folder / shop.settings.artifacts.name
    return shop_module.Shop(dataclasses.replace(shop.settings, db=db, artifacts=artifacts))


@pytest.fixture
def start(shop: Any, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers: `start("--workers", "2", config="[rules] ...")`."""
    running: list[Server] = []

    def run(*args: str, config: str = "", on: Any = None) -> Server:
        folder = tmp_path / f"run{len(running)}"
        folder.mkdir()
        (folder / "recsys.toml").write_text(config, encoding="utf-8")
        running.append(Server(on or shop, folder / "log", *args, cwd=folder))
        return running[-1]

    yield run
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(PATIENCE)
        server.http.close()


@pytest.fixture(scope="session")
def server(one_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as it was."""
    shop = copy_of(one_shop, tmp_path_factory.mktemp("served") / "copy")
    made = Server(shop, tmp_path_factory.mktemp("log") / "log")
    yield made
    made.stop()
