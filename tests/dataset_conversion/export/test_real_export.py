"""Contours of real tumours, out to an RTSTRUCT on their real CT and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.alignment.resampling import resample
from nnunet_chordoma.dataset_conversion.dicom.rasterise import rasterise
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import read_structure_set
from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA

pytestmark = pytest.mark.real_data


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture(scope="module")
def dataset(sarcomas, tmp_path_factory):
    """The five patients, of whom one lies feet first, at 2 mm; predictions are their own tumours."""
    from nnunet_chordoma.dataset_conversion.dataset import ConversionOptions, convert_cohort
    from nnunet_chordoma.dataset_conversion.rois.roi_map import read_roi_map
    from nnunet_chordoma.layout import RAW

    folder = tmp_path_factory.mktemp("real")
    (folder / "source").mkdir()
    available = sorted(path.name for path in sarcomas.iterdir())
    assert len(available) == 5
    for case in available:
        (folder / "source" / case).symlink_to(sarcomas / case)
    (folder / "map.yaml").write_text("gtv: GTV_Mass_CT\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RAW, str(folder / "raw"))
        options = ConversionOptions(
            folder / "source", 3, read_roi_map(folder / "map.yaml"), size=(110, 110, 140), align=False, workers=2
        )
        converted = convert_cohort(options).dataset
    for case in available:
        chain = read_record(converted / f"conversion/{case}.json").chain
        mask = read_image(sarcomas / case / "CT_mask.nii.gz")
        soft = Image((mask.array > 0).astype(np.float32), chain.source)
        tumour = resample(soft, chain.target, chain.inverse, 0, linear=True)
        probabilities = np.zeros((len(CHORDOMA), *tumour.shape), np.float16)
        probabilities[CHORDOMA.value("body")], probabilities[CHORDOMA.value("gtv")] = 1 - tumour, tumour
        write_image(
            folder / f"predicted/{case}.nii.gz", Image(probabilities.argmax(axis=0).astype(np.uint8), chain.target)
        )
        np.savez_compressed(folder / f"predicted/{case}.npz", probabilities=probabilities)
    return folder


@pytest.mark.parametrize(("options", "least"), [((), 0.995), (("--labels",), 1.0)])
def test_out_and_back(dataset, sarcomas, convert, tmp_path, options, least):
    result = convert(
        *("export", dataset / "predicted", "--conversion", dataset / "raw/Dataset003_Chordoma"),
        *("-o", tmp_path, "--ct", sarcomas, "--format", "rtstruct", "--format", "seg", *options),
    )
    assert result.status == 0, result.err
    assert "Warning" not in result.err
    for case in sorted(path.stem for path in (dataset / "predicted").glob("*.npz")):
        (proof,) = json.loads((tmp_path / case / "export.json").read_text())["proof"]
        assert proof["dice"] >= least
        assert abs(proof["volume_drift"]) < 0.002
        reference = read_image(sarcomas / case / "CT_mask.nii.gz")
        (roi,) = read_structure_set(tmp_path / case / "rtstruct.dcm", case).rois
        found = rasterise(roi.contours, reference.geometry, case).mask
        # Dataset voxels of 2 mm lose a little; contours on the CT lose nothing more.
        agreement = dice(found, reference.array > 0)
        print(f"{case} {' '.join(options)}: proof {proof['dice']:.5f}, reference {agreement:.4f}")
        assert agreement > 0.97
