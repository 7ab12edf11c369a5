"""What the README gives to production: the unit of systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")
def test_the_unit_leaves_little_open(tmp_path: Path) -> None:
    unit = re.search(r"```ini\n(\[Unit\].*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert unit is not None
    file = tmp_path / "recsys.service"
    file.write_text(unit[1])
    # In tenths; systemd calls up to 2 OK. Plain services have more than 9.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "offline" in done.stderr:
        pytest.skip(done.stderr.strip())  # older than 250
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "recsys.service" in done.stdout
