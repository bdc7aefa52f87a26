"""One surveyed and aligned case to the image, label map and record of the dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma.dataset_conversion.alignment.field_of_view import SPACING_MM
from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.code_version import code_version
from nnunet_chordoma.dataset_conversion.dicom.hounsfield import LOWEST_HU
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase
from nnunet_chordoma.dataset_conversion.private_names import public_names
from nnunet_chordoma.dataset_conversion.record import (
    CaseFiles,
    CaseRecord,
    StructureVolume,
    content_of,
    hashed,
    read_record,
    write_record,
)
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.dataset_conversion.survey import CaseSurvey, SurveyFiles, hash_inputs
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_label_map, write_image
from nnunet_chordoma.labels import CHORDOMA


@dataclass(frozen=True)
class ConversionJob:
    """Everything that decides how one case is converted onto the grid `target`."""

    checked: CheckedCase
    survey: CaseSurvey
    alignment: Alignment
    target: Geometry
    patient: str
    sources: SourceOptions
    pseudonymise: bool = True

    @property
    def chain(self) -> TransformChain:
        return TransformChain(self.survey.geometry, self.target, self.alignment.rigid, self.survey.orientation)


def convert_case(job: ConversionJob, dataset: Path, split: str) -> CaseRecord:
    """Write one case into `dataset`, its record last; the files of a finished case with the same inputs are kept.

    Raises ChordomaError if the CT cannot be read or has changed since it was surveyed; then nothing is written.
    """
    case = job.checked.case
    source = open_case(case, job.checked.folder, job.sources)
    fingerprint = _fingerprint(job)
    files = CaseFiles.of(dataset, case, split)
    scan_labels = read_label_map(SurveyFiles.of(dataset, case).labels)
    known = _finished(files.record)
    if known is None or known.fingerprint != fingerprint or not files.gather(dataset, known.written_sha256):
        files.clear(dataset)
        known = None
        if hash_inputs(source, job.checked) != job.survey.input_sha256:
            raise ChordomaError(f"case '{case}': its files changed during the conversion; repeat the command")
        image, label_map = resample(source.image(), scan_labels, job.chain)
        write_image(files.image, image)
        write_image(files.labels, label_map)
    # What the record says beside the voxels is always of this run.
    record = _record(job, source.identifiers, scan_labels, files, fingerprint)
    if known is None or content_of(record) != content_of(known):
        write_record(files.record, record)
    return record


def resample(image: Image, labels: Image, chain: TransformChain) -> tuple[Image, Image]:
    """A CT in HU and its label map (z, y, x, on the scan's grid) on the grid of the dataset.

    One interpolation each: linear for the image, nearest neighbour for the labels. HU are rounded to integers, as CT
    is stored: interpolated fractions are far below its noise, and the files are half the size. Values are limited to
    what int16 can hold from `LOWEST_HU` up.
    """
    limited = Image(np.clip(image.array, LOWEST_HU, float(np.iinfo(np.int16).max)), image.geometry)
    hounsfield = Image(np.rint(chain.image_to_target(limited).array).astype(np.int16), chain.target)
    return hounsfield, chain.labels_to_target(Image(labels.array.astype(np.uint8), labels.geometry))


def lost_structures(scan_labels: Image, label_map: Image) -> tuple[str, ...]:
    """Structures that have voxels on the scan's grid but none on the dataset's."""
    before, after = (set(np.unique(image.array).tolist()) for image in (scan_labels, label_map))
    return tuple(name for name in CHORDOMA.structures if CHORDOMA.value(name) in before - after)


def _finished(path: Path) -> CaseRecord | None:
    try:
        return read_record(path)
    except ChordomaError:
        return None


def _fingerprint(job: ConversionJob) -> str:
    decisive: dict[str, Any] = {
        "code": code_version(),
        "survey": job.survey.fingerprint,
        "chain": job.chain.to_json(),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _record(
    job: ConversionJob, identifiers: Mapping[str, str], scan_labels: Image, files: CaseFiles, fingerprint: str
) -> CaseRecord:
    checked, survey = public_names(job.checked) if job.pseudonymise else job.checked, job.survey
    label_map = read_label_map(files.labels)
    lost = tuple(f"{name} has no voxel left at {SPACING_MM:g} mm" for name in lost_structures(scan_labels, label_map))
    counts = np.bincount(label_map.array.ravel(), minlength=len(CHORDOMA))
    voxel_cm3 = label_map.geometry.voxel_volume_cm3
    volumes = {
        name: StructureVolume(checked.volumes_cm3[name], int(counts[CHORDOMA.value(name)]) * voxel_cm3)
        for name in CHORDOMA.structures
        if name in checked.volumes_cm3
    }
    known = {name: uid for name, uid in identifiers.items() if uid}
    if not job.pseudonymise and checked.patient.identifier:
        known["patient"] = checked.patient.identifier
    rejected = () if job.alignment.rejected is None else (f"not aligned on bone: {job.alignment.rejected}",)
    return CaseRecord(
        case=checked.case,
        fingerprint=fingerprint,
        source_kind=checked.kind,
        patient=job.patient,
        patient_position=checked.patient_position,
        sex=checked.patient.sex,
        age_years=checked.patient.age_years,
        pseudonymised=job.pseudonymise,
        identifiers={name: hashed(uid) for name, uid in known.items()} if job.pseudonymise else known,
        input_sha256=survey.input_sha256,
        orientation_fix=survey.orientation_fix,
        anatomy=survey.anatomy,
        alignment=job.alignment,
        chain=job.chain,
        body_from=survey.body_from,
        rois=checked.rois,
        rule=checked.rule,
        unmapped=checked.unmapped,
        absent=checked.absent,
        skipped_contours=checked.skipped_contours,
        overwritten=survey.overwritten,
        volumes_cm3=volumes,
        written_sha256={"image": sha256(files.image), "labels": sha256(files.labels)},
        warnings=(*checked.warnings, *survey.warnings, *rejected, *lost),
        ignored=checked.ignored,
    )
