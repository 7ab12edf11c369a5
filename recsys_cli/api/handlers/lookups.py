"""Handlers that show one item or one person, and how the server is."""

from __future__ import annotations

import time
from dataclasses import asdict

import orjson

from ...artifacts import running
from ...artifacts import worker_state as worker_health
from ...errors import NotFound, NotReady
from ...serving import Request, whereabouts
from ...serving.campaigns import hits
from ...settings import RuleSettings
from ...supervisor import reasons
from .. import prometheus
from ..call import Call, Reply
from ..service import Service


def show_item(service: Service, call: Call) -> Reply:
    """What is known of an item, with changes heard of a moment ago."""
    record = service.live.ready().catalogue.find(call.path["item_id"])
    if record is None:
        raise NotFound(f"There is no item '{call.path['item_id']}'.", "Add it with PUT.")
    attributes = record.pop("attributes", None)
    record["attributes"] = orjson.loads(attributes) if attributes else {}
    record["retired"] = record.pop("retired_at", None) is not None
    return Reply.of(record)


def show_user(service: Service, call: Call) -> Reply:
    """A customer's newest events, as lists are made from; 404 for those nothing is known of, or may be used of."""
    engine = service.live.ready()
    history = engine.history(call.path["user_id"], call.query["n"])
    if not history:
        raise NotFound("Nothing is known about this customer.", "They get popular items.")
    return Reply.of({"user_id": call.path["user_id"], "history": history, "version": engine.version})


def show_features(service: Service, call: Call) -> Reply:
    """Features of an item and, with a customer, of both: what rankers go by, as of now."""
    engine = service.live.ready()
    user_id, item_id, store = call.query["user_id"], call.query["item_id"], engine.features
    shown = {"item_id": item_id, "version": engine.version, "item": store.get_item_features(item_id)}
    if user_id is not None:
        shown["customer"] = store.get_user_features(user_id)
        shown["pair"] = store.compute_interaction(user_id, item_id)
    return Reply.of(shown)


def show_why(service: Service, call: Call) -> Reply:
    """Where an item stands in the list of a customer or guest, its source and reason; when it is not there, what keeps
    it out: stock, rules, campaigns, what the customer did, or that other items fit better."""
    engine, q = service.live.ready(), call.query
    request = Request(user_id=q["user_id"], session_id=q["session_id"], k=q["k"])
    found = whereabouts.find(engine, request, q["item_id"])
    return Reply.of({"item_id": q["item_id"], "version": engine.version, "k": q["k"], **asdict(found)})


def show_rules(service: Service, call: Call) -> Reply:
    """Rules that differ from their defaults, and all campaigns: whether they run, and how many items they are about."""
    engine, now = service.live.ready(), time.time()
    catalogue, rules = engine.catalogue, engine.rules
    plain = RuleSettings()
    differing = {
        name: value
        for name, value in asdict(rules.settings).items()
        if name != "campaigns" and value != getattr(plain, name)
    }
    campaigns = []
    for number, one in enumerate(rules.campaigns, 1):
        matched = hits(one, catalogue.attributes, catalogue.code_of, len(catalogue))
        campaigns.append(one.as_dict() | {"number": number, "runs": one.runs(now), "matched": int(matched.sum())})
    return Reply.of({"version": engine.version, "rules": differing, "campaigns": campaigns})


def health(service: Service, call: Call) -> Reply:
    """The process lives; whether events are taken, and how the update worker does. Trouble of theirs leaves the lists
    as they are, so the status stays ok."""
    worker = worker_health.read(service.live.artifacts.root)
    events = service.spool_error or service.limits.full or "ok"
    if not worker.passes:
        return Reply.of({"status": "ok", "events": events, "worker": None})
    shown = {
        "last_pass_at": int(worker.ended_at),
        "outcome": worker.outcome,
        "failures_in_a_row": worker.failures,
        "lag_seconds": round(worker.lag_seconds, 1),
        "backlog_bytes": worker.backlog_bytes,
    }
    return Reply.of({"status": "ok", "events": events, "worker": shown})


def ready(service: Service, call: Call) -> Reply:
    """A version is loaded and answers can be given."""
    engine = service.live.ready()
    if wrong := reasons(service.live.loops):
        raise NotReady(" ".join(wrong), "See the server's log.")
    currency = service.settings.currency or engine.currency
    return Reply.of({"status": "ready", "version": engine.version, "currency": currency, "words": engine.rules.words})


def show_status(service: Service, call: Call) -> Reply:
    """The version being served, the data it knows, the training its model comes from, and how that was judged."""
    artifacts, engine = service.live.artifacts, service.live.ready()
    version = artifacts.open(engine.version, verify=False)
    manifest = version.manifest
    name = manifest["model"]["name"]
    judged = manifest["metrics"].get("metrics", {})
    trained = manifest.get("trained") or {"version": engine.version, "created_at": manifest["created_at"]}
    shown = {
        "version": engine.version,
        "created_at": manifest["created_at"],
        "model": name,
        "trained": {key: trained[key] for key in ("version", "created_at")},
        "data": {key: manifest["data"][key] for key in ("items", "users", "events", "first_ts")}
        | {"last_ts": version.newest_ts},
        "metrics": judged.get(name, {}),
        "popular": judged.get("popular", {}),
        "lead": manifest["metrics"].get("differences", {}).get(name, {}).get("popular", {}),
        "loops": loops_in_words(service),
        "settings": service.settings_now.error or "ok",
        "placements": sorted(service.settings_now.placements),
        "details": service.details.words if service.details is not None else "off",
    }
    return Reply.of(shown)


def loops_in_words(service: Service) -> dict[str, str]:
    """How each loop of this process and the update worker are, as sentences."""
    worker = worker_health.read(service.live.artifacts.root)
    if worker.failures:
        times = "pass" if worker.failures == 1 else f"{worker.failures} passes in a row"
        said = f"failed its last {times}: {worker.message}"
    else:
        said = f"well: {worker.outcome}" if worker.passes else "has never run"
    loops = {s.state.name: s.state.words for s in service.live.loops}
    return (
        loops
        | {"received events on disk": service.spool_error or service.limits.full or "running"}
        | {"update worker": said}
    )


def show_report(service: Service, call: Call) -> Reply:
    """What the lists sold: the figures that the update worker made last, as `recsys report --json` has them, and how
    experiments go; `made_at` is null until then. They name nobody."""
    return Reply.of(running.report_file(service.live.artifacts.root).read() or {"made_at": None})


def show_metrics(service: Service, call: Call) -> Reply:
    """Counts and times, for Prometheus."""
    service.gauges()
    return Reply(prometheus.render(), content_type=prometheus.CONTENT_TYPE.encode())
