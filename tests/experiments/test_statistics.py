"""The sequences against independent computations, and against years of looking every day."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from recsys_cli.experiments import statistics as s


@pytest.mark.parametrize("n", [20, 500, 5_000, 200_000])
@pytest.mark.parametrize("variance", [0.02, 1.0, 400.0])
def test_a_mean_s_bound_is_where_the_mixture_of_all_effects_reaches_one_in_alpha(n: int, variance: float) -> None:
    """By quadrature over effects, which is what the closed form is derived from."""
    r2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / s.TUNED_FOR

    def log_mixture(z: float) -> float:  # of a sum that lies z standard deviations of one observation from zero
        centre, spread = z * r2 / (1 + n * r2), math.sqrt(r2 / (1 + n * r2))
        top = centre * z - n * centre**2 / 2 - centre**2 / (2 * r2)
        area, _ = integrate.quad(
            lambda e: math.exp(e * z - n * e * e / 2 - e * e / (2 * r2) - top),
            centre - 12 * spread, centre + 12 * spread,
        )  # fmt: skip
        return top + math.log(area / math.sqrt(2 * math.pi * r2))

    z = optimize.brentq(lambda z: log_mixture(z) - math.log(1 / 0.05), 0, 100 * math.sqrt(n) + 100)
    assert s.half_width(n, variance) == pytest.approx(z / n * math.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize(("wins", "losses"), [(0, 7), (3, 3), (60, 40), (900, 1100), (5, 0)])
def test_a_rate_s_bounds_are_where_scipy_puts_the_evidence(wins: int, losses: int) -> None:
    bounds = s.rate(wins, losses)
    n = wins + losses

    def log_evidence(p: float) -> float:
        mixture = stats.betabinom.logpmf(wins, n, 20, 20)
        return float(mixture - stats.binom.logpmf(wins, n, p))

    for edge in (bounds.low, bounds.high):
        if 0 < edge < 1:
            assert log_evidence(edge) == pytest.approx(math.log(20), abs=1e-6)
    assert s.evidence(wins, losses) == pytest.approx(math.exp(log_evidence(0.5)), rel=1e-9)
    assert bounds.low <= wins / n <= bounds.high


def test_two_hundred_experiments_without_a_difference_watched_daily() -> None:
    """At most one in twenty may ever show a winner: revenue of visitors of whom two in a hundred buy, 30 days."""
    rng = np.random.default_rng(7)
    wrong = classic = 0
    for _ in range(200):
        days, a_day = 30, 200
        arm = rng.integers(0, 2, days * a_day)
        spend = np.where(rng.random(days * a_day) < 0.02, rng.lognormal(3.5, 0.8, days * a_day), 0.0)
        shown = [(spend[: d * a_day], arm[: d * a_day]) for d in range(1, days + 1)]
        pairs = [(s.winsorised(x)[g == 0], s.winsorised(x)[g == 1]) for x, g in shown]
        wrong += any(s.difference(a, b).decided for a, b in pairs)
        z = [(b.mean() - a.mean()) / max(math.sqrt(a.var() / len(a) + b.var() / len(b)), 1e-9) for a, b in pairs]
        classic += any(abs(one) > 1.96 for one in z)
    assert wrong <= 10
    assert classic >= 30  # the same looks with a classic interval: what this is for


def test_the_same_visitors_come_back_every_day() -> None:
    """The unit is the visitor, whose total grows: heavy buyers in one arm by chance must not become a winner."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(200):
        people = 1_500
        arm, taste = rng.integers(0, 2, people), rng.gamma(0.3, 1.0, people) * 0.02
        total = np.zeros(people)
        seen = np.zeros(people, dtype=bool)
        found = False
        for _day in range(30):
            seen |= rng.random(people) < 0.1
            total += np.where(seen, rng.poisson(taste) * rng.lognormal(3.4, 0.7, people), 0)
            x, g = s.winsorised(total[seen]), arm[seen]
            found |= s.difference(x[g == 0], x[g == 1]).decided
        wrong += found
    assert wrong <= 10


def test_interleaving_without_a_difference_watched_after_every_list() -> None:
    rng = np.random.default_rng(9)
    wins = np.cumsum(rng.random((200, 3_000)) < 0.5, axis=1)
    n = np.arange(1, 3_001)
    looked = range(9, 3_000, 10)
    wrong = sum(any(s.evidence(int(w[k]), int(n[k] - w[k])) > 20 for k in looked) for w in wins)
    assert wrong <= 10


def test_a_true_tenth_more_is_found_and_the_days_were_foretold() -> None:
    rng = np.random.default_rng(10)
    a, b = (rng.normal(mean, 6.0, 60_000) for mean in (10.0, 11.0))
    early = s.difference(a[:150], b[:150])
    late = s.difference(a, b)
    assert not early.decided
    assert late.low > 0
    assert late.low < 1.0 < late.high
    told = s.days_left(early, 300, 2 * (a[:150].var() + b[:150].var()), 1.5)
    assert told is not None
    needed = next(n for n in range(200, 60_000, 100) if s.difference(a[:n], b[:n]).decided) / 100
    assert needed / 6 < told + 1.5 < needed * 6  # 100 visitors an arm and day; the effect was only guessed by then


