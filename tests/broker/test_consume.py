"""recsys consume on a real broker, which is killed in the middle, as is the command itself."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recsys_cli.artifacts import Spool
from recsys_cli.artifacts.consumer_state import file as state_file
from tests.broker.conftest import Broker, pika
from tests.conftest import ROOT, Recsys

NOW = int(time.time())


@pytest.fixture
def shop(tmp_path: Path, recsys: Recsys) -> Path:
    """A database without a model: events are taken before anything was trained."""
    (tmp_path / "events.csv").write_text("user_id,item_id,ts\nu1,i1,1760000000\n")
    assert recsys("ingest", "events.csv").returncode == 0
    return tmp_path


@pytest.fixture
def consume(shop: Path, broker: Broker) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the command in the background."""
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "RECSYS_QUEUE_PREFETCH": "3"}
        command = [sys.executable, "-m", "recsys_cli", "consume", "--json"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, cwd=shop, env=env | {"RECSYS_QUEUE_URL": broker.url}, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def lines(shop: Path) -> list[dict[str, Any]]:
    """The spool, oldest first."""
    chunks = Spool(shop / "model_artifacts" / "spool").read({})
    return [json.loads(line) for chunk in chunks for line in chunk.lines()]


def wait_for(what: Callable[[], bool], seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


def publish(channel: Any, key: str, body: Any, **properties: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    channel.basic_publish("shop.events", key, data, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True)


def test_each_queue_is_taken_as_what_it_is(shop: Path, broker: Broker, recsys: Recsys) -> None:
    env = {"RECSYS_QUEUE_URL": broker.url}
    first = recsys("consume", "--once", **env)
    assert (first.returncode, first.stdout) == (0, "Nothing was in the queues.\n"), first.stderr
    assert recsys("gdpr", "object", "u9").returncode == 0
    channel = broker.channel()
    publish(channel, "views.page", {"user_id": "u2", "item_id": "i1"}, message_id="v1")
    publish(channel, "views.page", {"user_id": "u2", "item_id": "i1"}, message_id="v1")  # a publisher's second try
    publish(channel, "views.page", {"user_id": "u2", "item_id": "i2"}, timestamp=NOW - 60)
    publish(channel, "views.page", {"user_id": "u9", "item_id": "i2"}, message_id="v2")
    publish(channel, "views.page", {"user_id": "u3", "item_id": "i2"}, message_id="v3", headers={"consent": "none"})
    publish(channel, "interactions.cart", {"user_id": "u2", "item_id": "i3", "event_type": "cart", "event_id": "c1"})
    publish(channel, "interactions", {"user_id": "u2", "item_id": "i3", "order_id": "o1", "ts": NOW - 30, "price": 5})
    publish(channel, "searches.web", {"user_id": "u2", "query": "Earl Grey for Ada"}, message_id="s1")
    publish(channel, "searches.web", {"user_id": "u2", "query": "earl grey", "item_id": "i4"}, message_id="s2")
    pair = [{"session_id": "g1", "item_id": "i5"}, {"session_id": "g1", "item_id": "i6"}]
    publish(channel, "comparisons.web", {"events": pair}, message_id="k1")
    done = recsys("consume", "--once", "--json", **env)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    counts = {name: found[name] for name in ("taken", "known", "refused", "without_item", "dead")}
    assert counts == {"taken": 7, "known": 1, "refused": 2, "without_item": 1, "dead": 0}
    kinds = Counter((line.get("user_id"), line["item_id"], line["event_type"]) for line in lines(shop))
    assert kinds == {
        ("u2", "i1", "view"): 1,
        ("u2", "i2", "view"): 1,
        ("u2", "i3", "cart"): 1,
        ("u2", "i3", "purchase"): 1,
        ("u2", "i4", "click"): 1,
        (None, "i5", "view"): 1,
        (None, "i6", "view"): 1,
    }
    assert "grey" not in json.dumps(lines(shop)).lower(), "what people search for is not kept"
    assert (shop / "model_artifacts" / "consumer.json").stat().st_mode & 0o077 == 0
    assert "guest" not in first.stderr + done.stderr, "neither user nor password is told"


WRONG: list[tuple[bytes, dict[str, Any], str]] = [
    (b'{"user', {}, "The body is not valid JSON"),
    (b"\xff\xfe", {}, "The body"),
    (b"[1]", {}, "The body must be a JSON object"),
    (b'{"user_id": "u", "itm_id": "i"}', {}, "'itm_id'. Did you mean 'item_id'?"),
    (b'{"user_id": "u", "item_id": "i"}', {}, "no event_id and no ts"),
    (b'{"user_id": "u", "item_id": "i"}', {"timestamp": NOW * 1000}, "is in the future"),
    (b'{"user_id": "u", "item_id": "i", "ts": 3}', {}, "is before 1995-01-01"),
    (b'{"user_id": "u", "item_id": "i"}', {"message_id": "m", "headers": {"consent": "yes"}}, "consent must be one of"),
    (b'{"user_id": "u", "item_id": "' + b"i" * 2_000_000 + b'"}', {}, "serve.max_body"),
    (b'{"events": []}', {}, "events must be"),
]


def test_what_cannot_be_taken_is_put_aside_with_its_reason(shop: Path, broker: Broker, recsys: Recsys) -> None:
    env = {"RECSYS_QUEUE_URL": broker.url}
    assert recsys("consume", "--once", **env).returncode == 0
    channel = broker.channel()
    for number, (body, properties, _) in enumerate(WRONG):
        headers = {"n": number, **properties.get("headers", {})}
        publish(channel, "views.page", body, **(properties | {"headers": headers}))
    publish(channel, "views.page", {"user_id": "u2", "item_id": "i1"}, message_id="good")
    done = recsys("consume", "--once", **env)
    assert done.stdout == f"1 event taken, {len(WRONG)} messages moved to the dead letters.\n"
    dead = {properties.headers["n"]: (properties, body) for properties, body in broker.empty("recsys.dead")}
    for number, (body, _, reason) in enumerate(WRONG):
        properties, kept = dead[number]
        assert reason in properties.headers["recsys-reason"]
        assert kept == body
        assert properties.headers["recsys-queue"] == "recsys.views"
        assert properties.headers["recsys-routing-key"] == "views.page"
    assert [line["user_id"] for line in lines(shop)] == ["u2"]


def test_headers_that_nobody_foresaw_stop_nothing(
    shop: Path, broker: Broker, recsys: Recsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these came back for ever: headers that fill a frame alone, and a time in milliseconds."""
    env = {"RECSYS_QUEUE_URL": broker.url}
    assert recsys("consume", "--once", **env).returncode == 0
    channel, encode = broker.channel(), pika.data.encode_value

    def encode_value(pieces: list[bytes], value: Any) -> int:
        if value != "odd":
            return int(encode(pieces, value))
        pieces.append(struct.pack(">cQ", b"T", NOW * 1000))
        return 9

    monkeypatch.setattr(pika.data, "encode_value", encode_value)
    publish(channel, "views.page", b"no event", headers={f"h{n}": "x" * 1000 for n in range(129)})
    publish(channel, "views.page", {"user_id": "u2", "item_id": "i1"}, message_id="m", headers={"at": "odd"})
    done = recsys("consume", "--once", **env)
    assert done.stdout == "1 event taken, 1 message moved to the dead letters.\n", done.stderr
    [(properties, body)] = broker.empty("recsys.dead")
    assert body == b"no event"
    assert properties.headers["recsys-headers"] == "left out"


def test_a_queue_that_was_deleted_is_made_again(
    shop: Path, broker: Broker, consume: Callable[[], subprocess.Popen[str]]
) -> None:
    consume()
    state = state_file(shop / "model_artifacts")
    wait_for(lambda: state.read_or_empty().connected)
    channel = broker.channel()
    channel.queue_delete("recsys.views")

    def there() -> bool:
        probe = channel.connection.channel()
        try:
            return bool(probe.queue_declare("recsys.views", passive=True).method.consumer_count)
        except pika.exceptions.ChannelClosedByBroker:
            return False

    wait_for(there, 30)
    publish(channel, "views.page", {"user_id": "u2", "item_id": "i1"}, message_id="v1")
    wait_for(lambda: [line["item_id"] for line in lines(shop)] == ["i1"], 30)


def test_nothing_is_lost_and_nothing_doubled(
    shop: Path, broker: Broker, recsys: Recsys, consume: Callable[[], subprocess.Popen[str]]
) -> None:
    """The command is killed in the middle of taking, then the broker in the middle of giving and of being told."""
    assert recsys("consume", "--once", RECSYS_QUEUE_URL=broker.url).returncode == 0
    written = [{"user_id": f"u{n % 50}", "item_id": f"i{n % 9}", "event_id": f"e{n}"} for n in range(600)]
    confirmed = threading.Event()

    def send(part: list[dict[str, Any]]) -> None:
        """As a publisher does that wants to lose nothing: what was not confirmed is sent again."""
        left, channel = list(part), None
        while left:
            try:
                channel = channel or broker.channel()
                publish(channel, "interactions.cart", left[0] | {"event_type": "cart"})
                left.pop(0)
            except (pika.exceptions.AMQPError, OSError):
                channel = None
                time.sleep(0.05)
        confirmed.set()

    send(written[:300])
    first = consume()
    wait_for(lambda: len(lines(shop)) > 30)
    first.kill()
    first.communicate()
    second = consume()
    wait_for(lambda: len(lines(shop)) >= 300)
    confirmed.clear()
    publisher = threading.Thread(target=send, args=(written[300:],))
    publisher.start()
    wait_for(lambda: len(lines(shop)) > 340)
    broker.kill()
    wait_for(lambda: "lost" in state_file(shop / "model_artifacts").read().error or second.poll() is not None)
    broker.start()
    publisher.join(180)
    assert confirmed.is_set()
    wait_for(lambda: len(lines(shop)) >= 600)
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    assert json.loads(out)["stopped"] is True
    assert Counter(line["event_id"] for line in lines(shop)) == {one["event_id"]: 1 for one in written}
    assert broker.empty("recsys.interactions") == [] == broker.empty("recsys.dead")
    assert recsys("update-worker", "--once").returncode == 0
    with duckdb.connect(shop / "recsys.duckdb", read_only=True) as con:
        counted = con.execute(
            "SELECT count(*), count(DISTINCT event_id) FROM events WHERE event_type = 'cart'"
        ).fetchall()
    assert counted == [(600, 600)]


def test_a_broker_that_is_away(shop: Path, broker: Broker, recsys: Recsys) -> None:
    for url, code, said in (
        ("amqp://guest:sesame@127.0.0.1:1/", 13, "amqp://127.0.0.1:1/ does not answer"),
        (f"amqp://guest:sesame@127.0.0.1:{broker.port}/", 13, "refuses the user or password"),
        (f"amqp://guest:guest@127.0.0.1:{broker.port}/elsewhere", 13, "refuses the virtual host"),
        ("http://sesame@x/", 2, "queue.url is not the address of a broker"),
        ("amqp://guest:sesame@127.0.0.1:x/", 2, "queue.url is not the address of a broker"),
    ):
        done = recsys("consume", "--once", RECSYS_QUEUE_URL=url)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "sesame" not in done.stderr


def test_without_the_library_it_says_what_to_install(shop: Path, recsys: Recsys) -> None:
    (shop / "lib" / "pika").mkdir(parents=True)
    (shop / "lib" / "pika" / "__init__.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(shop / "lib"), str(ROOT)])
    done = recsys("consume", RECSYS_QUEUE_URL="amqp://127.0.0.1/", PYTHONPATH=path)
    assert done.returncode == 9
    assert "recsys consume needs pika, which is not installed. Run: pip install 'recsys-cli[queue]'" in done.stderr
