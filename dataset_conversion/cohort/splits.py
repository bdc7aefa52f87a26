"""Which case is trained on, validated on and tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_chordoma.dataset_conversion.cohort.patients import require_apart
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import Splits, count_folds, read_splits

PAPER_COUNTS = (30, 5, 8)
"""Training, validation and test patients (section 2.2.2)."""

OUTLIER_STRUCTURE = "piriformis"
"""A case without it, in a cohort that mostly has it, is an outlier: the tumour has obliterated it (section 2.2.2)."""


@dataclass(frozen=True)
class SplitOptions:
    """How to split: a file, or counts of patients, or the paper's proportions; outliers by name, or by rule if None."""

    file: Path | None = None
    counts: tuple[int, int, int] | None = None
    outliers: tuple[str, ...] | None = None
    seed: int = 0


@dataclass(frozen=True)
class SplitResult:
    splits: Splits
    warnings: tuple[str, ...] = field(default=())


def make_splits(
    volumes_cm3: Mapping[str, Mapping[str, float] | None], options: SplitOptions, patients: Mapping[str, str]
) -> SplitResult:
    """Splits of all cases that were found, whether they can be converted or not.

    `volumes_cm3` maps a case to the volumes of the structures it has, or to None if it cannot be read; such a case is
    dealt like a middling one, so that it does not reshuffle the others when it is mended. `patients` maps each case
    to its patient; the cases of a patient stay together, and counts are counts of patients.
    Raises ChordomaError for unknown or missing cases, for counts that do not add up, and for a patient whose
    cases a file or list puts into two splits.
    """
    cases = sorted(volumes_cm3)
    known = {case: volumes for case, volumes in volumes_cm3.items() if volumes is not None}
    if options.file is not None:
        splits = _from_file(options.file, cases, frozenset(volumes_cm3) - frozenset(known))
        require_apart(splits, patients, f"--splits {options.file}")
        return SplitResult(splits)
    if options.outliers is None:
        outliers = find_outliers(known)
        # The other scans of an outlier patient would be known from training.
        apart = {patients[case] for case in outliers}
        outliers = tuple(case for case in cases if patients[case] in apart)
    else:
        outliers = _listed(options.outliers, cases)
    in_sample = [case for case in cases if case not in outliers]
    people = sorted({patients[case] for case in in_sample})
    warnings = []
    if options.counts is not None:
        counts = _require_sum(options.counts, len(people), outliers)
    else:
        counts = proportional_counts(len(people))
        if 0 < len(people) < 3:
            warnings.append(f"{len(people)} in-sample patient(s): all are for training, none for validation or test")
    if not in_sample:
        raise ChordomaError(f"all {len(cases)} cases are outliers ({', '.join(outliers)}); nothing is left to train on")
    if len(people) < len(in_sample):
        warnings.append(f"{len(in_sample)} in-sample cases of {len(people)} patients: the cases of one stay together")
    volumes = {case: known[case].get("gtv", 0.0) for case in in_sample if case in known}
    middling = float(np.median(list(volumes.values()))) if volumes else 0.0
    gtv = {who: max(volumes.get(case, middling) for case in in_sample if patients[case] == who) for who in people}
    dealt = deal(gtv, counts, options.seed)
    train, val, test = (tuple(case for case in in_sample if patients[case] in part) for part in dealt)
    splits = Splits(train, val, test, outliers)
    require_apart(splits, patients, "--outliers")
    return SplitResult(splits, tuple(warnings))


def find_outliers(volumes_cm3: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """Cases without `OUTLIER_STRUCTURE` if more than half of the cohort has it, else none."""
    without = [case for case in sorted(volumes_cm3) if OUTLIER_STRUCTURE not in volumes_cm3[case]]
    return tuple(without) if 2 * len(without) < len(volumes_cm3) else ()


def proportional_counts(cases: int) -> tuple[int, int, int]:
    """Train, validation and test counts in the paper's proportions, at least one of each from 3 cases on."""
    if cases < 3:
        return cases, 0, 0
    val, test = (max(1, round(cases * share / sum(PAPER_COUNTS))) for share in PAPER_COUNTS[1:])
    return cases - val - test, val, test


def deal(
    gtv_cm3: Mapping[str, float], counts: tuple[int, int, int], seed: int
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Training, validation and test patients, each sorted by name and each covering the range of GTV volumes.

    The patients are sorted by volume and cut into as many consecutive blocks as there are test patients, one being
    drawn from each block; then the same for validation; the rest is for training. Without any volume the order is
    random.
    """
    rng = np.random.default_rng(seed)
    names = sorted(gtv_cm3)
    shuffled = [names[i] for i in rng.permutation(len(names))]
    remaining = sorted(shuffled, key=lambda case: gtv_cm3[case])
    drawn: list[tuple[str, ...]] = []
    for count in (counts[2], counts[1]):
        edges = np.linspace(0, len(remaining), count + 1).astype(int)
        picked = {remaining[int(rng.integers(edges[i], edges[i + 1]))] for i in range(count)}
        remaining = [case for case in remaining if case not in picked]
        drawn.append(tuple(sorted(picked)))
    return tuple(sorted(remaining)), drawn[1], drawn[0]


def parse_counts(text: str) -> tuple[int, int, int]:
    """Read `TRAIN,VAL,TEST`; at least one case is for training."""
    try:
        train, val, test = (int(part) for part in text.split(","))
    except ValueError:
        raise ChordomaError(f"--split {text}: expected TRAIN,VAL,TEST, for example 30,5,8") from None
    if train < 1 or min(val, test) < 0:
        raise ChordomaError(f"--split {text}: expected at least 1 case for training and no negative count")
    return train, val, test


def _require_sum(counts: tuple[int, int, int], cases: int, outliers: Sequence[str]) -> tuple[int, int, int]:
    if sum(counts) != cases:
        apart = f" after {len(outliers)} outlier(s) ({', '.join(outliers)})" if outliers else ""
        train, val, test = proportional_counts(cases)
        raise ChordomaError(
            f"--split {counts[0]},{counts[1]},{counts[2]} adds up to {sum(counts)}, but there are {cases} patients"
            f"{apart}; use for example --split {train},{val},{test}"
        )
    return counts


def _listed(outliers: Sequence[str], cases: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(outliers) - set(cases))
    if unknown:
        raise ChordomaError(f"--outliers: unknown case(s) {', '.join(unknown)}; the cases are {', '.join(cases)}")
    return tuple(sorted(set(outliers)))


def _from_file(path: Path, cases: Sequence[str], unreadable: frozenset[str]) -> Splits:
    folds = count_folds(path)
    if folds > 1:
        raise ChordomaError(
            f"--splits {path}: expected one fold, found {folds}; keep the one to convert for, and put the file with "
            "all folds into nnU-Net's preprocessed folder afterwards"
        )
    splits = read_splits(path)
    unknown = sorted(set(splits.split_of) - set(cases))
    unassigned = sorted(set(cases) - set(splits.split_of) - unreadable)
    if unknown:
        raise ChordomaError(f"--splits {path}: unknown case(s) {', '.join(unknown)}; the cases are {', '.join(cases)}")
    if unassigned:
        raise ChordomaError(f"--splits {path}: {', '.join(unassigned)} in no split; add to train, val, test or outlier")
    if not splits.train:
        raise ChordomaError(f"--splits {path}: expected at least one case in train, found none")
    return splits
