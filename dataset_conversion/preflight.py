"""Everything about a cohort that can be checked before a file is written. `run` and `inspect` share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.case_faults import fault
from nnunet_chordoma.dataset_conversion.case_names import identifying
from nnunet_chordoma.dataset_conversion.case_source import CaseSource, Patient, RoiMask, SourceOptions
from nnunet_chordoma.dataset_conversion.label_merge import DRAWING_ORDER
from nnunet_chordoma.dataset_conversion.private_names import remark_on_names
from nnunet_chordoma.dataset_conversion.rois.roi_map import (
    MAPPABLE,
    Assignment,
    RoiMap,
    RoiName,
    assign,
    example_line,
    only_side,
)
from nnunet_chordoma.dataset_conversion.rois.roi_names import LEFT, RIGHT, resembles
from nnunet_chordoma.dataset_conversion.sources import find_cases, open_case
from nnunet_chordoma.dataset_conversion.volumes.label_names import read_label_names
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA, MUSCLES

_DEFAULTS = SourceOptions()


@dataclass(frozen=True)
class CheckedCase:
    """What the preflight found out about one case.

    `rois` names the ROIs of each mapped structure, `rule` how they were found, `matched` the name or pattern of the
    map behind a ROI, `sides` which side its name speaks of. `volumes_cm3` holds the volume of structures that are
    not empty, `roi_volumes_cm3` that of each mapped ROI, `overlaps_cm3` that of pairs of structures of interest that
    share voxels (in the order of the labels), all on the scan's own grid. `patient` and `identifiers` are for
    comparisons in memory. `problems` keep the case from being converted; with an unreadable case nothing else is
    known.
    """

    case: str
    folder: Path
    problems: tuple[str, ...] = ()
    kind: str = "unreadable"
    geometry: Geometry | None = None
    patient_position: str | None = None
    roi_names: tuple[RoiName, ...] = ()
    rois: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rule: Mapping[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    volumes_cm3: Mapping[str, float] = field(default_factory=dict)
    skipped_contours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    patient: Patient = field(default_factory=Patient, repr=False)
    identifiers: Mapping[str, str] = field(default_factory=dict, repr=False)
    overlaps_cm3: Mapping[tuple[str, str], float] = field(default_factory=dict)
    roi_volumes_cm3: Mapping[str, float] = field(default_factory=dict)
    matched: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)

    @property
    def absent(self) -> tuple[str, ...]:
        """Structures of interest that have no ROI in this case, or only empty ones."""
        return tuple(s for s in CHORDOMA.structures if s not in self.volumes_cm3)


def winner(one: str, other: str) -> str:
    """Which of two structures gets the voxels that they share."""
    return max(one, other, key=DRAWING_ORDER.index)


def check_cohort(
    source: Path, roi_map: RoiMap, workers: int, options: SourceOptions = _DEFAULTS
) -> tuple[list[CheckedCase], list[str]]:
    """Check every case under `source`; also problems of the cohort as a whole (map entries that match nothing).

    Raises ChordomaError if there is no case at all, or for options that speak of an unknown case or a file that
    cannot be read; faults of single cases are in their `problems`.
    """
    folders = find_cases(source)
    for option, choices in (("--ct-series", options.ct_series), ("--rtstruct", options.rtstruct)):
        unknown = sorted(set(choices) - set(folders))
        if unknown:
            raise ChordomaError(f"{option} {unknown[0]}: unknown case; the cases are {', '.join(folders)}")
    if options.label_names is not None:
        read_label_names(options.label_names, f"--label-names {options.label_names}")
    calls = [(case, folder, roi_map, options) for case, folder in folders.items()]
    checked = console.parallel(check_case, calls, workers, "checking cases")
    rois = [roi for case in checked for roi in case.roi_names]
    found = ", ".join(sorted({roi.key for roi in rois})) or "none"
    problems = [
        f"{roi_map.source}: '{structure}: {pattern}' matches no ROI in any case; ROI names found: {found}"
        for structure, pattern in roi_map.unused(rois)
    ]
    return checked, problems


def check_case(case: str, folder: Path, roi_map: RoiMap, options: SourceOptions = _DEFAULTS) -> CheckedCase:
    """Check one case; faults are returned, not raised, so that all cases can be shown together.

    That goes for files that cannot be read and for errors that nobody foresaw as well: one damaged case must not
    hide what is wrong with the others. Raises OSError only where the disk is full or read-only.
    """
    try:
        return _check(case, folder, roi_map, options)
    except Exception as error:
        return CheckedCase(case, folder, (fault(case, error),))


def _check(case: str, folder: Path, roi_map: RoiMap, options: SourceOptions) -> CheckedCase:
    source = open_case(case, folder, options)
    assignment = assign(source.rois, roi_map)
    problems = [f"case '{case}': {problem}" for problem in assignment.problems]
    if not any(s in assignment.rois for s in CHORDOMA.structures):
        problems.append(_nothing_maps(case, assignment.unmapped))
    masks = _read_masks(source, assignment)
    remarks = (identifying(case, source.patient), remark_on_names(source.rois, source.kind, source.patient))
    return CheckedCase(
        case,
        folder,
        (*problems, *masks.problems),
        source.kind,
        source.geometry,
        source.patient_position,
        source.rois,
        assignment.rois,
        assignment.rule,
        assignment.unmapped,
        masks.volumes_cm3,
        masks.skipped,
        (*(remark for remark in remarks if remark), *source.warnings, *assignment.warnings, *masks.warnings),
        source.ignored,
        source.patient,
        source.identifiers,
        masks.overlaps_cm3,
        masks.roi_volumes_cm3,
        assignment.matched,
        assignment.sides,
    )


def union(masks: Sequence[RoiMask]) -> Any:
    """Voxels (z, y, x) in any of the masks: left and right of one structure together."""
    together = masks[0].mask.copy()
    for other in masks[1:]:
        together |= other.mask
    return together


@dataclass(frozen=True)
class _Masks:
    """What the voxels of the mapped ROIs tell."""

    volumes_cm3: Mapping[str, float]
    roi_volumes_cm3: Mapping[str, float]
    overlaps_cm3: Mapping[tuple[str, str], float]
    skipped: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def _read_masks(source: CaseSource, assignment: Assignment) -> _Masks:
    voxel_cm3 = source.geometry.voxel_volume_cm3
    # Bit i of a voxel is set where structure i is, so that all pairs are counted in one pass over one byte a voxel.
    bits = np.zeros(source.geometry.shape_zyx, dtype=np.uint8)
    roi_voxels: dict[str, int] = {}
    skipped: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for structure, keys in assignment.rois.items():
        try:
            masks = {key: source.mask(key, clip=structure == "body") for key in keys}
        except Exception as error:
            problems.append(fault(source.case, error))
            continue
        bits[union(list(masks.values()))] |= np.uint8(1 << MAPPABLE.index(structure))
        for key, mask in masks.items():
            roi_voxels[key] = int(np.count_nonzero(mask.mask))
            warnings += [f"ROI '{key}': {warning}" for warning in mask.warnings]
            if mask.skipped:
                skipped[key] = mask.skipped
        if structure in MUSCLES:
            warnings += _sidedness(structure, masks, assignment.sides, voxel_cm3)
    volumes, overlaps = _count(bits, voxel_cm3)
    return _Masks(
        volumes,
        {key: voxels * voxel_cm3 for key, voxels in roi_voxels.items()},
        overlaps,
        skipped,
        tuple(problems),
        tuple(warnings),
    )


def _count(bits: NDArray[np.uint8], voxel_cm3: float) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Volumes of all structures and of the overlaps of those of interest."""
    histogram = np.zeros(256, dtype=np.int64)
    for plane in bits:
        histogram += np.bincount(plane.ravel(), minlength=256)
    combined = np.arange(256)
    has = {structure: (combined >> i) & 1 == 1 for i, structure in enumerate(MAPPABLE)}
    volumes = {s: int(histogram[has[s]].sum()) * voxel_cm3 for s in MAPPABLE}
    pairs = combinations(CHORDOMA.structures, 2)
    overlaps = {(a, b): int(histogram[has[a] & has[b]].sum()) * voxel_cm3 for a, b in pairs}
    return {s: v for s, v in volumes.items() if v}, {pair: v for pair, v in overlaps.items() if v}


