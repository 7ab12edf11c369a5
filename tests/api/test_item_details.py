"""Details of items from the shop's product service, which is killed, slow, lying, and back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from recsys_cli.api.call import Reply
from recsys_cli.api.circuit import CLOSED, HALF_OPEN, OPEN, Circuit
from recsys_cli.api.item_details import ItemDetails
from recsys_cli.api.product_service import ProductService
from recsys_cli.connections import DetailsSettings
from recsys_cli.doctor import connection_checks
from recsys_cli.doctor.examination import examine
from recsys_cli.errors import Unreachable, UsageError
from recsys_cli.settings_sources import load

pytest.importorskip("httpx")


class Products:
    """A small product service on loopback: answers with `body`, or with the price of everything."""

    def __init__(self, port: int = 0) -> None:
        self.price = 5.0
        self.status, self.body, self.headers = 200, b"", {"Content-Type": "application/json"}
        self.asked: list[list[str]] = []
        self.tags: list[str | None] = []
        self.tokens: list[str | None] = []
        self.open: list[socket.socket] = []
        self.go = threading.Event()
        self.go.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ids = parse_qs(urlsplit(self.path).query).get("id", [])
                tag = f'"{service.price}"'
                service.asked.append(ids)
                service.tags.append(self.headers["If-None-Match"])
                service.tokens.append(self.headers["Authorization"])
                service.go.wait(30)
                same = self.headers["If-None-Match"] == tag and not service.body
                items = [{"item_id": one, "price": service.price, "delivery": "tomorrow"} for one in ids]
                body = b"" if same else service.body or json.dumps({"items": items}).encode()
                with contextlib.suppress(OSError):  # who asked has given up
                    self.send_response(304 if same else service.status)
                    for name, value in (service.headers | {"ETag": tag}).items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = False  # so that closing it waits for them, and they close their connections

            def process_request(self, request: Any, client_address: Any) -> None:
                service.open.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *args: Any) -> None: ...

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/items"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.go.set()
        self.server.shutdown()
        for one in self.open:
            with contextlib.suppress(OSError):  # closed already
                one.shutdown(socket.SHUT_RDWR)
        self.server.server_close()


@pytest.fixture
def products() -> Iterator[Products]:
    made = Products()
    yield made
    made.stop()


def listed(*ids: str) -> Reply:
    return Reply(orjson.dumps({"items": [{"item_id": one, "title": "T", "price": 1.0} for one in ids]}))


class Asked:
    """`ItemDetails` in a loop of its own."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.logged: list[str] = []
        given = {"budget_ms": 5000.0, "timeout": 5.0, "rest": 3600.0, "patience": 2} | settings
        self.details = ItemDetails(DetailsSettings(url=url, **given), lambda event, **_: self.logged.append(event))

    def put(self, *ids: str) -> dict[str, Any]:
        return orjson.loads(self.loop.run_until_complete(self.details.put_into(listed(*ids))).body)

    def settle(self) -> None:
        """Until what was asked is answered."""
        if tasks := list(self.details._asking.values()):
            self.loop.run_until_complete(asyncio.wait(tasks))

    def close(self) -> None:
        self.loop.run_until_complete(self.details.close())
        self.loop.close()


