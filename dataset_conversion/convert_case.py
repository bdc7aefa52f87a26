"""One surveyed and aligned case to the image, label map and record of the dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.dicom.hounsfield import LOWEST_HU
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase
from nnunet_chordoma.dataset_conversion.record import (
    VERSION,
    CaseFiles,
    CaseRecord,
    StructureVolume,
    hashed,
    read_record,
    write_record,
)
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.dataset_conversion.survey import CaseSurvey, SurveyFiles, hash_inputs
from nnunet_chordoma.errors import ChordomaError
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
    """Write one case into `dataset`, its record last; a finished case with the same inputs and options is kept.

    Raises ChordomaError if the CT cannot be read or has changed since it was surveyed; then nothing is written.
    """
    case = job.checked.case
    source = open_case(case, job.checked.folder, job.sources)
    fingerprint = _fingerprint(job)
    files = CaseFiles.of(dataset, case, split)
    record = _finished(files.record)
    if record is not None and record.fingerprint == fingerprint and files.gather(dataset):
        # Another case in the cohort renumbers the patients; that is no reason to convert again.
        if record.patient != job.patient:
            record = replace(record, patient=job.patient)
            write_record(files.record, record)
        return record
    files.record.unlink(missing_ok=True)
    if hash_inputs(source, job.checked) != job.survey.input_sha256:
        raise ChordomaError(f"case '{case}': its files changed during the conversion; repeat the command")
    labels = read_label_map(SurveyFiles.of(dataset, case).labels)
    image, label_map, warnings = resample(source.image(), labels, job.chain)
    write_image(files.image, image)
    write_image(files.labels, label_map)
    record = _record(job, source.identifiers, label_map, warnings, fingerprint)
    write_record(files.record, record)
    return record


def resample(image: Image, labels: Image, chain: TransformChain) -> tuple[Image, Image, tuple[str, ...]]:
    """A CT in HU and its label map (z, y, x, on the scan's grid) on the grid of the dataset, and remarks.

    One interpolation each: linear for the image, nearest neighbour for the labels. HU are rounded to integers, as CT
    is stored: interpolated fractions are far below its noise, and the files are half the size. Values are limited to
    what int16 can hold from `LOWEST_HU` up.
    """
    limited = Image(np.clip(image.array, LOWEST_HU, float(np.iinfo(np.int16).max)), image.geometry)
    hounsfield = Image(np.rint(chain.image_to_target(limited).array).astype(np.int16), chain.target)
    label_map = chain.labels_to_target(Image(labels.array.astype(np.uint8), labels.geometry))
    warnings = tuple(
        f"{name} has no voxel left at {chain.target.spacing_mm[0]:g} mm"
        for name in CHORDOMA.structures
        if (labels.array == CHORDOMA.value(name)).any() and not (label_map.array == CHORDOMA.value(name)).any()
    )
    return hounsfield, label_map, warnings


def _finished(path: Path) -> CaseRecord | None:
    try:
        return read_record(path)
    except ChordomaError:
        return None


def _fingerprint(job: ConversionJob) -> str:
    decisive: dict[str, Any] = {
        "version": __version__,
        "record": VERSION,
        "survey": job.survey.fingerprint,
        "chain": job.chain.to_json(),
        "pseudonymise": job.pseudonymise,
        "remarks": [job.checked.warnings, job.checked.ignored],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _record(
    job: ConversionJob, identifiers: Mapping[str, str], label_map: Image, warnings: tuple[str, ...], fingerprint: str
) -> CaseRecord:
    checked, survey = job.checked, job.survey
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
        warnings=(*checked.warnings, *survey.warnings, *rejected, *warnings),
        ignored=checked.ignored,
    )
