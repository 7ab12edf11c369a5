"""A revoked key is refused within moments, whatever else is broken."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys_cli.artifacts import Artifacts, choices
from recsys_cli.artifacts.keys import add_key, revoke_key

Start = Callable[..., Any]
Eventually = Callable[[Callable[[], Any]], Any]


def damaged_choices(server: Any) -> None:
    (server.shop.settings.artifacts / choices.FILE).write_text('{"at": 17')


def strange_line(server: Any) -> None:
    server.post("/events", {"user_id": "u", "item_id": "a1"})
    spool = Artifacts(server.shop.settings.artifacts).spool_dir
    (spool / "009999999999999-1-00000000.jsonl").write_bytes(b"5\n[]\n")


def no_descriptors(server: Any) -> None:
    """No file can be opened from now on, and no connection be made."""
    pid = int(re.findall(r'"pid":(\d+)', server.log.read_text())[-1])
    most = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(most, 64), hard))


@pytest.mark.parametrize("trouble", [damaged_choices, strange_line, no_descriptors], ids=lambda t: t.__name__)
def test_a_revoked_key_is_refused(start: Start, eventually: Eventually, trouble: Callable[[Any], None]) -> None:
    server = start()
    key, _ = add_key(server.shop.settings.artifacts, "partner", ["serve"])
    with httpx.Client(base_url=server.url, headers={"x-api-key": key}, timeout=60) as partner:
        assert eventually(lambda: partner.get("/recommend?user_id=u").status_code == 200)
        trouble(server)
        assert partner.get("/recommend?user_id=u").status_code == 200
        revoke_key(server.shop.settings.artifacts, "partner")
        assert eventually(lambda: partner.get("/recommend?user_id=u").status_code == 401)
