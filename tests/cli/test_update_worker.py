"""What `recsys update-worker` says of a pass."""

from __future__ import annotations

import pytest

from recsys_cli.cli.update_worker import sentence
from recsys_cli.updates.one_pass import Pass


@pytest.mark.parametrize(
    ("events", "items", "said"),
    [
        (1234, 2, "Published v000006 with 1,234 more events and 2 new items (0.0 s)."),
        (1, 1, "Published v000006 with 1 more event and 1 new item (0.0 s)."),
        (0, 0, "Published v000006 with 0 more events and 0 new items (0.0 s)."),
        (-3, 0, "Published v000006 with 3 events fewer and 0 new items (0.0 s)."),  # after an erasure
        (-1, -2, "Published v000006 with 1 event fewer and 2 items fewer (0.0 s)."),
    ],
)
def test_what_was_published_is_said_in_words(events: int, items: int, said: str) -> None:
    assert sentence(Pass("published", "v000006", new_events=events, new_items=items)) == said
