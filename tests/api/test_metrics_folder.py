"""The folder in which several server processes add up what they count may be removed, or left by a killed server."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_cli.artifacts.versions import METRICS_DRAFT


def test_removed_or_left_it_stops_nothing(start: Callable[..., Any], recsys: Callable[..., Any]) -> None:
    server = start("--workers", "2")
    settings = server.shop.settings

    def folders() -> list[Path]:
        return list(settings.artifacts.glob(f"{METRICS_DRAFT}*"))

    server.get("/popular")
    (folder,) = folders()
    shutil.rmtree(folder)
    for _ in range(4):
        assert "recsys_requests_total" in server.http.get("/metrics").raise_for_status().text
        assert server.get("/similar-items", item_id=server.get("/popular")["items"][0]["item_id"])
    folder.mkdir()
    server.stop(signal.SIGKILL)
    state = {"RECSYS_DB": str(settings.db), "RECSYS_ARTIFACTS": str(settings.artifacts)}
    assert recsys("update-worker", "--once", **state).returncode == 0
    assert folders() == []
