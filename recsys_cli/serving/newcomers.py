"""What sells among customers of the visitor's kind, for those of whom nothing else is known."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..artifacts.bundle import Bundle
from ..schema import Profiles
from .catalogue import Allowed
from .retrieval import Scored

SEGMENT = "segment"
Segment = tuple[str, str]  # an attribute of profiles, and its value


class Newcomers:
    """The segments that a version holds; none in versions whose attributes are not better than popularity.

    Parameters
    ----------
    bundle
        The engine's.
    """

    def __init__(self, bundle: Bundle) -> None:
        shelves = bundle.shelves
        names = json.loads(bytes(shelves["segment_names"])) if "segment_names" in shelves else []
        self._rows = {(attribute, value): row for row, (attribute, value) in enumerate(names)}
        self._attributes = tuple(dict.fromkeys(attribute for attribute, _ in names))
        self._shelves = shelves

    def segment_of(self, user: Mapping[str, str]) -> Segment | None:
        """Attribute and value of the most telling segment that fits what a request says of the visitor."""
        for attribute in self._attributes:
            found = attribute, Profiles.word(user.get(attribute, ""))
            if found in self._rows:
                return found
        return None

    def best(self, segment: Segment, allowed: Allowed) -> Scored:
        """What sells there, best first, of what is allowed: codes and scores."""
        row = self._rows[segment]
        item, score = self._shelves["segment_item"][row], self._shelves["segment_score"][row]
        keep = allowed.mask[item] & (score > 0)
        return item[keep], score[keep]
