"""Arithmetic of the ranges: where the next value of a sample may lie.

If n values with mean m and standard deviation s (ddof 1) and the next one are drawn from one normal distribution,
(next - m) / (s sqrt(1 + 1/n)) follows Student's t with n - 1 degrees of freedom. So the next one is outside

    m +- t(1 - a/2; n - 1) s sqrt(1 + 1/n)

with probability a (Hahn and Meeker, Statistical Intervals, chapter 4). Of few values t is large, and the interval wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Side(str, Enum):
    """Which values are suspicious: those too low, those too high, or both."""

    BOTH = "both"
    LOW = "low"
    HIGH = "high"


class Scale(str, Enum):
    """LINEAR; LINEAR_AND_LOG for positive quantities whose spread grows with their size, such as volumes; FROM_ONE for
    overlaps and correlations, of which the logarithm of what is missing to 1 is nearly normal.
    """

    LINEAR = "linear"
    LINEAR_AND_LOG = "linear and log"
    FROM_ONE = "log of the distance from 1"


LEAST_FROM_ONE = 1e-3
"""Overlaps and correlations above 0.999 are alike."""


@dataclass(frozen=True)
class Bounds:
    """Lowest and highest value that pass; None where there is no bound."""

    low: float | None
    high: float | None

    def beyond(self, value: float) -> bool:
        """Whether the value is outside; one on a bound is inside."""
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (ddof 1) of `n` values; the latter is at least the spread that matters."""

    n: int
    mean: float
    sd: float

    def interval(self, probability: float, side: Side) -> tuple[float, float]:
        """Where the next value lies with `1 - probability`; one end is infinite if only one side counts."""
        from scipy.stats import t

        tail = probability / 2 if side is Side.BOTH else probability
        reach = float(t.isf(tail, self.n - 1)) * self.sd * math.sqrt(1 + 1 / self.n)
        return (
            -math.inf if side is Side.HIGH else self.mean - reach,
            math.inf if side is Side.LOW else self.mean + reach,
        )


def spread(values: Sequence[float], least: float) -> Spread:
    """Of at least two values. Raises ValueError for fewer."""
    if len(values) < 2:
        raise ValueError(f"a spread needs at least two values, found {len(values)}")
    array = np.asarray(values, dtype=np.float64)
    return Spread(len(array), float(array.mean()), max(float(array.std(ddof=1)), least))


def prediction_bounds(
    values: Sequence[float], probability: float, side: Side, scale: Scale, least_spread: float
) -> Bounds:
    """Bounds that the next value of a normal sample crosses with `probability` (see the module).

    `least_spread` is the smallest standard deviation that is believed, so that values which never differed in training
    do not flag trifles: in the values' unit on the scale LINEAR, relative on the others.

    * LINEAR_AND_LOG: the interval is made of the values and of their logarithms, and the narrower bound holds on either
      side: the logarithms give a lower bound above zero, the values an upper one that a few large ones do not carry
      away.
    * FROM_ONE: of ln(1 - value).

    Raises ValueError for fewer than two values, or for LINEAR_AND_LOG of values that are not above zero.
    """
    if scale is Scale.LINEAR:
        return _bounds(*spread(values, least_spread).interval(probability, side))
    if scale is Scale.FROM_ONE:
        distances = [math.log(max(1 - value, LEAST_FROM_ONE)) for value in values]
        mirrored = {Side.LOW: Side.HIGH, Side.HIGH: Side.LOW, Side.BOTH: Side.BOTH}[side]
        near, far = spread(distances, least_spread).interval(probability, mirrored)
        return _bounds(1 - _exp(far), 1 - math.exp(near) if math.isfinite(near) else math.inf)
    if min(values) <= 0:
        raise ValueError(f"logarithms need values above zero, found {min(values):g}")
    mean = float(np.mean(values))
    low, high = spread(values, least_spread * mean).interval(probability, side)
    log_low, log_high = spread([math.log(v) for v in values], least_spread).interval(probability, side)
    return _bounds(max(low, math.exp(log_low)), min(high, _exp(log_high)))


def percentile(values: Sequence[float], value: float) -> float:
    """Percentage of `values` below `value`, those equal to it counted half."""
    array = np.asarray(values, dtype=np.float64)
    return float(100.0 * ((array < value).sum() + (array == value).sum() / 2) / len(array))


def _bounds(low: float, high: float) -> Bounds:
    return Bounds(low if math.isfinite(low) else None, high if math.isfinite(high) else None)


def _exp(exponent: float) -> float:
    # Two or three values may have logarithmic bounds beyond what a float holds.
    return math.exp(exponent) if exponent < 700 else math.inf