@pytest.fixture
def asked() -> Iterator[Callable[..., Asked]]:
    made: list[Asked] = []

    def make(url: str, **settings: Any) -> Asked:
        made.append(Asked(url, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_details_come_in_one_request_and_are_remembered(products: Products, asked: Callable[..., Asked]) -> None:
    shop = asked(products.url + "?shop=1")
    found = shop.put("b", "a", "a&id=x")
    assert found["details"] == "fresh"
    assert found["items"][0] == {"item_id": "b", "title": "T", "price": 5.0, "details": {"delivery": "tomorrow"}}
    assert products.asked == [["a", "a&id=x", "b"]]
    assert shop.put("a", "b") == {"items": [found["items"][1], found["items"][0]], "details": "fresh"}
    assert len(products.asked) == 1


def test_what_is_old_is_asked_for_by_its_tag(products: Products, asked: Callable[..., Asked]) -> None:
    shop = asked(products.url, ttl=0.0)
    shop.put("a")
    shop.put("a")
    products.price = 6.0
    assert shop.put("a")["items"][0]["price"] == 6.0
    assert products.tags == [None, '"5.0"', '"5.0"']


def test_a_price_that_goes_up_and_down_again_is_the_one_of_now(products: Products, asked: Callable[..., Asked]) -> None:
    """The tag of the first answer fits again, but what is held of the item came with another one."""
    shop = asked(products.url, ttl=0.0)
    shop.put("a")
    products.price = 6.0
    assert shop.put("a", "b")["items"][0]["price"] == 6.0
    products.price = 5.0
    assert shop.put("a")["items"][0]["price"] == 5.0


def test_an_answer_does_not_wait_longer_than_its_budget(products: Products, asked: Callable[..., Asked]) -> None:
    """The service answers only after the list was; what it says then is there for the next one."""
    shop = asked(products.url, budget_ms=20.0, timeout=30.0)
    products.go.clear()
    assert shop.put("a") == {"items": [{"item_id": "a", "title": "T", "price": 1.0}], "details": "catalogue"}
    assert shop.put("a")["details"] == "catalogue"
    assert len(products.asked) == 1, "nobody asks again what is being asked"
    products.go.set()
    shop.settle()
    assert shop.put("a")["items"][0]["price"] == 5.0


def test_one_that_is_dead_is_left_alone_and_its_last_word_shown(
    products: Products, asked: Callable[..., Asked]
) -> None:
    shop = asked(products.url, ttl=0.0)
    shop.put("a")
    products.stop()
    assert [shop.put("a")["details"] for _ in range(2)] == ["stale"] * 2
    assert shop.details.circuit.state == OPEN
    assert "does not answer" in shop.details.words
    assert shop.put("a")["items"][0]["price"] == 5.0
    assert shop.put("a", "b")["details"] == "catalogue"
    again = Products(products.port)
    shop.put("a")
    assert again.asked == [], "while the circuit is open nobody asks"
    shop.details.circuit.rest = 0.0
    assert shop.put("a")["details"] == "fresh"
    assert (again.asked, shop.details.circuit.state) == ([["a"]], CLOSED)
    assert shop.logged == ["details_off", "details_on"]
    again.stop()


def test_what_is_too_old_is_not_shown(products: Products, asked: Callable[..., Asked]) -> None:
    shop = asked(products.url, ttl=0.0, stale=0.0)
    shop.put("a")
    products.stop()
    assert shop.put("a") == {"items": [{"item_id": "a", "title": "T", "price": 1.0}], "details": "catalogue"}


def test_memory_is_bounded(products: Products, asked: Callable[..., Asked]) -> None:
    shop = asked(products.url, remembered=3)
    shop.put(*(f"i{n}" for n in range(200)))
    assert sum(map(len, products.asked)) == 200
    assert max(map(len, products.asked)) == 50
    assert shop.details.words.startswith("on, 3 items")


LIES: list[tuple[dict[str, Any], str]] = [
    ({"body": b"<html>"}, "did not answer with JSON"),
    ({"body": b"[]"}, "did not answer with JSON"),
    ({"body": b'{"items": {}}'}, "did not answer with JSON"),
    ({"body": b'{"items": [' + b"[" * 90_000 + b"]" * 90_000 + b"]}"}, "did not answer with JSON"),
    ({"body": b'{"items": [{"item_id": "z", "price": 1}]}'}, "items that were not asked for"),
    ({"body": b'{"items": ["a", 3, null]}'}, "items that were not asked for"),
    ({"body": b'{"items": [{"item_id": "a", "price": "cheap"}]}'}, "values of the wrong type or size"),
    ({"body": b'{"items": [{"item_id": "a", "price": -1}]}'}, "values of the wrong type or size"),
    ({"body": json.dumps({"items": [{"item_id": "a", "x": "y" * 5000}]}).encode()}, "wrong type or size"),
    ({"body": b" " * 1_000_001}, "more than 1,000,000 bytes"),
    ({"status": 500}, "answered 500"),
    ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, "answered 302"),
    ({"headers": {"Content-Encoding": "gzip"}}, "answered packed"),
    ({"body": b"HTTP/1.0 nonsense", "status": 304}, "answered 304"),
]


@pytest.mark.parametrize(("lie", "said"), LIES, ids=[said for _, said in LIES])
def test_a_lie_changes_nothing(lie: dict[str, Any], said: str, products: Products, asked: Callable[..., Asked]) -> None:
    for name, value in lie.items():
        setattr(products, name, value)
    shop = asked(products.url)
    assert shop.put("a") == {"items": [{"item_id": "a", "title": "T", "price": 1.0}], "details": "catalogue"}
    assert said in shop.details.words
    assert len(products.asked) == 1


def test_one_wrong_item_does_not_spoil_the_others(products: Products, asked: Callable[..., Asked]) -> None:
    products.body = b'{"items": [{"item_id": "a", "price": []}, {"item_id": "b", "price": 7, "title": null}]}'
    found = asked(products.url).put("a", "b")
    assert [item["price"] for item in found["items"]] == [1.0, 7]
    assert found["items"][1]["title"] == "T"


def test_the_token_goes_to_the_service_alone(products: Products, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("sesame\n")

    async def ask() -> None:
        service = ProductService(DetailsSettings(url=products.url, token_file=file))
        await service.ask(["a"])
        await service.close()

    asyncio.run(ask())
    assert products.tokens == ["Bearer sesame"]
    file.write_text("two\nlines\n")
    with pytest.raises(UsageError, match="more than one line"):
        DetailsSettings(url=products.url, token_file=file).token()


@pytest.mark.parametrize(
    "url", ["items", "ftp://x/", "http://", "http://me:sesame@x/", "http://x:99999/", "http://x/#a", "http://["]
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"details\.url") as found:
        ProductService(DetailsSettings(url=url))
    assert "sesame" not in str(found.value)


def test_the_circuit() -> None:
    now = [0.0]
    circuit = Circuit(patience=2, rest=10, clock=lambda: now[0])
    assert circuit.may_ask()
    circuit.failed("x")
    circuit.succeeded()
    circuit.failed("x")
    assert (circuit.state, circuit.may_ask()) == (CLOSED, True), "one failure, then a success, then one"
    circuit.failed("x")
    assert (circuit.state, circuit.may_ask()) == (OPEN, False)
    now[0] = 10.0
    assert circuit.state == HALF_OPEN
    assert [circuit.may_ask(), circuit.may_ask()] == [True, False], "one question is let through"
    circuit.failed("x")
    assert (circuit.state, circuit.may_ask()) == (OPEN, False)
    now[0] = 20.0
    assert circuit.may_ask()
    circuit.succeeded()
    assert (circuit.state, circuit.error) == (CLOSED, "")


def test_a_server_with_it_and_what_doctor_and_status_say(
    products: Products, start: Any, eventually: Any, tmp_path: Path
) -> None:
    lines = [f'url = "{products.url}"', "budget_ms = 3000", "ttl = 0", "patience = 1", "rest = 0.2"]
    config = "\n".join(["[details]", *lines])
    server = start(config=config)
    found = server.get("/popular", k=3)
    assert found["details"] == "fresh"
    assert {item["price"] for item in found["items"]} == {5.0}
    assert {item["details"]["delivery"] for item in found["items"]} == {"tomorrow"}
    tag = server.http.get("/popular", params={"k": 3}).headers.get("etag")
    assert tag is None, "a browser must not keep an old price"
    assert server.get("/recommend", user_id="u0", k=3)["details"] == "fresh"
    ranked = server.post("/rank", {"items": ["t0", "t1"]}, status=200)
    assert ({item["price"] for item in ranked["items"]}, ranked["details"]) == ({5.0}, "fresh")
    assert server.get("/status")["details"].startswith("on, ")
    assert not any("u0" in one for ids in products.asked for one in ids)

    def says(url: str) -> list[str]:
        settings = load({"db": str(tmp_path / "x.duckdb")}, environ={"RECSYS_DETAILS_URL": url})
        return [one.sentence for one in connection_checks.details(examine(settings))]

    assert says(products.url) == says("") == []
    products.stop()
    assert server.get("/popular", k=3)["details"] == "stale"
    assert "does not answer" in server.get("/status")["details"]
    metrics = server.http.get("/metrics").text
    assert 'recsys_details_requests_total{outcome="failed"}' in metrics
    assert [one for one in says(products.url) if "does not answer" in one]
    again = Products(products.port)
    assert eventually(lambda: server.get("/popular", k=3)["details"] == "fresh")
    again.stop()


def test_serve_refuses_what_it_could_not_use(recsys: Any, one_shop: Any) -> None:
    state = ["--db", str(one_shop.settings.db), "--artifacts", str(one_shop.settings.artifacts), "--port", "0"]
    done = recsys("serve", *state, RECSYS_DETAILS_URL="nonsense")
    assert done.returncode == 2
    assert "details.url is not the address of a product service." in done.stderr


async def _dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    try:
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
    finally:
        writer.transport.abort()


def test_a_drip_of_bytes_does_not_go_on_for_ever() -> None:
    """Each byte comes in time, and the whole never does."""

    async def ask() -> None:
        drip = await asyncio.start_server(_dripping, "127.0.0.1", 0)
        port = drip.sockets[0].getsockname()[1]
        service = ProductService(DetailsSettings(url=f"http://127.0.0.1:{port}/", timeout=0.2))
        with pytest.raises(Unreachable, match=r"took over 0\.2 s"):
            await service.ask(["a"])
        await service.close()
        drip.close()

    asyncio.run(ask())
