"""JSON schemas of what is asked and answered, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from ..schema import EVENT_TYPES, ITEM_COLUMNS

Schema = dict[str, Any]


def obj(properties: Schema, required: tuple[str, ...] | None = None, **more: Any) -> Schema:
    """An object; all properties are required unless said otherwise."""
    needed = list(properties) if required is None else list(required)
    schema = {"type": "object", "properties": properties, **more}
    return schema | ({"required": needed} if needed else {})


def maybe(kind: str) -> Schema:
    """That kind, or null."""
    return {"type": [kind, "null"]}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ID: Schema = {"type": "string", "minLength": 1, "maxLength": 256}

ERROR = obj({"error": obj({"code": TEXT, "message": TEXT, "hint": TEXT})})

ITEM = obj(
    {
        "item_id": TEXT,
        "title": maybe("string"),
        "category": maybe("string"),
        "brand": maybe("string"),
        "price": maybe("number"),
        "img_url": maybe("string"),
        "url": maybe("string"),
        "score": NUMBER,
        "source": {"type": "string", "description": "What proposed the item."},
        "fallback": {"type": "boolean", "description": "True when nothing better was known."},
        "reason": {"type": "string", "description": "With explain=true: why, from what happened."},
    },
    ("item_id", "title", "category", "brand", "price", "img_url", "url", "score", "source", "fallback"),
)

ANSWER = obj(
    {
        "items": {"type": "array", "items": ITEM},
        "known": {"type": "boolean", "description": "There was a history to go by."},
        "fallback": {"type": "boolean", "description": "Every item is a fallback."},
        "version": {"type": "string", "description": "The version of the model that answered."},
        "request_id": {"type": "string", "description": "Send it with clicks and impressions of these items."},
        "stages": {
            "type": "array",
            "items": {"type": "object"},
            "description": "With explain=true; the first, filters, names words of the request that no item has.",
        },
    },
    ("items", "known", "fallback", "version", "request_id"),
)

RANKED = obj({**ANSWER["properties"], "unknown": {"type": "array", "items": TEXT}}, (*ANSWER["required"], "unknown"))
RANK = obj(
    {
        "items": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1000},
        "user_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 512},
        "session_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 512},
        "explain": FLAG,
        "consent": {"type": "string", "enum": ["full", "session", "none"]},
    },
    ("items",),
    additionalProperties=False,
)

_KINDS = {"VARCHAR": "string", "DOUBLE": "number", "BIGINT": "integer", "BOOLEAN": "boolean"}
_LIMITS: dict[str, Schema] = {
    "string": {"minLength": 1, "maxLength": 10_000},
    "number": {"minimum": 0, "maximum": 1e12},
    "integer": {"minimum": 0, "maximum": 99_999_999_999},
    "boolean": {},
}
_COLUMNS: Schema = {name: maybe(_KINDS[kind]) for name, kind in ITEM_COLUMNS.items() if name != "item_id"}
ITEM_BODY = obj(
    {
        **{name: schema | _LIMITS[schema["type"][0]] for name, schema in _COLUMNS.items()},
        "margin": maybe("number") | {"minimum": -1e12, "maximum": 1e12},
        "attributes": {"type": "object", "description": "Columns of your own."},
    },
    (),
    additionalProperties=False,
    minProperties=1,
)
ITEM_RECORD = obj(
    {"item_id": TEXT, **_COLUMNS, "attributes": {"type": "object"}, "retired": FLAG},
    ("item_id", "attributes", "retired"),
)
PROFILE = obj(
    {
        "user_id": TEXT,
        "version": TEXT,
        "history": {
            "type": "array",
            "items": obj({"item_id": TEXT, "ts": INTEGER, "event_type": TEXT, "qty": NUMBER}),
        },
    }
)

_VALUES = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
FEATURES = obj(
    {"item_id": TEXT, "version": TEXT, "item": _VALUES, "customer": _VALUES, "pair": _VALUES},
    ("item_id", "version", "item"),
)

EVENT = obj(
    {
        "user_id": {**ID, "type": ["string", "null"], "description": "The customer."},
        "session_id": {**ID, "type": ["string", "null"], "description": "The guest, or the customer's session."},
        "item_id": ID,
        "ts": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "Epoch seconds, UTC; when left out, now.",
        },
        "event_type": {"type": "string", "enum": list(EVENT_TYPES), "default": "purchase"},
        "qty": {"type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 1},
        "order_id": {**ID, "type": ["string", "null"]},
        "event_id": {**ID, "type": ["string", "null"], "description": "Sent again with the same id, it counts once."},
        "price": {"type": ["number", "null"], "minimum": 0, "maximum": 1e12},
        "currency": {**ID, "type": ["string", "null"]},
        "position": {"type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000},
        "request_id": {**ID, "type": ["string", "null"], "description": "Of the answer that showed the item."},
    },
    ("item_id",),
    additionalProperties=False,
    anyOf=[{"required": ["user_id"]}, {"required": ["session_id"]}],
    description="One of user_id and session_id must be given.",
)

EVENTS: Schema = {
    "anyOf": [
        EVENT,
        obj({"events": {"type": "array", "items": EVENT, "minItems": 1, "maxItems": 1000}}, additionalProperties=False),
    ]
}

HEALTH: Schema = obj(
    {
        "status": {"const": "ok"},
        "events": {"type": "string", "description": "ok, or why events are not taken: a full disk, say."},
        "worker": {
            "anyOf": [
                {"type": "null"},
                obj(
                    {
                        "last_pass_at": INTEGER,
                        "outcome": TEXT,
                        "failures_in_a_row": INTEGER,
                        "lag_seconds": NUMBER,
                        "backlog_bytes": INTEGER,
                    }
                ),
            ]
        },
    }
)

_INTERVALS: Schema = {
    "type": "object",
    "description": "By metric; empty when there was too little data to judge.",
    "additionalProperties": obj({"value": NUMBER, "low": NUMBER, "high": NUMBER}),
}
STATUS: Schema = obj(
    {
        "version": TEXT,
        "created_at": INTEGER,
        "model": TEXT,
        "trained": obj({"version": TEXT, "created_at": INTEGER}),
        "data": obj(
            {name: maybe("integer") for name in ("items", "users", "events", "first_ts", "last_ts")}
            | {"users": maybe("integer") | {"description": "Customers, and guests' sessions without one."}}
        ),
        "metrics": _INTERVALS,
        "popular": _INTERVALS,
        "lead": _INTERVALS | {"description": "The model's lead over popularity, by metric."},
    }
)
