"""The average ensemble is nnUNetv2_ensemble's, voxel for voxel, and nnU-Net can read what we write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.images import read_image

LABELS = {"background": 0, "body": 1, "gtv": 2, "piriformis": 3}


def near_ties(rng: np.random.Generator, models: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Maps whose two highest means are equal up to the last bits, so that the order of additions decides."""
    shape = (4, 5, 6)
    first = rng.uniform(0.2, 0.45, size=(models, *shape)).astype(np.float32)
    second = rng.permuted(first, axis=0)
    second = np.where(rng.random(second.shape) < 0.2, np.nextafter(second, np.float32(1)), second)
    rest = (1 - first - second) / np.float32(2)
    rest = np.minimum(rest, first.min(axis=0))  # never the winner, and off 1 by far less than what is refused
    total = first + second + 2 * rest
    return [np.stack((f, s, r, r))[[2, 0, 1, 3]] / t for f, s, r, t in zip(first, second, rest, total, strict=True)]


@pytest.fixture
def tied_cohort(make_cohort: Any) -> Any:
    cohort = make_cohort(models=("a", "b", "c", "d", "e"), cases=("p1", "p2", "p3"))
    rng = np.random.default_rng(7)
    for case in ("p1", "p2", "p3"):
        for model, maps in zip("abcde", near_ties(rng, 5), strict=True):
            cohort.write_prediction(model, case, maps.astype(np.float32))
    return cohort


def nnunet_label_map(cohort: Any, case: str, models: str) -> Any:
    from nnunetv2.ensembling.ensemble import average_probabilities
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    files = [str(cohort.folder(model) / f"{case}.npz") for model in models]
    return LabelManager(LABELS, None).convert_probabilities_to_segmentation(average_probabilities(files))


def test_average_equals_nnunets_where_rounding_decides(tied_cohort: Any) -> None:
    out = tied_cohort.predict("average", tied_cohort.root / "out")
    undone = 0
    for case in ("p1", "p2", "p3"):
        expected = nnunet_label_map(tied_cohort, case, "abcde")
        np.testing.assert_array_equal(read_image(out / f"{case}.nii.gz").array, expected)
        exact = np.mean([tied_cohort.maps[m][case].astype(float) for m in "abcde"], axis=0)
        undone += int(np.sum(exact.argmax(axis=0) != expected))
    assert undone > 0  # in double precision some voxels would fall otherwise: the data does test the arithmetic


def test_equal_weights_of_a_file_equal_nnunets(tied_cohort: Any) -> None:
    weights = tied_cohort.root / "weights.json"
    weights.write_text(
        '{"schema": "chordoma-ensemble-weights", "schema_version": 1, "labels": '
        '["background", "body", "gtv", "piriformis"], "weights": {"a": 0.25, "b": 0.25, "c": 0, "d": 0.25, "e": 0.25}}'
    )
    out = tied_cohort.predict(weights, tied_cohort.root / "out")
    expected = nnunet_label_map(tied_cohort, "p2", "abde")
    np.testing.assert_array_equal(read_image(out / "p2.nii.gz").array, expected)


def test_nnunet_merges_our_output_further(tied_cohort: Any, tmp_path: Path) -> None:
    """merge_files is what nnUNetv2_ensemble does with each case; it needs our .npz and .pkl."""
    from nnunetv2.ensembling.ensemble import merge_files
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    out = tied_cohort.predict("average", tied_cohort.root / "out", "--save-probabilities")
    files = [str(out / "p1.npz"), str(out / "p1.npz")]
    merge_files(files, str(tmp_path / "merged"), ".nii.gz", SimpleITKIO(), LabelManager(LABELS, None))
    ours, theirs = read_image(out / "p1.nii.gz"), read_image(tmp_path / "merged.nii.gz")
    np.testing.assert_array_equal(theirs.array, ours.array)
    assert theirs.geometry.difference(ours.geometry) is None


def test_package_does_not_import_nnunet() -> None:
    import subprocess
    import sys

    code = (
        "import sys, nnunet_chordoma.ensemble.fit, nnunet_chordoma.ensemble.predict;"
        "sys.exit('nnunetv2' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, nnunet_chordoma.ensemble.cli; sys.exit('numpy' in sys.modules or 'SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
