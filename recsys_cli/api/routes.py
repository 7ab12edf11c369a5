"""Every route: its path, what it takes and answers, and who may ask."""

from __future__ import annotations

from typing import Any

from . import answers, payloads
from .call import Route
from .handlers import intake, lists, lookups, merchandising, operations, privacy

_BODY = (408, 413, 415)
_LIST = answers.ListAnswer
_SHELF, _ITEM = payloads.ShelfQuery, payloads.ItemQuery

_LISTS = (
    Route(
        "GET",
        "/recommend",
        lists.recommend,
        "Personal list, or a placement's",
        answers.PlacedAnswer,
        query=payloads.RecommendQuery,
        errors=(404, 503),
    ),
    Route(
        "GET",
        "/session/{session_id}",
        lists.session,
        "A guest's list",
        _LIST,
        query=payloads.PersonalQuery,
        errors=(503,),
    ),
    Route("GET", "/similar-items", lists.similar_items, "Items like one", _LIST, query=_ITEM, errors=(304, 404, 503)),
    Route(
        "GET",
        "/bought-together",
        lists.bought_together,
        "Bought in the same orders",
        _LIST,
        query=_ITEM,
        errors=(304, 404, 503),
    ),
    Route("GET", "/popular", lists.popular, "What sells", _LIST, query=_SHELF, errors=(304, 503)),
    Route("GET", "/trending", lists.trending, "On the rise", _LIST, query=_SHELF, errors=(304, 503)),
    Route("GET", "/new", lists.new, "The newest items", _LIST, query=_SHELF, errors=(304, 503)),
    Route(
        "POST",
        "/rank",
        lists.rank,
        "Order given items",
        answers.RankAnswer,
        query=payloads.RankQuery,
        body=payloads.RankBody,
        errors=(*_BODY, 503),
    ),
)

_INTAKE = (
    Route(
        "POST",
        "/events",
        intake.take_events,
        "Report what happened",
        answers.EventsTaken,
        scope="ingest",
        query=payloads.EventsQuery,
        body=(payloads.Event, payloads.Batch),
        status=202,
        errors=(*_BODY, 500),
    ),
    Route(
        "POST",
        "/sessions/{session_id}/merge",
        intake.merge_session,
        "A guest has logged in",
        answers.Merged,
        scope="ingest",
        query=payloads.TokenQuery,
        body=payloads.MergeBody,
        status=202,
        errors=(*_BODY, 500, 503),
    ),
    *(
        Route(
            method,
            "/items/{item_id}",
            handler,
            summary,
            answers.Taken,
            scope="catalogue",
            body=payloads.ItemBody if method != "DELETE" else None,
            status=202,
            errors=errors,
        )
        for method, handler, summary, errors in (
            ("PUT", intake.put_item, "Add or change an item", (*_BODY, 500)),
            ("PATCH", intake.patch_item, "Change an item", (404, *_BODY, 500, 503)),
            ("DELETE", intake.delete_item, "Retire an item", (404, 500, 503)),
        )
    ),
)

_LOOKUPS = (
    Route(
        "GET",
        "/items/{item_id}",
        lookups.show_item,
        "One item",
        answers.ItemRecord,
        scope="serve",
        errors=(404, 503),
    ),
    Route(
        "GET",
        "/users/{user_id}",
        lookups.show_user,
        "One customer's history",
        answers.Profile,
        scope="people",
        query=payloads.HistoryQuery,
        errors=(404, 503),
        shows=True,
    ),
    Route(
        "GET",
        "/features",
        lookups.show_features,
        "Features of an item and a customer",
        answers.FeaturesAnswer,
        scope="people",
        query=payloads.FeaturesQuery,
        errors=(404, 503),
        shows=True,
    ),
    Route(
        "GET",
        "/why",
        lookups.show_why,
        "Why an item is in a list, or not",
        answers.WhyAnswer,
        scope="people",
        query=payloads.WhyQuery,
        errors=(404, 503),
        shows=True,
    ),
    Route(
        "GET",
        "/rules",
        lookups.show_rules,
        "Rules and campaigns in force",
        answers.RulesAnswer,
        scope="view",
        errors=(503,),
    ),
    Route("GET", "/report", lookups.show_report, "What the lists sold", dict[str, Any], scope="view"),
    Route("GET", "/health", lookups.health, "Alive", answers.Health, scope=""),
    Route("GET", "/ready", lookups.ready, "Ready to answer", answers.Ready, scope="", errors=(503,)),
    Route("GET", "/status", lookups.show_status, "The served version", answers.Status, scope="view", errors=(503,)),
    Route(
        "GET",
        "/metrics",
        lookups.show_metrics,
        "Metrics for Prometheus",
        str,
        scope="view",
        content_type="text/plain",
    ),
)

