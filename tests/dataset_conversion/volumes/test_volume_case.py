"""Folders of volumes, and folders that hold both kinds, through `open_case`."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_chordoma.dataset_conversion.sources import find_cases, open_case
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, to_sitk, write_image

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))


def put(path, values=None, grid=GRID):
    array = np.zeros(grid.shape_zyx, np.int16) if values is None else values
    write_image(path, Image(array, grid))


def mask_array(*values):
    array = np.zeros(GRID.shape_zyx, np.uint8)
    for i, value in enumerate(values):
        array[1, 1, i] = value
    return array


def refused(folder, case="p1"):
    with pytest.raises(ChordomaError) as error:
        open_case(case, folder)
    assert str(error.value).startswith(f"case '{case}': ")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["ct.nii.gz", "CT.nii", "Image.mha", "volume.nrrd", "scan.mhd", "p1.nii.gz", "P1_0000.mha"]
)
def test_image_by_name_with_masks_beside_and_below(tmp_path, name):
    put(tmp_path / name)
    put(tmp_path / "gtv.nii.gz", mask_array(1))
    put(tmp_path / "segmentations/piriformis_left.nrrd", mask_array(1, 1))
    source = open_case("p1", tmp_path)
    assert source.kind == "volumes"
    assert [roi.key for roi in source.rois] == ["gtv", "piriformis_left"]
    assert source.files.image.name == name
    assert int(source.mask("piriformis_left").mask.sum()) == 2


def test_only_volume_with_ct_as_a_word(tmp_path):
    put(tmp_path / "example_ct.nii.gz")
    put(tmp_path / "seg/gtv.nii.gz", mask_array(1))
    assert open_case("p1", tmp_path).files.image.name == "example_ct.nii.gz"


@pytest.mark.parametrize("name", ["contact.nii.gz", "planning.nii.gz"])
def test_other_names_are_no_image(tmp_path, name):
    put(tmp_path / name)
    put(tmp_path / "seg/gtv.nii.gz", mask_array(1))
    assert f"found {name}; rename the CT to ct.nii.gz" in refused(tmp_path)


def test_ct_as_a_word_among_several_is_no_image(tmp_path):
    put(tmp_path / "example_ct.nii.gz")
    put(tmp_path / "gtv.nii.gz", mask_array(1))
    assert "expected one image" in refused(tmp_path)


def test_two_images(tmp_path):
    put(tmp_path / "ct.nii.gz")
    put(tmp_path / "image.mha")
    assert "found ct.nii.gz, image.mha; keep one" in refused(tmp_path)


def test_masks_in_two_folders(tmp_path):
    put(tmp_path / "ct.nii.gz")
    for sub in ("a", "b"):
        put(tmp_path / sub / "gtv.nii.gz", mask_array(1))
    assert "found volumes in a, b; keep one" in refused(tmp_path)


def test_one_mask_name_twice(tmp_path):
    put(tmp_path / "ct.nii.gz")
    put(tmp_path / "gtv.nii.gz", mask_array(1))
    put(tmp_path / "masks/gtv.mha", mask_array(1))
    assert "two masks named 'gtv': gtv.nii.gz and masks/gtv.mha" in refused(tmp_path)


def test_image_without_masks(tmp_path):
    put(tmp_path / "ct.nii.gz")
    assert "expected one mask per structure beside ct.nii.gz" in refused(tmp_path)


def test_mask_on_another_grid(tmp_path):
    put(tmp_path / "ct.nii.gz")
    other = Geometry(GRID.size, GRID.spacing_mm, (0.0, 0.0, 1.0))
    put(tmp_path / "masks/gtv.nii.gz", mask_array(1), other)
    assert "mask gtv.nii.gz does not lie on the grid of the image: origin" in refused(tmp_path)


def test_two_dimensional_image(tmp_path):
    flat = Geometry((6, 5, 1), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
    put(tmp_path / "ct.mha", grid=flat)
    put(tmp_path / "masks/gtv.mha", grid=flat)
    assert "expected a volume, found ct.mha of size (6, 5, 1)" in refused(tmp_path)


@pytest.mark.parametrize("value", [1, 255])
def test_any_one_value_is_inside(tmp_path, value):
    put(tmp_path / "ct.nii.gz")
    put(tmp_path / "masks/gtv.nii.gz", mask_array(value, value))
    assert int(open_case("p1", tmp_path).mask("gtv").mask.sum()) == 2


def test_label_map_is_no_mask(tmp_path):
    put(tmp_path / "ct.nii.gz")
    put(tmp_path / "masks/gtv.nii.gz", mask_array(1, 2, 7))
    source = open_case("p1", tmp_path)
    with pytest.raises(ChordomaError, match=r"gtv.nii.gz: expected a mask .* found values from 1 to 7"):
        source.mask("gtv")


def test_image_that_is_not_finite(tmp_path):
    values = np.zeros(GRID.shape_zyx, np.float32)
    values[0, 0, 0] = np.nan
    # ITK reads NaN in NIfTI as 0, but not in MetaImage.
    put(tmp_path / "ct.mha", values)
    put(tmp_path / "masks/gtv.nii.gz", mask_array(1))
    with pytest.raises(ChordomaError, match=r"ct\.mha holds values that are not finite"):
        open_case("p1", tmp_path).image()


class TestInputFiles:
    @pytest.mark.parametrize("name", ["image", "structures"])
    def test_a_mask_of_any_name_takes_no_role_of_another(self, tmp_path, name):
        put(tmp_path / "ct.nii.gz")
        put(tmp_path / f"masks/{name}.nii.gz", mask_array(1))
        put(tmp_path / "masks/gtv.nii.gz", mask_array(1))
        assert open_case("p1", tmp_path).input_files() == {
            "image": (tmp_path / "ct.nii.gz",),
            "roi:gtv": (tmp_path / "masks/gtv.nii.gz",),
            f"roi:{name}": (tmp_path / f"masks/{name}.nii.gz",),
        }

    @pytest.mark.parametrize("name", ["image", "structures"])
    def test_a_segment_of_any_name_takes_no_role_of_another(self, tmp_path, name):
        put(tmp_path / "ct.nii.gz")
        put(tmp_path / "labels.nii.gz", mask_array(1, 2))
        (tmp_path / "labels.yaml").write_text(f"{{1: {name}, 2: gtv}}")
        label_map = (tmp_path / "labels.nii.gz", tmp_path / "labels.yaml")
        assert open_case("p1", tmp_path).input_files() == {
            "image": (tmp_path / "ct.nii.gz",),
            f"roi:{name}": label_map,
            "roi:gtv": label_map,
        }

    def test_a_volume_without_its_voxels_is_refused_before_anything_is_read(self, tmp_path):
        put(tmp_path / "ct.nii.gz")
        sitk.WriteImage(to_sitk(Image(mask_array(1), GRID)), str(tmp_path / "gtv.mhd"))
        (tmp_path / "gtv.raw").unlink()
        with pytest.raises(ChordomaError, match=r"gtv\.mhd: expected its voxels in .*gtv\.raw, .* found no such file"):
            open_case("p1", tmp_path)


class TestDeeperVolumes:
    def test_are_counted_and_warned_about(self, tmp_path):
        put(tmp_path / "ct.nii.gz")
        put(tmp_path / "gtv.nii.gz", mask_array(1))
        put(tmp_path / "masks/glut/gluteus_maximus_left.nii.gz", mask_array(1))
        put(tmp_path / "masks/glut/old/gluteus_maximus_right.nii.gz", mask_array(1))
        put(tmp_path / ".cache/x/piriformis.nii.gz", mask_array(1))
        source = open_case("p1", tmp_path)
        assert [roi.key for roi in source.rois] == ["gtv"]
        assert source.ignored == ("2 volume(s) deeper than one sub-folder",)
        (warning,) = source.warnings
        assert warning.startswith("2 volume(s) deeper than one sub-folder: left out")

    def test_one_sub_folder_is_not_deep(self, tmp_path):
        put(tmp_path / "ct.nii.gz")
        put(tmp_path / "masks/gtv.nii.gz", mask_array(1))
        source = open_case("p1", tmp_path)
        assert (source.ignored, source.warnings) == ((), ())

    def test_are_named_where_nothing_else_is_found(self, tmp_path):
        put(tmp_path / "ct.nii.gz")
        put(tmp_path / "masks/glut/gtv.nii.gz", mask_array(1))
        assert "or one label map, found only 1 volume(s) deeper than one sub-folder" in refused(tmp_path)
        (tmp_path / "ct.nii.gz").unlink()
        assert "found neither (1 volume(s) deeper than one sub-folder)" in refused(tmp_path)


class TestMixedFolders:
    def test_complete_dicom_wins_and_volumes_are_recorded(self, tmp_path, make):
        make.dicom_case(tmp_path)
        put(tmp_path / "CT_mask.nii.gz")
        source = open_case("p1", tmp_path)
        assert source.kind == "dicom"
        assert source.ignored == ("1 volume(s) beside the DICOM",)

    def test_volumes_win_over_ct_without_structures(self, tmp_path, make):
        make.dicom_case(tmp_path)
        (tmp_path / "rs.dcm").unlink()
        put(tmp_path / "ct.nii.gz")
        put(tmp_path / "masks/gtv.nii.gz", mask_array(1))
        source = open_case("p1", tmp_path)
        assert source.kind == "volumes"
        assert source.ignored == ("DICOM without RTSTRUCT beside the volumes",)

    def test_neither(self, tmp_path):
        (tmp_path / "notes.txt").write_text("hello")
        assert "found neither (1 file(s): not DICOM)" in refused(tmp_path)

    def test_empty_folder(self, tmp_path):
        assert "holds no file" in refused(tmp_path)


class TestFindCases:
    def test_sub_folders_in_order_without_hidden_ones(self, tmp_path):
        for name in ("b", "a", ".cache", "__MACOSX"):
            (tmp_path / name).mkdir()
        assert list(find_cases(tmp_path)) == ["a", "b"]

    @pytest.mark.parametrize("name", ["Jane Doe", "a+b", "-x"])
    def test_names_that_nnunet_cannot_use(self, tmp_path, name):
        (tmp_path / name).mkdir()
        with pytest.raises(ChordomaError, match="rename the folder"):
            open_case(name, tmp_path / name)

    @pytest.mark.parametrize("spacing", [(0.003, 0.003, 0.003), (1.0, 1.0, 40.0), (20.0, 20.0, 20.0)])
    def test_voxels_of_another_unit(self, tmp_path, spacing):
        grid = Geometry((200, 4, 4), spacing, (0.0,) * 3)
        write_image(tmp_path / "a/ct.nii.gz", Image(np.zeros(grid.shape_zyx, np.int16), grid))
        write_image(tmp_path / "a/gtv.nii.gz", Image(np.zeros(grid.shape_zyx, np.uint8), grid))
        with pytest.raises(ChordomaError, match=r"case 'a': expected voxels of .* spacing may be wrong"):
            open_case("a", tmp_path / "a")

    def test_a_case_instead_of_the_cohort(self, tmp_path):
        (tmp_path / "masks").mkdir()
        put(tmp_path / "ct.nii.gz")
        with pytest.raises(ChordomaError, match=r"found images directly in it \(ct.nii.gz\)"):
            find_cases(tmp_path)

    def test_nothing(self, tmp_path):
        with pytest.raises(ChordomaError, match="expected one sub-folder per case"):
            find_cases(tmp_path)

    def test_missing(self, tmp_path):
        with pytest.raises(ChordomaError, match="not an existing folder"):
            find_cases(tmp_path / "absent")
