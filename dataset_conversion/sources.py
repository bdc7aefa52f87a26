"""Finding the cases in a folder and deciding how each is stored."""

from __future__ import annotations

from pathlib import Path

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.dataset_conversion.case_names import CASE_NAME
from nnunet_chordoma.dataset_conversion.case_source import CaseSource, SourceOptions
from nnunet_chordoma.dataset_conversion.dicom.dicom_case import open_dicom_case
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan, visible_files
from nnunet_chordoma.dataset_conversion.volumes.volume_case import (
    count_deeper,
    deeper_volumes,
    find_scan,
    find_volumes,
    open_volume_case,
)
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import VOLUME_SUFFIXES, is_volume

_DEFAULTS = SourceOptions()

SPACINGS_MM = (0.05, 25.0)
LONGEST_MM = 3000.0
"""Wide limits that only a wrong unit exceeds."""


def find_cases(source: Path) -> dict[str, Path]:
    """Case name to folder for the sub-folders of `source`, sorted; raises ChordomaError if there are none."""
    existing_folder(source, "SRC")
    folders = {
        path.name: path
        for path in sorted(source.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    }
    loose = [p.name for p in sorted(source.iterdir()) if p.is_file() and (is_volume(p) or p.suffix.lower() == ".dcm")]
    if loose:
        raise ChordomaError(
            f"SRC: expected one sub-folder per case in {source}, found images directly in it ({loose[0]}"
            + (f" and {len(loose) - 1} more" if len(loose) > 1 else "")
            + "); give the folder above it, or move them into case folders"
        )
    if not folders:
        raise ChordomaError(f"SRC: expected one sub-folder per case in {source}, found none; check the path")
    return folders


def open_case(case: str, folder: Path, options: SourceOptions = _DEFAULTS) -> CaseSource:
    """Read the headers of one case; with `options.references` false, of its CT alone (`folder` may be a volume then).

    DICOM is used if the folder holds both a CT and an RTSTRUCT; otherwise volumes, if it holds any. What is
    left out is listed in `ignored`. Raises ChordomaError if the case is unfit.
    """
    if not CASE_NAME.fullmatch(case):
        raise ChordomaError(
            f"case '{case}': folder names become file names in nnU-Net, expected letters, digits, '.', '_' and '-' "
            "only; rename the folder"
        )
    source = _open(case, folder, options)
    _require_plausible(source.geometry, case)
    return source


def _require_plausible(grid: Geometry, case: str) -> None:
    extent_mm = max(size * spacing for size, spacing in zip(grid.size, grid.spacing_mm, strict=True))
    least, greatest = SPACINGS_MM
    if min(grid.spacing_mm) < least or max(grid.spacing_mm) > greatest or extent_mm > LONGEST_MM:
        shown = " x ".join(f"{v:.4g}" for v in grid.spacing_mm)
        raise ChordomaError(
            f"case '{case}': expected voxels of {least:g} to {greatest:g} mm in a scan of at most {LONGEST_MM:g} mm, "
            f"found {shown} mm and {extent_mm:.4g} mm; the unit of its spacing may be wrong"
        )


def _open_scan(case: str, path: Path, options: SourceOptions) -> CaseSource:
    tree = None if path.is_file() else scan(path, f"case '{case}'")
    if tree is not None and tree.ct_series:
        return open_dicom_case(case, tree, (), options)
    files = find_scan(case, path)
    if files is None or not is_volume(files.image):
        found = "" if tree is None or not tree.ignored else f" ({'; '.join(tree.ignored)})"
        raise ChordomaError(
            f"case '{case}': expected CT DICOM or one volume ({', '.join(VOLUME_SUFFIXES)}), found neither in "
            f"{path}{found}"
        )
    return open_volume_case(case, files, () if tree is None else tree.ignored, options)


def _open(case: str, folder: Path, options: SourceOptions) -> CaseSource:
    if not options.references:
        return _open_scan(case, folder, options)
    if not visible_files(folder):
        raise ChordomaError(f"case '{case}': {folder} holds no file; add CT and structures, or remove the folder")
    tree = scan(folder, f"case '{case}'")
    if tree.has_ct_and_structures:
        volumes = [path for path in visible_files(folder) if is_volume(path)]
        # Counted, not named: this goes into the record, and file names may hold those of patients.
        passed_over = [f"{len(volumes)} volume(s) beside the DICOM"] if volumes else []
        return open_dicom_case(case, tree, passed_over, options)
    files = find_volumes(case, folder)
    if files is not None:
        incomplete = f"DICOM without {'RTSTRUCT' if tree.ct_series else 'CT'} beside the volumes"
        return open_volume_case(case, files, (*tree.ignored, *(() if tree.empty else (incomplete,))), options)
    if tree.empty:
        deeper = count_deeper(folder)
        found = "; ".join((*tree.ignored, *([deeper_volumes(deeper)] if deeper else [])))
        raise ChordomaError(
            f"case '{case}': expected CT DICOM and an RTSTRUCT, or an image and masks, in {folder}, found neither "
            f"({found})"
        )
    return open_dicom_case(case, tree, (), options)
