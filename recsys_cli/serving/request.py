"""What is asked of the engine, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32, Int32, Recommendation
from .filter_tree import parse


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items may be in an answer; empty and None do not restrict.

    Parameters
    ----------
    category, brand, region
        Any of these. An item without a region is for all regions.
    min_price, max_price
        Inclusive; an item without a price passes neither.
    exclude
        Item ids to leave out.
    include
        Only these item ids.
    min_margin
        An item without a margin does not pass.
    filter
        Written ones, see `filter_tree`, all of which must fit.
    user
        What they use of the customer, by name; see `filter_tree.Filter.about`.
    """

    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    min_margin: float | None = None
    filter: tuple[str, ...] = ()
    user: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def written(*texts: str, user: Mapping[str, str] | None = None) -> Filters:
        """Written filters alone, and what is known of the customer.

        Raises
        ------
        FilterError
            It cannot be read.
        """
        return NO_FILTERS.and_written(*texts, user=user)

    def and_written(self, *texts: str, user: Mapping[str, str] | None = None) -> Filters:
        """With these written filters as well.

        Raises
        ------
        FilterError
            One cannot be read.
        """
        about = dict(self.user)
        for text in texts:
            about.update(parse(text).about(user or {}))
        return replace(self, filter=(*self.filter, *texts), user=tuple(sorted(about.items())))


NO_FILTERS = Filters()


@dataclass(frozen=True, slots=True)
class Request:
    """For whom, how many, and under which conditions.

    Parameters
    ----------
    user_id, session_id
        The customer, the guest, or both: then the session's clicks are the newest part of the history.
    items
        A basket, counted as the newest part of the history.
    k, offset
        `k` items from position `offset` on.
    repeat
        Include items already bought.
    explain
        Give the reason for every item.
    rules
        Other values for some of `RuleSettings`, for this request.
    consent
        What may be used for this request, unless the customer has chosen something stricter: full, session (what
        was done in this session, and the basket) or none.
    item_id
        The product of the page, for lists around one.
    rail
        Which of several lists of one kind, from 1.
    ranked
        In the ranker's order, where the version has one that is on; else in the first stage's.
    user
        What the request says of the visitor: country and the like, for those of whom nothing else is known.
    """

    user_id: str | None = None
    session_id: str | None = None
    items: tuple[str, ...] = ()
    k: int = 10
    offset: int = 0
    filters: Filters = NO_FILTERS
    repeat: bool = False
    explain: bool = False
    rules: Mapping[str, Any] | None = None
    consent: str = "full"
    item_id: str | None = None
    rail: int = 1
    ranked: bool = True
    user: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """A list of items, best first, as codes of one version.

    Parameters
    ----------
    codes, scores, sources
        Parallel. A source is the name of what proposed the item.
    fallbacks
        Parallel: the item is there because nothing better was known.
    known
        There was a history to use.
    version
        Name of the version that answered.
    item_ids
        Parallel to `codes`.
    reasons
        Parallel when asked for: why, in a sentence, from what happened.
    stages
        When asked for: what the answer went through, with counts.
    title
        A heading that depends on the customer; empty for most lists.
    """

    codes: list[int]
    scores: list[float]
    sources: list[str]
    fallbacks: list[bool]
    known: bool
    version: str
    item_ids: list[str]
    reasons: list[str] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    title: str = ""

    @property
    def fallback(self) -> bool:
        """Everything in the answer is a fallback."""
        return bool(self.fallbacks) and all(self.fallbacks)

    @property
    def items(self) -> list[Recommendation]:
        """The lines of the answer."""
        rows = zip(self.item_ids, self.scores, self.sources, self.fallbacks, strict=True)
        return [Recommendation(*row) for row in rows]


@dataclass(frozen=True)
class Batch:
    """Lists for many customers: rows are customers, columns positions, -1 where a list is short.

    Unpacks into `codes, scores, sources`, the last as strings.
    """

    codes: Int32
    scores: Float32
    source: NDArray[np.uint8]
    source_names: tuple[str, ...]
    known: NDArray[np.bool_]

    def put(self, row: int, picker: Any) -> None:
        """Replace one list by what a `Picker` holds; its sources are among `source_names`."""
        n = min(len(picker.codes), self.codes.shape[1])
        self.codes[row], self.scores[row], self.source[row] = -1, -np.inf, 0
        self.codes[row, :n], self.scores[row, :n] = picker.codes[:n], picker.scores[:n]
        self.source[row, :n] = [self.source_names.index(name) for name in picker.sources[:n]]

    def __iter__(self) -> Any:
        yield from (self.codes, self.scores, np.array(self.source_names)[self.source])
