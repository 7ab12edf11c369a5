"""recsys mcp, asked by the protocol's own client over stdio."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.artifacts.audit_log import AuditLog
from recsys_cli.artifacts.keys import add_key, make_owner_key, owner_key
from recsys_cli.assistant.ways import OverServer
from recsys_cli.connections import McpSettings
from recsys_cli.errors import UsageError
from tests.api.conftest import copy_of

mcp = pytest.importorskip("mcp")
ROOT = Path(__file__).resolve().parents[2]
Asking = Callable[[Any], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def own(one_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shop with two keys, its owner's and one for lists."""
    return copy_of(one_shop, tmp_path_factory.mktemp("own") / "copy")


@pytest.fixture(scope="module")
def keys(own: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Those keys, each in a file."""
    folder, root = tmp_path_factory.mktemp("keys"), own.settings.artifacts
    files = {name: folder / name for name in ("owner", "lists")}
    files["owner"].write_text(make_owner_key(root))
    files["lists"].write_text(add_key(root, "assistant", ["serve"])[0])
    return files


def ask(shop: Any, key: Path | None, asking: Asking, *flags: str) -> None:
    """Start the command as an assistant's program does, and let its client ask."""
    state = ["--db", str(shop.settings.db), "--artifacts", str(shop.settings.artifacts), *flags]
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]} | ({"RECSYS_MCP_KEY_FILE": str(key)} if key else {})
    parameters = mcp.StdioServerParameters(command=sys.executable, args=["-m", "recsys_cli", "mcp", *state], env=env)

    async def go() -> None:
        async with mcp.Client(mcp.stdio_client(parameters)) as client:
            await asking(client)

    asyncio.run(go())


async def said(client: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    found = await client.call_tool(tool, arguments)
    assert not found.is_error, found.content
    answer: dict[str, Any] = found.structured_content
    return answer


async def refused(client: Any, tool: str, **arguments: Any) -> str:
    found = await client.call_tool(tool, arguments)
    assert found.is_error
    text: str = found.content[0].text
    return text


def test_on_the_artifacts_with_the_owners_key(own: Any, keys: dict[str, Path]) -> None:
    root = own.settings.artifacts
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    async def asking(client: Any) -> None:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == ["recommend", "similar", "explain", "report", "doctor"]
        assert all(tool.annotations.read_only_hint and tool.description for tool in listed)
        tea = await said(client, "recommend", user_id="t0", items=["t0"], k=3)
        assert tea["items"][0]["item_id"][0] == "t"
        assert all(item["reason"] for item in tea["items"])
        alike = await said(client, "similar", item_id="c1", k=2)
        assert {item["item_id"][0] for item in alike["items"]} == {"c"}
        why = await said(client, "explain", user_id="t0", item_id="t3")
        assert (why["shown"], bool(why["why_not"])) == (False, True)
        assert "made_at" in await said(client, "report")
        doctor = await said(client, "doctor")
        assert doctor["counts"].keys() == {"broken", "warning", "hint"}
        assert "no item 'nope'" in await refused(client, "similar", item_id="nope")
        assert "filter" in await refused(client, "recommend", filter="price <")
        assert "Unknown tool" in await refused(client, "train")

    ask(own, keys["owner"], asking)
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    changed = {path.relative_to(root).parts[0] for path in after if after[path] != before.get(path)}
    assert changed == {"audit"}, "nothing is changed, but who looked at a customer is noted"
    assert [entry["action"] for entry in AuditLog(root).entries()][-1] == "GET /why"


def test_a_key_can_do_no_more_than_over_http(own: Any, keys: dict[str, Path]) -> None:
    async def lists_alone(client: Any) -> None:
        assert (await said(client, "recommend", user_id="t0", k=2))["items"]
        assert "lacks the scope 'people'" in await refused(client, "explain", user_id="t0", item_id="t3")
        assert "lacks the scope 'view'" in await refused(client, "report")
        assert "lacks the scope 'view'" in await refused(client, "doctor")

    async def nobody(client: Any) -> None:
        for tool in ("report", "doctor"):
            assert "needs a key" in await refused(client, tool)

    ask(own, keys["lists"], lists_alone)
    ask(own, None, nobody)


def test_over_a_running_server(server: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"X-API-Key: {owner_key(server.shop.settings.artifacts)}\n")

    async def asking(client: Any) -> None:
        tea = await said(client, "recommend", items=["t0", "t1"], k=3)
        assert tea["items"] == server.get("/recommend", items="t0,t1", k=3, explain=True)["items"]
        assert (await said(client, "doctor"))["version"] == tea["version"]
        assert "no item 'a&b'" in await refused(client, "similar", item_id="a&b")

    ask(server.shop, key, asking, "--url", server.url)


def test_what_stops_it_is_said_before_it_starts(recsys: Any) -> None:
    done = recsys("mcp")
    assert (done.returncode, done.stdout) == (6, "")
    done = recsys("mcp", "--url", "http://me:sesame@x/")
    assert done.returncode == 2
    assert "mcp.url is not the address of a server" in done.stderr
    assert "sesame" not in done.stderr


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x/", "http://", "http://x/?a=1", "http://x:99999/", "http://["]
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"mcp\.url"):
        OverServer(url)


def test_what_is_not_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("two words\n")
    with pytest.raises(UsageError, match="does not hold a key"):
        McpSettings(key_file=tmp_path / "key").key()


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(Exception, match=r"http://127\.0\.0\.1:1 does not answer"):
        asyncio.run(OverServer("http://127.0.0.1:1").get("/report", {}))
