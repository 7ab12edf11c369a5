"""Who may ask, how often, from where; and how the server behaves when things go wrong around it."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys_cli.api.access import Access, NoKey, TooMany, read_origins, read_proxies
from recsys_cli.api.server import newest_version
from recsys_cli.api.service import Service
from recsys_cli.artifacts import Artifacts, Version, worker_state
from recsys_cli.artifacts.keys import SCOPES, KeyRing, add_key, make_owner_key, owner_key, read_keys, revoke_key, sign
from recsys_cli.errors import NotFound, Refused, UsageError
from recsys_cli.serving.rules import NO_RULES
from recsys_cli.settings import ServeSettings

Start = Callable[..., Any]
Eventually = Callable[[Callable[[], Any]], Any]


def asked_by(address: str, **headers: str) -> tuple[str, dict[bytes, bytes]]:
    return address, {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()}


@pytest.mark.parametrize(
    "headers",
    [{}, {"host": "localhost:8000"}, {"host": "shop.example"}, {"x_forwarded_for": "127.0.0.1"},
     {"x_real_ip": "127.0.0.1"}, {"via": "1.1 localhost"}, {"forwarded": "for=127.0.0.1"}],
)  # fmt: skip
def test_without_keys_only_lists_without_a_person_are_open(tmp_path: Path, headers: dict[str, str]) -> None:
    access = Access(KeyRing(tmp_path), 0, ())
    for here in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        visitor = access.caller(*asked_by(here, **headers))
        visitor.check("page")
        for scope in ("serve", "ingest", "catalogue", "admin"):
            with pytest.raises(NoKey):
                visitor.check(scope)
        with pytest.raises(NoKey):
            visitor.names("t4", None)
    for elsewhere in ("192.168.1.5", "", "::ffff:10.0.0.1"):
        with pytest.raises(NoKey):
            access.caller(*asked_by(elsewhere, **headers)).check("page")


def test_keys_open_what_they_are_for(tmp_path: Path) -> None:
    key, _ = add_key(tmp_path, "shop page", ["serve", "ingest"])
    assert key not in (tmp_path / "keys.json").read_text()
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    access = Access(KeyRing(tmp_path), 0, ())
    assert not access.caller(*asked_by("127.0.0.1", host="localhost")).scopes
    assert access.caller(*asked_by("8.8.8.8", x_api_key=key)).scopes == {"serve", "ingest"}
    assert access.caller(*asked_by("8.8.8.8", authorization=f"Bearer {key}")).scopes == {"serve", "ingest"}
    with pytest.raises(NoKey):
        access.caller(*asked_by("127.0.0.1", host="localhost", x_api_key="recsys_wrong"))
    revoke_key(tmp_path, "shop page")
    access.keys.refresh()
    with pytest.raises(NoKey):
        access.caller(*asked_by("8.8.8.8", x_api_key=key))
    # The last key gone does not open the door.
    assert not access.caller(*asked_by("127.0.0.1", host="localhost")).scopes


def test_a_role_gives_its_scopes_and_has_its_own_rate(tmp_path: Path) -> None:
    viewer, _ = add_key(tmp_path, "kim", [], "viewer")
    admin, _ = add_key(tmp_path, "old admin key", ["admin"])
    access = Access(KeyRing(tmp_path), 1000, (), rates={"viewer": 0.001})
    caller = access.caller(*asked_by("8.8.8.8", x_api_key=viewer))
    assert caller.scopes == {"serve", "view"}
    assert caller.described == {"key": "kim", "role": "viewer"}
    with pytest.raises(TooMany):
        access.caller(*asked_by("8.8.8.8", x_api_key=viewer))
    for _ in range(10):
        assert access.caller(*asked_by("8.8.8.8", x_api_key=admin)).scopes >= {"admin", "view", "people", "operate"}
    with pytest.raises(UsageError, match="Unknown role 'king'"):
        add_key(tmp_path, "b", [], "king")


def test_the_owner_has_a_key_that_nobody_else_can_read(tmp_path: Path) -> None:
    key = make_owner_key(tmp_path)
    assert make_owner_key(tmp_path) == owner_key(tmp_path) == key
    assert (tmp_path / "owner.key").read_text() == f"X-API-Key: {key}\n", "what curl -H @FILE reads"
    assert (tmp_path / "owner.key").stat().st_mode & 0o077 == 0
    access = Access(KeyRing(tmp_path), 1, ())
    for _ in range(100):  # no limit
        assert access.caller(*asked_by("8.8.8.8", x_api_key=key)).scopes == set(SCOPES) - {"page"}
    (tmp_path / "owner.key").write_text("something else")
    access.keys.refresh()
    with pytest.raises(NoKey):
        access.caller(*asked_by("127.0.0.1", x_api_key=key))
    assert make_owner_key(tmp_path) not in ("", key)


def test_a_page_names_a_customer_only_with_the_shops_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, signing = add_key(tmp_path, "page", ["page", "ingest"])
    _, other = add_key(tmp_path, "other page", ["page"])
    caller = Access(KeyRing(tmp_path), 0, ()).caller(*asked_by("8.8.8.8", x_api_key=key))
    caller.check("page")
    with pytest.raises(Refused, match="lacks the scope"):
        caller.check("serve")
    until = int(time.time()) + 100
    assert not caller.names(None, None)
    assert caller.names("t4", sign(signing, "t4", until))
    wrong = [
        None, "", "1", "-", f"{until}-", sign(signing, "t5", until), sign(other, "t4", until), sign(signing, "t4", 1),
        sign(signing, "t4", until).replace(str(until), str(until + 1)), sign("", "t4", until), "\u0663-x",
    ]  # fmt: skip
    for token in wrong:
        with pytest.raises(Refused):
            caller.names("t4", token)
    monkeypatch.setattr("recsys_cli.api.access.time.time", lambda: until + 1.0)
    with pytest.raises(Refused, match="expired"):
        caller.names("t4", sign(signing, "t4", until))
    for scopes in (["page", "serve"], ["page", "admin"], ["page", "catalogue"]):
        with pytest.raises(UsageError, match="public"):
            add_key(tmp_path, "c", scopes)


def test_mistakes_with_keys_are_told(tmp_path: Path) -> None:
    add_key(tmp_path, "a", ["serve"])
    with pytest.raises(UsageError, match="already exists"):
        add_key(tmp_path, "a", ["serve"])
    with pytest.raises(UsageError, match="Unknown scope"):
        add_key(tmp_path, "b", ["everything"])
    with pytest.raises(UsageError, match="cannot be the name"):
        add_key(tmp_path, "", ["serve"])
    with pytest.raises(NotFound):
        revoke_key(tmp_path, "b")
    assert [k.name for k in read_keys(tmp_path)] == ["a"]


def test_too_many_requests_are_refused_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("recsys_cli.api.access.time.monotonic", lambda: now)
    access = Access(KeyRing(tmp_path), 100, ())
    for _ in range(20):  # without a key, a tenth; two seconds' worth may come at once
        access.caller(*asked_by("8.8.8.8"))
    with pytest.raises(TooMany) as refused:
        access.caller(*asked_by("8.8.8.8"))
    assert refused.value.retry_after == 1
    with pytest.raises(TooMany):  # what anybody can write is nobody's address
        access.caller(*asked_by("8.8.8.8", x_forwarded_for="9.9.9.9"))
    access.caller(*asked_by("9.9.9.9"))
    for _ in range(1000):  # the shop's own pages
        access.caller(*asked_by("127.0.0.1", host="localhost"))
    now += 0.15
    access.caller(*asked_by("8.8.8.8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "8.8.8.8, 10.1.2.3", "8.8.8.8"),
        ("127.0.0.1", "8.8.8.8:4711", "8.8.8.8"),
        ("127.0.0.1", "[2001:db8::1]:80", "2001:db8::1"),
        ("127.0.0.1", "8.8.8.8, unknown", "127.0.0.1"),
        ("9.9.9.9", "8.8.8.8", "9.9.9.9"),
    ],
)
def test_only_configured_proxies_say_for_whom_they_ask(tmp_path: Path, peer: str, forwarded: str, address: str) -> None:
    access = Access(KeyRing(tmp_path), 0, (), read_proxies(["127.0.0.1", "10.0.0.0/8"]))
    assert access.address(*asked_by(peer, x_forwarded_for=forwarded)) == address
    with pytest.raises(UsageError, match="'localhost', which is not an address"):
        read_proxies(["localhost"])


def test_a_shop_that_asks_with_one_key_is_not_refused_at_its_pace(tmp_path: Path) -> None:
    key, _ = add_key(tmp_path, "backend", ["serve"])
    # Many processes, as one: a connection that is kept open meets the same process every time.
    settings = ServeSettings(workers=8)
    access = Service.of(settings, NO_RULES, Artifacts(tmp_path), "s", None, lambda *_, **__: None).access
    for _ in range(4000):
        assert access.caller(*asked_by("10.0.0.2", x_api_key=key)).scopes == {"serve"}


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="needs nginx")
def test_behind_a_proxy_that_says_nothing_persons_and_catalogue_stay_shut(start: Start, tmp_path: Path) -> None:
    server = start()
    with proxied(server.url, tmp_path) as url, httpx.Client(base_url=url, timeout=60) as http:
        assert http.get("/popular").status_code == 200
        assert http.get("/session/s1").status_code == 200
        for path in ("/users/t4", "/users/nobody", "/recommend?user_id=t4", "/items/t0", "/status", "/metrics"):
            assert http.get(path).status_code == 401, path
        assert http.delete("/items/t0").status_code == 401
        assert http.post("/events", json={"session_id": "s", "item_id": "t0"}).status_code == 401
        assert http.post("/rank", json={"items": ["t0"], "user_id": "t4"}).status_code == 401
        assert http.get("/users/t4", headers=server.header).status_code == 200
    assert server.get("/items/t0")["retired"] is False


@contextlib.contextmanager
def proxied(url: str, folder: Path) -> Iterator[str]:
    """nginx before it, as its documentation has it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program
    (folder / "temp").mkdir()
    temp = "".join(f"{n}_temp_path {folder}/temp/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temp}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; }} }} }}\n"
    )
    process = subprocess.Popen(
        [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_a_page_is_told_nothing_of_persons(start: Start, recsys: Any, eventually: Eventually) -> None:
    server = start(config='[serve]\ncors_origins = ["https://shop.example"]')
    state = {"RECSYS_ARTIFACTS": str(server.shop.settings.artifacts)}
    made = recsys("keys", "add", "page", "--scope", "page", "--json", **state)
    assert made.returncode == 0, made.stderr
    page = {
        "x-api-key": json.loads(made.stdout)["key"],
        "origin": "https://shop.example",
        "sec-fetch-site": "same-site",
    }
    assert eventually(lambda: httpx.get(f"{server.url}/popular", timeout=60).status_code == 401)

    def ask(path: str, **params: Any) -> Any:
        return httpx.get(server.url + path, params=params or None, headers=page, timeout=60)

    for path in ("/popular", "/similar-items?item_id=t0", "/session/s1", "/recommend?items=t0,t1"):
        assert ask(path).status_code == 200, path
    for path in ("/recommend?user_id=t4", "/users/t4", "/users/nobody", "/items/t0", "/status"):
        assert ask(path).status_code == 403, path
    signed = recsys("keys", "sign", "t4", **state)
    assert signed.returncode == 0, signed.stderr
    token = signed.stdout.strip()
    body = ask("/recommend", user_id="t4", user_token=token, explain="true").json()
    assert [i["item_id"] for i in body["items"]] == [
        i["item_id"] for i in server.get("/recommend", user_id="t4")["items"]
    ]
    assert not any("reason" in item for item in body["items"])
    assert "stages" not in body
    assert ask("/recommend", user_id="t5", user_token=token).status_code == 403
    # Four lines of PHP on the shop's server make the same.
    secret = json.loads(made.stdout)["signing_secret"]
    until = token.partition("-")[0]
    assert token == f"{until}-{hmac.new(secret.encode(), f'{until}{chr(10)}t4'.encode(), 'sha256').hexdigest()}"
    for key in server.header["x-api-key"], "":  # a foreign page's image or frame, whatever key its visitor has
        foreign = {"x-api-key": key, "sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}
        for known in ("t4", "nobody"):
            reply = httpx.get(f"{server.url}/users/{known}", headers=foreign, timeout=60)
            assert (reply.status_code, reply.headers["cross-origin-resource-policy"]) == (403, "same-origin")


def test_keys_scopes_and_limits_over_http(start: Start, recsys: Any, eventually: Eventually) -> None:
    server = start(config="[serve]\nrate_limit = 10")
    state = {"RECSYS_ARTIFACTS": str(server.shop.settings.artifacts)}
    made = recsys("keys", "add", "page", "--json", **state)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    assert eventually(lambda: httpx.get(f"{server.url}/recommend", timeout=60).status_code == 401)
    assert server.http.get("/health").status_code == 200
    serve = {"x-api-key": key}
    assert server.http.get("/recommend", headers=serve).status_code == 200
    assert server.http.get("/users/t4", headers=serve).status_code == 403
    assert server.http.post("/events", headers=serve, json={}).status_code == 403
    assert server.http.get("/metrics", headers=serve).status_code == 403
    # Faster than ten a second, which any machine is; how much faster, is its own affair.
    late = eventually(lambda: (reply := server.http.get("/recommend", headers=serve)).status_code == 429 and reply)
    assert late
    assert int(late.headers["retry-after"]) >= 1
    assert late.json()["error"]["code"] == "too_many"
    assert "page" in recsys("keys", "list", **state).stdout
    revoked = recsys("keys", "revoke", "page", **state)
    assert revoked.returncode == 0
    assert "It was the last one: the server answers nobody but you" in revoked.stderr
    assert "answers nobody" in recsys("keys", "list", **state).stdout
    assert "this machine" in recsys("keys", "list", "--artifacts", str(server.shop.settings.artifacts) + "2").stdout
    deadline = time.monotonic() + 60
    while (status := server.http.get("/recommend", headers=serve).status_code) != 401:
        assert time.monotonic() < deadline, status
        time.sleep(1.5)  # one who guesses may do so once a second; oftener, it would be 429 for ever


def test_only_pages_of_configured_origins_may_read(start: Start) -> None:
    server = start(config='[serve]\ncors_origins = ["https://shop.example"]')
    good, bad = {"origin": "https://shop.example"}, {"origin": "https://other.example"}
    for path in ("/recommend", "/items/t0"):
        assert server.http.get(path, headers=good).headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-origin" not in server.http.get(path, headers=bad).headers
    ask = {"access-control-request-method": "POST"}
    assert server.http.options("/events", headers=good | ask).status_code == 204
    assert server.http.options("/events", headers=bad | ask).status_code == 403


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("HTTPS://shop.example:443", "https://shop.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("https://shop.example/", "https://shop.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://käse.example", "https://xn--kse-qla.example"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(given: str, kept: str) -> None:
    assert read_origins([given]) == (kept,)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("*", "like https://www.shop.example."),
        ("shop.example", "write it like https://shop.example."),
        ("shop.example:8443", "write it like https://shop.example:8443."),
        ("https://shop.example/page", "write it like https://shop.example."),
        ("ftp://shop.example", "write it like https://shop.example."),
        ("https://*.shop.example", "like https://www.shop.example."),
        ("https://shop.example:x", "write it like https://shop.example."),
        ("null", "like https://www.shop.example."),
        ("https://shop.example?x", "write it like https://shop.example."),
        ("http://[", ""),
    ],
)
def test_what_is_no_origin_is_refused_with_what_to_type(given: str, advice: str) -> None:
    with pytest.raises(UsageError) as told:
        read_origins(["https://good.example", given])
    assert f"'{given}'" in told.value.message
    assert advice in told.value.message


def test_a_server_does_not_start_with_what_is_no_origin(recsys: Any, server: Any) -> None:
    state = {"RECSYS_ARTIFACTS": str(server.shop.settings.artifacts), "RECSYS_DB": str(server.shop.settings.db)}
    done = recsys("serve", "--port", "0", RECSYS_SERVE_CORS_ORIGINS="shop.example", **state)
    assert (done.returncode, "write it like https://shop.example" in done.stderr) == (2, True), done.stderr


def test_slow_clients_are_let_go(start: Start) -> None:
    server = start(config="[serve]\nread_timeout = 0.5")
    port = int(server.url.rpartition(":")[2])
    post = f"POST /events HTTP/1.1\r\nhost: localhost\r\nx-api-key: {server.key}\r\n"
    post += "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    for begun in (b"", b"GET /recommend HTTP/1.1\r\nhost: local", post.encode()):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            started = time.monotonic()
            slow.sendall(begun)
            said = slow.recv(4096)
            assert time.monotonic() - started < 8, "as set, and not the ten seconds that are the default"
            assert said == b"" or b"408" in said or b"400" in said
    assert server.http.get("/health").status_code == 200


def test_after_a_body_that_did_not_come_the_connection_is_closed(start: Start) -> None:
    server = start(config="[serve]\nread_timeout = 0.5")
    for path in ("/events", "/sessions/s/merge"):
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {server.key}\r\n"
        head += "content-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=15) as slow:
            slow.sendall(head.encode())
            said = b""
            # Until the server hangs up. A connection that is kept open is closed after 30 s; waiting for that fails.
            while part := slow.recv(4096):
                said += part
        assert said.startswith(b"HTTP/1.1 408"), path
        assert b"connection: close" in said.lower()


def test_what_is_no_http_is_told_in_our_shape(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60) as odd:
        odd.sendall(b"hello there\r\n\r\n")
        head, _, body = odd.recv(4096).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "usage"


def test_metrics_add_up_over_processes_and_name_nobody(start: Start, eventually: Eventually) -> None:
    server = start("--workers", "2")
    # Ready is the server when one process is; the other may take its time.
    assert eventually(lambda: "recsys_version_swaps_total 2.0" in server.http.get("/metrics").text)
    for _ in range(40):
        httpx.get(f"{server.url}/recommend", params={"user_id": "t4"}, headers=server.header, timeout=60)
    server.post("/events", {"user_id": "somebody", "item_id": "t0"})
    counted = (
        'recsys_requests_total{route="/recommend",status="200"} 40.0',
        'recsys_answers_total{route="/recommend",source="als"} 40.0',
        'recsys_events_total{type="purchase"} 1.0',
        'recsys_version_info{version="v000001"} 1.0',
    )
    # A process may count a moment after the answer has left it.
    assert eventually(lambda: all(line in server.http.get("/metrics").text for line in counted))
    text = server.http.get("/metrics").text
    assert [line for line in counted if line not in text] == []
    assert "recsys_version_swaps_total 2.0" in text
    assert "t4" not in text
    assert "somebody" not in text


def test_states_are_the_present_ones_whichever_process_is_asked(start: Start, eventually: Eventually) -> None:
    server = start("--workers", "2")

    def scrape() -> dict[str, float]:
        # On a connection of its own: another process may answer.
        text = httpx.get(f"{server.url}/metrics", headers=server.header, timeout=60).text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    made = server.shop.version.manifest["created_at"]
    for failures in (3, 0):
        worker_state.write(server.shop.artifacts.root, worker_state.Health(failures=failures, ended_at=1e9 + failures))
        for _ in range(12):
            found = scrape()
            assert found["recsys_version_created_timestamp_seconds"] == pytest.approx(made, abs=1)
            assert found["recsys_worker_failures_in_a_row"] == failures
            assert found["recsys_worker_last_pass_timestamp_seconds"] == 1e9 + failures

    def memory() -> list[float]:
        return [value for name, value in scrape().items() if name.startswith("recsys_resident_bytes")]

    # Each process speaks for itself, once it has started and looked.
    assert eventually(lambda: len(found := memory()) == 2 and min(found) > 10e6), memory()


def test_versions_are_swapped_under_load_without_a_failure(start: Start, eventually: Eventually) -> None:
    server = start("--workers", "2")
    stop = threading.Event()
    statuses: list[int] = []
    versions: set[str] = set()

    def load() -> None:
        with httpx.Client(base_url=server.url, headers=server.header, timeout=60) as http:
            while not stop.is_set():
                reply = http.get("/recommend", params={"user_id": "t4"})
                statuses.append(reply.status_code)
                versions.add(reply.json()["version"])

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: "v000001" in versions)
        for _ in range(3):
            name = server.shop.publish().name
            # Those who ask must see each before the next: a process that is slow may leave one out.
            assert eventually(lambda name=name: name in versions)
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    assert set(statuses) == {200}
    assert versions == {"v000001", "v000002", "v000003", "v000004"}


def test_a_damaged_version_is_refused_and_the_good_one_stays(start: Start, eventually: Eventually) -> None:
    server = start()
    artifacts = server.shop.artifacts
    with artifacts.draft() as draft:
        (draft.path / "model.json").write_text("{}")
        with artifacts.exclusive():
            bad = artifacts.publish(draft, server.shop.version.manifest)
    assert eventually(lambda: "version_refused" in server.log.read_text())
    assert server.get("/ready")["version"] == "v000001"
    second = server.shop.publish()
    path = second.file("model.json")
    path.chmod(0o600)
    assert eventually(lambda: server.get("/ready")["version"] == second.name)
    path.write_text(path.read_text() + " ")
    again = start(on=server.shop)  # starts on an older whole version
    assert again.get("/ready")["version"] == "v000001"
    assert bad.name != second.name


def test_no_process_of_the_server_holds_duckdb(start: Start, eventually: Eventually) -> None:
    server = start("--workers", "2")
    # Both, not one that has yet to begin and holds nothing for that reason.
    assert eventually(lambda: "recsys_version_swaps_total 2.0" in server.http.get("/metrics").text)
    server.get("/recommend", user_id="t4")
    pids = [server.process.pid, *_children(server.process.pid)]
    assert len(pids) == 3
    for pid in pids:
        held = []
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                held.append(str(link.readlink()))
        assert not [name for name in held if "shop.duckdb" in name]
    for pid in pids[1:]:
        assert "duckdb" not in Path(f"/proc/{pid}/maps").read_text()


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(p) for p in text.split()]


