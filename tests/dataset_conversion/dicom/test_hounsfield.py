"""What can be Hounsfield units and what cannot, on a pelvis-like picture."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.dicom.hounsfield import check_hounsfield, require_hounsfield_type
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image


def pelvis(noise=12.0, seed=0, lowest=-1024.0):
    """Body in air with fat, muscle, spongy and cortical bone; HU with noise, 20 x 64 x 64 voxels."""
    random = np.random.default_rng(seed)
    z, y, x = np.indices((20, 64, 64))
    hounsfield = np.full(z.shape, -1000.0)
    for radius, value in ((26, -100.0), (22, 45.0), (8, 350.0), (3, 900.0)):
        hounsfield[np.hypot(y - 32, (x - 32) * 0.8) < radius] = value
    return np.maximum(hounsfield + random.normal(0, noise, z.shape), lowest)


def check(array):
    return check_hounsfield(Image(array, Geometry(array.shape[::-1], (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))), "case 'a'")


def refused(array):
    with pytest.raises(ChordomaError) as error:
        check(array)
    assert str(error.value).startswith("case 'a': expected")
    assert "\n" not in str(error.value)
    return str(error.value)


def with_metal(value):
    array = pelvis()
    array[5:9, 30:34, 20:24] = value
    return array


def with_filled_bladder():
    array = pelvis()
    array[4:16, 22:42, 22:42] = 1000
    return array


def with_corners(value):
    array = pelvis()
    y, x = np.indices((64, 64))
    array[:, np.hypot(y - 31.5, x - 31.5) > 32] = value
    return array


@pytest.mark.parametrize(
    "array",
    [
        pelvis(),
        pelvis(noise=60.0),
        np.rint(pelvis()).astype(np.int16),
        with_metal(3071),
        with_metal(30710),
        with_filled_bladder(),
        with_corners(-2000),
        with_corners(-3024),
        with_corners(-32768),
    ],
    ids=["plain", "noisy", "int16", "metal", "extended range", "contrast", "-2000", "-3024", "-32768"],
)
def test_what_clinics_have_passes_without_a_remark(array):
    assert check(array) == ()


def test_windowed_picture():
    array = np.clip((pelvis() + 160) / 400 * 255, 0, 255).astype(np.uint8)
    assert "(values 0 to 255): an 8-bit picture through a display window" in refused(array)


@pytest.mark.parametrize("noise", [0.0, 20.0])
@pytest.mark.parametrize("lowest", [0.0, -2000.0])
def test_intercept_not_applied(noise, lowest):
    array = pelvis(noise) + 1024
    array[:, :4] = lowest
    assert "stored values whose RescaleIntercept (often -1024) was not applied" in refused(array)


def test_intercept_not_applied_to_noisy_signed_values():
    """Noise about stored air of 24 goes below zero, as far as fat would, and yet this is not fat."""
    array = pelvis(noise=40.0, lowest=-1200.0) + 1024
    assert (array < -30).mean() > 0.01
    assert "was not applied" in refused(array)


def test_intercept_of_an_extended_range_not_applied():
    assert "found 0 % of the voxels between -200 and 200" in refused(pelvis() + 8192)


def test_intercept_applied_twice():
    assert "as if an intercept was applied twice" in refused(pelvis() - 1000)


def test_unsigned_overflow():
    array = np.rint(pelvis()).astype(np.int16).view(np.uint16)
    assert array.max() > 64500
    assert "negative values stored as unsigned numbers" in refused(array)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (-1.0, 1.0), (-3.0, 4.0)])
def test_normalised_values(scale):
    array = pelvis()
    array = scale[0] + (array - array.min()) / np.ptp(array) * (scale[1] - scale[0])
    assert "normalised values, not a CT" in refused(array.astype(np.float32))


def test_magnetic_resonance():
    array = np.abs(pelvis() * 0.3 + 300)
    assert "found 0 % of the voxels below -30" in refused(array)


def test_constant():
    assert "all voxels are -1000" in refused(np.full((3, 4, 5), -1000.0))


def test_not_finite():
    array = pelvis()
    array[3, 4, 5], array[3, 4, 6] = np.nan, np.inf
    assert "found 2 voxel(s) that are not finite" in refused(array)


def test_nothing_but_padding():
    array = np.full((3, 4, 5), -2000.0)
    array[0, 0, 0] = -3000
    assert "all lie below air" in refused(array)


def test_scan_cropped_inside_the_patient_is_remarked():
    (remark,) = check(pelvis()[:, 12:52, 12:52])
    assert remark.startswith("no air in the scan")


@pytest.mark.parametrize(("dense", "spongy"), [((20, 28), (12, 20)), ((20, 21), (20, 20))], ids=["much", "little"])
def test_dense_bone_without_air_is_not_taken_for_a_missing_intercept(dense, spongy):
    array = np.where(pelvis()[:, 12:52, 12:52] < -50, -100.0, 45.0)
    array[:, slice(*spongy), 5:35] = 400
    array[:, slice(*dense), 10:30] = 1000
    (remark,) = check(array)
    assert remark.startswith("no air in the scan")


def test_values_cut_off_are_remarked():
    remarks = check(np.clip(pelvis(), -160, 240))
    assert [remark[:20] for remark in remarks] == ["no air in the scan: ", "no value above 240 H"]


def test_odd_air_is_remarked():
    array = pelvis()
    array[array < -700] += 180
    (remark,) = check(array)
    assert "air lies near -82" in remark or "air lies near -83" in remark


def test_impossible_metal_is_remarked():
    (remark,) = check(with_metal(50000))
    assert remark.startswith("values up to 50000 HU")


class TestRescaleType:
    @pytest.mark.parametrize("kind", [None, "", "HU", "US", " hu "])
    def test_hounsfield_or_unsaid(self, kind):
        assert require_hounsfield_type(kind, "x") == ()

    def test_modified(self):
        assert "HU_MOD" in require_hounsfield_type("HU_MOD", "x")[0]

    @pytest.mark.parametrize("kind", ["ED", "Z_EFF", "MGML"])
    def test_maps_of_other_quantities(self, tmp_path, make, kind):
        make.ct(
            tmp_path, np.zeros((2, 4, 4)), [[0, 0, 0], [0, 0, 3]], edit=lambda z, s: setattr(s, "RescaleType", kind)
        )
        with pytest.raises(ChordomaError, match=rf"case 'a': \S+\.dcm: expected RescaleType HU, found {kind}"):
            read_headers(sorted(tmp_path.iterdir()), "case 'a'")


class TestPadding:
    def read(self, folder):
        (series,) = scan(folder).ct_series.values()
        return read_hounsfield(read_headers(series.files, "x"), "x").array

    def written(self, folder, make, hounsfield, value, limit=None, intercept=-1024):
        def edit(z, slice_):
            slice_.PixelPaddingValue = value
            if limit is not None:
                slice_.PixelPaddingRangeLimit = limit

        count = len(hounsfield)
        make.ct(*(folder, hounsfield, [[0, 0, 3 * z] for z in range(count)]), intercepts=[intercept] * count, edit=edit)
        return self.read(folder)

    def test_padding_becomes_air(self, tmp_path, make):
        hounsfield = np.full((2, 6, 6), 40.0)
        hounsfield[:, :2, :2] = hounsfield[:, 4, 4] = -3024
        image = self.written(tmp_path, make, hounsfield, -2000)
        assert (image[:, :2, :2] == -1024).all()
        # Nothing in a patient is below air, wherever it lies.
        assert (image[:, 4, 4] == -1024).all()
        assert (image == 40).sum() == 2 * 31

    def test_padding_range(self, tmp_path, make):
        hounsfield = np.full((2, 6, 6), 40.0)
        hounsfield[:, 0] = [-3024, -3000, -2990, -2980, -2970, -1500]
        image = self.written(tmp_path, make, hounsfield, -2000, -1946)
        np.testing.assert_array_equal(image[0, 0], [-1024] * 5 + [-1500])

    def test_padding_like_tissue_counts_at_the_edge_alone(self, tmp_path, make):
        """Some exports pad with 0 HU; water of exactly 0 HU inside the patient is not padding."""
        hounsfield = np.full((2, 8, 8), 40.0)
        hounsfield[:, :2, :3] = 0
        hounsfield[:, 5, 5] = 0
        image = self.written(tmp_path, make, hounsfield, 0, intercept=0)
        assert (image[:, :2, :3] == -1024).all()
        assert (image[:, 5, 5] == 0).all()
        assert (image == -1024).sum() == 2 * 6

    def test_without_the_attribute_nothing_changes(self, tmp_path, make):
        hounsfield = np.full((2, 6, 6), 40.0)
        hounsfield[:, :2, :2] = -3024
        make.ct(tmp_path, hounsfield, [[0, 0, 0], [0, 0, 3]])
        np.testing.assert_array_equal(self.read(tmp_path), hounsfield)


@pytest.mark.real_data
def test_real_scans_pass_without_a_remark(real_data, sarcomas):
    assert check_hounsfield(read_image(real_data / "totalsegmentator/example_ct.nii.gz"), "x") == ()
    folders = [*sorted(sarcomas.iterdir()), real_data / "dcmqi/ct-3slice"]
    assert len(folders) == 6
    for folder in folders:
        (series,) = scan(folder).ct_series.values()
        assert check_hounsfield(read_hounsfield(read_headers(series.files, "x"), "x"), "x") == ()


@pytest.mark.real_data
def test_real_scan_without_its_intercept_is_refused(real_data):
    image = read_image(real_data / "totalsegmentator/example_ct.nii.gz")
    assert "was not applied" in refused(image.array + 1024)
    assert "as if an intercept was applied twice" in refused(image.array - 1024)


@pytest.mark.real_data
def test_real_label_image_in_a_ct_series_is_refused(real_data):
    (series,) = scan(real_data / "dcmqi/23x38x3/image").ct_series.values()
    assert "normalised values" in refused(read_hounsfield(read_headers(series.files, "x"), "x").array)
