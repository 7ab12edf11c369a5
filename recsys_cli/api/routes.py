"""Every route: its path, what it takes and answers, and the function that answers."""

from __future__ import annotations

import orjson

from ..serving import Filters, Request
from . import metrics, schemas
from .call import Call, Param, Reply, Route
from .events import read_events
from .payload import render
from .service import Service

MAX_K = 200
MAX_DEPTH = 2000

_K = Param("k", "int", "How many items.", 10, 1, MAX_K)
_OFFSET = Param("offset", "int", "Position of the first item; pages are stable within a version.", 0, 0, MAX_DEPTH)
_FILTERS = (
    Param("category", "list", "Only these categories.", ()),
    Param("brand", "list", "Only these brands.", ()),
    Param("region", "list", "Only items for these regions, or for all.", ()),
    Param("min_price", "float", "Lowest price.", None, 0, 1e12),
    Param("max_price", "float", "Highest price.", None, 0, 1e12),
    Param("exclude", "ids", "Item ids to leave out.", ()),
    Param("include", "ids", "Only these item ids.", ()),
)
_EXPLAIN = Param("explain", "bool", "Say why, for every item.", False)
_ITEM = Param("item_id", "str", "The item's id.", required=True)


def filters_of(query: dict[str, object]) -> Filters:
    """The filters in a query; all of its parameters are there."""
    return Filters(*(query[name] for name in Filters.__slots__))  # type: ignore[arg-type]


def recommend(service: Service, call: Call) -> Reply:
    """Personal list; popular items, labelled as a fallback, for those nothing is known of."""
    q = call.query
    engine = service.live.ready()
    request = Request(
        user_id=q["user_id"],
        session_id=q["session_id"],
        items=q["items"],
        k=q["k"],
        offset=q["offset"],
        filters=filters_of(q),
        repeat=q["repeat"],
        explain=q["explain"],
    )
    return render(engine, engine.recommend(request), call.request_id)


def similar_items(service: Service, call: Call) -> Reply:
    """Items like one item."""
    q = call.query
    engine = service.live.ready()
    answer = engine.similar(q["item_id"], q["k"], offset=q["offset"], filters=filters_of(q))
    return render(engine, answer, call.request_id)


def popular(service: Service, call: Call) -> Reply:
    """What sells."""
    q = call.query
    engine = service.live.ready()
    answer = engine.popular(Request(k=q["k"], offset=q["offset"], filters=filters_of(q)))
    return render(engine, answer, call.request_id)


async def take_events(service: Service, call: Call) -> Reply:
    """Take events; answered once they are on disk. They count in every server process within a second."""
    events = read_events(call.body)
    await service.sink.append(events)
    for event in events:
        metrics.EVENTS.labels(event["event_type"]).inc()
    return Reply.of({"accepted": len(events), "request_id": call.request_id}, 202)


def health(service: Service, call: Call) -> Reply:
    """The process lives."""
    return Reply(b'{"status":"ok"}')


def ready(service: Service, call: Call) -> Reply:
    """A version is loaded and answers can be given."""
    engine = service.live.ready()
    return Reply(orjson.dumps({"status": "ready", "version": engine.version}))


def show_metrics(service: Service, call: Call) -> Reply:
    """Counts and times, for Prometheus."""
    service.gauges()
    return Reply(metrics.render(), content_type=metrics.CONTENT_TYPE.encode())


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/recommend",
        recommend,
        "Personal list",
        params=(
            Param("user_id", "str", "The customer."),
            Param("session_id", "str", "The guest, or the customer's present session."),
            Param("items", "ids", "A basket.", ()),
            _K,
            _OFFSET,
            *_FILTERS,
            Param("repeat", "bool", "Keep what the customer already bought.", False),
            _EXPLAIN,
        ),
        answer=schemas.ANSWER,
        errors=(503,),
    ),
    Route(
        "GET",
        "/similar-items",
        similar_items,
        "Items like one",
        params=(_ITEM, _K, _OFFSET, *_FILTERS),
        answer=schemas.ANSWER,
        errors=(404, 503),
    ),
    Route(
        "GET",
        "/popular",
        popular,
        "What sells",
        params=(_K, _OFFSET, *_FILTERS),
        answer=schemas.ANSWER,
        errors=(503,),
    ),
    Route(
        "POST",
        "/events",
        take_events,
        "Report what happened",
        scope="ingest",
        body=schemas.EVENTS,
        answer=schemas.obj({"accepted": schemas.INTEGER, "request_id": schemas.TEXT}),
        status=202,
        errors=(413, 415, 500),
    ),
    Route(
        "GET", "/health", health, "Alive", scope="", answer=schemas.obj({"status": {"const": "ok"}})
    ),
    Route(
        "GET",
        "/ready",
        ready,
        "Ready to answer",
        scope="",
        answer=schemas.obj({"status": {"const": "ready"}, "version": schemas.TEXT}),
        errors=(503,),
    ),
    Route(
        "GET",
        "/metrics",
        show_metrics,
        "Metrics for Prometheus",
        scope="admin",
        answer=schemas.TEXT,
        content_type="text/plain",
    ),
)
