"""Every route: its path, what it takes and answers, and who may ask."""

from __future__ import annotations

from . import intake, lists, lookups, privacy, schemas
from .call import Param, Route

MAX_K = 200
MAX_DEPTH = 2000

_PAGE = (
    Param("k", "int", "How many items.", 10, 1, MAX_K),
    Param("offset", "int", "Position of the first item; pages are stable within a version.", 0, 0, MAX_DEPTH),
)
_FILTERS = (
    Param("category", "list", "Only these categories.", ()),
    Param("brand", "list", "Only these brands.", ()),
    Param("region", "list", "Only items for these regions, or for all.", ()),
    Param("min_price", "float", "Lowest price.", None, 0, 1e12),
    Param("max_price", "float", "Highest price.", None, 0, 1e12),
    Param("exclude", "ids", "Item ids to leave out.", ()),
    Param("include", "ids", "Only these item ids.", ()),
    Param("min_margin", "float", "Lowest margin.", None, -1e12, 1e12),
)
_RULES = (
    Param("max_per_category", "int", "Items of one category at most; 0 for any number.", None, 0, MAX_K),
    Param("max_per_brand", "int", "Items of one brand at most; 0 for any number.", None, 0, MAX_K),
    Param("freshness", "float", "How much a brand-new item's score gains.", None, 0, 100),
    Param("diversity", "float", "0 for the best however alike, 1 for the least alike.", None, 0, 1),
    Param("bought_days", "float", "Days for which bought items are left out; 0 for ever.", None, 0, 1e5),
    Param("shown_limit", "int", "Leave out what was shown this often without a click.", None, 0, 10_000),
)
_PLACEMENT = Param(
    "placement", "str", "Where the list stands on your pages (home, basket): reports tell placements apart."
)
_EXPLAIN = Param("explain", "bool", "Say why, for every item.", False)
_TOKEN = Param(
    "user_token",
    "str",
    "With the key of a page: the shop's signature that it may ask for this user_id now; see recsys keys sign.",
)
_CONSENT = Param(
    "consent",
    "str",
    "What of the person may be used: full, session or none. What they have chosen before holds if it is stricter.",
    "full",
    choices=("full", "session", "none"),
)
_ITEM = Param("item_id", "str", "The item's id.", required=True)
_BASKET = Param("items", "ids", "A basket.", ())
_REPEAT = Param("repeat", "bool", "Keep what was already bought.", False)
_PERSONAL = (_BASKET, *_PAGE, *_FILTERS, _REPEAT, *_RULES, _PLACEMENT, _EXPLAIN, _CONSENT)
_SHELF = (*_PAGE, *_FILTERS, _PLACEMENT, _EXPLAIN)
_TAKEN = schemas.obj({"accepted": schemas.INTEGER, "request_id": schemas.TEXT})

_LISTS = (
    Route(
        "GET",
        "/recommend",
        lists.recommend,
        "Personal list",
        params=(
            Param("user_id", "str", "The customer; needs a key, and from a page a user_token."),
            _TOKEN,
            Param("session_id", "str", "The guest, or the customer's present session."),
            *_PERSONAL,
        ),
        answer=schemas.ANSWER,
        errors=(503,),
    ),
    Route(
        "GET",
        "/session/{session_id}",
        lists.session,
        "A guest's list",
        params=_PERSONAL,
        answer=schemas.ANSWER,
        errors=(503,),
    ),
    Route(
        "GET",
        "/similar-items",
        lists.similar_items,
        "Items like one",
        params=(_ITEM, *_SHELF),
        answer=schemas.ANSWER,
        errors=(304, 404, 503),
    ),
    Route(
        "GET",
        "/bought-together",
        lists.bought_together,
        "Bought in the same orders",
        params=(_ITEM, *_SHELF),
        answer=schemas.ANSWER,
        errors=(304, 404, 503),
    ),
    Route("GET", "/popular", lists.popular, "What sells", params=_SHELF, answer=schemas.ANSWER, errors=(304, 503)),
    Route("GET", "/trending", lists.trending, "On the rise", params=_SHELF, answer=schemas.ANSWER, errors=(304, 503)),
    Route("GET", "/new", lists.new, "The newest items", params=_SHELF, answer=schemas.ANSWER, errors=(304, 503)),
    Route(
        "POST",
        "/rank",
        lists.rank,
        "Order given items",
        params=(_TOKEN,),
        body=schemas.RANK,
        answer=schemas.RANKED,
        errors=(408, 413, 415, 503),
    ),
)