def _sidedness(
    structure: str, masks: Mapping[str, RoiMask], sides: Mapping[str, str], voxel_cm3: float
) -> tuple[str, ...]:
    """Remarks on a muscle pair of which one side has no voxels, or whose two sides share some."""
    drawn = [key for key, mask in masks.items() if mask.mask.any()]
    side = only_side(drawn, sides)
    if side is not None:
        empty = [key for key in masks if key not in drawn]
        other = LEFT if side == RIGHT else RIGHT
        why = f"{', '.join(empty)} is empty" if empty else f"no ROI is mapped for the {other}"
        return (f"{structure} has its {side} side only ({', '.join(drawn)}); {why}",)
    left, right = ([masks[key] for key in drawn if sides[key] == one] for one in (LEFT, RIGHT))
    shared = int(np.count_nonzero(union(left) & union(right))) if left and right else 0
    if not shared:
        return ()
    return (f"{structure}: left and right share {shared * voxel_cm3:.2f} cm³; is one of them a copy of the other?",)


def _nothing_maps(case: str, unmapped: Sequence[str]) -> str:
    names = ", ".join(unmapped[:20]) + (f" and {len(unmapped) - 20} more" if len(unmapped) > 20 else "")
    alike = next(((structure, name) for name in unmapped if (structure := resembles(name))), None)
    example = example_line(*(alike or ("gtv", unmapped[0] if unmapped else "NAME")))
    return (
        f"case '{case}': no ROI is known as a structure ({', '.join(s for s in MAPPABLE if s != 'body')}); "
        f"ROI names found: {names or 'none'}; add a line such as {example} to a file for --roi-map"
    )
