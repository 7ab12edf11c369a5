"""The doctor finds what is wrong, says what fixes it, and is quiet about a healthy shop."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from recsys_cli.doctor.diagnosis import Diagnosis, diagnose
from recsys_cli.identity import load_secret, secret_path
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store, merge

NOW = int(time.time())
DAY = 86_400
Shop = Callable[..., Diagnosis]
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = {"db": tmp_path / "shop.duckdb", "artifacts": tmp_path / "models", "store.threads": 1}
    return load(state, environ={})


@pytest.fixture
def shop(settings: Settings) -> Shop:
    """A healthy shop of 200 customers, spoilt by SQL, and what the doctor says of it."""

    def examine(*spoil: str) -> Diagnosis:
        load_secret(settings.db, create=True)
        with Store(settings.db, settings.store).writing() as con, merge.transaction(con):
            con.execute(
                f"""INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id)
                    SELECT 'u' || i % 200, 'i' || (i * 7 + i // 200) % 40, {NOW - 60 * DAY} + i * 1500 + (i * 37) % 900,
                           1, 'purchase', 'o' || i // 2 FROM range(3400) t(i)"""
            )
            con.execute(
                """INSERT INTO items (item_id, title, category, price, img_url, url)
                   SELECT 'i' || i, 'Item ' || i, 'c', 3.5, 'https://shop.example.org/' || i,
                          'https://shop.example.org/' || i FROM range(40) t(i)"""
            )
            for query in spoil:
                con.execute(query)
        return diagnose(settings)

    return examine


def names(found: Diagnosis) -> set[str]:
    return {f.name for f in found.findings}


def test_ids_that_only_the_server_heard_of_are_told(shop: Shop) -> None:
    found = shop(
        "INSERT INTO batches (batch_id, source, kind, bytes) VALUES (7, 'spool', 'events', 0)",
        f"""INSERT INTO events (session_id, item_id, ts, qty, event_type, batch_id)
            VALUES ('x', 'EVIL', {NOW - DAY}, 1, 'view', 7)""",
    )
    told = next(f for f in found.findings if f.name == "unknown_items")
    assert told.severity == "hint"
    assert "leave out 1 of them" in told.sentence


def test_a_healthy_shop_only_wants_a_model(shop: Shop) -> None:
    """And is told where on the learning curve it stands."""
    found = shop()
    assert names(found) == {"no_model"}
    assert found.standing is not None
    assert found.standing.sentence.startswith("3,400 events to learn from: in shops of this size models scored ")
    assert found.ranker == ""
    assert found.broken


