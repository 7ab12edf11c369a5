"""What a server notes in the audit logs, as the commands show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from recsys_cli.artifacts.audit_log import PREDICTIONS, AuditLog, hash_of
from recsys_cli.artifacts.keys import add_key
from recsys_cli.backup import backup
from recsys_cli.gdpr import erase
from recsys_cli.identity import load_secret
from recsys_cli.restore import restore
from recsys_cli.store import Store


def test_acts_and_predictions_are_logged_erased_and_restored(
    shop: Any, start: Callable[..., Any], eventually: Callable[..., Any], tmp_path: Any
) -> None:
    settings = shop.settings
    with shop.artifacts.exclusive():
        shopkeeper, _ = add_key(settings.artifacts, "till", ["serve"])
        public, _ = add_key(settings.artifacts, "page", ["page"])
    secret = load_secret(settings.db)
    server = start(config="[serve]\naudit_predictions = true\n")
    actions, predictions = AuditLog(settings.artifacts), AuditLog(settings.artifacts, PREDICTIONS)
    http = server.http
    assert http.patch("/items/t1", json={"price": 3.5}).status_code == 202
    assert http.get("/users/t4").status_code == 200
    assert http.patch("/items/t1", json={"price": 1}, headers={"x-api-key": shopkeeper}).status_code == 403
    assert http.patch("/items/t1", json={"price": 1}, headers={"x-api-key": public}).status_code == 403
    assert http.patch("/items/t1", json={"price": 1}, headers={"x-api-key": "guess"}).status_code == 401
    json = {"content-type": "application/json", "x-api-key": ""}
    for content in ("{", "{}"):  # of a stranger, who could fill the log
        assert http.post("/webhooks/shopify/customers/redact", content=content, headers=json).status_code >= 400
    held = [(e["by"]["key"], e["action"], e["outcome"], e["people"]) for e in actions.entries()]
    assert held == [
        ("owner", "PATCH /items/{item_id}", "done", []),
        ("owner", "GET /users/{user_id}", "done", [hash_of(secret, "t4")]),
        ("till", "PATCH /items/{item_id}", "failed: refused", []),
    ]
    reply = http.get("/recommend", params={"user_id": "t4", "k": 3})
    http.get("/session/s1")
    http.post("/rank", json={"items": ["t1", "t2"], "user_id": "t4"})
    server.stop()  # writes what waits
    listed = list(predictions.entries())
    assert [e["action"] for e in listed] == ["/recommend", "/session", "/rank"]
    first = listed[0]
    assert first["facts"]["request_id"] == reply.headers["x-request-id"]
    assert first["facts"]["version"] == shop.artifacts.current().name
    assert first["facts"]["items"] == [i["item_id"] for i in reply.json()["items"]]
    assert first["inputs"]
    assert [e["people"] == [hash_of(secret, "t4")] for e in listed] == [True, False, True]

    store = Store(settings.db, settings.store)
    backup(store, shop.artifacts, tmp_path / "saved")
    assert erase(store, shop.artifacts, settings, ["t4"]).erased == 1
    for log in (actions, predictions):
        assert hash_of(secret, "t4").encode() not in b"".join(p.read_bytes() for p in log.path.iterdir())
        assert log.verify().findings == []
    assert predictions.verify().erased == 2

    # Back from the backup, somewhere else, with the list of who was erased since: they are not named again.
    fresh = tmp_path / "fresh"
    moved = dataclasses.replace(settings, db=fresh / "shop.duckdb", artifacts=fresh / "artifacts")
    again = type(shop.artifacts)(moved.artifacts)
    erased = settings.db.with_name(settings.db.name + ".gdpr")
    fresh.mkdir()
    erased.rename(moved.db.with_name(moved.db.name + ".gdpr"))
    restore(Store(moved.db, moved.store), again, moved, tmp_path / "saved")
    back = AuditLog(moved.artifacts, PREDICTIONS)
    assert [e["action"] for e in back.entries()] == ["/recommend", "/session", "/rank"]
    assert (back.verify().findings, back.verify().erased) == ([], 2)
