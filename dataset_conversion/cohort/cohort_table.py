"""What a converted cohort consists of: patients, resolutions (Table 2), volumes and registration, per split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from nnunet_chordoma.dataset_conversion.alignment.registration import METHODS
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import read_cohort
from nnunet_chordoma.dataset_conversion.record import RECORDS, CaseRecord, read_record
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import SPLITS_FILE, read_splits

_T = TypeVar("_T")

ALL = "all"
NOT_STATED = "not stated"

DDOF = 0
"""Standard deviations are those of the cases at hand (population), as in the paper's tables."""

POSITIONS = ("HFS", "HFP", "FFS", "FFP", "HFDL", "HFDR", "FFDL", "FFDR")


@dataclass(frozen=True)
class Statistics:
    """Of `n` values; everything else is None where n is 0."""

    n: int
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Statistics:
        """None among the values is left out."""
        known = np.array([value for value in values if value is not None], dtype=float)
        if not known.size:
            return cls(0)
        return cls(
            int(known.size),
            float(known.mean()),
            float(known.std(ddof=DDOF)),
            float(np.median(known)),
            float(known.min()),
            float(known.max()),
        )


@dataclass(frozen=True)
class Volume:
    """Volume of a structure in cm3 as contoured on the scans that have it, and how many cases have not."""

    volume_cm3: Statistics
    absent: int


@dataclass(frozen=True)
class Registration:
    """How many cases were aligned by which method, and the quality of those that were moved onto the reference.

    Overlap is the Dice of bone; rotation and shift are those of the transform that was used.
    """

    methods: Mapping[str, int]
    rejected: int
    overlap_before: Statistics
    overlap_after: Statistics
    metric_before: Statistics
    metric_after: Statistics
    rotation_deg: Statistics
    shift_mm: Statistics


@dataclass(frozen=True)
class Group:
    """One split, or all cases. `positions` and `resolutions` count cases, `sexes` and `age_years` count patients.

    A patient with several cases counts with the first case (by name) that states the sex or age.
    """

    name: str
    cases: int
    patients: int
    positions: Mapping[str, int]
    sexes: Mapping[str, int]
    age_years: Statistics
    resolutions_mm: Mapping[tuple[str, str, str], int]
    volumes: Mapping[str, Volume]
    registration: Registration


@dataclass(frozen=True)
class CohortTables:
    """`groups` begins with all cases; splits without cases are left out.

    `rejected` says of each case whose registration was rejected why, `quarantined` at which step a case that is not
    in the dataset failed.
    """

    dataset: str
    groups: tuple[Group, ...]
    rejected: Mapping[str, str]
    quarantined: Mapping[str, str]


def cohort_tables(dataset: Path) -> CohortTables:
    """Summarise the records of a dataset folder by the splits of its splits_final.json.

    Raises ChordomaError if a record is missing, unreadable or of a case in no split.
    """
    folder = dataset / RECORDS
    if not folder.is_dir():
        raise ChordomaError(
            f"{dataset}: expected the records that chordoma-convert run writes to {RECORDS}/, found none; convert the "
            "cohort with it"
        )
    splits = read_splits(dataset / SPLITS_FILE)
    strangers = sorted({path.stem for path in folder.glob("*.json")} - splits.split_of.keys())
    if strangers:
        raise ChordomaError(
            f"{folder}: record(s) of {', '.join(strangers[:5])}, which no split of {SPLITS_FILE} names; convert again"
        )
    records = {case: read_record(folder / f"{case}.json") for case in sorted(splits.split_of)}
    if not records:
        raise ChordomaError(f"{dataset / SPLITS_FILE}: expected at least one case, found none; convert again")
    named = {ALL: tuple(records), **{name: cases for name, cases in splits.items() if cases}}
    groups = tuple(_group(name, [records[case] for case in sorted(cases)]) for name, cases in named.items())
    reasons = {case: record.alignment.rejected for case, record in records.items()}
    return CohortTables(
        dataset.name,
        groups,
        {case: reason for case, reason in reasons.items() if reason is not None},
        {left_out.case: left_out.step for left_out in read_cohort(dataset).quarantined},
    )


def resolution_mm(grid: Geometry) -> tuple[str, str, str]:
    """Voxel size along x, y, z as the paper's Table 2 rounds it: 0.1 mm within a slice, 0.01 mm between slices."""
    x, y, z = grid.spacing_mm
    return _rounded(x, 1), _rounded(y, 1), _rounded(z, 2)


def _group(name: str, records: Sequence[CaseRecord]) -> Group:
    by_patient: dict[str, list[CaseRecord]] = {}
    for record in records:
        by_patient.setdefault(record.patient, []).append(record)
    patients = list(by_patient.values())
    resolutions = Counter(resolution_mm(record.chain.source) for record in records)
    return Group(
        name,
        len(records),
        len(patients),
        _ordered(Counter(_position(record) for record in records), POSITIONS),
        _ordered(Counter(_first(cases, lambda r: r.sex) or NOT_STATED for cases in patients), ("F", "M", "O")),
        Statistics.of(_first(cases, lambda r: r.age_years) for cases in patients),
        dict(sorted(resolutions.items(), key=lambda item: (-item[1], [float(v) for v in item[0]]))),
        {structure: _volume(structure, records) for structure in CHORDOMA.structures},
        _registration(records),
    )


def _volume(structure: str, records: Sequence[CaseRecord]) -> Volume:
    known = [r.volumes_cm3[structure].source for r in records if structure in r.volumes_cm3]
    return Volume(Statistics.of(known), len(records) - len(known))


def _registration(records: Sequence[CaseRecord]) -> Registration:
    alignments = [record.alignment for record in records]
    moved = [alignment for alignment in alignments if alignment.method in {"bone", "centroid"}]
    return Registration(
        _ordered(Counter(alignment.method for alignment in alignments), METHODS),
        sum(alignment.rejected is not None for alignment in alignments),
        Statistics.of(a.overlap_before for a in moved),
        Statistics.of(a.overlap_after for a in moved),
        Statistics.of(a.metric_before for a in moved),
        Statistics.of(a.metric_after for a in moved),
        Statistics.of(a.rotation_deg for a in moved),
        Statistics.of(a.shift_mm for a in moved),
    )


def _position(record: CaseRecord) -> str:
    """The true position: where the header's was wrong, the one that the orientation fix names."""
    if record.orientation_fix in POSITIONS:
        return record.orientation_fix
    return record.patient_position or NOT_STATED


def _first(cases: Sequence[CaseRecord], value: Callable[[CaseRecord], _T | None]) -> _T | None:
    return next((found for record in cases if (found := value(record)) is not None), None)


def _ordered(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """In the given order, then by name, what is not stated last."""
    known = [*(key for key in order if key in counts), *sorted(counts.keys() - {*order, NOT_STATED})]
    return {key: counts[key] for key in (*known, NOT_STATED) if key in counts}


def _rounded(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
