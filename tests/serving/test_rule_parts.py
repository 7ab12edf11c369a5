"""The parts of the rules alone, on lists short enough to be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys_cli.schema import DAY
from recsys_cli.serving.campaigns import InForce
from recsys_cli.serving.rules import (
    MMR_DEPTH,
    NO_RULES,
    Lines,
    Picker,
    Rules,
    boosted,
    bought_lately,
    diversified,
    freshened,
    looked_through,
    pushed_down,
)
from recsys_cli.settings import RuleSettings

NAMES = ("als", "popular")
NOW = 1_000 * DAY


def made(*scores: float, codes: tuple[int, ...] | None = None) -> Lines:
    n = len(scores)
    given = np.array(range(n) if codes is None else codes, dtype=np.int32)
    return Lines(given, np.array(scores, dtype=np.float32), np.zeros(n, dtype=np.uint8))


def ruled(**settings: Any) -> Rules:
    return Rules(RuleSettings(**settings))


def kinds(*of: int) -> Any:
    return np.array(of, dtype=np.int32)


def filled(picker: Picker) -> list[tuple[int, float, str, bool]]:
    return list(zip(picker.codes, picker.scores, picker.sources, picker.fallbacks, strict=True))


@pytest.mark.parametrize(
    "settings", [{"max_per_category": 1}, {"max_per_brand": 1}, {"freshness": 0.1}, {"diversity": 0.1}]
)
def test_each_rule_that_shapes_a_list_is_told(settings: dict[str, Any]) -> None:
    assert ruled(**settings).shape
    assert not NO_RULES.shape
    assert NO_RULES.with_changes(max_per_category=None) is NO_RULES
    assert NO_RULES.with_changes(**settings, min_margin=None).settings == RuleSettings(**settings)


def test_what_was_bought_stays_away_for_its_days() -> None:
    codes, ts = kinds(3, 3, 4, 5), np.array([NOW - 9 * DAY, NOW - 20 * DAY, NOW - 10 * DAY, NOW - 11 * DAY])
    interval = np.array([0, 0, 0, 5.0, 0, 12.0], dtype=np.float32)
    assert bought_lately(codes, ts, NOW, ruled(), interval) == {3, 4, 5}
    assert bought_lately(codes, ts, NOW, ruled(consumables=True), None) == {3, 4, 5}
    assert bought_lately(codes, ts, NOW, ruled(bought_days=10), interval) == {3}
    assert bought_lately(codes, ts, NOW, ruled(bought_days=10, consumables=True), interval) == set()
    assert bought_lately(codes, ts, NOW, ruled(consumables=True), interval) == {4, 5}
    assert bought_lately(codes, ts, NOW, ruled(bought_days=10, consumables=True), None) == {3}


def test_rules_are_read_from_settings() -> None:
    campaign = {"action": "boost", "brand": "Ash", "factor": 2.0}
    settings = RuleSettings(diversity=0.2, campaigns=[campaign], words={"bought": "Gekauft"})
    rules = Rules.of(settings)
    assert rules.settings is settings
    assert [(c.action, c.factor) for c in rules.campaigns] == [("boost", 2.0)]
    assert rules.words["bought"] == "Gekauft"


def test_freshness_is_a_share_of_a_positive_score() -> None:
    rules, born = ruled(freshness=0.5, freshness_days=10), np.array([NOW - 10 * DAY, NOW, 0, 1])
    fresh = freshened(made(4.0, 2.0, 3.0, 1.0), rules, born, NOW)
    assert fresh.code.tolist() == [0, 1, 2, 3], "of equals the one before stays before"
    assert fresh.score.tolist() == pytest.approx([5.0, 3.0, 3.0, 1.0])
    plain = made(1.0, 2.0)
    assert freshened(plain, ruled(), np.array([NOW, NOW]), NOW) is plain
    assert len(freshened(made(), rules, born, NOW)) == 0


def test_a_campaign_multiplies_scores_of_either_sign() -> None:
    factor = np.array([1.0, 3.0, 0.5, 1.0], dtype=np.float32)
    now = InForce(None, factor, {}, np.inf)
    assert boosted(made(4.0, 2.0, 9.0), now).code.tolist() == [1, 2, 0]
    assert boosted(made(4.0, 2.0, 9.0), now).score.tolist() == pytest.approx([6.0, 4.5, 4.0])
    mixed = boosted(made(0.0, -3.0, -1.0, 2.0), now)
    assert mixed.code.tolist() == [3, 0, 1, 2]
    assert mixed.score.tolist() == pytest.approx([2.0, 0.0, -1.0, -2.0])
    plain = made(1.0, 2.0)
    assert boosted(plain, InForce(None, None, {}, np.inf)) is plain
    assert len(boosted(made(), now)) == 0


def test_freshness_halves_and_helps_what_has_a_negative_score() -> None:
    rules, born = ruled(freshness=1.0, freshness_days=10), np.array([0, NOW, NOW - 10 * DAY, NOW + DAY])
    fresh = freshened(made(4.0, 3.0, 2.0, -1.0), rules, born, NOW)
    assert fresh.code.tolist() == [1, 0, 2, 3]
    assert fresh.score.tolist() == pytest.approx([6.0, 4.0, 3.0, -0.5])
    assert fresh.score.dtype == np.float32


def test_what_is_like_a_disliked_item_sinks() -> None:
    lines = pushed_down(made(4.0, 3.0, -1.0), {0: 1.0, 2: 0.5})
    assert lines.code.tolist() == [1, 0, 2]
    assert lines.score.tolist() == pytest.approx([3.0, 1.0, -1 / 0.625])
    same = made(1.0)
    assert pushed_down(same, {}) is same


def test_how_many_candidates_are_looked_through() -> None:
    assert [looked_through(*of) for of in ((9, 5), (999, 5), (999, 300))] == [9, MMR_DEPTH, 300]


def by_hand(scores: list[float], same: Any, weight: float, want: int) -> list[int]:
    """Maximal marginal relevance, word for word."""
    low, high = min(scores), max(scores)
    worth = [(one - low) / (high - low) for one in scores]
    order: list[int] = []
    while len(order) < want:
        rest = [n for n in range(len(scores)) if n not in order]
        like = {n: max([same(n, m) for m in order] or [0]) for n in rest}
        order.append(max(rest, key=lambda n: (1 - weight) * worth[n] - weight * like[n]))
    return order + [n for n in range(len(scores)) if n not in order]


@pytest.mark.parametrize("weight", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by_vectors", [True, False])
def test_diversity_is_maximal_marginal_relevance(weight: float, seed: int, by_vectors: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = sorted((float(one) for one in rng.normal(5, 3, 12).astype(np.float32)), reverse=True)
    groups = rng.integers(-1, 3, 12).astype(np.int32)
    unit = rng.normal(size=(12, 3)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)

    def same(n: int, m: int) -> float:
        return float(unit[n] @ unit[m]) if by_vectors else float(groups[n] == groups[m] >= 0)

    codes = tuple(range(100, 112))
    found = diversified(made(*scores, codes=codes), ruled(diversity=weight), unit if by_vectors else None, groups, 6)
    # What is unlike all counts as not alike, never as a merit.
    assert [code - 100 for code in found.code.tolist()] == by_hand(scores, lambda n, m: max(same(n, m), 0), weight, 6)
    assert found.score.tolist() == [scores[code - 100] for code in found.code.tolist()]


def test_lists_without_choice_stay_as_they_are() -> None:
    one, two = made(1.0), made(2.0, 1.0)
    assert diversified(one, ruled(diversity=0.5), None, kinds(0), 5) is one
    assert diversified(two, ruled(), None, kinds(0, 0), 2) is two
    three = made(1.0, 0.9, 0.0)
    assert diversified(three, ruled(diversity=0.4), None, kinds(0, 0, 1), 2).code.tolist() == [0, 1, 2]
    assert diversified(three, ruled(diversity=0.9), None, kinds(0, 0, 1), 2).code.tolist() == [0, 2, 1]


@pytest.mark.parametrize("limited", [False, True])
def test_a_list_is_filled_once_with_each_up_to_what_is_wanted(limited: bool) -> None:
    limits = [(9, kinds(*range(9)))] if limited else []
    picker = Picker(want=4, skip={1}, page=4, limits=limits)
    picker.take([(0, 0.9), (1, 0.8), (0, 0.7), (2, 0.6)], "als", False)
    assert not picker.full
    picker.take([(2, 0.5), (3, 0.4), (4, 0.3), (5, 0.2)], "popular", True)
    assert picker.full
    assert filled(picker) == [(0, 0.9, "als", False), (2, 0.6, "als", False), (3, 0.4, "popular", True),
                              (4, 0.3, "popular", True)]  # fmt: skip
    assert picker.skip == {0, 1, 2, 3, 4}
    picker.take([(6, 0.1)], "popular", True)
    picker.add(7, 0.1, "popular", True)
    assert len(picker.codes) == 4
    assert not picker.skip & {6, 7}


@pytest.mark.parametrize("way", ["lines", "take", "add"])
def test_limits_hold_on_each_page_and_who_waited_goes_first(way: str) -> None:
    """Kind 0 three times, no more than one of a kind in two places; those of no kind are not counted."""
    kind = kinds(0, 0, 0, 1, -1, -1)
    picker = Picker(want=6, skip=set(), page=2, limits=[(1, kind)])
    lines = made(0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    lines.source[:] = 1
    if way == "lines":
        picker.take_lines(lines, NAMES, True)
    elif way == "take":
        picker.take(zip(lines.code.tolist(), lines.score.tolist(), strict=True), "popular", True)
    else:
        for code, score in zip(lines.code.tolist(), lines.score.tolist(), strict=True):
            picker.add(code, score, "popular", True)
    assert picker.codes == [0, 3, 1, 4, 2, 5]
    assert picker.scores == pytest.approx([0.9, 0.6, 0.8, 0.5, 0.7, 0.4])
    assert set(picker.sources) == {"popular"}
    assert set(picker.fallbacks) == {True}
    assert picker.held_back == 2


def test_limits_of_two_kinds_hold_together_and_count_only_what_is_shown() -> None:
    """What one limit holds back uses up nothing of the other."""
    category, brand = kinds(0, 0, 1, 2), kinds(0, 1, 1, 0)
    picker = Picker(want=4, skip=set(), page=4, limits=[(1, category), (1, brand)])
    picker.take_lines(made(0.9, 0.8, 0.7, 0.6), NAMES, False)
    assert picker.codes == [0, 2]
    assert picker.held_back == 2
    assert picker.stages(4, 9, {"brand": ["moon"]}) == [
        {"stage": "filters", "items": 9, "allowed": 4, "unknown": {"brand": ["moon"]}},
        {"stage": "left out", "count": 2, "held_back_by_limits": 2},
        {"stage": "sources", "als": 2},
    ]


def test_lines_skip_what_is_not_to_be_in_the_list() -> None:
    for limits in ([], [(3, kinds(0, 0, 0, 0))]):
        picker = Picker(want=2, skip={0}, page=2, limits=limits)
        picker.take_lines(made(0.9, 0.8, 0.7, 0.6), NAMES, False)
        assert filled(picker) == [(1, pytest.approx(0.8), "als", False), (2, pytest.approx(0.7), "als", False)]


def test_pins_take_their_places_with_the_score_before() -> None:
    picker = Picker(want=5, skip=set(), pins={0: 8, 2: 9, 4: 1})
    picker.take_lines(made(0.9, 0.8), NAMES, False)
    picker.end()
    assert picker.codes == [8, 0, 9, 1]  # which is there already when its place comes
    assert picker.scores == pytest.approx([0.0, 0.9, 0.9, 0.8])
    assert picker.sources == ["pinned", "als", "pinned", "als"]
    assert not any(picker.fallbacks)
    ended = Picker(want=2, skip=set(), pins={0: 7, 1: 6, 2: 5})
    ended.end()
    assert ended.codes == [7, 6]
    assert ended.skip == {6, 7}


def given(picker: Picker, place: int, code: int) -> list[tuple[int, float, str, bool]]:
    picker.give(place, code, "explored")
    return filled(picker)


def test_an_item_given_a_place_moves_the_others_on() -> None:
    def three(*, want: int = 3) -> Picker:
        picker = Picker(want=want, skip=set())
        picker.take_lines(made(0.75, 0.5, 0.25), NAMES, True)
        return picker

    first, second, third = filled(three())
    assert given(three(), 1, 9) == [first, (9, 0.5, "explored", False), second]
    assert given(three(), 0, 2) == [(2, 0.75, "explored", False), first, second]
    assert given(three(want=4), 3, 9) == [first, second, third, (9, 0.0, "explored", False)]
    assert given(three(want=4), 0, 0) == [(0, 0.75, "explored", False), second, third]
