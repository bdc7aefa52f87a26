"""How often the interval of predicted editing minutes holds: simulated patients, rated and predicted by the real code.

    python benchmarks/editing_minutes.py

Six structures per patient with volumes and surfaces out of tolerance drawn about a pelvis's, minutes 0.3 + 0.25 per cm2
+ 0.003 per cm3, rated in whole minutes with one of three kinds of error: as large everywhere, growing with the root of
the minutes, or a share of them that also differs between patients. Kits of each size are fitted and predict further
patients; printed are the shares of their structures and totals whose rating lies within the nominal 80 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.editing_fit import fit_editing_minutes
from nnunet_chordoma.evaluation.editing_minutes import RatedItem
from nnunet_chordoma.labels import CHORDOMA

VOLUMES_CM3 = np.array([350.0, 700.0, 300.0, 80.0, 500.0, 40.0])
VOLUME_SCATTER = np.array([0.8, 0.2, 0.2, 0.2, 0.2, 0.2])
AREAS_CM2 = np.array([18.0, 12.0, 9.0, 6.0, 10.0, 4.0])
"""Medians of gtv, gluteus maximus, medius, minimus, paraspinal, piriformis."""

Scatter = Callable[[np.random.Generator, NDArray[np.float64]], NDArray[np.float64]]
SCATTER: dict[str, Scatter] = {
    "as large everywhere": lambda rng, m: m + rng.normal(0, 1, m.size),
    "root of the minutes": lambda rng, m: m + np.sqrt(m) * rng.normal(0, 0.6, m.size),
    "share of the minutes": lambda rng, m: m * rng.lognormal(0, 0.3, m.size) * rng.lognormal(0, 0.3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[5, 8, 13, 20], help="rated patients of a kit")
    parser.add_argument("--kits", type=int, default=200, help="kits of each size")
    parser.add_argument("--further", type=int, default=10, help="patients predicted by each kit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"{'error':22} {'patients':>8} {'structures':>10} {'totals':>7}   by structure: "
        + ", ".join(CHORDOMA.structures)
    )
    for name, scatter in SCATTER.items():
        for patients in options.patients:
            rng = np.random.default_rng((options.seed, patients))
            found = [of_kit(rng, scatter, patients, options.further) for _ in range(options.kits)]
            structures, totals = (np.concatenate(each) for each in zip(*found, strict=True))
            each = " ".join(f"{share:5.0%}" for share in structures.mean(axis=0))
            print(f"{name:22} {patients:8} {structures.mean():10.0%} {totals.mean():7.0%}   {each}", flush=True)


def of_kit(
    rng: np.random.Generator, scatter: Scatter, patients: int, further: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether ratings lie within their intervals: (patient, structure), and totals by patient."""
    rated = [item for number in range(patients) for item in rate(rng, scatter, f"case_{number}")]
    model = fit_editing_minutes(rated, CHORDOMA, "area_beyond_2mm", 1)
    structures, totals = [], []
    for number in range(further):
        items = rate(rng, scatter, f"further_{number}")
        parts = [model.predict(item.area_cm2, item.volume_cm3) for item in items]
        structures.append([p.low <= i.minutes <= p.high for p, i in zip(parts, items, strict=True)])
        total = model.total(parts)
        totals.append(total.low <= sum(item.minutes for item in items) <= total.high)
    return np.array(structures), np.array(totals)


def rate(rng: np.random.Generator, scatter: Scatter, case: str) -> list[RatedItem]:
    volumes = VOLUMES_CM3 * rng.lognormal(0, VOLUME_SCATTER)
    areas = AREAS_CM2 * rng.lognormal(0, 0.5, AREAS_CM2.size)
    minutes = np.maximum(0, np.round(scatter(rng, 0.3 + 0.25 * areas + 0.003 * volumes)))
    return [
        RatedItem(case, "model", structure, float(m), float(a), float(v))
        for structure, m, a, v in zip(CHORDOMA.structures, minutes, areas, volumes, strict=True)
    ]


if __name__ == "__main__":
    main()
