"""The files behind a result: reference, prediction and CT of a case, as they were when they were scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.inputs import read_labels, require_same_grid
from nnunet_chordoma.evaluation.sidecar import ScoredFiles, Sidecar
from nnunet_chordoma.files import sha256
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import VOLUME_SUFFIXES, Image, read_image

IMAGE_FOLDERS = ("imagesTs", "imagesTr")
CHANNEL = "_0000"


def image_folders(sidecar: Sidecar, images: Path | None) -> list[Path]:
    """Where CTs are looked for: the folder asked for, else nnU-Net's folders beside the references."""
    return [images] if images else [sidecar.reference.parent / name for name in IMAGE_FOLDERS]


def read_pair(case: str, sidecar: Sidecar, model: str) -> tuple[Image, Image]:
    """Reference and prediction of a case; raises ChordomaError if one is gone, or is not what was scored."""
    files = scored_files(case, sidecar, model)
    reference = read_labels(files.reference, sidecar.scheme, f"reference, case '{case}'")
    prediction = read_labels(files.predictions[model], sidecar.scheme, f"model '{model}', case '{case}'")
    return reference, prediction


def scored_files(case: str, sidecar: Sidecar, model: str) -> ScoredFiles:
    """Where both lie; raises ChordomaError if one is gone, or is not what was scored."""
    files = sidecar.cases.get(case)
    if files is None or model not in files.predictions:
        raise ChordomaError(f"case '{case}': the sidecar names no label map of model '{model}'")
    _require_unchanged(case, files, model)
    return files


def read_ct(case: str, folders: Sequence[Path], grid: Geometry) -> Image:
    """The case's CT; raises ChordomaError if there is none, or not on the grid of the label maps."""
    path = find_image(case, folders)
    ct = read_image(path)
    require_same_grid(grid, ct.geometry, f"image of case '{case}': {path}")
    return ct


def find_image(case: str, folders: Sequence[Path]) -> Path:
    """The case's CT, CASE_0000.nii.gz, in the first folder that has it."""
    for folder in folders:
        for suffix in VOLUME_SUFFIXES:
            path = folder / f"{case}{CHANNEL}{suffix}"
            if path.is_file():
                return path
    raise ChordomaError(
        f"no image {case}{CHANNEL}.nii.gz in {' or '.join(str(f) for f in folders)}; name a folder with --images"
    )


def _require_unchanged(case: str, files: ScoredFiles, model: str) -> None:
    # Contours of other files than those scored would belong to other numbers.
    expected = {files.reference: files.reference_sha256, files.predictions[model]: files.prediction_sha256[model]}
    for path, digest in expected.items():
        if not path.is_file():
            raise ChordomaError(f"case '{case}': the label map {path} is no longer there")
        if sha256(path) != digest:
            raise ChordomaError(f"case '{case}': {path} has changed since it was scored; score again")
