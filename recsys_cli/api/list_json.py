"""Lists as JSON, put together from bytes: what does not change between answers was written when it was published."""

from __future__ import annotations

from functools import lru_cache

import orjson

from ..serving import Answer, Engine
from ..serving.placements import Placement
from .call import Reply


@lru_cache(256)
def _origin(source: str, fallback: bool) -> bytes:
    return b',"source":' + orjson.dumps(source) + b',"fallback":' + (b"true" if fallback else b"false")


def render(engine: Engine, answer: Answer, request_id: str, placement: Placement | None = None) -> Reply:
    """The answer of every route that lists items; see `answers.ListAnswer`."""
    item_json = engine.catalogue.json_as
    parts: list[bytes] = []
    rows = zip(answer.codes, answer.item_ids, answer.scores, answer.sources, answer.fallbacks, strict=True)
    for number, (code, item_id, score, source, fallback) in enumerate(rows):
        parts.append(
            b'%b{%b,"score":%.6g%b'
            % (b"," if number else b"", item_json(code, item_id), score, _origin(source, fallback))
        )
        if answer.reasons:
            parts.append(b',"reason":' + orjson.dumps(answer.reasons[number]))
        parts.append(b"}")
    stages = b',"stages":' + orjson.dumps(answer.stages) if answer.stages else b""
    if placement is not None:
        title = placement.title or answer.title
        stages += b',"placement":' + orjson.dumps(placement.name) if placement.name else b""
        stages += b',"kind":' + orjson.dumps(placement.kind.name)
        stages += b',"title":' + orjson.dumps(title) if title else b""
    everything = answer.fallback
    body = b'{"items":[%b],"known":%b,"fallback":%b,"version":"%b","request_id":"%b"%b}' % (
        b"".join(parts),
        b"true" if answer.known else b"false",
        b"true" if everything else b"false",
        answer.version.encode(),
        request_id.encode(),
        stages,
    )
    source = answer.sources[0] if answer.sources else "none"
    return Reply(body, source=source, fallback=everything, version=answer.version)
