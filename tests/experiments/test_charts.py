"""Plots are well-formed whatever the numbers, and what comes from a catalogue is text in them."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.experiments import charts, report_page

NUMBERS = st.lists(st.floats(-1e9, 1e9), max_size=60)


def test_a_sparkline_is_as_long_as_what_it_shows() -> None:
    assert charts.sparkline([0, 1, 2, None, 4]) == "▁▃▅ █"
    assert charts.sparkline([]) == ""
    assert charts.sparkline([0.0, 0.0]) == "▁▁"
    assert charts.sparkline([3.0, 3.0]) == "██"


@pytest.mark.parametrize(("high", "low"), [(7, 0), (0.013, 0), (123_456, 0), (4, -3), (0, 0), (1e-6, 0)])
def test_ticks_are_round_and_hold_all(high: float, low: float) -> None:
    ticks = charts.nice_ticks(high, low)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7


@given(NUMBERS)
def test_every_plot_is_well_formed(values: list[float]) -> None:
    labels = ['<&">'] * len(values)
    bounds = [(v, v - 1, math.inf if n == 0 else v + 1) for n, v in enumerate(values)]
    for svg in (
        charts.bars("a <b>", labels, values, values),
        charts.lines("a", labels, [("x", [None if v < 0 else v for v in values])]),
        charts.whiskers("a", labels, [(v, v - 1, v + 1) for v in values], [None] * len(values)),
        charts.funnel("a", labels, bounds),
        charts.spark(values, "a"),
    ):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert "nan" not in svg
        assert "inf" not in svg


def test_reliability_is_a_plot_for_each_head_that_tells_chances() -> None:
    """What was foretold beside what came about; a head that only orders has none."""
    told = {"rows": 900, "positives": 90, "auc": 0.7, "log_loss": 0.3, "constant": 0.33, "ece": 0.01}
    bins = [{"chance": 0.05, "rate": 0.04, "rows": 450}, {"chance": 0.15, "rate": 0.16, "rows": 450}]
    page = report_page._heads(
        {"heads": {"purchase": {**told, "reliability": bins}, "order": {"auc": 0.7, "rows": 900}}}
    )
    assert page.count("<svg") == 1
    assert "AUC 0.700, log loss 0.3000 (a constant guess: 0.3300)" in page
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    assert report_page._heads({}) == ""