def test_the_past_takes_variance_away_and_no_mean() -> None:
    rng = np.random.default_rng(11)
    past = rng.gamma(1.0, 20.0, 4_000)
    spend = past * 0.8 + rng.normal(0, 5, 4_000)
    better = s.without_past(spend, past)
    assert better.mean() == pytest.approx(spend.mean())
    assert better.var() < spend.var() / 5
    assert (s.without_past(spend, np.zeros(4_000)) == spend).all()


def test_one_huge_order_does_not_decide() -> None:
    values = np.array([0.0] * 900 + [20.0] * 99 + [90_000.0])
    assert s.winsorised(values).max() < 5_000
    assert s.winsorised(values)[900] == 20.0
    assert (s.winsorised(np.zeros(5)) == 0).all()


def test_a_broken_split_is_noticed_and_a_fair_one_is_not() -> None:
    assert s.mismatch((5_000, 5_060)) < 10
    assert s.mismatch((5_000, 5_600)) > 1_000
    exact = stats.betabinom.logpmf(5_000, 10_300, 50, 50) - stats.binom.logpmf(5_000, 10_300, 0.5)
    assert s.mismatch((5_000, 5_300)) == pytest.approx(math.exp(exact), rel=1e-6)


@pytest.mark.parametrize(("wins", "losses", "days"), [(60, 55, 3), (0, 0, 3), (400, 200, 3)])
def test_days_left_of_wins(wins: int, losses: int, days: int) -> None:
    left = s.days_left_of_wins(wins, losses, days)
    if wins == 400:
        assert left == 0
    elif wins == 60:
        assert left is not None
        factor = (days + left) / days
        assert s.evidence(round(wins * factor), round(losses * factor)) > 15
    else:
        assert left is None


@pytest.mark.parametrize(("value", "n", "variance", "days"), [(0.5, 300, 40.0, 1.5), (-0.02, 5_000, 1.0, 10.0)])
def test_days_left_end_where_the_bounds_leave_zero(value: float, n: int, variance: float, days: float) -> None:
    open_ = s.Bounds(value, value - 1, value + 1)
    left = s.days_left(open_, n, variance, days)
    assert left is not None
    assert s.half_width(n * (1 + left / days), variance) <= abs(value)
    assert s.half_width(n * (1 + (left - 2) / days), variance) > abs(value) * 0.99


def test_days_left_are_not_told_where_there_is_nothing_to_go_by() -> None:
    open_ = s.Bounds(0.5, -1, 1)
    assert s.days_left(s.Bounds(0.5, 0.1, 0.9), 300, 40.0, 2.0) == 0
    assert s.days_left(open_, 1, 40.0, 2.0) is None
    assert s.days_left(open_, 300, 40.0, 0.0) is None
    assert s.days_left(s.Bounds(0.0, -1, 1), 300, 40.0, 2.0) is None
    assert s.days_left(s.Bounds(math.nan, -math.inf, math.inf), 300, 40.0, 2.0) is None
    assert s.days_left(s.Bounds(0.001, -1, 1), 300, 40.0, 2.0) is None  # not within a lifetime
    assert s.days_left_of_wins(0, 40, 0.0) is None
    assert s.days_left_of_wins(501, 499, 30.0) is None


def test_days_left_of_wins_end_where_the_evidence_suffices() -> None:
    left = s.days_left_of_wins(60, 45, 3)
    assert left is not None
    before, after = (s.evidence(round(60 * f), round(45 * f)) for f in ((left + 2) / 3, (left + 3) / 3 + 0.02))
    assert before < 20 * 1.2
    assert after >= 20


def test_a_rate_without_wins_or_losses_reaches_its_end() -> None:
    none, all_ = s.rate(0, 7), s.rate(7, 0)
    assert (none.value, none.low) == (0.0, 0.0)
    assert (all_.value, all_.high) == (1.0, 1.0)
    assert 0 < none.high < 1
    assert none.high == pytest.approx(1 - all_.low)


def test_too_little_is_no_number() -> None:
    bounds = s.difference(np.array([1.0]), np.array([2.0, 3.0]))
    assert bounds.low == -math.inf
    assert not bounds.decided
    assert s.rate(0, 0).low == 0.0


def test_without_a_second_observation_everything_is_possible() -> None:
    assert s.half_width(1, 1.0) == s.half_width(500, math.nan) == math.inf
    assert s.half_width(2, 1.0) < 1_000
    for bounds in (s.difference(np.zeros(1), np.ones(9)), s.difference(np.zeros(9), np.ones(1))):
        assert math.isnan(bounds.value)
        assert (bounds.low, bounds.high) == (-math.inf, math.inf)
    none = s.rate(0, 0)
    assert math.isnan(none.value)
    assert (none.low, none.high) == (0.0, 1.0)


