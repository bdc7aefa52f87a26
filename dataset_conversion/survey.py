"""What the voxels of one case show before the cohort decides where it goes: labels, body, orientation, bone.

Everything here lies on the scan's own grid. It is kept beside the dataset, so that neither a repeated nor an
extended conversion reads an unchanged CT again, and so that predictions can be compared on the original scan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.alignment.field_of_view import BONE_HU, Anchor, anchor_of, centroid_mm
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import Matrix
from nnunet_chordoma.dataset_conversion.anatomy.body import body_from_ct, choose_body
from nnunet_chordoma.dataset_conversion.anatomy.bone import bone_image
from nnunet_chordoma.dataset_conversion.anatomy.orientation import KEEP, correction
from nnunet_chordoma.dataset_conversion.anatomy.orientation_check import check_anatomy
from nnunet_chordoma.dataset_conversion.case_source import CaseSource, RoiMask, SourceOptions
from nnunet_chordoma.dataset_conversion.code_version import code_version
from nnunet_chordoma.dataset_conversion.dicom.hounsfield import check_hounsfield
from nnunet_chordoma.dataset_conversion.label_merge import Overwritten, merge
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase, union
from nnunet_chordoma.dataset_conversion.record import RECORDS, hashed
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, sha256, write_document
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import FILE_ENDING

SCHEMA, VERSION = "chordoma-survey", 1

SIDES_APART_MM = 10.0
"""How far left must lie to the right of right, centre to centre, to be called exchanged."""


@dataclass(frozen=True)
class CaseSurvey:
    """What `survey_case` found. `orientation` (LPS to LPS) mends the scan's orientation; `anchor` lies after it."""

    case: str
    fingerprint: str
    input_sha256: Mapping[str, tuple[str, ...]]
    geometry: Geometry
    orientation_fix: str | None
    orientation: Matrix
    anatomy: Mapping[str, Any]
    body_from: str
    bone_cm3: float
    anchor: Anchor
    overwritten: tuple[Overwritten, ...]
    written_sha256: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def bone_summary(self) -> tuple[float, float]:
        return self.bone_cm3, self.anchor.high_mm[2] - self.anchor.low_mm[2]

    @property
    def oriented(self) -> Geometry:
        """The scan's grid after the orientation fix."""
        return self.geometry.moved(self.orientation)


@dataclass(frozen=True)
class SurveyFiles:
    """Where the survey of one case lies in a dataset folder."""

    survey: Path
    labels: Path
    bone: Path

    @classmethod
    def of(cls, dataset: Path, case: str) -> SurveyFiles:
        folder = dataset / RECORDS
        return cls(
            folder / "survey" / f"{case}.json",
            folder / "scan_labels" / f"{case}{FILE_ENDING}",
            folder / "bone" / f"{case}{FILE_ENDING}",
        )


def survey_case(checked: CheckedCase, sources: SourceOptions, fix: str | None, dataset: Path) -> CaseSurvey:
    """Read one case and write its survey into `dataset`; a survey of the same inputs and options is kept.

    Raises ChordomaError if the CT cannot be read, is not in HU, shows no patient, or if its anatomy contradicts its
    orientation and no `fix` (see `orientation.correction`) is given; then nothing is written.
    """
    what = f"case '{checked.case}'"
    source = open_case(checked.case, checked.folder, sources)
    inputs = hash_inputs(source, checked)
    fingerprint = _fingerprint(inputs, checked, sources, fix)
    files = SurveyFiles.of(dataset, checked.case)
    known = _finished(files)
    if known is not None and known.fingerprint == fingerprint:
        return known
    files.survey.unlink(missing_ok=True)
    image = source.image()
    warnings = list(check_hounsfield(image, what))
    drawn = {
        structure: {key: source.mask(key, clip=structure == "body") for key in keys}
        for structure, keys in checked.rois.items()
        if structure in checked.volumes_cm3
    }
    masks = {structure: union(list(rois.values())) for structure, rois in drawn.items()}
    body, body_from, remarks = find_body(image, masks, what)
    labels, overwritten = merge({name: mask for name, mask in masks.items() if name != "body"}, body)
    warnings += [*remarks, *(f"{o.voxels} voxel(s) of {o.loser} overwritten by {o.winner}" for o in overwritten)]
    body = labels > 0
    orientation = correction(KEEP if fix is None else fix, checked.patient_position, image.geometry)
    oriented = Image(image.array, image.geometry.moved(orientation))
    position = checked.patient_position if fix in (None, KEEP) or fix.startswith("flip") else fix
    anatomy = check_anatomy(oriented, body, position, what)
    exchanged = exchanged_sides(drawn, checked.sides, oriented.geometry)
    if exchanged and fix != KEEP:
        raise ChordomaError(
            f"{what}: {exchanged}: the scan is mirrored (give --fix-orientation {checked.case}=flip-x) or the names "
            f"are exchanged (correct them). Look at the scan first; {checked.case}={KEEP} takes it as it is"
        )
    if anatomy.contradictions and fix != KEEP:
        advice = (anatomy.advice or "").replace("CASE=", f"{checked.case}=")
        raise ChordomaError(
            f"{what}: {'; '.join(anatomy.contradictions)}: {advice}. Look at the scan first; "
            f"{checked.case}={KEEP} takes it as it is"
        )
    warnings += [f"kept as it is: {found}" for found in (*anatomy.contradictions, *([exchanged] if exchanged else []))]
    bone = (image.array > BONE_HU) & body
    write_image(files.labels, Image(labels, image.geometry))
    write_image(files.bone, bone_image(image, body, orientation))
    survey = CaseSurvey(
        checked.case,
        fingerprint,
        inputs,
        image.geometry,
        fix,
        orientation,
        anatomy.to_json(),
        body_from,
        round(float(bone.sum()) * image.geometry.voxel_volume_cm3, 3),
        anchor_of(oriented.geometry, body, bone),
        overwritten,
        {"labels": sha256(files.labels), "bone": sha256(files.bone)},
        tuple(warnings),
    )
    write_survey(files.survey, survey)
    return survey


