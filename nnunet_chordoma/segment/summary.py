"""summary.json and summary.md of a patient: what came out, made of what, how sure, how fast."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.export.export_record import FILE_NAME as EXPORT_RECORD
from nnunet_chordoma.dataset_conversion.export.identity import DRAFT
from nnunet_chordoma.dataset_conversion.export.options import Format
from nnunet_chordoma.dataset_conversion.summary import alignment_in_words, overlap_in_words
from nnunet_chordoma.dataset_conversion.text_tables import MISSING
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, sha256, write_document, write_text
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.segment.patient import Patient, State, StepTime
from nnunet_chordoma.segment.request import Prepared, SegmentRequest
from nnunet_chordoma.verdicts import counted_checks

SCHEMA, VERSION = "chordoma-segment", 1
FILE_NAME, PAGE = "summary.json", "summary.md"

DIGITS = 12
"""Of a SHA-256, enough to tell files apart."""

GRIDS = (
    "Check, scores and reports speak of volumes on the models' grid; what was exported lies on the CT. "
    "Smooth surfaces make small and thin structures smaller there (EXPORT.md)."
)

NOT_JUDGED = "not checked (no --qa)"


def write_summary(patient: Patient, request: SegmentRequest, prepared: Prepared) -> None:
    """Write both files into the folder of the patient."""
    exported, record = patient.exported, patient.record
    content = {
        "case": patient.case,
        "state": patient.state.value,
        "reason": patient.reason,
        "formats": [kind.value for kind in request.export.formats],
        "grid_volumes_cm3": {} if exported is None else dict(exported.grid_volumes_cm3),
        "volumes_cm3": {} if exported is None else dict(exported.volumes_cm3),
        "absent": [] if exported is None else list(exported.absent),
        "lost": [] if exported is None else list(exported.lost),
        "undrawn": [] if exported is None else list(exported.undrawn),
        "proof": [] if exported is None else [each.to_json() for each in exported.proof],
        "verdict": None if patient.verdict is None else patient.verdict.level.value,
        "unjudged": [] if patient.verdict is None else list(patient.verdict.unjudged),
        "flagged": [] if patient.verdict is None else [each.finding for each in patient.verdict.flagged],
        "alignment": None if record is None else record.alignment.to_json(),
        "orientation_fix": None if record is None else record.orientation_fix,
        "warnings": [] if record is None else list(record.warnings),
        "left_aside": [] if record is None else list(record.ignored),
        "dataset": prepared.frame.home.resolve().name,
        "weights": dict(prepared.weights.items()),
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "inputs": dict(_identities(patient, request)),
        "steps": {name: {"seconds": round(t.seconds, 3), "kept": t.kept} for name, t in patient.times.items()},
    }
    write_document(patient.places.final / FILE_NAME, SCHEMA, VERSION, CHORDOMA, content)
    write_text(patient.places.final / PAGE, "\n".join(_page(patient, request, prepared)) + "\n")


def read_times(folder: Path) -> dict[str, StepTime]:
    """Times of a former run by step; empty where there is none."""
    try:
        _, content = read_document(folder / FILE_NAME, SCHEMA, VERSION)
        return {name: StepTime(float(t["seconds"]), True) for name, t in content["steps"].items()}
    except (ChordomaError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _page(patient: Patient, request: SegmentRequest, prepared: Prepared) -> Iterator[str]:
    yield f"# {patient.case}"
    yield ""
    yield f"**{DRAFT}.**"
    yield ""
    if patient.state is State.EXPORTED:
        names = [*(kind.file_name for kind in Format), EXPORT_RECORD]
        present = [f"`{name}`" for name in names if (patient.places.final / name).is_file()]
        yield f"Files: {', '.join(present)}."
    else:
        yield f"**Nothing exported: {patient.reason}**"
        old = [kind.file_name for kind in Format if (patient.places.final / kind.file_name).exists()]
        if old:
            yield ""
            yield f"{', '.join(old)} in this folder: of an earlier run, or changed since. Not what this page is about."
    yield ""
    yield from _structures(patient)
    yield "## Check"
    yield ""
    if patient.verdict is None:
        yield f"{NOT_JUDGED if request.qa is None else 'not reached'}."
    else:
        earlier = " Checked in an earlier run: no --qa in this one." if request.qa is None else ""
        yield f"**{patient.verdict.level.value.upper()}**, {counted_checks(patient.verdict)}.{earlier}"
        yield ""
        yield from (f"* {each.level.value}: {each.finding}" for each in patient.verdict.flagged)
        yield from (f"* not judged: {text}" for text in patient.verdict.unjudged)
    yield ""
    yield "## How it came about"
    yield ""
    if patient.record is not None:
        alignment, grid = patient.record.alignment, patient.record.chain.source
        size = " x ".join(map(str, grid.size))
        voxel = " x ".join(f"{mm:.3g}" for mm in grid.spacing_mm)
        yield f"* CT: {size} voxels of {voxel} mm, {patient.record.patient_position or 'position not stated'}"
        if patient.record.orientation_fix is not None:
            yield f"* **Orientation set by --fix-orientation {patient.record.orientation_fix}**, not by the scan"
        yield f"* Alignment to the reference case: {alignment_in_words(alignment)}"
        yield f"* Overlap of bone before and after (Dice): {overlap_in_words(alignment)}"
        yield from (f"* Warning: {text}" for text in patient.record.warnings)
        yield from (f"* Left aside: {text}" for text in patient.record.ignored)
    yield from (f"* {what}: {identity}" for what, identity in _identities(patient, request))
    yield f"* Dataset: {prepared.frame.home.resolve().name}"
    yield f"* Models: {', '.join(f'{name} {weight:.4g}' for name, weight in prepared.weights.items() if weight > 0)}"
    yield f"* Written {datetime.now().astimezone():%Y-%m-%d %H:%M} by nnunet-chordoma {__version__}"
    yield ""
    yield "| step | seconds | |"
    yield "|---|---|---|"
    for name, time in patient.times.items():
        yield f"| {name} | {time.seconds:.1f} | {'earlier run, kept' if time.kept else ''} |"


def _identities(patient: Patient, request: SegmentRequest) -> Iterator[tuple[str, str]]:
    """What tells one CT, qa.json and weights.json from another."""
    if patient.record is not None:
        series = patient.record.identifiers.get("series")
        digests = patient.record.input_sha256.get("image", ())
        if series is not None:
            said = f"of SHA-256 {series[:DIGITS]}" if patient.record.pseudonymised else series
            yield "CT", f"SeriesInstanceUID {said}, {len(digests)} file(s)"
        else:
            yield "CT", f"{patient.ct.name}, SHA-256 {digests[0][:DIGITS] if digests else 'unknown'}"
    files = {"Ranges of the check": request.qa, "Weights": Path(request.weights)}
    for what, path in files.items():
        if path is not None and path.is_file():
            yield what, f"{path.name}, SHA-256 {sha256(path)[:DIGITS]}"


def _structures(patient: Patient) -> Iterator[str]:
    exported = patient.exported
    if exported is None:
        return
    proof = {each.name: each for each in exported.proof}
    columns = ["structure", "models' grid (cm³)", "on the CT (cm³)", "change"]
    columns += ["within contours (cm³)", "drift", "Dice of both"] if proof else []
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for name, volume_cm3 in exported.volumes_cm3.items():
        on_grid, change, each = exported.grid_volumes_cm3.get(name), exported.change(name), proof.get(name)
        cells = [
            name,
            MISSING if on_grid is None else f"{on_grid:.2f}",
            f"{volume_cm3:.2f}",
            MISSING if change is None else f"{change:+.1%}",
        ]
        if proof:
            cells += (
                [MISSING] * 3 if each is None else [f"{each.written_cm3:.2f}", f"{each.drift:+.2%}", f"{each.dice:.4f}"]
            )
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield GRIDS
    yield ""
    if exported.exact:
        yield f"Read back voxel for voxel: {', '.join(f'`{kind.file_name}`' for kind in exported.exact)}."
        yield ""
    missing = {
        "Absent": exported.absent,
        "Predicted, but without a voxel on the CT": exported.lost,
        "Predicted, but too small to be drawn": exported.undrawn,
    }
    for what, names in missing.items():
        if names:
            yield f"{what}: {', '.join(names)}."
            yield ""
    if exported.failed:
        yield f"Contours differ from the label map, exported by --force: {', '.join(exported.failed)}."
        yield ""