EVENT = "INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id) SELECT"
SPOILT = {
    "one_guest": f"{EVENT} 'guest', 'i1', {NOW - 30 * DAY} + i, 1, 'purchase', NULL FROM range(1500) t(i)",
    "robots": f"{EVENT} 'bot', 'i1', {NOW - 9 * DAY} + i, 1, 'view', NULL FROM range(900) t(i)",
    "test_orders": f"{EVENT} 'test@x', 'i1', {NOW - 9 * DAY} + i, 1, 'purchase', 'o' FROM range(20) t(i)",
    "no_weight": f"{EVENT} 'u1', 'i1', {NOW - 9 * DAY}, 1, 'quiz', NULL",
    "twice": "INSERT INTO events SELECT * REPLACE (NULL AS order_id) FROM events LIMIT 100",
    "duplicates": "INSERT INTO events SELECT * FROM events LIMIT 900",
    "returns": "UPDATE events SET event_type = 'refund' WHERE hash(ts) % 3 = 0",
    "refunds_alone": f"{EVENT} 'x' || i, 'i1', {NOW - 9 * DAY} + i, 1, 'refund', 'o' FROM range(200) t(i)",
    "midnight": "UPDATE events SET ts = ts // 86400 * 86400",
    "timezone": "UPDATE events SET ts = ts // 86400 * 86400 + (ts % 57600 + 72000) % 86400",
    "gap": f"DELETE FROM events WHERE ts BETWEEN {NOW - 40 * DAY} AND {NOW - 25 * DAY}",
    "silence": f"UPDATE events SET ts = ts - {60 * DAY}",
    "future": f"{EVENT} 'u1', 'i1', {NOW + 90 * DAY}, 1, 'purchase', 'o9'",
    "unknown_items": "DELETE FROM items WHERE item_id < 'i2'",
    "never_seen": "INSERT INTO items (item_id, title, category, price, img_url) "
    "SELECT 'n' || i, 'N' || i, 'c', 1, 'u' FROM range(60) t(i)",
    "no_price": "UPDATE items SET price = NULL",
    "no_picture": "UPDATE items SET img_url = ''",
    "no_link": "UPDATE items SET url = NULL",
    "no_title": "UPDATE items SET title = NULL",
    "same_title": "UPDATE items SET title = 'Shirt'",
    "no_catalogue": "DELETE FROM items",
    "nothing_for_sale": "UPDATE items SET availability = false",
    "few_events": "DELETE FROM events WHERE user_id <> 'u1'",
    "few_customers": "DELETE FROM events WHERE user_id <> 'u1'",
    "one_timers": "UPDATE events SET user_id = 'v' || rowid",
    "few_return": "UPDATE events SET user_id = 'v' || rowid",
    "no_events": "DELETE FROM events",
    "rejected": "INSERT INTO rejected (batch_id, reason) SELECT 1, 'no_user' FROM range(900)",
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_each_ill_is_found_and_has_advice(shop: Shop, name: str) -> None:
    found = {f.name: f for f in shop(SPOILT[name]).findings}
    assert name in found, sorted(found)
    assert found[name].sentence.endswith((".", "?"))
    assert found[name].advice


def test_the_worst_comes_first(shop: Shop) -> None:
    order = [f.severity for f in shop(SPOILT["silence"], SPOILT["never_seen"]).findings]
    assert order == sorted(order, key=("broken", "warning", "hint").index)
    assert {"broken", "warning", "hint"} == set(order)


def test_files_that_others_can_read_and_a_missing_key_are_found(shop: Shop, settings: Settings) -> None:
    shop()
    settings.db.chmod(0o644)
    found = {f.name: f for f in diagnose(settings).findings}
    assert found["file_mode"].advice == f"Run: chmod 600 {settings.db}"
    secret_path(settings.db).unlink()
    assert "key_missing" in names(diagnose(settings))


def test_another_versions_database_is_said_not_touched(shop: Shop, settings: Settings) -> None:
    found = shop("INSERT INTO migrations VALUES ('from_the_future', 1)")
    assert [f.name for f in found.findings] == ["store"]
    assert "newer recsys" in found.findings[0].sentence


def test_an_empty_place_says_how_to_begin(settings: Settings) -> None:
    found = diagnose(settings)
    assert names(found) == {"no_events"}
    assert "recsys ingest" in found.findings[0].advice


def test_the_command_says_by_its_exit_code_whether_anything_is_broken(
    shop: Shop, settings: Settings, recsys: Recsys
) -> None:
    shop()
    state = {"RECSYS_DB": str(settings.db), "RECSYS_ARTIFACTS": str(settings.artifacts)}
    plain, as_json = recsys("doctor", **state), recsys("doctor", "--json", **state)
    assert plain.returncode == as_json.returncode == 1
    assert "Run: recsys train" in plain.stdout
    assert [f["name"] for f in json.loads(as_json.stdout)["findings"]] == ["no_model"]
    assert recsys("train", **state).returncode == 0
    healthy = recsys("doctor", **state)
    assert healthy.returncode == 0, healthy.stdout
    assert "All is well" in healthy.stdout
    assert "3,400 events to learn from" in healthy.stdout


def test_all_that_is_wrong_in_the_settings_is_told_at_once(tmp_path: Path, recsys: Recsys) -> None:
    (tmp_path / "recsys.toml").write_text('[trian]\nmodel = "als"\n[train]\nseed = "x"\n', encoding="utf-8")
    done = recsys("doctor", "--json", RECSYS_SERVE_PORT="70000")
    told = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert [finding["sentence"] for finding in told if finding["name"] == "settings"] == [
        "'trian.model' in recsys.toml is not a setting.",
        "train.seed (recsys.toml) must be a whole number, got 'x'.",
        "serve.port (environment variable RECSYS_SERVE_PORT) must be at most 65535, got '70000'.",
    ]
    assert recsys("status").returncode == 2, "others stop at the first"


def test_a_model_that_is_behind_is_found(shop: Shop, settings: Settings, recsys: Recsys) -> None:
    shop()
    state = {"RECSYS_DB": str(settings.db), "RECSYS_ARTIFACTS": str(settings.artifacts)}
    assert recsys("train", **state).returncode == 0
    with Store(settings.db, settings.store).writing() as con:
        more = {"user_id": [f"w{i}" for i in range(2000)], "item_id": ["i1"] * 2000, "ts": [NOW - 5] * 2000}
        merge.merge_events(con, pa.table(more))
    assert "model_behind" in names(diagnose(settings))


REFUSED = {
    "campaign": ('[[rules.campaigns]]\naction = "bost"\nitem = "i1"', ["recommend", "u1"], "'bost'"),
    "origin": ('[serve]\ncors_origins = ["*"]', ["serve", "--port", "0"], "not a web origin"),
    "zone": ('[ingest]\ntimezone = "Europa/Berlin"', ["ingest", "orders.csv"], "Europa/Berlin"),
    "model": ('[train]\nmodel = "alz"', ["train"], "no model 'alz'"),
    "folder": ('[ingest]\nfolder = "nix"', ["update-worker", "--once"], "no folder nix"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_command_refuses_the_doctor_finds(
    shop: Shop, settings: Settings, recsys: Recsys, tmp_path: Path, name: str
) -> None:
    shop()
    toml, command, said = REFUSED[name]
    state = {"RECSYS_DB": str(settings.db), "RECSYS_ARTIFACTS": str(settings.artifacts)}
    assert recsys("train", **state).returncode == 0
    (tmp_path / "orders.csv").write_text("user_id,item_id,ts\nu1,i1,2025-01-01\n")
    (tmp_path / "recsys.toml").write_text(toml)
    state["RECSYS_TRAIN_MODEL"] = ""  # as if not set: the file's counts
    refused = recsys(*command, **state)
    assert refused.returncode != 0
    assert said in refused.stderr
    done = recsys("doctor", "--json", **state)
    first = json.loads(done.stdout)["findings"][0]
    assert done.returncode == 1
    assert (first["name"], first["severity"]) == ("settings", "broken")
    assert said in first["sentence"]
    assert first["advice"].startswith("Fix ")


IDLE = {
    "never": ({"action": "ban", "item": "i1", "from": "2030-01-02", "until": "2030-01-01"}, "never runs"),
    "unknown pin": ({"action": "pin", "item": "i77"}, "does nothing"),
    "sold out pin": ({"action": "pin", "item": "i2"}, "sold out"),
    "retired ban": ({"action": "ban", "item": "i3"}, "left the catalogue"),
    "brand of nobody": ({"action": "boost", "brand": "B9"}, "does nothing"),
    "attribute of nobody": ({"action": "bury", "attribute": "colour=green"}, "does nothing"),
}
BUSY = [
    {"action": "pin", "item": "i1"},
    {"action": "boost", "category": "c"},
    {"action": "bury", "attribute": "colour=red"},
    {"action": "ban", "category": "gone", "until": "2020-01-01"},
]
CATALOGUE = (
    "UPDATE items SET availability = false WHERE item_id = 'i2'",
    "UPDATE items SET retired_at = 1 WHERE item_id = 'i3'",
    """UPDATE items SET attributes = '{"colour": "red"}' WHERE item_id = 'i4'""",
)


@pytest.mark.parametrize("name", IDLE)
def test_campaigns_that_do_nothing_are_told(shop: Shop, settings: Settings, name: str) -> None:
    shop(*CATALOGUE)
    table, said = IDLE[name]
    rules = dataclasses.replace(settings.rules, campaigns=(*BUSY, table))
    found = [f for f in diagnose(dataclasses.replace(settings, rules=rules)).findings if f.name == "campaign"]
    assert [f.severity for f in found] == ["hint"], found
    assert said in found[0].sentence
    assert found[0].sentence.startswith("Campaign 5 ")
    assert found[0].advice


def test_what_is_nearly_the_word_is_named(shop: Shop, settings: Settings) -> None:
    shop()
    rules = dataclasses.replace(settings.rules, campaigns=({"action": "ban", "category": "C"},))
    found = {f.name: f for f in diagnose(dataclasses.replace(settings, rules=rules)).findings}
    assert found["campaign"].advice == "Did you mean 'c'?"


def test_a_mapping_of_no_field_is_told(settings: Settings) -> None:
    ingest = dataclasses.replace(settings.ingest, map_events={"user": "x", "item_id": "y"}, map_items={"titel": "z"})
    found = [f for f in diagnose(dataclasses.replace(settings, ingest=ingest)).findings if f.name == "mapping"]
    assert [(f.severity, f.advice) for f in found] == [
        ("hint", "Did you mean user_id?"),
        ("hint", "Did you mean title?"),
    ]


VIEWS = "UPDATE events SET event_type = 'view', order_id = NULL"
GUESTS = "UPDATE events SET session_id = user_id, user_id = NULL"


def test_in_a_shop_of_views_those_who_look_again_came_back(shop: Shop) -> None:
    found = shop(VIEWS)
    assert not {"few_return", "one_timers"} & names(found)
    assert found.figures is not None
    assert found.figures.events is not None
    assert found.figures.events.returning == 200


def test_guests_who_look_at_several_items_show_their_taste(shop: Shop) -> None:
    assert "one_timers" not in names(shop(GUESTS))


def test_where_clicks_are_sent_already_other_advice_is_given(shop: Shop) -> None:
    lonely = "UPDATE events SET user_id = 'v' || rowid"
    advice = {f.name: f.advice for f in shop(lonely).findings}["one_timers"]
    assert "Send clicks" in advice


def test_clicks_that_tell_nothing_are_not_asked_for_again(shop: Shop) -> None:
    advice = {
        f.name: f.advice
        for f in shop(
            "UPDATE events SET user_id = 'v' || rowid",
            "INSERT INTO events BY NAME SELECT * REPLACE ('view' AS event_type) FROM events",
        ).findings
    }
    assert "Send clicks" not in advice["one_timers"]


def test_whoever_was_judged_can_be_judged(shop: Shop, settings: Settings, recsys: Recsys) -> None:
    """All within an hour: training judges by parts of histories then."""
    shop("UPDATE events SET ts = 1699999200 + rowid % 3000")
    state = {"RECSYS_DB": str(settings.db), "RECSYS_ARTIFACTS": str(settings.artifacts)}
    assert "few_return" in names(diagnose(settings))
    assert recsys("train", **state).returncode == 0
    assert "few_return" not in names(diagnose(settings))


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        ({}, set()),
        ({"host": "0.0.0.0"}, {"no_tls"}),
        ({"cors_origins": ("http://www.shop.example",)}, {"no_tls"}),
        ({"cors_origins": ("http://localhost:5173",)}, set()),
        ({"cors_origins": ("https://www.shop.example",)}, {"unknown_proxy"}),
        ({"cors_origins": ("https://www.shop.example",), "trusted_proxies": ("127.0.0.1",)}, set()),
    ],
)
def test_a_server_without_tls_or_behind_an_unknown_proxy_is_told(
    settings: Settings, serve: dict[str, object], expected: set[str]
) -> None:
    found = diagnose(dataclasses.replace(settings, serve=dataclasses.replace(settings.serve, **serve))).findings  # type: ignore[arg-type]
    assert {f.name for f in found} & {"no_tls", "unknown_proxy"} == expected
