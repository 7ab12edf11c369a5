"""Handlers that answer with lists of items."""

from __future__ import annotations

import difflib
import time
import zlib
from dataclasses import replace
from typing import Any

import orjson
from msgspec import UNSET

from ...artifacts.served_log import Answered, Trial
from ...errors import NotFound, Refused, UsageError
from ...serving import Answer, Engine, Filters, Request
from ...serving.arms import Shown
from ...serving.list_kinds import KINDS
from ...serving.placements import PERSONAL, Placement, fill, whole
from ...serving.reordering import Mix, reorder
from ...serving.request import NO_FILTERS
from ..call import Call, Reply
from ..list_json import render
from ..service import Service

PUBLIC = b"public, max-age=30"
_LOGGED = 200  # items of one answer
_LONGEST_PLACEMENT = 60
_NEARLY = 0.75  # alike, from which on a name is a placement's that was mistyped
_COUNT = 10  # items of a list, where nothing else says
_FILTERS = tuple(name for name in Filters.__dataclass_fields__ if name not in ("filter", "user"))
_RULES = (
    "max_per_category",
    "max_per_brand",
    "freshness",
    "diversity",
    "bought_days",
    "shown_limit",
)


def _filters(query: dict[str, Any]) -> Filters:
    filters, text = Filters(*(query[name] for name in _FILTERS)), query["filter"]
    return filters.and_written(text, user=query["user"]) if text else filters


def _plain(query: dict[str, Any]) -> Request:
    """The request of a shelf that is the same for everybody."""
    return Request(k=query["k"], offset=query["offset"], filters=_filters(query), explain=query["explain"])


def _personal(query: dict[str, Any], user_id: str | None, session_id: str | None) -> Request:
    rules = {name: query[name] for name in _RULES if query[name] is not None}
    return Request(
        user_id=user_id,
        session_id=session_id,
        items=query["items"],
        k=query["k"],
        offset=query["offset"],
        filters=_filters(query),
        repeat=query["repeat"],
        explain=query["explain"],
        rules=rules or None,
        consent=query["consent"],
        user=query["user"],
    )


def recommend(service: Service, call: Call) -> Reply:
    """A personal list: from the customer's history, the session and the basket, up to the last click. Popular items,
    labelled as a fallback, for those nothing is known of."""
    user_id, place = call.query["user_id"], call.query["placement"]
    placement = _placement(service, place)
    if placement is None and call.query["kind"] is not None:
        placement = Placement("", KINDS[call.query["kind"]], fallback=())
    # A carousel sends its product with any name of a place, and would show nothing at all.
    if place is None and placement is None and call.query["item_id"] is not None:
        raise UsageError(
            "item_id is used by placements and kinds of lists, and the request names neither.",
            "Add kind=similar or placement=NAME, or ask /similar-items.",
        )
    if placement is not None and call.query["rail"] is not None:
        placement = replace(placement, rail=call.query["rail"])
    if call.query["k"] is UNSET:
        call.query["k"] = placement.k if placement is not None else _COUNT
    if call.caller.names(user_id, call.query["user_token"]):
        call.query["explain"] = False  # reasons name purchases, and anybody may sit in front of a page
        if placement is not None and placement.kind.tells and not placement.name:
            raise Refused(
                f"A page's key cannot ask for the kind {placement.kind.name}: it reveals what the customer did.",
                "Use a placement in recsys.toml with this kind, and show it only to logged-in customers.",
            )
    request = _personal(call.query, user_id, call.query["session_id"])
    if call.query["item_id"] is not None:
        request = replace(request, item_id=call.query["item_id"])
    return _for_somebody(service, call, "/recommend", request, placement)


def _placement(service: Service, name: str | None) -> Placement | None:
    """The placement of recsys.toml; None for a name that only tells reports where the list stands.

    Raises
    ------
    NotFound
        The name is nearly that of a placement.
    """
    known = service.settings_now.placements
    if name is None or name in known:
        return known[name] if name is not None else None
    if near := difflib.get_close_matches(name.lower(), known, n=1, cutoff=_NEARLY):
        raise NotFound(f"There is no placement '{name[:60]}'.", f"Did you mean '{near[0]}'?")
    return None


def session(service: Service, call: Call) -> Reply:
    """A guest's list, from what was done in the session."""
    return _for_somebody(service, call, "/session", _personal(call.query, None, call.path["session_id"]))


def _for_somebody(
    service: Service, call: Call, route: str, request: Request, placement: Placement | None = None
) -> Reply:
    """A personal list, by the experiment that the visitor is part of; noted in the served log."""
    engine, started = service.live.ready(), time.perf_counter()
    if placement is not None:
        engine, shown = _placed(service, call, placement, request, engine)
    elif service.comparison.empty:
        shown = Shown(engine.recommend(request))
    else:
        shown = service.comparison.recommend(engine, request, call.request_id)
    _note(service, call, route, engine, shown, started)
    return render(engine, shown.answer, call.request_id, placement)


