"""Every ROI of a structure set as a mask on the grid of its CT."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import ContouredRoi, match, rasterise_roi, read_structure_set
from nnunet_chordoma.dataset_conversion.dicom.series_choice import Request, choose_ct
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_json
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.layout import FILE_ENDING

ROIS_FILE = "rois.json"
BUILD_FOLDER = ".partial"


@dataclass(frozen=True)
class WrittenRoi:
    """One ROI and its mask; an empty ROI has an empty mask. A ROI that was `refused`, with the reason, has no file."""

    name: str
    number: int
    file: str | None
    voxels: int
    volume_cm3: float
    skipped_contours: tuple[str, ...]
    warnings: tuple[str, ...]
    refused: str | None = None


def write_masks(
    ct_folder: Path, structure_file: Path, out: Path, ct_series: str | None = None
) -> tuple[list[WrittenRoi], tuple[str, ...]]:
    """Write `ROI.nii.gz` (uint8, CT grid) for every ROI, and rois.json; returns every ROI and warnings.

    Of several CTs in `ct_folder` the structure set's references choose one, or `ct_series`, a SeriesInstanceUID or
    its beginning or end. Contours beyond the CT are cut off and reported. A ROI that cannot be drawn on this CT is
    listed as refused, the others are written.

    `out` appears, or is filled, when all is complete. Raises ChordomaError if it holds files already, if CT or
    structure set are unfit, or if no ROI at all can be drawn.
    """
    what = "RTSTRUCT"
    existing_folder(ct_folder, "CT_DIR")
    if not structure_file.is_file():
        raise ChordomaError(f"RTSTRUCT: {structure_file} is not an existing file; check the path")
    place = out.resolve()
    there = place.exists()
    # Inside a folder that is there already: it may be where the user stands, or another disk than the folder above.
    build = place / BUILD_FOLDER if there else place.with_name(f".{place.name}{BUILD_FOLDER}")
    if there and (not place.is_dir() or any(path != build for path in place.iterdir())):
        raise ChordomaError(f"-o {out}: exists and is not empty; give a new folder")
    structures = read_structure_set(structure_file, what)
    choice = choose_ct(scan(ct_folder, "CT_DIR"), structures, Request(ct_series), "CT_DIR")
    ct = read_headers(choice.series.files, "CT_DIR")
    warnings = (*ct.warnings, *choice.ignored, *ct.ignored, *match(structures, ct, what))
    shutil.rmtree(build, ignore_errors=True)
    rois = []
    try:
        names = safe_names(structures.rois)
        for roi in console.track(structures.rois, "drawing ROIs", len(structures.rois)):
            try:
                drawn = rasterise_roi(roi, structures, ct, what, clip=True)
            except ChordomaError as error:
                reason = str(error).removeprefix(f"{what}: ROI '{roi.key}'").lstrip(": ")
                rois.append(WrittenRoi(roi.name, roi.number, None, 0, 0.0, roi.skipped, (), reason))
                continue
            file = names[roi.number] + FILE_ENDING
            write_image(build / file, Image(drawn.mask.astype("uint8"), ct.geometry))
            voxels = int(drawn.mask.sum())
            volume = voxels * ct.geometry.voxel_volume_cm3
            rois.append(WrittenRoi(roi.name, roi.number, file, voxels, volume, roi.skipped, drawn.warnings))
        _require_any(rois, what)
        write_json(build / ROIS_FILE, _describe(rois, warnings))
        _publish(build, place)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return rois, warnings


def safe_names(rois: Iterable[ContouredRoi]) -> dict[int, str]:
    """ROI number to a file name without suffix: letters, digits, `.`, `_`, `+`, `-`, unique regardless of case."""
    names: dict[int, str] = {}
    for roi in rois:
        name = re.sub(r"[^A-Za-z0-9._+-]+", "_", roi.name).strip("._") or "roi"
        numbered = f"{name}_{roi.number}"
        taken = {other.lower() for other in names.values()}
        candidates = chain([name, numbered], (f"{numbered}_{again}" for again in count(2)))
        names[roi.number] = next(one for one in candidates if one.lower() not in taken)
    return names


def _publish(build: Path, place: Path) -> None:
    if not place.exists():
        build.rename(place)
        return
    # The list of ROIs comes last, so that it stands for a complete folder.
    for path in sorted(build.iterdir(), key=lambda path: path.name == ROIS_FILE):
        path.rename(place / path.name)
    build.rmdir()


def _require_any(rois: Sequence[WrittenRoi], what: str) -> None:
    if all(roi.refused for roi in rois):
        raise ChordomaError(f"{what}: none of {len(rois)} ROI(s) can be drawn; '{rois[0].name}': {rois[0].refused}")


def _describe(rois: Iterable[WrittenRoi], warnings: tuple[str, ...]) -> dict[str, object]:
    return {
        "warnings": list(warnings),
        "rois": [
            {
                "name": roi.name,
                "number": roi.number,
                "file": roi.file,
                "voxels": roi.voxels,
                "volume_cm3": round(roi.volume_cm3, 4),
                "skipped_contours": list(roi.skipped_contours),
                "warnings": list(roi.warnings),
                "refused": roi.refused,
            }
            for roi in rois
        ],
    }
