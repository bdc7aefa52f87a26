"""Everything about a cohort that can be checked before a file is written. `run` and `inspect` share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.case_source import RoiMask
from nnunet_chordoma.dataset_conversion.roi_map import MAPPABLE, RoiMap, RoiName, assign, example_line
from nnunet_chordoma.dataset_conversion.sources import find_cases, open_case
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA


@dataclass(frozen=True)
class CheckedCase:
    """What the preflight found out about one case.

    `rois` names the ROIs of each mapped structure, `volumes_cm3` the volume of those that are not empty, on the
    scan's own grid. `problems` keep the case from being converted; with an unreadable case nothing else is known.
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

    @property
    def absent(self) -> tuple[str, ...]:
        """Structures of interest that have no ROI in this case, or only empty ones."""
        return tuple(s for s in CHORDOMA.structures if s not in self.volumes_cm3)

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "source_kind": self.kind,
            "patient_position": self.patient_position,
            "geometry": None if self.geometry is None else self.geometry.to_json(),
            "rois": {s: {"names": list(keys), "by": self.rule[s]} for s, keys in self.rois.items()},
            "unmapped": list(self.unmapped),
            "absent": list(self.absent),
            "volumes_cm3": {s: round(v, 3) for s, v in self.volumes_cm3.items()},
            "skipped_contours": {key: list(v) for key, v in self.skipped_contours.items()},
            "warnings": list(self.warnings),
            "ignored": list(self.ignored),
            "problems": list(self.problems),
        }


def check_cohort(source: Path, roi_map: RoiMap, workers: int) -> tuple[list[CheckedCase], list[str]]:
    """Check every case under `source`; also problems of the cohort as a whole (map entries that match nothing).

    Raises ChordomaError if there is no case at all; faults of single cases are in their `problems`.
    """
    calls = [(case, folder, roi_map) for case, folder in find_cases(source).items()]
    checked = console.parallel(check_case, calls, workers, "checking cases")
    rois = [roi for case in checked for roi in case.roi_names]
    found = ", ".join(sorted({roi.key for roi in rois})) or "none"
    problems = [
        f"{roi_map.source}: '{structure}: {pattern}' matches no ROI in any case; ROI names found: {found}"
        for structure, pattern in roi_map.unused(rois)
    ]
    return checked, problems


def require_sound(checked: Sequence[CheckedCase], cohort_problems: Sequence[str], source: Path) -> None:
    """Raise ChordomaError with the first problem, if there is any, and the number of the others."""
    problems = [*cohort_problems, *(problem for case in checked for problem in case.problems)]
    if problems:
        others = len(problems) - 1
        raise ChordomaError(
            problems[0]
            + (f" ({others} more problem(s): chordoma-convert inspect {source} lists them)" if others else "")
        )


def check_case(case: str, folder: Path, roi_map: RoiMap) -> CheckedCase:
    """Check one case; faults are returned, not raised, so that all cases can be shown together."""
    try:
        source = open_case(case, folder)
    except ChordomaError as error:
        return CheckedCase(case, folder, (str(error),))
    assignment = assign(source.rois, roi_map)
    problems = [f"case '{case}': {problem}" for problem in assignment.problems]
    if not any(s in assignment.rois for s in CHORDOMA.structures):
        problems.append(_nothing_maps(case, assignment.unmapped))
    volumes: dict[str, float] = {}
    skipped: dict[str, tuple[str, ...]] = {}
    warnings = [*source.warnings, *assignment.warnings]
    for structure, keys in assignment.rois.items():
        try:
            masks = {key: source.mask(key) for key in keys}
        except ChordomaError as error:
            problems.append(str(error))
            continue
        voxels = int(union(list(masks.values())).sum())
        if voxels:
            volumes[structure] = voxels * source.geometry.voxel_volume_cm3
        for key, mask in masks.items():
            warnings += [f"ROI '{key}': {warning}" for warning in mask.warnings]
            if mask.skipped:
                skipped[key] = mask.skipped
    return CheckedCase(
        case,
        folder,
        tuple(problems),
        source.kind,
        source.geometry,
        source.patient_position,
        source.rois,
        assignment.rois,
        assignment.rule,
        assignment.unmapped,
        volumes,
        skipped,
        tuple(warnings),
        source.ignored,
    )


def union(masks: Sequence[RoiMask]) -> Any:
    """Voxels (z, y, x) in any of the masks: left and right of one structure together."""
    together = masks[0].mask.copy()
    for other in masks[1:]:
        together |= other.mask
    return together


def _nothing_maps(case: str, unmapped: Sequence[str]) -> str:
    names = ", ".join(unmapped[:20]) + (f" and {len(unmapped) - 20} more" if len(unmapped) > 20 else "")
    example = example_line("gtv", unmapped[0]) if unmapped else "'gtv: NAME'"
    return (
        f"case '{case}': no ROI is known as a structure ({', '.join(s for s in MAPPABLE if s != 'body')}); "
        f"ROI names found: {names or 'none'}; add a line such as {example} to a file for --roi-map"
    )
