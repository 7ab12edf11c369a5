"""Intervals that hold at every moment, so that looking every day cannot make a winner out of chance.

A classic 95 % interval is right once, at a sample size fixed beforehand; somebody who looks daily and stops at the
first "significant" is wrong in about three of ten experiments without any difference. A confidence *sequence* covers
the truth at all times together with probability 1 - alpha, however often one looks and whenever one stops.

Means (revenue, conversion): asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas:
"Time-uniform central limit theory and asymptotic confidence sequences", arXiv 2103.06476, theorem 2.2 with the normal
mixture of Robbins). Wins against losses, shares: the beta-binomial mixture (Robbins 1970; Howard et al. 2021), exact at
any size.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

ALPHA = 0.05
# Observations at which the sequence of means is tightest; any choice is valid, none is much wider nearby.
TUNED_FOR = 5_000
LEAST = 20  # visitors of each arm, below which their variance says nothing yet
PRIOR = 20.0  # of the mixture of rates
_MOST_DAYS = 10_000


@dataclass(frozen=True)
class Bounds:
    """An estimate with a lower and an upper bound that hold at all times together."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the bounds exclude no difference."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def half_width(n: float, variance: float) -> float:
    """Half the width of the confidence sequence of a mean after `n` observations.

    Parameters
    ----------
    n
        Observations so far; infinite width below 2.
    variance
        Of one observation.
    """
    if n < 2 or not math.isfinite(variance):
        return math.inf
    r2 = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / TUNED_FOR
    return math.sqrt(variance * 2 * (n * r2 + 1) / (n * n * r2) * math.log(math.sqrt(n * r2 + 1) / ALPHA))


def difference(a: Float64, b: Float64) -> Bounds:
    """Mean of `b` less mean of `a`, for two arms to which visitors were assigned by chance.

    Parameters
    ----------
    a, b
        One number per visitor of each arm. Bounds are infinite below `LEAST` visitors of either, and where all of each
        did the same.

    Notes
    -----
    The difference is a mean of n = len(a) + len(b) influences whose variance is n (var a / len a + var b / len b).
    """
    if min(len(a), len(b)) < 2:
        return Bounds(math.nan, -math.inf, math.inf)
    value = float(b.mean() - a.mean())
    if min(len(a), len(b)) < LEAST or np.ptp(a) == 0 == np.ptp(b):
        # Two buyers at nearly one price against two others: the little variance that was seen would decide at once.
        return Bounds(value, -math.inf, math.inf)
    n = len(a) + len(b)
    width = half_width(n, n * (float(a.var(ddof=1)) / len(a) + float(b.var(ddof=1)) / len(b)))
    return Bounds(value, value - width, value + width)


def winsorised(values: Float64, share: float = 0.99) -> Float64:
    """`values` with those above the quantile of the *non-zero* ones cut down to it.

    Most visitors buy nothing: a quantile over everybody would cut into ordinary orders.
    """
    spent = values[values > 0]
    return np.asarray(np.minimum(values, np.quantile(spent, share)) if len(spent) else values, dtype=np.float64)


def without_past(values: Float64, past: Float64) -> Float64:
    """CUPED (Deng et al., WSDM 2013): `values` less what each visitor's past explains; the mean stays.

    Parameters
    ----------
    values, past
        Parallel, over the visitors of all arms together: the coefficient must not know the arms.
    """
    spread = float(past.var()) if len(past) > 2 else 0.0
    if spread <= 0:
        return values
    theta = float(np.mean((values - values.mean()) * (past - past.mean()))) / spread
    return np.asarray(values - theta * (past - past.mean()), dtype=np.float64)


def _log_evidence(wins: int, losses: int, p: float, prior: float) -> float:
    """ln of how much likelier the counts are under a Beta(prior, prior) mixture of rates than under the rate `p`."""
    mixed = (
        math.lgamma(wins + prior) + math.lgamma(losses + prior) - math.lgamma(wins + losses + 2 * prior)
        - 2 * math.lgamma(prior) + math.lgamma(2 * prior)
    )  # fmt: skip
    plain = (wins * math.log(p) if wins else 0.0) + (losses * math.log1p(-p) if losses else 0.0)
    return mixed - plain


def evidence(wins: int, losses: int, *, prior: float = PRIOR) -> float:
    """How often more likely the counts are than if halves are true; at any time above 1 / alpha with chance alpha.

    Parameters
    ----------
    prior
        Of the mixture: 20 looks closest at rates within about a tenth of a half; 0.5 at any rate alike.
    """
    return math.exp(min(_log_evidence(wins, losses, 0.5, prior), 700.0))


def rate(wins: int, losses: int) -> Bounds:
    """The rate of wins among wins and losses, by the beta-binomial confidence sequence."""
    n = wins + losses
    if not n:
        return Bounds(math.nan, 0.0, 1.0)
    limit, middle = -math.log(ALPHA), wins / n

    def edge(outside: float) -> float:
        inside = middle  # where the counts are likeliest: no evidence against it
        for _ in range(80):
            halfway = (inside + outside) / 2
            if _log_evidence(wins, losses, halfway, PRIOR) < limit:
                inside = halfway
            else:
                outside = halfway
        return outside

    low = edge(1e-12) if wins else 0.0
    high = edge(1 - 1e-12) if losses else 1.0
    return Bounds(middle, low, high)


def mismatch(counts: tuple[int, int]) -> float:
    """Evidence that visitors are not split in halves (sample-ratio mismatch); above 1000 something is broken.

    Parameters
    ----------
    counts
        Visitors of the first and of the second arm.
    """
    return evidence(*counts, prior=50.0)


def days_left(bounds: Bounds, n: int, variance: float, days: float) -> int | None:
    """About how many more days until a difference as large as it looks now is decided; None when not in sight.

    Parameters
    ----------
    n
        Observations so far, in `days` days.
    variance
        Of one observation.
    """
    if bounds.decided:
        return 0
    if n < 2 or days <= 0 or variance <= 0 or not math.isfinite(bounds.value):
        return None
    low, high = float(n), n * (1 + _MOST_DAYS / days)
    if half_width(high, variance) > abs(bounds.value):
        return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if half_width(middle, variance) > abs(bounds.value) else (low, middle)
    return max(math.ceil((high - n) * days / n), 1)


def days_left_of_wins(wins: int, losses: int, days: float) -> int | None:
    """The same for wins against losses, if they go on as they are."""
    limit = -math.log(ALPHA)
    if days <= 0:
        return None
    if _log_evidence(wins, losses, 0.5, PRIOR) >= limit:
        return 0
    for step in range(1, 401):
        factor = math.exp(step / 400 * math.log(1 + _MOST_DAYS / days))
        if _log_evidence(round(wins * factor), round(losses * factor), 0.5, PRIOR) >= limit:
            return max(math.ceil((factor - 1) * days), 1)
    return None
