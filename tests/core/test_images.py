import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, is_volume, read_geometry, read_image, read_label_map, stem, write_image

GRID = Geometry((3, 4, 5), (1.0, 2.0, 3.0), (-7.0, 8.0, 9.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))


@pytest.fixture
def image():
    return Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), GRID)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_written_images_come_back_with_their_grid(tmp_path, image, suffix):
    path = tmp_path / f"case{suffix}"
    write_image(path, image)
    again = read_image(path)
    np.testing.assert_array_equal(again.array, image.array)
    assert again.geometry.difference(GRID) is None
    assert read_geometry(path).difference(GRID) is None


def test_arrays_are_z_y_x(tmp_path, image):
    write_image(tmp_path / "a.mha", image)
    assert sitk.ReadImage(str(tmp_path / "a.mha"))[2, 1, 4] == image.array[4, 1, 2]


def test_an_array_that_does_not_fit_its_grid_is_refused():
    with pytest.raises(ValueError, match="shape"):
        Image(np.zeros((3, 4, 5)), GRID)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.7, 0.97])
def test_truncated_files_are_one_line_errors(tmp_path, suffix, keep):
    path = tmp_path / f"case{suffix}"
    grid = Geometry((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    write_image(path, Image(np.random.default_rng(0).integers(0, 999, grid.shape_zyx).astype(np.int16), grid))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ChordomaError, match=rf"case\{suffix}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_rescaled_nifti_is_read_though_its_stored_size_differs(tmp_path):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 3, 4, 5, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)  # int16
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352, 0.5, -1000)  # data offset, slope, intercept
    header[344:348] = b"n+1\0"
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(header) + np.arange(60, dtype="<i2").tobytes()))
    assert read_image(tmp_path / "a.nii.gz").array[0, 0, 2] == -999.0


def test_missing_two_dimensional_and_vector_images_are_refused(tmp_path):
    sitk.WriteImage(sitk.Image(4, 4, sitk.sitkUInt8), str(tmp_path / "flat.mha"))
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 2), str(tmp_path / "vector.mha"))
    for name, said in (("none.mha", "no such file"), ("flat.mha", "3D"), ("vector.mha", "2 components")):
        with pytest.raises(ChordomaError, match=said):
            read_image(tmp_path / name)


def test_label_maps_stored_as_floats_are_read_but_images_are_not(tmp_path):
    labels = np.zeros((5, 4, 3), np.float32)
    labels[0, 0, 0] = 7
    write_image(tmp_path / "labels.mha", Image(labels, GRID))
    assert read_label_map(tmp_path / "labels.mha").array.dtype == np.int16
    for value in (0.5, -1.0):
        labels[1, 1, 1] = value
        write_image(tmp_path / "image.mha", Image(labels, GRID))
        with pytest.raises(ChordomaError, match="label map"):
            read_label_map(tmp_path / "image.mha")


def test_names(tmp_path):
    assert stem(tmp_path / "a.b.NII.GZ") == "a.b"
    assert is_volume(tmp_path / "x.nrrd")
    assert not is_volume(tmp_path / ".partial-1-x.nrrd")
    assert not is_volume(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_none_are_refused_though_itk_reads_zeros(tmp_path, suffix, value, dtype):
    array = np.zeros((3, 4, 5), dtype)
    array[1, 2, 3] = array[2, 0, 0] = value
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).all()
    with pytest.raises(ChordomaError, match=r"a.nii.*: 2 of 60 voxels are not finite"):
        read_image(path)
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), dtype)), str(path))
    assert (read_image(path).array == 1).all()
