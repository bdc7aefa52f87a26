"""One case from its source to the image, label map and record of the dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.body import axial_axis, body_from_ct, fill_holes
from nnunet_chordoma.dataset_conversion.case_source import CaseSource
from nnunet_chordoma.dataset_conversion.field_of_view import BONE_HU, anchor_of, place, require_uncut
from nnunet_chordoma.dataset_conversion.label_merge import Overwritten, merge
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase, union
from nnunet_chordoma.dataset_conversion.record import (
    CaseFiles,
    CaseRecord,
    StructureVolume,
    hashed,
    read_record,
    write_record,
)
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.dataset_conversion.transform_chain import TransformChain
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA

LOWEST_HU = -1024.0
"""CT values below this are padding outside the reconstruction circle, or artefacts; they are raised to it."""

NO_AIR_HU = -500.0


@dataclass(frozen=True)
class ConvertedCase:
    """Image in int16 HU and label map (z, y, x) on the dataset's grid, with how they came about."""

    image: Image
    labels: Image
    chain: TransformChain
    body_from: str
    overwritten: tuple[Overwritten, ...]
    warnings: tuple[str, ...]


def convert_case(checked: CheckedCase, size: tuple[int, int, int], dataset: Path, split: str) -> CaseRecord:
    """Write one case into `dataset`, its record last; a finished case with the same inputs and options is kept.

    Raises ChordomaError if the CT cannot be read or the field of view cuts a structure; then nothing is written.
    """
    source = open_case(checked.case, checked.folder)
    inputs = {
        role: tuple(sha256(path) for path in files)
        for role, files in source.input_files().items()
        if role in {"image", "structures"} or any(role in keys for keys in checked.rois.values())
    }
    fingerprint = _fingerprint(inputs, checked, size)
    files = CaseFiles.of(dataset, checked.case, split)
    record = _finished(files.record)
    if record is not None and record.fingerprint == fingerprint and files.gather(dataset):
        return record
    files.record.unlink(missing_ok=True)
    masks = {
        structure: union([source.mask(key) for key in keys])
        for structure, keys in checked.rois.items()
        if structure in checked.volumes_cm3
    }
    converted = convert(source.image(), masks, size, f"case '{checked.case}'")
    write_image(files.image, converted.image)
    write_image(files.labels, converted.labels)
    record = _record(source, checked, converted, inputs, fingerprint)
    write_record(files.record, record)
    return record


def convert(
    image: Image, masks: Mapping[str, NDArray[np.bool_]], size: tuple[int, int, int], what: str
) -> ConvertedCase:
    """Resample a CT in HU and its structure masks (z, y, x, on the grid of the CT) onto `size` voxels of 2 mm.

    One interpolation: linear for the image, nearest neighbour for the labels. `masks` may hold `body`, which is
    then preferred to the outline found in the CT. HU are rounded to integers, as CT is stored: interpolated
    fractions are far below its noise, and the files are half the size. Raises ChordomaError as `require_uncut`
    and `body_from_ct` do.
    """
    values, lowest, highest = image.array, float(image.array.min()), float(image.array.max())
    if highest > np.iinfo(np.int16).max:
        raise ChordomaError(f"{what}: expected a CT in HU, found values up to {highest:g}; check the rescale values")
    warnings = []
    if lowest > NO_AIR_HU:
        warnings.append(f"lowest value {lowest:g}: the scan shows no air, or its values are not HU")
    image = Image(np.maximum(values, LOWEST_HU), image.geometry)
    structures = {name: mask for name, mask in masks.items() if name != "body"}
    if "body" in masks:
        body, body_from = fill_holes(masks["body"], axial_axis(image.geometry)), "contour"
        spilled = sum(int((mask & ~body).sum()) for mask in structures.values())
        if spilled:
            warnings.append(f"{spilled} structure voxel(s) lie outside the body contour: counted as inside")
    else:
        body, body_from = body_from_ct(image, what), "threshold"
    labels, overwritten = merge(structures, body)
    body = labels > 0
    anchor = anchor_of(image.geometry, body, (image.array > BONE_HU) & body)
    target = place(anchor, size)
    require_uncut(anchor, target, image.geometry, structures, what)
    chain = TransformChain(image.geometry, target)
    resampled = chain.image_to_target(image)
    hounsfield = Image(np.rint(resampled.array).astype(np.int16), target)
    label_map = chain.labels_to_target(Image(labels, image.geometry))
    for lost in overwritten:
        warnings.append(f"{lost.voxels} voxel(s) of {lost.loser} overwritten by {lost.winner}")
    for name in structures:
        if not (label_map.array == CHORDOMA.value(name)).any():
            warnings.append(f"{name} has no voxel left at {target.spacing_mm[0]:g} mm")
    return ConvertedCase(hounsfield, label_map, chain, body_from, overwritten, tuple(warnings))


def _finished(path: Path) -> CaseRecord | None:
    try:
        return read_record(path)
    except ChordomaError:
        return None


def _fingerprint(inputs: Mapping[str, tuple[str, ...]], checked: CheckedCase, size: tuple[int, int, int]) -> str:
    decisive: dict[str, Any] = {
        "version": __version__,
        "inputs": inputs,
        "rois": {structure: list(keys) for structure, keys in checked.rois.items()},
        "size": size,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _record(
    source: CaseSource,
    checked: CheckedCase,
    converted: ConvertedCase,
    inputs: Mapping[str, tuple[str, ...]],
    fingerprint: str,
) -> CaseRecord:
    counts = np.bincount(converted.labels.array.ravel(), minlength=len(CHORDOMA))
    voxel_cm3 = converted.labels.geometry.voxel_volume_cm3
    volumes = {
        name: StructureVolume(checked.volumes_cm3[name], int(counts[CHORDOMA.value(name)]) * voxel_cm3)
        for name in CHORDOMA.structures
        if name in checked.volumes_cm3
    }
    return CaseRecord(
        case=checked.case,
        fingerprint=fingerprint,
        source_kind=source.kind,
        patient_position=source.patient_position,
        input_sha256=inputs,
        identifiers_sha256={name: hashed(uid) for name, uid in source.identifiers.items() if uid},
        chain=converted.chain,
        body_from=converted.body_from,
        rois=checked.rois,
        rule=checked.rule,
        unmapped=checked.unmapped,
        absent=checked.absent,
        skipped_contours=checked.skipped_contours,
        overwritten=converted.overwritten,
        volumes_cm3=volumes,
        warnings=(*checked.warnings, *converted.warnings),
        ignored=checked.ignored,
    )
