"""Where a shop stands: below the floor it gets popularity and is told, above it what shops of its size got."""

from __future__ import annotations

import pytest
from known import checkerboard, dataset

from recsys_cli.evaluation import Interval, Report
from recsys_cli.evaluation.learning_curve import CURVE, FLOOR, SETTLED, expected, shows_pairs, standing
from recsys_cli.progress import Progress
from recsys_cli.schema import DAY
from recsys_cli.tuning.auto import Picked, pick


class Told(Progress):
    """Keeps what is noted."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_curve_begins_above_the_floor_and_goes_up_in_events() -> None:
    sizes = [size for size, _, _ in CURVE]
    assert sizes[0] > FLOOR
    assert sizes == sorted(set(sizes))
    assert all(0 < low <= high for _, low, high in CURVE)


@pytest.mark.parametrize(("events", "row"), [(0, None), (FLOOR, None), (1_000, 0), (10**9, -1)])
def test_what_is_expected_of_a_size(events: int, row: int | None) -> None:
    assert expected(events) == (None if row is None else CURVE[row][1:])


def report(users: int) -> Report:
    found = {name: {"ndcg@10": Interval(value, value, value)} for name, value in (("als", 0.3), ("popular", 0.1))}
    lead = {"als": {"popular": {"ndcg@10": Interval(0.2, 0.1, 0.3)}}}
    return Report({"users": users}, found, lead)


def test_a_shop_is_told_its_own_lead_where_enough_were_asked() -> None:
    assert "; this one +200 % (+100 to +300)." in standing(SETTLED, report(100), "als").sentence
    assert "this one" not in standing(SETTLED, report(99), "als").sentence
    assert "reliable from about 10,000 on" in standing(SETTLED - 1).sentence
    assert "reliable from" not in standing(SETTLED).sentence
    assert "may still be due to chance" in standing(FLOOR).sentence
    assert standing(SETTLED, report(100), "als").as_dict()["below"] is False


def test_a_shop_that_gets_popular_items_is_promised_nothing() -> None:
    alone = dataset([[(n % 7, n * DAY // 10)] for n in range(1_500)], 7).interactions
    assert not shows_pairs(alone)
    assert shows_pairs(checkerboard(users=80).interactions)
    told = standing(1_500, name="popular", pairs=False)
    assert "hardly any customer bought or looked at two different products" in told.sentence
    assert "above bestsellers" not in told.sentence
    assert told.expected is None
    assert "above bestsellers; here popular items are served." in standing(1_500, report(100), "popular").sentence
    assert "above bestsellers" in standing(1_500, name="als", pairs=False).sentence  # it was asked for


def test_below_the_floor_auto_takes_popularity_and_says_so() -> None:
    few = dataset([[(n % 5, n * DAY), ((n + 1) % 5, (n + 40) * DAY)] for n in range(100)], 5)
    told: list[str] = []
    assert pick(few, progress=Told(told)) == Picked("popular", {})
    assert told == [standing(200).sentence]
    assert told[0].startswith(f"200 events to learn from: below {FLOOR} ")


def test_above_it_auto_tries_models() -> None:
    assert pick(checkerboard(users=80), window_days=60).final is not None
