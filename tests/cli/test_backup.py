"""What `recsys restore` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_cli.backup import Backup
from recsys_cli.cli.backup import sentence


@pytest.mark.parametrize(("corrections", "said"), [(1, "1 correction of"), (3, "3 corrections of")])
def test_corrections_that_are_undone_are_told(corrections: int, said: str) -> None:
    text = sentence(Backup(Path("b"), files=7, bytes=2_500_000, created_at=1_750_000_000, corrections=corrections))
    assert said in text
    assert "recsys gdpr rectify" in text


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (0, "2.5 MB."),
        (1, "2.5 MB. 1 person erased since then was erased from it."),
        (1200, "2.5 MB. 1,200 people erased since then were erased from it."),
    ],
)
def test_who_stayed_erased_is_counted_in_words(people: int, said: str) -> None:
    text = sentence(Backup(Path("b"), files=7, bytes=2_500_000, created_at=1_750_000_000, kept_out=people))
    assert text == f"Restored the backup of 2025-06-15 15:06 UTC: 7 files, {said}"
