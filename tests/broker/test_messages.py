"""What a message says, without a broker."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.api.access import TooMany
from recsys_cli.artifacts import SpoolWriter
from recsys_cli.artifacts.choices import Choice, Choices, change, hash_of
from recsys_cli.artifacts.spool import Spool
from recsys_cli.broker.messages import Door, Message
from recsys_cli.broker.recent_events import RecentEvents, identity_of
from recsys_cli.connections import QUEUES, QueueSettings
from recsys_cli.doctor import connection_checks
from recsys_cli.doctor.examination import examine
from recsys_cli.errors import InputError, RecsysError, UsageError
from recsys_cli.serving.live_events import customer_key
from recsys_cli.settings import ServeSettings
from recsys_cli.settings_sources import load

SECRET = "0" * 64
NOW = int(time.time())


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(ServeSettings(session_events=5), "1995-01-01", Choices(tmp_path, SECRET), SECRET)


def said(door: Door, kind: str = "views", **facts: Any) -> dict[str, Any]:
    body = {"user_id": "u", "item_id": "i", **facts.pop("body", {})}
    (line,) = door.take(Message(kind, json.dumps(body).encode(), **facts)).lines
    return line


def test_a_message_delivered_again_is_the_same_event(door: Door) -> None:
    for facts in ({"message_id": "m"}, {"timestamp": NOW}, {"body": {"ts": NOW}}, {"body": {"event_id": "e"}}):
        assert said(door, **facts)["event_id"] == said(door, **facts)["event_id"]
        door.limits = type(door.limits)(ServeSettings())
    assert said(door, message_id="m")["event_id"] != said(door, message_id="n")["event_id"]
    assert said(door, timestamp=NOW)["event_id"] != said(door, timestamp=NOW - 1)["event_id"]
    assert len(said(door, message_id="m" * 400)["event_id"]) < 256


def test_an_order_counts_by_its_content_as_in_an_export(door: Door) -> None:
    line = said(door, kind="interactions", body={"order_id": "o", "ts": NOW}, message_id="m")
    assert "event_id" not in line
    assert line["event_type"] == "purchase"


def test_the_publishers_time_counts_and_not_that_of_taking(door: Door) -> None:
    assert said(door, timestamp=NOW - 500)["ts"] == NOW - 500
    assert said(door, timestamp=NOW - 500, body={"ts": NOW - 900})["ts"] == NOW - 900


def test_what_people_chose_is_obeyed(door: Door, tmp_path: Path) -> None:
    change(tmp_path, {hash_of(SECRET, customer_key(SECRET, "u")): Choice("session")})
    line = said(door, body={"session_id": "s"}, message_id="m")
    assert (line.get("user_id"), line["session_id"]) == (None, "s")
    refused = door.take(Message("views", b'{"user_id": "u", "item_id": "i"}', "m"))
    assert (refused.lines, refused.refused) == ((), 1)


def test_the_limit_of_one_person_holds(door: Door) -> None:
    batch = json.dumps({"events": [{"user_id": "u", "item_id": f"i{n}"} for n in range(6)]}).encode()
    with pytest.raises(TooMany, match=r"serve\.session_events"):
        door.take(Message("views", batch, "m"))


@given(kind=st.sampled_from(QUEUES), body=st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["events", "item_id", "user_id", "query", "ts"]), inner, max_size=4),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_message_is_an_accident(kind: str, body: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    with contextlib.suppress(RecsysError):
        Door(ServeSettings(), "1995-01-01", Choices(folder, SECRET), SECRET).take(Message(kind, body, "m"))


@pytest.mark.parametrize("body", [b'"', b"[", b"0x", b"1 2", b'{"events": 1'])
def test_what_is_not_json_is_a_sentence_whatever_it_begins_like(door: Door, body: bytes) -> None:
    with pytest.raises(InputError, match="not valid JSON"):
        door.take(Message("views", body, "m"))


def test_what_the_spool_holds_is_known(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool")
    lines = [
        {"t": "event", "item_id": "i", "user_id": "u", "ts": 5, "event_id": "e1"},
        {"t": "event", "item_id": "i", "user_id": "u", "ts": 5, "order_id": "o", "event_type": "purchase", "qty": 2},
        {"t": "event", "item_id": "i", "user_id": "u", "ts": 5},
    ]
    writer.append([json.dumps(line).encode() for line in lines] + [b"not ours", b"[]"])
    writer.close()
    recent = RecentEvents()
    recent.read(Spool(tmp_path / "spool"))
    known = [recent.holds(identity_of(line | {"received_at": 1.5})) for line in lines]
    assert known == [True, True, False]  # one without an id may be another one
    assert not recent.holds(identity_of(lines[1] | {"qty": 3}))


@pytest.mark.parametrize(
    ("url", "shown", "who"),
    [
        ("amqp://127.0.0.1", "amqp://127.0.0.1", ("guest", "guest")),
        ("amqps://me:p%40ss@mq.example:5671/shop", "amqps://mq.example:5671/shop", ("me", "p@ss")),
        ("amqps://me@[::1]/", "amqps://[::1]/", ("me", "guest")),
    ],
)
def test_the_address_is_shown_without_who_asks(url: str, shown: str, who: tuple[str, str], tmp_path: Path) -> None:
    assert QueueSettings(url=url).shown() == shown
    assert QueueSettings(url=url).credentials() == who
    (tmp_path / "password").write_text("from the file\n")
    with_file = QueueSettings(url=url, password_file=tmp_path / "password")
    assert with_file.credentials() == (who[0], "from the file")


@pytest.mark.parametrize(
    "url", ["", "mq", "http://mq/", "amqp://", "amqp://mq:99999/", "amqp://mq/?heartbeat=1", "amqp://["]
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"queue\.url"):
        QueueSettings(url=url).place()


def test_the_doctor_looks_at_the_queue(tmp_path: Path) -> None:
    db = str(tmp_path / "x.duckdb")
    secret = tmp_path / "password"
    secret.write_text("p")
    secret.chmod(0o644)

    def found(**environ: str) -> list[str]:
        settings = load({"db": db}, environ={f"RECSYS_QUEUE_{name}": value for name, value in environ.items()})
        return [f"{one.severity}: {one.sentence}" for one in connection_checks.queue(examine(settings))]

    assert found() == []
    assert found(URL="nonsense") == ["broken: queue.url is not the address of a broker."]
    (no_tls, readable, idle) = found(URL="amqp://me:sesame@mq.example/", PASSWORD_FILE=str(secret))
    assert no_tls == "warning: amqp://mq.example/ has no TLS: password and events cross the network readable."
    assert "can be read by others" in readable
    assert "recsys consume is not running" in idle
    assert found(URL="amqps://mq.example/", NAMES="vews=x") == ["broken: 'vews' in queue.names is not a queue."]


def test_the_doctor_looks_at_the_assistants_key(tmp_path: Path) -> None:
    def found() -> list[str]:
        settings = load({"db": str(tmp_path / "x.duckdb")}, environ={"RECSYS_MCP_KEY_FILE": str(tmp_path / "key")})
        return [one.sentence for one in connection_checks.assistant(examine(settings))]

    assert "key" in found()[0]
    (tmp_path / "key").write_text("recsys_x\n")
    (tmp_path / "key").chmod(0o644)
    assert "can be read by others" in found()[0]
    (tmp_path / "key").chmod(0o600)
    assert found() == []
