"""What a server notes in the audit logs, as the commands show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.api.audit_trail import AuditTrail
from recsys_cli.api.handlers.merchandising import _rewrite
from recsys_cli.api.live_settings import Source
from recsys_cli.artifacts.audit_log import PREDICTIONS, AuditLog, Entry, hash_of
from recsys_cli.artifacts.choices import ERASED, Choice, change
from recsys_cli.artifacts.choices import hash_of as chosen
from recsys_cli.artifacts.keys import add_key
from recsys_cli.backup import backup
from recsys_cli.errors import StoreBusy
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.rights import erase as erasing
from recsys_cli.identity import load_secret
from recsys_cli.restore import restore
from recsys_cli.settings_editing import with_keys
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


def test_what_is_noted_while_a_person_is_erased_is_erased_as_well(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, person = shop.settings, hash_of(load_secret(shop.settings.db), "t4")
    log = AuditLog(settings.artifacts, PREDICTIONS)
    rewrite = erasing.rewrite

    def meanwhile(*given: Any, **more: Any) -> Any:
        log.append([Entry({"key": "till"}, "/recommend", people=(person,))])
        return rewrite(*given, **more)

    monkeypatch.setattr(erasing, "rewrite", meanwhile)
    erase(Store(settings.db, settings.store), shop.artifacts, settings, ["t4"])
    assert log.verify().erased == log.verify().entries > 0
    assert person.encode() not in b"".join(p.read_bytes() for p in log.path.iterdir())


def test_what_waits_when_somebody_is_erased_names_them_no_more(tmp_path: Path) -> None:
    """A list answered a moment before: it is written up to two seconds later, when the erasure may be over."""
    secret, keys = "ab" * 32, [(1, 2), (3, 4)]
    trail = AuditTrail(tmp_path, secret, True, lambda event, **facts: None)
    waiting = [
        Entry({"key": "till"}, "/recommend", facts={"items": []}, people=(f"{n}",), hidden={"asked": n}, keys=(key,))
        for n, key in enumerate(keys)
    ]
    change(tmp_path, {chosen(secret, keys[0]): Choice(ERASED)})
    trail._flush(waiting)
    log = AuditLog(tmp_path, PREDICTIONS)
    assert [e["people"] for e in log.entries()] == [[], ["1"]]
    assert log.verify().findings == []


def test_predictions_that_found_no_room_are_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr("recsys_cli.api.audit_trail._MOST_WAITING", 7)  # items, and one for each list
    trail = AuditTrail(tmp_path, "ab" * 32, True, lambda event, **facts: told.append((event, facts.get("count"))))
    entry = Entry({"key": "till"}, "/recommend", facts={"items": ["a", "b"]})
    (tmp_path / "audit").write_text("in the way")
    trail._flush([entry] * 5)
    (tmp_path / "audit").unlink()
    trail._flush([])
    assert told == [("predictions_not_audited", None), ("predictions_left_out_of_the_audit_log", 3)]
    assert len(list(AuditLog(tmp_path, PREDICTIONS).entries())) == 2


def test_what_somebody_saves_while_a_change_is_checked_is_not_lost(shop: Any, tmp_path: Path) -> None:
    path, artifacts = tmp_path / "recsys.toml", shop.settings.artifacts
    source = Source(path, {"db": str(shop.settings.db), "artifacts": str(artifacts)})
    path.write_text("[rules]\ndiversity = 0.1\n")

    def change(text: str) -> str:
        path.write_text("# mine\n")
        return with_keys(text, ("rules",), {"diversity": 0.2})

    with pytest.raises(StoreBusy, match="meanwhile"):
        _rewrite(source, artifacts, change)
    assert path.read_text() == "# mine\n"
