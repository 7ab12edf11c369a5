"""A Spark for the time of a training: started, watched, and stopped without a word from Java."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MissingDependency, MissingLibrary, RecsysError
from ..progress import SILENT, Progress

DRIVER_MEMORY = "3g"  # where the driver is on this machine and spark-defaults.conf says nothing
_NOISE = re.compile(r"WARN|Using |Setting |To adjust |\d\d/\d\d/\d\d ")  # what Java prints whenever it starts
_THREAD = re.compile(r'^(Exception in thread "[^"]*" )?([\w.$]+(Exception|Error): )?')
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"  # each task of Spark has a core: more threads would wait for each other
_TOLD = 15.0  # seconds between two lines about how far Spark is


@contextmanager
def spark_session(master: str, progress: Progress = SILENT) -> Iterator[Any]:
    """A Spark session: in this machine's memory for `local[N]`, else the named cluster's.

    What fails on Spark is told in a sentence. SIGTERM ends the training as Ctrl-C does: Spark is stopped, and what it
    wrote is removed.

    Raises
    ------
    MissingDependency, MissingLibrary
        pyspark or Java is not installed.
    RecsysError
        Spark does not start, or gives up.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession  # noqa: F401  the largest part, which may be missing alone
    except ImportError:
        raise MissingDependency("pyspark", "spark", "--engine spark") from None
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise MissingLibrary(
            "--engine spark needs Java, which this system lacks.",
            "Install it, on Debian and Ubuntu with: apt-get install openjdk-17-jre-headless",
        )
    for name in ("py4j", "pyspark"):  # they log each exception that they raise, too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="recsys-spark-", ignore_cleanup_errors=True) as scratch,
        _interruptible() as told,
    ):
        said = Path(scratch) / "java.log"
        try:
            with progress.stage(f"Starting Spark on {master}"):
                spark = _started(_options(master, scratch), said)
        except Exception as e:  # noqa: BLE001  py4j's own, Java's by way of it, or what the launcher says
            reason = _reason(e, _read(said))
            raise RecsysError(f"Spark on {master} does not start: {reason}.", "Check --master.") from None
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))  # Spark has put its own there
            with _telling(spark, progress):
                yield spark
        except Exception as e:
            if told.is_set():  # Java may have been told, too, and its end seen first
                raise KeyboardInterrupt from None
            if not isinstance(e, (Py4JError, PySparkException, ConnectionError)):
                raise
            raise RecsysError(
                f"Spark on {master} gave up: {_reason(e)}.",
                "If memory ran out, set SPARK_DRIVER_MEMORY (3g by default) or name a cluster with --master.",
            ) from None
        finally:
            _stop(spark)


def _started(options: dict[str, str], said: Path) -> Any:
    """A session of these options; what its Java prints goes to the file `said`."""
    from pyspark import SparkConf, SparkContext, accumulators, java_gateway
    from pyspark.sql import SparkSession

    for name in (
        "AccumulatorServer",
        "AccumulatorTCPServer",
        "AccumulatorUnixServer",
    ):  # as versions of pyspark call it
        if hasattr(accumulators, name):  # prints a traceback when Java ends before it
            getattr(accumulators, name).handle_error = lambda *_: None
    os.environ.setdefault(_BLAS_THREADS, "1")  # Java's, who inherits it
    conf = SparkConf().setAll(list(options.items()))
    with said.open("wb") as log:
        # A process has one Java, which outlives a session.
        launch: Any = java_gateway.launch_gateway
        gateway = getattr(SparkContext, "_gateway", None) or launch(conf, {"stdout": log, "stderr": log})
    return SparkSession(SparkContext(conf=conf, gateway=gateway))


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _stop(spark: Any) -> None:
    try:
        spark.stop()
    except Exception:  # whatever a Java that has gone already makes of it
        logging.getLogger(__name__).debug("Spark was gone", exc_info=True)


def _reason(error: Exception, printed: str = "") -> str:
    """The line of an error that says what happened: of a Java stack trace its last cause, and what Java printed if it
    ended before it answered."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "JAVA_GATEWAY_EXITED" in str(error):
        lines = [
            _THREAD.sub("", line) for line in printed.splitlines() if line.strip() and not _NOISE.match(line)
        ] or lines
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    java = [line.removeprefix(": ") for line in lines if line.startswith(": ")]
    return (causes[-1:] or java or lines or [type(error).__name__])[0].rstrip(".")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Have SIGTERM interrupt as Ctrl-C does: otherwise Java would go on for a while, and its files stay. Gives an event
    that is set when it did."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def interrupt(*_: object) -> None:
        told.set()
        logging.disable(logging.CRITICAL)  # py4j logs each of the connections that end now, with a traceback
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield told
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _telling(spark: Any, progress: Progress) -> Iterator[None]:
    """Say now and then how far Spark is."""
    done = threading.Event()

    def watch() -> None:
        tracker, last = spark.sparkContext.statusTracker(), ""
        while not done.wait(_TOLD):
            try:
                stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
            except Exception:  # noqa: BLE001  Spark is ending, of which the main thread tells
                return
            known = [stage for stage in stages if stage is not None]
            ready, total = sum(s.numCompletedTasks for s in known), sum(s.numTasks for s in known)
            told = f"Spark: step {max(s.stageId for s in known)}, {ready} of {total} tasks done" if known else ""
            if told not in ("", last):
                progress.note(told)
            last = told

    thread = threading.Thread(target=watch, name="spark-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


def _options(master: str, scratch: str) -> dict[str, str]:
    options = {
        "spark.app.name": "recsys",
        "spark.master": master,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "OFF",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        f"spark.executorEnv.{_BLAS_THREADS}": "1",
    }
    if master.startswith("local"):
        options |= {
            # Nothing listens that another machine could reach.
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": os.environ.get("SPARK_DRIVER_MEMORY", DRIVER_MEMORY),
            "spark.local.dir": scratch,
            "spark.sql.shuffle.partitions": "4",
        }
    return options
