"""Correction of p-values for testing several structures at once, by statsmodels."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NONE = "none"
CORRECTIONS = {
    "holm": "Holm",
    "fdr_bh": "Benjamini-Hochberg",
    "fdr_tsbh": "two-stage Benjamini-Hochberg",
    "fdr_tsbky": "two-stage Benjamini-Krieger-Yekutieli",
    NONE: "uncorrected",
}


def correct(p_values: Sequence[float], correction: str, alpha: float) -> list[float]:
    """Corrected p-values of one family, in order. NaN (not tested) stays NaN and does not count in the family.

    The two-stage methods depend on alpha, and may return less than the raw p-value: they estimate how many null
    hypotheses are true, and scale by it.
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = ~np.isnan(p)
    corrected = p.copy()
    if tested.any() and correction != NONE:
        corrected[tested] = np.minimum(_multipletests(p[tested], correction, alpha), 1.0)
    return [float(value) for value in corrected]


def _multipletests(p: NDArray[np.float64], correction: str, alpha: float) -> NDArray[np.float64]:
    from statsmodels.stats.multitest import multipletests

    # With Holm's method it collects all garbage, 60 ms a call; frozen, what exists by now is passed over.
    gc.freeze()
    try:
        return np.asarray(multipletests(p, alpha=alpha, method=correction)[1], dtype=np.float64)
    finally:
        gc.unfreeze()


def smallest_corrected(smallest: Sequence[float], correction: str, alpha: float) -> list[float]:
    """The least corrected p-value that each member of a family can get, given the least raw one that it can get.

    Looks at the best cases only: the first, the first two, ... all of the smallest together, the others at 1.
    """
    p = np.asarray(smallest, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    least = np.full(len(p), math.nan)
    order = tested[np.argsort(p[tested], kind="stable")]
    for member in tested:
        # With this one at its least, as few or as many of the others at theirs.
        others = [i for i in order if i != member]
        trials = []
        for reached in range(len(others) + 1):
            trial = np.where(np.isnan(p), math.nan, 1.0)
            trial[[member, *others[:reached]]] = p[[member, *others[:reached]]]
            trials.append(correct(trial.tolist(), correction, alpha)[member])
        least[member] = min(trials)
    return [float(value) for value in least]
