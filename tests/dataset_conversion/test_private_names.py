"""Names of files and ROIs that tell who the patient is: what is warned of, and what a record may say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.case_source import Patient
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase, check_case
from nnunet_chordoma.dataset_conversion.private_names import may_identify, public_keys, public_names
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiMap
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
NOBODY = Patient()
WARNING = "a file name may identify the patient: {} ROI name(s) hold a long number or a date; rename them"


def check(folder, names, roi_map=None):
    """A case with one mask of one voxel per name."""
    write_image(folder / "ct.nii.gz", Image(np.zeros(GRID.shape_zyx, np.int16), GRID))
    for place, name in enumerate(names):
        array = np.zeros(GRID.shape_zyx, np.uint8)
        array[place % 4, place // 4, 0] = 1
        write_image(folder / f"masks/{name}.nii.gz", Image(array, GRID))
    return check_case("p1", folder, RoiMap(roi_map or {}))


@pytest.mark.parametrize(
    "name", ["PET_Doe_Jane_19510203", "gtv_123456", "gtv1951-02-03", "x_3.2.1951", "1951_2_3", "gtv1234567890x"]
)
def test_numbers_and_dates(name):
    assert may_identify(name, "volumes", NOBODY)
    assert not may_identify(name, "dicom", NOBODY)


@pytest.mark.parametrize("name", ["gtv", "gtv_12345", "PTV_54_1.8", "GTV 2019", "vertebrae_L5", "1_2_3", "2.5.19"])
def test_other_numbers(name):
    assert not may_identify(name, "volumes", NOBODY)


def test_names_of_the_headers():
    patient = Patient("MRN-4711", "Doe^Jane")
    assert may_identify("GTV_Doe", "dicom", patient)
    assert may_identify("mrn-4711 gtv", "dicom", patient)
    assert not may_identify("GTV", "dicom", patient)
    assert not may_identify("GTV_Doe", "dicom", replace(patient, identity_removed=True))


class TestWarning:
    def test_for_mapped_and_unmapped_masks_without_repeating_them(self, tmp_path):
        found = check(tmp_path, ["gtv", "PET_Doe_Jane_19510203", "mass_123456"], {"paraspinal": ("mass*",)})
        assert found.warnings == (WARNING.format(2),)

    def test_not_for_other_names(self, tmp_path):
        assert check(tmp_path, ["gtv", "bladder"]).warnings == ()

    def test_for_a_roi_with_the_patients_name(self, tmp_path, make):
        series = make.ct(tmp_path / "ct", np.zeros((4, 8, 8)), [(0, 0, 2.0 * z) for z in range(4)])
        square = [(2, 2, 2), (10, 2, 2), (10, 10, 2), (2, 10, 2)]
        make.rtstruct(tmp_path / "rs.dcm", [("GTV", [square]), ("Doe ring", [square])], series)
        found = check_case("p1", tmp_path, RoiMap())
        (warning,) = found.warnings
        assert warning.startswith("a ROI name may identify the patient: 1 hold the PatientID or a part")
        assert "Doe" not in warning
        public = public_names(found)
        assert (public.unmapped, public.rois) == (("roi-1",), {"gtv": ("GTV",)})


MAP = {"gtv": ("GTV_*_Doe",), "piriformis": ("piri_123456_left", "piri_right")}
NAMES = ("GTV_19510203_Doe", "piri_123456_left", "piri_right", "PET_Doe_Jane", "paraspinal", "GTV_Doe2_Jane")


class TestPublicNames:
    @pytest.fixture
    def checked(self, tmp_path):
        found = check(tmp_path, NAMES, MAP)
        assert found.problems == ()
        return replace(
            found,
            skipped_contours={"GTV_19510203_Doe": ("ROI 'GTV_19510203_Doe': x",)},
            warnings=(*found.warnings, "ROI 'GTV_19510203_Doe': resampled", "paraspinal is left_GTV_19510203_Doe's"),
        )

    def test_mapped_names_only_where_they_may_identify(self, checked):
        public = public_names(checked)
        assert public.rois == {"gtv": ("roi-1",), "piriformis": ("roi-2", "piri_right"), "paraspinal": ("paraspinal",)}
        assert public.roi_volumes_cm3 == pytest.approx(
            {"roi-1": 0.002, "roi-2": 0.002, "piri_right": 0.002, "paraspinal": 0.002}
        )
        assert public.sides == {"roi-1": "both", "roi-2": "left", "piri_right": "right", "paraspinal": "both"}
        assert public.matched == {
            "roi-1": "GTV_*_Doe",
            "roi-2": "a name or pattern of the ROI map",
            "piri_right": "piri_right",
        }
        assert public.skipped_contours == {"roi-1": ("ROI 'roi-1': x",)}
        assert "ROI 'roi-1': resampled" in public.warnings

    def test_unmapped_names_are_counted(self, checked):
        assert set(checked.unmapped) == {"PET_Doe_Jane", "GTV_Doe2_Jane"}
        public = public_names(checked)
        assert public.unmapped == ("2 ROI(s)",)
        assert [roi.key for roi in public.roi_names] == ["roi-1", "paraspinal", "roi-2", "piri_right"]

    def test_no_trace_is_left_and_nothing_else_is_changed(self, checked):
        public = public_names(replace(checked, folder=None, warnings=checked.warnings[:-1]))
        assert not any(text in repr(public) for text in ("19510203", "Doe2", "Jane", "123456"))
        assert (public.case, public.geometry, public.volumes_cm3) == ("p1", GRID, checked.volumes_cm3)

    def test_remark_on_an_unmapped_name_like_a_structures(self, tmp_path):
        found = check(tmp_path, ["gtv", "GTV2_Doe"])
        (remark,) = found.warnings
        assert "GTV2_Doe" in remark
        (remark,) = public_names(found).warnings
        assert remark == "gtv is taken from gtv alone; not mapped, though alike in name: an unmapped ROI"

    def test_unmapped_words_that_a_remark_uses_stay_in_it(self, tmp_path):
        found = check(tmp_path, ["gtv", "piriformis_left", "side"])
        (remark,) = found.warnings
        assert remark.startswith("piriformis has its left side only")
        assert public_names(found).warnings == (remark,)

    def test_keys_take_no_others_place(self, tmp_path):
        found = check(tmp_path, ["roi-1", "gtv_123456"])
        assert public_keys(found) == {"gtv_123456": "roi-2", "roi-1": "roi-1"}

    def test_a_case_without_such_names_stays(self, tmp_path):
        found = check(tmp_path, ["gtv", "paraspinal"])
        assert public_names(found) == found
        unreadable = CheckedCase("p1", tmp_path, ("case 'p1': damaged",))
        assert public_names(unreadable) == unreadable
