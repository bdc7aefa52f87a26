"""One prediction to the files of one case, put in place when they are proved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.code_version import code_version
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.export.case_folder import built_aside, finished, put_in_place, require_free
from nnunet_chordoma.dataset_conversion.export.drawing import draw
from nnunet_chordoma.dataset_conversion.export.export_record import ContourCounts, ExportRecord
from nnunet_chordoma.dataset_conversion.export.identity import describe, models_behind, uid
from nnunet_chordoma.dataset_conversion.export.options import ExportOptions, Format
from nnunet_chordoma.dataset_conversion.export.original_ct import CtFolder, find_original, require_elsewhere
from nnunet_chordoma.dataset_conversion.export.predicted_image import require_image
from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
from nnunet_chordoma.dataset_conversion.export.proof import (
    LEAST_DICE,
    StructureProof,
    prove_nifti,
    prove_rtstruct,
    prove_seg,
)
from nnunet_chordoma.dataset_conversion.export.rtstruct_file import Origin, write_rtstruct
from nnunet_chordoma.dataset_conversion.export.scan_labels import ScanPrediction, on_scan
from nnunet_chordoma.dataset_conversion.export.seg_file import write_seg
from nnunet_chordoma.dataset_conversion.export.structures import STRUCTURES
from nnunet_chordoma.dataset_conversion.record import CaseRecord, read_record
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import write_image


@dataclass(frozen=True)
class ExportJob:
    """Everything that decides how one case is exported: `record` is its conversion record, `out` the common folder."""

    prediction: Prediction
    record: Path
    ct: CtFolder | None
    out: Path
    options: ExportOptions
    force: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """The record of a case, and whether it had been exported before."""

    record: ExportRecord
    unchanged: bool


@dataclass(frozen=True)
class _Contoured:
    """What is said of an RTSTRUCT: proof, counts by structure, structures not sound, and those too small to draw."""

    proof: tuple[StructureProof, ...] = ()
    counts: Mapping[str, ContourCounts] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    undrawn: tuple[str, ...] = ()


def export_case(job: ExportJob) -> Exported:
    """Write the files of one case in all formats; nothing is written, and ChordomaError raised, if the proof fails.

    What was exported before from the same inputs is kept.
    """
    case, options = job.prediction.case, job.options
    what, folder = f"case '{case}'", job.out / case
    record = read_record(job.record)
    if record.case != case:
        raise ChordomaError(
            f"{what}: {job.record} is the conversion record of another case, '{record.case}'; give the conversion "
            "whose images were predicted, or convert this case again"
        )
    _require_dicom(record, job)
    require_image(job.prediction, record)
    digests = job.prediction.sha256(options.labels)
    models = models_behind(job.prediction.label_map)
    fingerprint = _fingerprint(record, digests, models, options)
    known = finished(folder, fingerprint)
    kept = {kind for kind in Format if known is not None and known.intact(folder, [kind])}
    if known is not None and known.failed and Format.RTSTRUCT in options.formats and not job.force:
        kept.discard(Format.RTSTRUCT)
    formats = [kind for kind in options.formats if kind not in kept]
    require_free(folder, known, options.formats, job.overwrite)
    if known is not None and not formats:
        return Exported(known, True)
    ct = find_original(record, job.ct) if job.ct is not None and any(kind.is_dicom for kind in formats) else None
    if ct is not None and job.ct is not None:
        require_elsewhere(folder, ct, job.ct.folder / case, what)
    scan = on_scan(job.prediction, record.chain, options.labels)
    if ct is not None and not scan.present:
        lost = ", ".join(structure.name for structure in scan.lost)
        why = f"nothing of {lost} is left on the grid of the CT" if lost else "its prediction holds no structure"
        raise ChordomaError(f"{what}: {why}; there is nothing to export")
    origin = _origin(job.prediction, record, models, fingerprint, known, options)
    with built_aside(folder) as aside:
        contoured = _Contoured()
        if known is not None and Format.RTSTRUCT in kept:
            contoured = _Contoured(known.proof, known.counts, known.failed, known.undrawn)
        for kind in formats:
            if kind is Format.RTSTRUCT and ct is not None:
                contoured = _rtstruct(aside / kind.file_name, ct, scan, origin, job)
            elif not _exact(kind, aside / kind.file_name, ct, scan, origin, what):
                raise ChordomaError(
                    f"{what}: the {kind.value} reads back as other voxels than were written; report this"
                )
        voxel_cm3 = scan.labels.geometry.voxel_volume_cm3
        before = {} if known is None else {kind.value: known.written_sha256[kind.value] for kind in kept}
        written = before | {kind.value: sha256(aside / kind.file_name) for kind in formats}
        made = ExportRecord(
            case=case,
            fingerprint=fingerprint,
            description=origin.description,
            made=origin.made,
            labels=options.labels,
            holes=options.holes,
            tolerance_mm=options.tolerance_mm,
            prediction_sha256=digests,
            volumes_cm3={s.name: scan.voxels(s) * voxel_cm3 for s in scan.present},
            absent=tuple(s.name for s in STRUCTURES if s not in (*scan.present, *scan.lost)),
            proof=contoured.proof,
            counts=contoured.counts,
            failed=contoured.failed,
            uids={
                kind.value: uid(kind.value, origin.inputs) for kind in Format if kind.is_dicom and kind.value in written
            },
            written_sha256=written,
            lost=tuple(structure.name for structure in scan.lost),
            undrawn=contoured.undrawn,
            grid_volumes_cm3=scan.grid_volumes_cm3,
        )
        put_in_place(aside, folder, made)
    return Exported(made, False)


def _rtstruct(path: Path, ct: CtSeries, scan: ScanPrediction, origin: Origin, job: ExportJob) -> _Contoured:
    """Write the RTSTRUCT and read it back; raises ChordomaError if it is not sound and not forced."""
    what = f"case '{job.prediction.case}'"
    drawings = draw(scan, job.options)
    drawn = [structure for structure in scan.present if structure.value in drawings]
    if not drawn:
        small = ", ".join(structure.name for structure in scan.present)
        raise ChordomaError(f"{what}: contours of {small} are below a tenth of a pixel; export it as seg or nifti")
    write_rtstruct(path, ct, [(structure, drawings[structure.value].slices) for structure in drawn], origin, what)
    proof = prove_rtstruct(path, ct, scan.labels.array, drawn, what)
    counts = {structure.name: drawings[structure.value].counts for structure in drawn}
    undrawn = tuple(structure.name for structure in scan.present if structure not in drawn)
    return _Contoured(proof, counts, _judged(proof, what, job.force), undrawn)


def _exact(kind: Format, path: Path, ct: CtSeries | None, scan: ScanPrediction, origin: Origin, what: str) -> bool:
    """Write a SEG or a label map and read it back: whether all voxels are the same."""
    if kind is Format.SEG and ct is not None:
        write_seg(path, ct, scan.labels.array, scan.present, origin, what)
        return prove_seg(path, ct, scan.labels.array, scan.present)
    write_image(path, scan.labels)
    return prove_nifti(path, scan.labels)


def _judged(proof: tuple[StructureProof, ...], what: str, force: bool) -> tuple[str, ...]:
    """Names of structures that are not sound; raises ChordomaError if there are any and `force` is not set."""
    wrong = [each for each in proof if not each.sound]
    if wrong and not force:
        listed = ", ".join(f"{each.name} {each.dice:.4f} ({each.volume_cm3:.1f} cm3)" for each in wrong)
        raise ChordomaError(
            f"{what}: contours differ from the label map, Dice below {LEAST_DICE} for {listed}; "
            "lower --tolerance-mm, or add --force to export them all the same"
        )
    return tuple(each.name for each in wrong)


def _require_dicom(record: CaseRecord, job: ExportJob) -> None:
    kinds = [kind.value for kind in job.options.formats if kind.is_dicom]
    if not kinds:
        return
    if record.source_kind != "dicom":
        raise ChordomaError(
            f"case '{record.case}': was converted from volumes, which {' and '.join(kinds)} cannot refer to; "
            "use --format nifti"
        )
    if job.ct is None:
        raise ChordomaError(
            f"case '{record.case}': --format {' '.join(kinds)} needs the original CT, and conversions keep no paths; "
            "give the folder that holds its DICOM with --ct"
        )


def _fingerprint(record: CaseRecord, digests: dict[str, str], models: str, options: ExportOptions) -> str:
    decisive: dict[str, Any] = {
        "code": code_version(),
        "scan": record.input_sha256.get("image"),
        "chain": record.chain.to_json(),
        "prediction": digests,
        "models": models,
        "labels": options.labels,
        "holes": options.holes.value,
        "tolerance_mm": options.tolerance_mm,
        "remark": options.remark,
        "orientation_fix": record.orientation_fix,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _origin(
    prediction: Prediction,
    record: CaseRecord,
    models: str,
    fingerprint: str,
    known: ExportRecord | None,
    options: ExportOptions,
) -> Origin:
    """Date and identifiers stay those of an earlier export from the same inputs."""
    predicted = datetime.fromtimestamp(prediction.label_map.stat().st_mtime).replace(microsecond=0)
    made = predicted if known is None else known.made
    way = (
        "Label map by nearest neighbour on the grid of the CT."
        if options.labels
        else "Probabilities interpolated on the grid of the CT, contours where the most probable structure changes."
    )
    # No check tells left from right, so a hand that set them is named.
    fix = "" if record.orientation_fix is None else f"Orientation set by --fix-orientation {record.orientation_fix}"
    remark = ". ".join(said for said in (options.remark, fix) if said)
    text = describe(models, f"{way} Points within {options.tolerance_mm:g} mm.", remark)
    return Origin((fingerprint, made.isoformat()), text, models, made)
