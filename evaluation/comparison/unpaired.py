"""t-tests of two independent groups, from means and SDs alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.comparison.paired import SCIPY_ALTERNATIVE


@dataclass(frozen=True)
class Group:
    """Mean, sample SD (ddof 1) and number of the values of one model."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Group:
        """Group of two values or more; NaN where one is infinite."""
        if not np.isfinite(values).all():
            return cls(math.nan, math.nan, len(values))
        return cls(float(values.mean()), float(values.std(ddof=1)), len(values))

    @classmethod
    def from_summary(cls, mean: float, sd: float, n: int, ddof: int) -> Group:
        """From an SD that divided by n - ddof."""
        return cls(mean, sd * math.sqrt((n - ddof) / (n - 1)), n)


def unpaired_p(
    baseline: Group, model: Group, higher_is_better: bool, alternative: str, equal_variances: bool = True
) -> float:
    """Student's t-test (Welch's without equal variances); NaN if a mean is, or if neither group has any spread."""
    from scipy.stats import ttest_ind_from_stats

    if math.isnan(baseline.mean + model.mean) or baseline.sd == model.sd == 0:
        return math.nan
    sign = 1 if higher_is_better else -1
    result = ttest_ind_from_stats(
        *(sign * baseline.mean, baseline.sd, baseline.n),
        *(sign * model.mean, model.sd, model.n),
        equal_var=equal_variances,
        alternative=SCIPY_ALTERNATIVE[alternative],
    )
    return float(result.pvalue)


def student_interval(baseline: Group, model: Group, confidence: float) -> tuple[float, float]:
    """Interval of the difference of means, baseline minus model, with equal variances assumed."""
    from scipy.stats import t

    freedom = baseline.n + model.n - 2
    pooled = ((baseline.n - 1) * baseline.sd**2 + (model.n - 1) * model.sd**2) / freedom
    half = float(t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(pooled * (1 / baseline.n + 1 / model.n))
    difference = baseline.mean - model.mean
    return difference - half, difference + half