_OPERATIONS = (
    Route(
        "POST",
        "/operations/refresh",
        operations.refresh,
        "Update or train, in the background",
        answers.JobStarted,
        scope="operate",
        body=payloads.RefreshBody,
        status=202,
        errors=(409, *_BODY, 500),
    ),
    Route("GET", "/operations/jobs", operations.show_jobs, "Background jobs", answers.JobList, scope="operate"),
    Route(
        "GET", "/operations/jobs/{job_id}", operations.show_job, "One job", answers.Job, scope="operate", errors=(404,)
    ),
    Route(
        "POST",
        "/operations/promote",
        operations.promote,
        "Serve a version",
        answers.Promoted,
        scope="operate",
        body=payloads.PromoteBody,
        errors=(409, *_BODY),
    ),
    Route(
        "POST",
        "/operations/rollback",
        operations.rollback,
        "Serve the version before",
        answers.RolledBack,
        scope="operate",
        body=payloads.RollbackBody,
        errors=(409, *_BODY),
    ),
)

_MERCHANDISING = (
    Route("GET", "/placements", merchandising.show_placements, "Placements", answers.PlacementList, scope="view"),
    Route(
        "POST",
        "/preview-placement",
        merchandising.preview_placement,
        "Preview a placement",
        answers.PlacementPreview,
        scope="merchandise",
        body=payloads.PreviewBody,
        tries=True,
        errors=(*_BODY, 503),
    ),
    Route(
        "PUT",
        "/placements/{name}",
        merchandising.put_placement,
        "Add or replace a placement",
        answers.PlacementChanged,
        scope="merchandise",
        body=dict[str, Any],
        errors=(*_BODY, 500, 503),
    ),
    Route(
        "DELETE",
        "/placements/{name}",
        merchandising.delete_placement,
        "Remove a placement",
        answers.PlacementChanged,
        scope="merchandise",
        errors=(404, 500, 503),
    ),
    Route(
        "PATCH",
        "/rules",
        merchandising.patch_rules,
        "Change rules",
        answers.RulesChanged,
        scope="merchandise",
        body=dict[str, Any],
        errors=(*_BODY, 500, 503),
    ),
)

_PRIVACY = tuple(
    Route(
        "POST",
        f"/webhooks/{platform}/{topic}",
        handler,
        summary,
        answer,
        scope="",
        body=dict[str, Any],
        errors=(401, 403, *_BODY, *more),
    )
    for platform, topic, handler, summary, answer, more in (
        ("shopify", "customers/data_request", privacy.customers_data_request, "A customer asks for their data",
         answers.Noted, ()),
        ("shopify", "customers/redact", privacy.customers_redact, "Erase a customer", answers.Noted, ()),
        ("shopify", "shop/redact", privacy.shop_redact, "Erase a shop", answers.Noted, ()),
        ("wordpress", "export", privacy.personal_data_export, "What is known of a person", dict[str, Any], (503,)),
        ("wordpress", "erase", privacy.personal_data_erase, "Erase a person", dict[str, Any], (503,)),
    )
)  # fmt: skip

ROUTES: tuple[Route, ...] = (*_LISTS, *_INTAKE, *_LOOKUPS, *_OPERATIONS, *_MERCHANDISING, *_PRIVACY)
