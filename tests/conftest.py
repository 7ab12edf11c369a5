"""What all tests share: a clean environment, a place of their own, and the real command."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from recsys_cli.artifacts import Artifacts
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from tests import commands

ROOT = Path(__file__).resolve().parents[1]
# DuckDB takes a process without a file, as the tests' workers are, for a shell, and draws bars into the output.
sys.modules["__main__"].__dict__.setdefault("__file__", __file__)
# Tests start a thousand commands: each would compile the whole package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
SHARED = ROOT.parent / "shared"

# The same examples in every run. RECSYS_HYPOTHESIS=search looks for new ones.
_quiet = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("repeat", derandomize=True, max_examples=60, database=None, **_quiet)
settings.register_profile("search", max_examples=1000, **_quiet)
settings.load_profile(os.environ.get("RECSYS_HYPOTHESIS", "repeat"))


# Tests that wait for processes, signals or a clock, which a machine that stalls can spoil. Nothing else has a second
# try: a race of one in twenty must fail, and what computes comes out the same every time.
_TIMED = (
    "faults",
    "api/test_browser.py",
    "artifacts/test_spool.py",
    "broker",
    "gdpr/test_killed.py",
    "gdpr/test_servers.py",
    "gdpr/test_within_a_second.py",
    "ingest/test_watch.py",
    "store/test_connection.py",
    "updates/test_training_process.py",
)


# Files of few tests that last long: begun last, one of them would keep a worker busy when all others are done.
_LONG = ("faults", "broker", "publishing", "gdpr", "api")


def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest-xdist from sorting files by their number of tests, which puts the longest of them last."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what lasts long, and give the tests in `_TIMED` one second try, which the summary names."""
    folders = {str(ROOT / "tests" / name): place for place, name in enumerate(_LONG)}
    paths = {item.path for item in items}  # of 6,000 tests, 180 files
    places = {path: folders.get(str(path.parent), len(folders)) for path in paths}
    timed = {path for path in paths if any(path.is_relative_to(ROOT / "tests" / at) for at in _TIMED)}
    items.sort(key=lambda item: places[item.path])
    for item in items:
        if item.path in timed:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from what lives until the end: modules, tests and their parameters.

    A million objects, which it would go through again and again while they are made, and at the end of every worker.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Give the collector all of it back: what is left at the end, DuckDB's bindings report as leaked, by the page."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _ctrl_c() -> None:
    """Commands that tests start can be interrupted, also where the tests run in the background and cannot be.

    Before each test: a command that ran in this process leaves Ctrl-C ignored, which every later child would inherit.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the person who runs the tests reaches them; the umask is put back."""
    for name in [n for n in os.environ if n.startswith("RECSYS_")]:
        monkeypatch.delenv(name)
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def values() -> Settings:
    """All settings at their defaults."""
    return load(environ={})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that does not exist yet and waits half a second for its turn."""
    return Store(tmp_path / "shop" / "shop.duckdb", StoreSettings(lock_timeout=0.5, threads=2))


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """An artifacts directory that does not exist yet."""
    return Artifacts(tmp_path / "model_artifacts", lock_timeout=5)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets beside the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not in {folder}")
    return folder


Recsys = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def recsys(tmp_path: Path) -> Recsys:
    """Run the real command in an empty directory: `recsys("train", "--json", RECSYS_DB="x.duckdb")`."""

    def run(*args: str, timeout: float = 300, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RECSYS_")}
        # One model where none is named: choosing among a dozen is tested where choosing is meant.
        whole = clean | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "RECSYS_TRAIN_MODEL": "als"} | env
        if commands.suits(env):
            return commands.run(args, cwd=cwd or tmp_path, env=whole, timeout=timeout)
        return subprocess.run(
            [sys.executable, "-m", "recsys_cli", *args],
            cwd=cwd or tmp_path,
            env=whole,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