def test_the_first_visitors_that_count_give_the_bounds_of_the_formula() -> None:
    a, b = np.tile([0.0, 2.0], s.LEAST // 2), np.tile([1.0, 5.0], s.LEAST // 2)
    n, share = 2 * s.LEAST, s.LEAST / (s.LEAST - 1)  # variances 1 and 4 of all, of which these are a part
    width = s.half_width(n, n * (share + 4 * share) / s.LEAST)
    bounds = s.difference(a, b)
    assert (bounds.value, bounds.low, bounds.high) == pytest.approx((2.0, 2 - width, 2 + width))
    assert s.difference(a[1:], b).high == s.difference(a, b[1:]).high == math.inf


def test_a_few_visitors_at_nearly_one_price_decide_nothing() -> None:
    """Two buyers at 29.90 and 30.90 against two others ended an experiment, and did so in one A/A test of twenty."""
    assert not s.difference(np.zeros(2), np.array([29.9, 30.9])).decided
    rng = np.random.default_rng(5)
    for _ in range(40):
        spent = np.where(rng.random(200) < 0.5, rng.choice([29.9, 30.9], 200), 0.0)
        arm = rng.integers(0, 2, 200).astype(bool)
        assert not any(s.difference(spent[:n][arm[:n]], spent[:n][~arm[:n]]).decided for n in range(4, 200, 3))


@pytest.mark.parametrize("value", [0.0, 0.1, 30.0])
def test_visitors_who_all_do_the_same_decide_nothing(value: float) -> None:
    """No variance was seen: a width of none made the first two buyers a winner."""
    bounds = s.difference(np.zeros(3), np.full(3, value))
    assert (bounds.value, bounds.low, bounds.high) == pytest.approx((value, -math.inf, math.inf))
    assert not bounds.decided
    assert s.days_left(bounds, 6, 0.0, 1.0) is None


@pytest.mark.parametrize(
    ("low", "high", "decided"), [(0.0, 2.0, False), (0.1, 2.0, True), (-2.0, 0.0, False), (-2.0, -0.1, True)]
)
def test_decided_is_what_excludes_no_difference(low: float, high: float, decided: bool) -> None:
    assert s.Bounds((low + high) / 2, low, high).decided is decided


def test_the_largest_are_cut_at_a_quantile_of_what_was_spent() -> None:
    spent = np.arange(1, 101) / 100
    values = np.concatenate([np.zeros(9_900), spent])
    assert s.winsorised(values).max() == pytest.approx(np.quantile(spent, 0.99))
    assert (s.winsorised(values)[:-1] == values[:-1]).all()


def test_the_past_of_two_says_nothing_and_of_three_a_little() -> None:
    assert len(s.without_past(np.zeros(0), np.zeros(0))) == 0
    two = np.array([1.0, 3.0])
    assert (s.without_past(two, two) == two).all()
    three = np.array([0.1, 0.3, 0.8])  # a variance below one counts, too
    assert s.without_past(three, three) == pytest.approx([0.4] * 3)


@pytest.mark.parametrize(("value", "n", "variance", "days"), [(1.0, 2, 1.0, 0.5), (1.0, 300, 40.0, 0.5)])
def test_days_left_are_told_on_the_first_day(value: float, n: int, variance: float, days: float) -> None:
    left = s.days_left(s.Bounds(value, value - 99, value + 99), n, variance, days)
    assert left is not None
    assert s.half_width(n * (1 + left / days), variance) <= value
    assert left == 1 or s.half_width(n * (1 + (left - 1) / days), variance) > value * 0.99


def test_a_difference_that_needs_more_days_than_a_shop_has_is_out_of_sight() -> None:
    effect = s.half_width(100 * 3_000, 1.0)  # ten days made a hundred: decided after 30,000
    assert s.days_left(s.Bounds(effect, -9.0, 9.0), 100, 1.0, 10.0) is None
    near = s.half_width(100 * 500, 1.0)
    assert s.days_left(s.Bounds(near, -9.0, 9.0), 100, 1.0, 10.0) == pytest.approx(4_990, rel=0.002)


def test_what_is_all_but_decided_is_told_for_tomorrow() -> None:
    value = s.half_width(1_001, 1.0)
    assert s.days_left(s.Bounds(value, -1.0, 1.0), 1_000, 1.0, 10.0) == 1
    wins = next(n for n in range(500, 1_000) if s.evidence(n, 500) >= 20) - 1
    assert s.days_left_of_wins(wins, 500, 10.0) == 1


@pytest.mark.parametrize(("wins", "losses", "days"), [(60, 45, 100.0), (110, 105, 0.5), (90, 120, 30.0)])
def test_days_left_of_wins_end_where_the_evidence_is_enough(wins: int, losses: int, days: float) -> None:
    left = s.days_left_of_wins(wins, losses, days)
    assert left is not None

    def log_evidence(day: float) -> float:
        counts = [round(n * (days + day) / days) for n in (wins, losses)]
        mixture = stats.betabinom.logpmf(counts[0], sum(counts), 20, 20)
        return float(mixture - stats.binom.logpmf(counts[0], sum(counts), 0.5))

    assert log_evidence(left) == pytest.approx(math.log(20), rel=0.1)  # counts are whole, and so are days
    assert s.days_left_of_wins(0, 0, days) is None
