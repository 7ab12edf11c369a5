"""`recsys report`: what it refuses to write."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path


def test_a_page_is_not_written_under_the_name_of_another_format(
    recsys: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = recsys("report", "--out", str(tmp_path / "report.pdf"))
    assert done.returncode == 2
    assert "report.pdf is not HTML by its name. End it in .html" in done.stderr
    assert not (tmp_path / "report.pdf").exists()