def find_body(
    image: Image, masks: Mapping[str, NDArray[np.bool_]], what: str
) -> tuple[NDArray[np.bool_], str, tuple[str, ...]]:
    """Mask (z, y, x) of the patient, whether it is from a `contour` or a `threshold`, and remarks.

    A complete `body` among the masks is preferred to the outline found in the CT. Raises ChordomaError as
    `body_from_ct` does.
    """
    if "body" not in masks:
        return body_from_ct(image, what), "threshold", ()
    body, origin, warnings = choose_body(image, masks["body"], what)
    spilled = sum(int((mask & ~body).sum()) for name, mask in masks.items() if name != "body")
    if spilled:
        warnings = (*warnings, f"{spilled} structure voxel(s) lie outside the body contour: counted as inside")
    return body, origin, tuple(warnings)


def exchanged_sides(drawn: Mapping[str, Mapping[str, RoiMask]], sides: Mapping[str, str], grid: Geometry) -> str | None:
    """In words, which structures have their left side to the right of their right side, or None.

    `drawn` holds the masks (z, y, x) of each structure's ROIs, `sides` says left or right of their keys. In LPS the
    left is at greater x. Sides that lie within `SIDES_APART_MM` of each other tell nothing.
    """
    wrong = []
    for structure, rois in drawn.items():
        middle: dict[str, list[float]] = {}
        for key, roi in rois.items():
            if sides.get(key) in ("left", "right") and roi.mask.any():
                middle.setdefault(sides[key], []).append(float(centroid_mm(grid, roi.mask)[0]))
        if len(middle) == 2 and np.mean(middle["left"]) < np.mean(middle["right"]) - SIDES_APART_MM:
            wrong.append(structure)
    return f"the left {', '.join(wrong)} lies to the right of the right one" if wrong else None


def hash_inputs(source: CaseSource, checked: CheckedCase) -> dict[str, tuple[str, ...]]:
    """SHA-256 of the files that decide the result, by role: `image`, `structures`, or `roi-` and a hash of a ROI's key.

    Keys themselves may be file names, which are not kept.
    """
    used = {f"roi:{key}": f"roi-{hashed(key)[:12]}" for keys in checked.rois.values() for key in keys}
    used |= {"image": "image", "structures": "structures"}
    files = {used[role]: tuple(paths) for role, paths in source.input_files().items() if role in used}
    # The ROIs of one label map share its file.
    digests = {path: sha256(path) for path in set().union(*files.values())}
    return {role: tuple(digests[path] for path in paths) for role, paths in files.items()}


def write_survey(path: Path, survey: CaseSurvey) -> None:
    write_document(
        path,
        SCHEMA,
        VERSION,
        CHORDOMA,
        {
            "case": survey.case,
            "fingerprint": survey.fingerprint,
            "input_sha256": {role: list(digests) for role, digests in survey.input_sha256.items()},
            "geometry": survey.geometry.to_json(),
            "orientation_fix": survey.orientation_fix,
            "orientation": [list(row) for row in survey.orientation],
            "anatomy": dict(survey.anatomy),
            "body_from": survey.body_from,
            "bone_cm3": survey.bone_cm3,
            "anchor": survey.anchor.to_json(),
            "overwritten": [o.to_json() for o in survey.overwritten],
            "written_sha256": dict(survey.written_sha256),
            "warnings": list(survey.warnings),
        },
    )


def read_survey(path: Path) -> CaseSurvey:
    """Read a survey; raises ChordomaError if it is missing, malformed or of another version."""
    _, content = read_document(path, SCHEMA, VERSION)
    try:
        return CaseSurvey(
            content["case"],
            content["fingerprint"],
            {role: tuple(digests) for role, digests in content["input_sha256"].items()},
            Geometry.from_json(content["geometry"]),
            content["orientation_fix"],
            tuple(tuple(float(v) for v in row) for row in content["orientation"]),
            content["anatomy"],
            content["body_from"],
            float(content["bone_cm3"]),
            Anchor.from_json(content["anchor"]),
            tuple(Overwritten.from_json(o) for o in content["overwritten"]),
            {role: content["written_sha256"][role] for role in ("labels", "bone")},
            tuple(content["warnings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: incomplete survey ({error!r}); remove it and convert again") from None


def _finished(files: SurveyFiles) -> CaseSurvey | None:
    try:
        survey = read_survey(files.survey)
    except ChordomaError:
        return None
    for role, path in (("labels", files.labels), ("bone", files.bone)):
        if not path.is_file() or sha256(path) != survey.written_sha256[role]:
            return None
    return survey


def _fingerprint(
    inputs: Mapping[str, tuple[str, ...]], checked: CheckedCase, sources: SourceOptions, fix: str | None
) -> str:
    decisive: dict[str, Any] = {
        "code": code_version(),
        "inputs": inputs,
        "rois": {structure: list(keys) for structure, keys in checked.rois.items()},
        "resample_masks": sources.resample_masks,
        "fix": fix,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