_INTAKE = (
    Route(
        "POST",
        "/events",
        intake.take_events,
        "Report what happened",
        scope="ingest",
        params=(_TOKEN, _CONSENT),
        body=schemas.EVENTS,
        answer=schemas.obj(
            {"accepted": schemas.INTEGER, "refused": schemas.INTEGER, "request_id": schemas.TEXT},
        ),
        status=202,
        errors=(408, 413, 415, 500),
    ),
    Route(
        "POST",
        "/sessions/{session_id}/merge",
        intake.merge_session,
        "A guest has logged in",
        scope="ingest",
        params=(_TOKEN,),
        body=schemas.obj({"user_id": schemas.ID}, additionalProperties=False),
        answer=schemas.obj({"merged": schemas.FLAG, "request_id": schemas.TEXT}),
        status=202,
        errors=(408, 413, 415, 500, 503),
    ),
    Route(
        "PUT",
        "/items/{item_id}",
        intake.put_item,
        "Add or change an item",
        scope="catalogue",
        body=schemas.ITEM_BODY,
        answer=_TAKEN,
        status=202,
        errors=(408, 413, 415, 500),
    ),
    Route(
        "PATCH",
        "/items/{item_id}",
        intake.patch_item,
        "Change an item",
        scope="catalogue",
        body=schemas.ITEM_BODY,
        answer=_TAKEN,
        status=202,
        errors=(404, 408, 413, 415, 500, 503),
    ),
    Route(
        "DELETE",
        "/items/{item_id}",
        intake.delete_item,
        "Retire an item",
        scope="catalogue",
        answer=_TAKEN,
        status=202,
        errors=(404, 500, 503),
    ),
)

_LOOKUPS = (
    Route(
        "GET",
        "/items/{item_id}",
        lookups.show_item,
        "One item",
        scope="serve",
        answer=schemas.ITEM_RECORD,
        errors=(404, 503),
    ),
    Route(
        "GET",
        "/users/{user_id}",
        lookups.show_user,
        "One customer's history",
        scope="admin",
        params=(Param("n", "int", "How many events, newest first.", 50, 1, 1000),),
        answer=schemas.PROFILE,
        errors=(404, 503),
    ),
    Route(
        "GET",
        "/features",
        lookups.show_features,
        "Features of an item and a customer",
        scope="admin",
        params=(_ITEM, Param("user_id", "str", "The customer.")),
        answer=schemas.FEATURES,
        errors=(404, 503),
    ),
    Route("GET", "/health", lookups.health, "Alive", scope="", answer=schemas.HEALTH),
    Route(
        "GET",
        "/ready",
        lookups.ready,
        "Ready to answer",
        scope="",
        answer=schemas.obj({"status": {"const": "ready"}, "version": schemas.TEXT}),
        errors=(503,),
    ),
    Route("GET", "/status", lookups.show_status, "What is served", scope="admin", answer=schemas.STATUS, errors=(503,)),
    Route(
        "GET",
        "/report",
        lookups.show_report,
        "What the lists sold",
        scope="admin",
        answer={"type": "object"},
    ),
    Route(
        "GET",
        "/metrics",
        lookups.show_metrics,
        "Metrics for Prometheus",
        scope="admin",
        answer=schemas.TEXT,
        content_type="text/plain",
    ),
)

_NOTED = schemas.obj({"status": {"const": "noted"}, "request": schemas.TEXT})
_PRIVACY = (
    *(
        Route(
            "POST",
            f"/webhooks/shopify/{topic}",
            handler,
            summary,
            scope="",
            body={"type": "object"},
            answer=_NOTED,
            errors=(401, 403, 413, 415),
        )
        for topic, handler, summary in (
            ("customers/data_request", privacy.customers_data_request, "A customer asks for their data"),
            ("customers/redact", privacy.customers_redact, "Erase a customer"),
            ("shop/redact", privacy.shop_redact, "Erase a shop"),
        )
    ),
    *(
        Route(
            "POST",
            f"/webhooks/wordpress/{topic}",
            handler,
            summary,
            scope="",
            body={"type": "object"},
            answer={"type": "object"},
            errors=(401, 403, 413, 415, 503),
        )
        for topic, handler, summary in (
            ("export", privacy.personal_data_export, "What is known of a person"),
            ("erase", privacy.personal_data_erase, "Erase a person"),
        )
    ),
)

ROUTES: tuple[Route, ...] = (*_LISTS, *_INTAKE, *_LOOKUPS, *_PRIVACY)
