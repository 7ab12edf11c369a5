"""What comes next, by what came next after the same items in everybody's histories."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import NotEnoughData
from ..progress import SILENT, Progress
from ..schema import DAY, Dataset, Float32, Histories, Int32, Int64
from ..splitting.interactions import moments, weigh
from .base import Capabilities, ModelConfig, Range, hyper
from .support.item_matrix import ItemModel, largest_of_rows, power, scaled
from .support.newness import NEWNESS, boost
from .support.top_n import contains

_LAGS = 30  # moments; what lies further apart says next to nothing of each other
_FAINT = 0.02  # weight of a pair below which it is not counted
_PAIRS = 4_000_000  # pairs of items counted at a time, twice: some 200 MB
_SAMPLE_EVENTS, _SAMPLE_USERS = 200_000, 2_000  # how ordered a shop is can be told from a part of it
_DEPTH = 10
_SET = -1.0

# How much order there is, from clicks of one visit to baskets of a household. Measured on public data: RSC15 clicks,
# Amazon reviews, ratings of places, and orders of a wholesaler.
_NAMES = ("lag", "backward", "together", "source", "popular", "length", "recall", "own")
PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        order: MappingProxyType(dict(zip(_NAMES, values, strict=True)))
        for order, values in {
            "visit": (1.0, 0.5, 0.0, 0.75, 0.1, 0.0, 1.0, 1.0),
            "ordered": (10.0, 0.3, 0.0, 0.5, 0.15, 0.0, 3.0, 0.0),
            "loose": (10.0, 0.8, 0.3, 0.4, 0.1, 0.25, 8.0, 0.0),
            "any": (10.0, 1.0, 1.0, 0.4, 0.0, 0.25, 20.0, 0.0),
        }.items()
    }
)
_CHOOSE = "auto"


def _preset(help: str, space: Range, high: float) -> float:
    """A hyperparameter that a preset sets where it is not given."""
    value: float = hyper(_SET, f"{help} -1 takes what `order` says.", space, low=_SET, high=high)
    return value


@dataclass(frozen=True)
class NextItemConfig(ModelConfig):
    """Hyperparameters of `NextItem`."""

    order: str = hyper(
        _CHOOSE,
        "How much the order says: visit, ordered, loose or any; auto finds out from each customer's last event.",
        Range(choices=(_CHOOSE, *PRESETS)),
    )
    lag: float = _preset("Moments after which one item says 1/e of what comes.", Range(1, 20, True), 1_000)
    backward: float = _preset("What an item says of those before it, beside those after it.", Range(0, 1), 10)
    together: float = _preset("What items of the same moment say of each other.", Range(0, 1), 10)
    source: float = _preset("Power of the total that an item says, which it is divided by.", Range(0.2, 1), 2)
    popular: float = _preset("Power of its popularity that a next item is divided by.", Range(0, 0.5), 2)
    length: float = _preset("Long histories count by their length to minus this.", Range(0, 0.6), 2)
    recall: float = _preset("Moments after which an event of a history counts 1/e.", Range(1, 30, True), 1_000)
    own: float = _preset("1 where an item may follow itself, as clicks do.", Range(0, 1), 1)
    lag_days: float = hyper(0.0, "Days between two events after which they count 1/e; 0 for any time.", high=36_500)
    neighbours: int = hyper(400, "Next items kept of each item.", low=1, high=10_000)
    newness: float = NEWNESS


class NextItem(ItemModel):
    """Directed co-occurrence, decayed by distance, normalised by source and target.

    After sequential rules (Kamehkhosh et al. 2017) and SLIST (Choi et al. 2021). With a distance of l moments between
    s and a later t, and p sales of t: B[s, t] = C[s, t] / (sum of C[s])^source / p^popular, where C is the sum of
    exp(-(l - 1) / lag) over all histories, forwards and, at a discount, backwards.
    """

    name: ClassVar[str] = "next-item"
    Config: ClassVar[type[ModelConfig]] = NextItemConfig
    capabilities: ClassVar[Capabilities] = Capabilities(explains=True, sequential=True)
    settled: ClassVar[tuple[str, ...]] = (*ItemModel.settled, "order")
    config: NextItemConfig

    @classmethod
    def fit(
        cls, data: Dataset, config: NextItemConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        n_items = data.interactions.n_items
        with progress.stage("Fitting next-item"):
            histories = wanted_events(data.interactions.histories, n_items)
            config = _settled(histories, n_items, config, seed)
            matrix = _directed(histories, n_items, config, threads)
            return cls(config, scaled(matrix, None, boost(data.interactions, config.newness)))

    def weights(self, histories: Histories, now: int) -> sp.csr_matrix:
        """As `Model.weights`, and older moments of a history count less."""
        c = self.config
        return weigh(
            histories, self.n_items, c.tau_days, c.qty_power, c.repeat_power, c.order_power, max(c.recall, 0.0)
        )


def wanted_events(histories: Histories, n_items: int) -> Histories:
    """What was wanted, once a moment: positive events of items that were not given back or disliked.

    Raises
    ------
    NotEnoughData
        Nothing was.
    """
    positive = histories.kind_weight[histories.kind] > 0
    if not positive.all():
        net = weigh(histories, n_items)
        wanted = np.repeat(np.arange(len(histories), dtype=np.int64), np.diff(net.indptr)) * n_items + net.indices
        positive &= np.isin(histories.row_of_event.astype(np.int64) * n_items + histories.item, wanted)
    kept = histories.where(positive)
    once = np.zeros(kept.n_events, dtype=np.bool_)
    once[np.unique(moments(kept)[0] * n_items + kept.item, return_index=True)[1]] = True
    if not once.any():
        raise NotEnoughData("There is no purchase to learn from.", "Run recsys ingest FILE with purchases.")
    return kept.where(once)


def _settled(histories: Histories, n_items: int, config: NextItemConfig, seed: int) -> NextItemConfig:
    """The config with numbers in place of what is left to `order`."""
    open_ones = [name for name in PRESETS["any"] if getattr(config, name) == _SET]
    if not open_ones:
        return config
    order = config.order
    if order == _CHOOSE:
        order = _most_telling(histories, n_items, config, seed)
    return NextItemConfig.from_values(config.as_dict() | {"order": order} | {n: PRESETS[order][n] for n in open_ones})


def _most_telling(histories: Histories, n_items: int, config: NextItemConfig, seed: int) -> str:
    """The preset that best foresees the last moment of a sample of histories from those before it."""
    rng = np.random.default_rng(seed)
    if histories.n_events > _SAMPLE_EVENTS:
        histories = histories.rows(np.flatnonzero(rng.random(len(histories)) < _SAMPLE_EVENTS / histories.n_events))
    moment, row = moments(histories)
    last = np.searchsorted(row, histories.row_of_event, side="right") - 1 == moment
    asked = np.flatnonzero(np.bincount(row, minlength=len(histories)) > 2)
    if len(asked) > _SAMPLE_USERS:
        asked = np.sort(rng.choice(asked, _SAMPLE_USERS, replace=False))
    held_out = last & np.isin(histories.row_of_event, asked)
    past, future = histories.where(~held_out), histories.where(held_out)
    wanted, seen = weigh(future.rows(asked), n_items), weigh(past.rows(asked), n_items)
    value: dict[str, float] = {}
    for order in reversed(list(PRESETS)) if len(asked) else ():  # of equals, the one that counts on order least
        tried = _settled(past, n_items, replace(config, order=order), seed)
        model = NextItem(tried, _directed(past, n_items, tried))
        items, _ = model.recommend(past.rows(asked), _DEPTH, 0, exclude=seen)
        value[order] = float((contains(wanted, items) / np.log2(np.arange(2, _DEPTH + 2))).sum())
    return max(value, key=lambda order: value[order], default="ordered")


def _directed(histories: Histories, n_items: int, config: NextItemConfig, threads: int = 1) -> sp.csr_matrix:
    """B of `NextItem`, float32 CSR of shape (n_items, n_items), counted for one block of sources after the other."""
    moment, _ = moments(histories)
    weight = histories.kind_weight[histories.kind]
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(moment))])
    held = sp.csr_matrix((weight, histories.item, begins), shape=(len(begins) - 1, n_items))
    popularity = power(np.bincount(histories.item, weight, minlength=n_items), -config.popular)
    windows = _Windows.of(histories, config)

    def best(block: tuple[int, int]) -> sp.csr_matrix:
        start, stop = block
        counted = (windows.around(start, stop) @ held).tocsr()
        own = counted.indices == np.repeat(np.arange(start, stop), np.diff(counted.indptr))
        counted.data[own] *= np.float32(config.own)
        total = np.asarray(counted.sum(axis=1), dtype=np.float64).ravel()
        return largest_of_rows(scaled(counted, power(total, -config.source), popularity), config.neighbours)

    # Two at a time and no more: each holds its pairs, and most of it is arithmetic outside Python.
    with ThreadPoolExecutor(min(threads or os.cpu_count() or 1, 2)) as pool:
        matrix = sp.csr_matrix(sp.vstack(list(pool.map(best, windows.blocks(n_items))), format="csr"), dtype=np.float32)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True)
class _Windows:
    """The moments around every event, by the item of the event.

    Parameters
    ----------
    order
        Events by item, int64 of shape (n_events,).
    moment, weight
        Of each event, in that order; int32, float32.
    first, last
        int32, shape (moments,): the first and last moment of the same history.
    ts
        int64, shape (moments,).
    ends
        int64, shape (n_items + 1,): where the events of each item begin.
    cost
        int64, shape (n_events + 1,): pairs with events of other moments, added up in that order.
    """

    config: NextItemConfig
    moment: Int32
    weight: Float32
    first: Int32
    last: Int32
    ts: Int64
    ends: Int64
    cost: Int64

    @staticmethod
    def of(histories: Histories, config: NextItemConfig) -> _Windows:
        moment, row = moments(histories)
        order = np.argsort(histories.item, kind="stable")
        weight = histories.kind_weight[histories.kind]
        if config.length:
            length = np.diff(histories.indptr)[histories.row_of_event]
            weight = weight * length.astype(np.float32) ** np.float32(-config.length)
        ends_of_row = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(row))])
        first, last = ends_of_row[row], ends_of_row[row + 1] - 1
        sizes = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(moment))])
        ts = histories.ts[sizes[:-1]]
        reach, at = _reach(config), np.arange(len(row))
        near = sizes[np.minimum(at + reach, last) + 1] - sizes[np.maximum(at - reach, first)]
        sold = np.bincount(histories.item)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sold)])
        cost = np.concatenate([np.zeros(1, np.int64), np.cumsum(near[moment[order]])])
        # A tenth of the time of counting is in how wide these are.
        narrow = moment[order].astype(np.int32), weight[order], first.astype(np.int32), last.astype(np.int32)
        return _Windows(config, *narrow, ts, ends, cost)

    def blocks(self, n_items: int) -> Iterator[tuple[int, int]]:
        """Items from and to whose pairs fit memory; at least one item."""
        start, sold = 0, len(self.ends) - 1
        while start < n_items:
            stop = n_items
            if start < sold:
                room = self.cost[self.ends[start]] + _PAIRS
                stop = max(int(np.searchsorted(self.cost[self.ends[1:]], room, side="right")), start + 1)
                stop = n_items if stop >= sold else stop
            yield start, stop
            start = stop

    def around(self, start: int, stop: int) -> sp.csr_matrix:
        """Weights of the moments before and after the events of some items, shape (stop - start, moments)."""
        sold = len(self.ends) - 1
        begin, end = self.ends[min(start, sold)], self.ends[min(stop, sold)]
        total = sp.csr_matrix((stop - start, len(self.first)), dtype=np.float32)
        while begin < end:  # in parts, because of an item that everybody has
            part = int(np.searchsorted(self.cost, self.cost[begin] + _PAIRS, side="right")) - 1
            part = min(max(part, int(begin) + 1), int(end))
            total = total + self._part(start, stop, slice(begin, part))
            begin = part
        return total

    def _part(self, start: int, stop: int, events: slice) -> sp.csr_matrix:
        c, moment, weight = self.config, self.moment[events], self.weight[events]
        item = np.searchsorted(self.ends, np.arange(events.start, events.stop), side="right") - 1 - start
        item = item.astype(np.int32)
        found: dict[int, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = {}
        for way, room in ((1, self.last[moment] - moment), (-1, moment - self.first[moment])):
            near = np.arange(len(moment))
            for far in range(0 if way > 0 else 1, _reach(c) + 1):
                near = near[room[near] >= far]  # fewer with every step: most histories are short
                share = _share(way * far, c)
                if not len(near) or not share:
                    continue
                other, value = moment[near] + np.int32(way * far), weight[near] * np.float32(share)
                if c.lag_days:
                    apart = np.abs(self.ts[other] - self.ts[moment[near]]) / (c.lag_days * DAY)
                    value = value * np.exp(-np.minimum(apart, 60)).astype(np.float32)
                found[way * far] = item[near], other, value
        shape = (stop - start, len(self.first))
        if not found:
            return sp.csr_matrix(shape, dtype=np.float32)
        # In the order of the steps: the sums are the same to the last bit, and with them what a blend makes of them.
        in_order = [found[at] for at in sorted(found)]
        rows, columns, values = (np.concatenate(part) for part in zip(*in_order, strict=True))
        return sp.csr_matrix((values, (rows, columns)), shape=shape)


def _reach(config: NextItemConfig) -> int:
    """The largest distance that is counted, in moments."""
    return min(_LAGS, 1 + int(-math.log(_FAINT) * config.lag)) if config.lag > 0 else 1


def _share(step: int, config: NextItemConfig) -> float:
    """What an item counts for another that comes so many moments after it."""
    if not step:
        return config.together
    far = math.exp(-(abs(step) - 1) / config.lag) if config.lag > 0 else 1.0
    return far if step > 0 else far * config.backward