def test_workers_end_in_peace(start: Start) -> None:
    server = start("--workers", "2")
    assert server.stop() == 0
    assert "Fatal" not in server.log.read_text()


def test_workers_go_with_their_parent_and_come_again_without(start: Start) -> None:
    server = start("--workers", "2")
    first = _children(server.process.pid)
    os.kill(first[0], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (now := _children(server.process.pid)) == first or len(now) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.http.get("/health").status_code == 200
    server.process.kill()
    server.process.wait(60)
    deadline = time.monotonic() + 60
    while any(_is_worker(pid) for pid in now):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_worker(pid: int) -> bool:
    """Asked for in one step: between two, it may end."""
    try:
        return b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_images_come_from_their_folder_only(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "secret.svg").write_text("no")
    (folder / "link.svg").symlink_to(tmp_path / "secret.svg")
    server = start(config=f'[serve]\nimages = "{folder}"')
    good = server.http.get("/sample-images/a.svg")
    assert good.status_code == 200
    assert good.headers["content-type"].startswith("image/svg+xml")
    assert "default-src 'none'" in good.headers["content-security-policy"]
    port = int(server.url.rpartition(":")[2])
    for path in ("../secret.svg", "..%2fsecret.svg", "%2e%2e/secret.svg", "link.svg", ".svg", "a.svg/", "", "b.svg"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            request = f"GET /sample-images/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            plain.sendall(request.encode())
            assert plain.recv(100).startswith(b"HTTP/1.1 404"), path


def test_serve_without_a_model_says_what_to_do(recsys: Any, tmp_path: Path) -> None:
    done = recsys("serve", "--artifacts", str(tmp_path / "nothing"))
    assert done.returncode != 0
    assert "Run recsys train" in done.stderr
    assert not (tmp_path / "nothing").exists()


def test_serve_for_others_without_keys_says_who_is_refused(start: Start) -> None:
    open_to_all = start("--host", "0.0.0.0")
    assert "get 401 until recsys keys add NAME" in open_to_all.log.read_text()
    add_key(open_to_all.shop.settings.artifacts, "page", ["serve"])
    assert "get 401" not in start("--host", "0.0.0.0").log.read_text()
    assert "401" not in start().log.read_text()
    revoke_key(open_to_all.shop.settings.artifacts, "page")
    for host in ("0.0.0.0", "127.0.0.1"):
        server = start("--host", host)
        said = server.log.read_text()
        assert "everybody but the owner gets 401 until recsys keys add NAME" in said
        assert "from other machines" not in said
        assert httpx.get(f"{server.url}/recommend", timeout=60).status_code == 401
        assert server.http.get("/recommend").status_code == 200


def test_the_command_does_not_load_what_only_its_workers_need(server: Any) -> None:
    state = ["--db", str(server.shop.settings.db), "--artifacts", str(server.shop.settings.artifacts)]
    taken = ["--port", server.url.rpartition(":")[2]]
    command = [sys.executable, "-X", "importtime", "-m", "recsys_cli", "serve", *taken, *state]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot be listened on" in done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "recsys_cli.api.server" in loaded
    assert not loaded & {"faiss", "starlette", "scipy", "pyarrow", "duckdb"}


def test_a_version_is_checked_once_at_the_start(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    verify = Version.verify

    def noted(version: Version) -> None:
        checked.append(version.name)
        verify(version)

    monkeypatch.setattr(Version, "verify", noted)
    service = Service.of(ServeSettings(), NO_RULES, shop.artifacts, shop.secret, None, lambda *_, **__: None)
    service.live.start(*newest_version(shop.artifacts))
    assert checked == [service.live.ready().version]


def test_serve_on_a_taken_port_says_so(server: Any, recsys: Any) -> None:
    state = ["--db", str(server.shop.settings.db), "--artifacts", str(server.shop.settings.artifacts)]
    done = recsys("serve", "--port", server.url.rpartition(":")[2], *state)
    assert done.returncode == 2
    assert "cannot be listened on" in done.stderr
