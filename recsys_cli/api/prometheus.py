"""What Prometheus may know: counts and times by route and source, never who.

With several workers, each keeps its numbers in files of a shared directory (`PROMETHEUS_MULTIPROC_DIR`, set before
this module is imported) and whichever is asked adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1, 2.5, 10)

REQUESTS = Counter("recsys_requests", "Requests answered.", ["route", "status"])
SECONDS = Histogram("recsys_request_seconds", "Time from request to answer.", ["route"], buckets=_BUCKETS)
ANSWERS = Counter("recsys_answers", "Lists answered, by what proposed the first item.", ["route", "source"])
FALLBACKS = Counter("recsys_fallback_answers", "Lists in which every item is a fallback.", ["route"])
EVENTS = Counter("recsys_events", "Events acknowledged.", ["type"])
LAG = Histogram(
    "recsys_event_lag_seconds",
    "Time from an event's acknowledgement to its effect in a process.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5),
)
_FINE = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
STEP_SECONDS = Histogram(
    "recsys_step_seconds",
    "Time of each step of a personal list, of up to 1,000 lists a second.",
    ["step"],
    buckets=_FINE,
)
RANKER_SECONDS = Histogram("recsys_ranker_seconds", "Time the ranker took for a list.", buckets=_BUCKETS)
RANKER_LATE = Counter("recsys_ranker_late", "Lists in the model's order because the ranker's time was up.")
SWAPS = Counter("recsys_version_swaps", "Versions taken into service, over all processes.")
REFUSED = Counter("recsys_versions_refused", "Damaged versions refused, over all processes.")
# States that are one for all processes: as the last process that looked saw it. The least or greatest would be the zero
# of a process that has not looked yet, or what one saw long ago.
_SHARED: Final = "livemostrecent"
VERSION_AGE = Gauge(
    "recsys_version_created_timestamp_seconds", "When the served version was made.", multiprocess_mode=_SHARED
)
BACKLOG = Gauge("recsys_spool_backlog_bytes", "What the update worker has not taken yet.", multiprocess_mode=_SHARED)
WORKER_AGE = Gauge(
    "recsys_update_age_seconds", "Time since the served version was published.", multiprocess_mode="livemax"
)
WORKER_PASS = Gauge(
    "recsys_worker_last_pass_timestamp_seconds", "End of the worker's last pass.", multiprocess_mode=_SHARED
)
WORKER_FAILURES = Gauge(
    "recsys_worker_failures_in_a_row", "Passes of the update worker that failed in a row.", multiprocess_mode=_SHARED
)
WORKER_LAG = Gauge(
    "recsys_worker_lag_seconds", "How long the oldest event had waited at its last pass.", multiprocess_mode=_SHARED
)
CONSUMER = Gauge(
    "recsys_consumer_last_word_timestamp_seconds", "When recsys consume last said how it is.", multiprocess_mode=_SHARED
)
CONSUMED = Gauge(
    "recsys_consumer_messages", "What became of what recsys consume was given.", ["fate"], multiprocess_mode=_SHARED
)
DETAILS = Counter(
    "recsys_details_answers", "Lists with details of the product service, by how old they are.", ["state"]
)
DETAILS_ASKED = Counter("recsys_details_requests", "Requests to the product service.", ["outcome"])
DETAILS_SECONDS = Histogram("recsys_details_seconds", "Time the product service took for an answer.", buckets=_BUCKETS)
DETAILS_CIRCUIT = Gauge(
    "recsys_details_circuit",
    "Whether the product service is asked: 0 yes, 1 tried once, 2 left alone.",
    multiprocess_mode="livemax",
)
# Sums of the report's days, from the worker: what was seen and bought is known in the database alone.
_PLACE: Final = ["placement", "arm"]
SEEN = Gauge("recsys_lists_seen", "Items seen in lists, over the report's days.", _PLACE, multiprocess_mode=_SHARED)
CLICKS = Gauge("recsys_lists_clicks", "Clicks on items in lists.", _PLACE, multiprocess_mode=_SHARED)
ORDERS = Gauge("recsys_lists_orders", "Orders with an item from a list.", _PLACE, multiprocess_mode=_SHARED)
REVENUE = Gauge("recsys_lists_revenue", "Sales attributed to lists, less refunds.", _PLACE, multiprocess_mode=_SHARED)
STOPPED = Gauge("recsys_experiments_stopped", "Experiments that a guardrail has stopped.", multiprocess_mode=_SHARED)
LOOP_FAILURES = Gauge(
    "recsys_loop_failures_in_a_row",
    "Turns in a row that a loop of a server process has failed.",
    ["loop"],
    multiprocess_mode="livemax",
)
MEMORY = Gauge("recsys_resident_bytes", "Memory of each process.", multiprocess_mode="liveall")


class Served(Collector):
    """The version that this process serves, as the label of the one sample of `recsys_version_info`.

    As a label of counters every version would leave its series behind in each process, and in the files by which
    processes share their numbers, until the server ends.
    """

    version = ""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "recsys_version_info", "The version that is served: 1, by its name.", labels=["version"]
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for family in self.describe():
            if self.version:
                family.add_metric([self.version], 1)
            yield family


SERVED = Served()
REGISTRY.register(SERVED)


@lru_cache(4096)
def _bound(route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, str(status)), SECONDS.labels(route)


@lru_cache(4096)
def _bound_answer(route: str, source: str) -> Counter:
    return ANSWERS.labels(route, source)


def observe(route: str, status: int, seconds: float) -> None:
    """Count one answer."""
    count, times = _bound(route, status)
    count.inc()
    times.observe(seconds)


def observe_answer(route: str, source: str, fallback: bool) -> None:
    """Count one list."""
    _bound_answer(route, source).inc()
    if fallback:
        FALLBACKS.labels(route).inc()


def observe_steps(done: list[dict[str, float]]) -> None:
    """Count the steps of some lists, see `serving.stopwatch`."""
    for spent in done:
        for step, seconds in spent.items():
            STEP_SECONDS.labels(step).observe(seconds)


MOST_PLACES = 50  # labels of placement and arm together; what is beyond, the least seen, is counted as "other"


def observe_report(report: dict[str, Any]) -> None:
    """Take over the sums of a report; see `experiments.sales_report`."""
    sums: dict[tuple[str, str], list[float]] = {}
    for row in report.get("rows", ()):
        arm = f"{row['experiment']} {row['arm']}".strip()
        one = sums.setdefault((row["placement"], arm), [0.0] * 4)
        for place, name in enumerate(("seen", "clicks", "orders", "revenue")):
            one[place] += row[name]
    ordered = sorted(sums.items(), key=lambda pair: -pair[1][0])
    rest = [sum(values) for values in zip(*(v for _, v in ordered[MOST_PLACES:]), strict=True)]
    shown = [*ordered[:MOST_PLACES], *([(("other", ""), rest)] if rest else [])]
    for place, gauge in enumerate((SEEN, CLICKS, ORDERS, REVENUE)):
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            gauge.clear()  # placements that are no more
        for (placement, arm), values in shown:
            gauge.labels(placement, arm).set(values[place])
    STOPPED.set(sum(one["state"] == "stopped" for one in report.get("experiments", ())))


def observe_consumer(at: float, counts: Mapping[str, int]) -> None:
    """Take over the word of `recsys consume`."""
    CONSUMER.set(at)
    for fate, count in counts.items():
        CONSUMED.labels(fate).set(count)


def render() -> bytes:
    """The text that Prometheus reads, over all processes; of this one alone where somebody removed their folder."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None or not Path(folder).is_dir():
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(SERVED)
    return generate_latest(registry)