def _placed(
    service: Service, call: Call, placement: Placement, request: Request, engine: Engine
) -> tuple[Engine, Shown]:
    """The list of a placement, and the engine that made it; personal ones are compared like any other."""
    request = placement.request(request, call.query["user"])
    if placement.version:
        engine = service.live.other(placement.version) or engine
    if placement.kind is not PERSONAL or placement.version or service.comparison.empty:
        return engine, Shown(fill(engine, placement, request))
    shown = service.comparison.recommend(engine, whole(request), call.request_id)
    team = dict(zip(shown.answer.item_ids, shown.teams, strict=False))
    shown.answer = fill(engine, placement, request, shown.answer)
    shown.teams = "".join(team.get(item_id, "") for item_id in shown.answer.item_ids)  # what fills up comes last
    return engine, shown


def _note(service: Service, call: Call, route: str, engine: Engine, shown: Shown, started: float) -> None:
    answer = shown.answer
    items, sources = answer.item_ids[:_LOGGED], answer.sources[:_LOGGED]
    answered = Answered(route, engine.trained, items, sources, sum(answer.fallbacks), shown.swap)
    service.audit.predicted(call, answered)
    service.served.note(
        call.request_id,
        answered,
        seconds=time.perf_counter() - started,
        placement=(call.query.get("placement") or "")[:_LONGEST_PLACEMENT],
        trial=Trial(shown.experiment, shown.arm, shown.teams) if shown.experiment else None,
    )


def similar_items(service: Service, call: Call) -> Reply:
    """Items like one item."""
    q = call.query
    return _public(
        service,
        call,
        "/similar-items",
        lambda engine: engine.similar(
            q["item_id"], q["k"], offset=q["offset"], filters=_filters(q), explain=q["explain"]
        ),
    )


def bought_together(service: Service, call: Call) -> Reply:
    """What is bought in the same order as one item, by lift; substitutes are left out."""
    q = call.query
    return _public(service, call, "/bought-together", lambda engine: engine.bought_together(q["item_id"], _plain(q)))


def popular(service: Service, call: Call) -> Reply:
    """What sells."""
    return _public(service, call, "/popular", lambda engine: engine.popular(_plain(call.query)))


def trending(service: Service, call: Call) -> Reply:
    """What sells more this week than in the four weeks before."""
    return _public(service, call, "/trending", lambda engine: engine.shelf("trending", _plain(call.query)))


def new(service: Service, call: Call) -> Reply:
    """The newest items."""
    return _public(service, call, "/new", lambda engine: engine.shelf("new", _plain(call.query)))


def _public(service: Service, call: Call, route: str, ask: Any) -> Reply:
    """A list that is the same for everybody: may be cached, and asked for again by its tag."""
    engine: Engine = service.live.ready()
    state = f"{engine.version} {engine.catalogue.generation} {engine.catalogue.campaigns().until}".encode()
    tag = b'W/"%08x%08x"' % (zlib.crc32(state), zlib.crc32(call.query_string))
    started = time.perf_counter()
    answer: Answer = ask(engine)  # also when the tag fits: an item may not exist
    # Details change without a new version: what a browser holds may be old.
    known = call.if_none_match == tag and service.details is None
    if not known:  # a visitor who has the list already goes on with the request it came with
        _note(service, call, route, engine, Shown(answer), started)
    reply = Reply(b"", 304) if known else render(engine, answer, call.request_id)
    reply.cache = PUBLIC
    if service.details is None:
        reply.headers.append((b"etag", tag))
    return reply


def rank(service: Service, call: Call) -> Reply:
    """These items in the order in which this customer or guest should see them. Nothing is left out but what is not
    known or does not fit the filter, and both are listed. The customer's order can be mixed with that by popularity and
    the given one."""
    body, given = call.body, service.settings
    mix = Mix(
        given.rank_popular if body.popular is None else body.popular,
        given.rank_given if body.given is None else body.given,
    )
    if mix.popular + mix.given > 1:
        raise UsageError(
            "The shares popular and given are more than 1 together.", "What is left of 1 is the customer's own order."
        )
    engine = service.live.ready()
    page = call.caller.names(body.user_id, call.query["user_token"])
    of_user = call.query["user"] | body.user
    filters = Filters.written(body.filter, user=of_user) if body.filter else NO_FILTERS
    explain = body.explain and not page
    asked = body.user_id, body.session_id
    request = Request(*asked, consent=body.consent, explain=explain, filters=filters, user=of_user)
    started = time.perf_counter()
    found = reorder(engine, request, body.items, mix)
    _note(service, call, "/rank", engine, Shown(found.answer), started)
    reply = render(engine, found.answer, call.request_id)
    more = b',"unknown":%b,"left_out":%b}' % (orjson.dumps(found.unknown), orjson.dumps(found.left_out))
    reply.body = reply.body[:-1] + more
    return reply
