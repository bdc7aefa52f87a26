"""What is checked case by case and across a cohort before anything is written."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion import preflight
from nnunet_chordoma.dataset_conversion.case_names import identifying
from nnunet_chordoma.dataset_conversion.case_source import Patient, SourceOptions
from nnunet_chordoma.dataset_conversion.cohort.cohort_remarks import cohort_remarks
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase, check_case, check_cohort, winner
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiMap, RoiName
from nnunet_chordoma.dataset_conversion.volumes.volume_case import VolumeCase
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))


def put(folder, grid=GRID, **masks):
    """A case of masks, each given as (row, number of voxels) in a slice of its own or as an array."""
    write_image(folder / "ct.nii.gz", Image(np.zeros(GRID.shape_zyx, np.int16), GRID))
    for name, drawn in masks.items():
        array = drawn
        if isinstance(drawn, tuple):
            array = np.zeros(GRID.shape_zyx, np.uint8)
            array[drawn[0], drawn[1], : drawn[2]] = 1
        write_image(folder / f"masks/{name}.nii.gz", Image(array, grid))
    return check_case("p1", folder, RoiMap())


class TestVolumes:
    def test_of_rois_structures_and_overlaps(self, tmp_path):
        found = put(
            tmp_path,
            body=np.ones(GRID.shape_zyx, np.uint8),
            gtv=(0, 0, 5),
            piriformis_left=(0, 0, 3),
            piriformis_right=(1, 0, 4),
            paraspinal=(0, 0, 2),
        )
        cm3 = 0.002
        assert found.roi_volumes_cm3 == pytest.approx(
            {
                "body": 120 * cm3,
                "gtv": 5 * cm3,
                "piriformis_left": 3 * cm3,
                "piriformis_right": 4 * cm3,
                "paraspinal": 2 * cm3,
            }
        )
        assert found.volumes_cm3 == pytest.approx(
            {"body": 120 * cm3, "gtv": 5 * cm3, "paraspinal": 2 * cm3, "piriformis": 7 * cm3}
        )
        # The body overlaps with everything and is of no interest here.
        assert found.overlaps_cm3 == pytest.approx(
            {("gtv", "paraspinal"): 2 * cm3, ("gtv", "piriformis"): 3 * cm3, ("paraspinal", "piriformis"): 2 * cm3}
        )

    def test_gtv_wins_over_muscles_and_the_higher_label_among_those(self):
        assert winner("gtv", "piriformis") == winner("piriformis", "gtv") == "gtv"
        assert winner("paraspinal", "piriformis") == "piriformis"


class TestSides:
    def test_one_side_without_a_roi(self, tmp_path):
        (warning,) = put(tmp_path, gtv=(0, 0, 5), piriformis_left=(1, 1, 3)).warnings
        assert warning == "piriformis has its left side only (piriformis_left); no ROI is mapped for the right"

    def test_one_side_empty(self, tmp_path):
        (warning,) = put(tmp_path, Glut_Max_L=(1, 1, 0), Glut_Max_R=(1, 1, 3)).warnings
        assert warning == "gluteus_maximus has its right side only (Glut_Max_R); Glut_Max_L is empty"

    def test_a_side_that_is_a_copy_of_the_other(self, tmp_path):
        (warning,) = put(tmp_path, piriformis_L=(1, 1, 3), piriformis_R=(1, 1, 3)).warnings
        assert "piriformis: left and right share 0.01 cm³" in warning

    @pytest.mark.parametrize(
        "masks", [{"piriformis": (1, 1, 3)}, {"piriformis_L": (1, 1, 3), "piriformis_R": (1, 2, 3)}]
    )
    def test_both_sides_need_no_remark(self, tmp_path, masks):
        assert put(tmp_path, **masks).warnings == ()


class TestResampling:
    def test_is_an_option_and_leaves_a_warning(self, tmp_path):
        fine = Geometry((12, 10, 16), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0))
        array = np.zeros(fine.shape_zyx, np.uint8)
        array[2:10, 2:6, 2:8] = 1
        case = tmp_path / "p1"
        (problem,) = put(case, grid=fine, gtv=array).problems
        assert "mask gtv.nii.gz does not lie on the grid of the image: size (12, 10, 16) against (6, 5, 4)" in problem
        assert "--resample-masks" in problem
        ((found,), problems) = check_cohort(tmp_path, RoiMap(), 1, SourceOptions(resample_masks=True))
        assert (found.problems, problems) == ((), [])
        stated = "0.02 cm³ before, 0.02 cm³ after, 0.0% lay outside the image"
        assert found.warnings == (f"ROI 'gtv': resampled onto the grid of the image: {stated}",)


class TestUnforeseenErrors:
    """One damaged case must not hide what is wrong with the others."""

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (
                NotImplementedError("no\n  handler"),
                "case 'p1': unexpected NotImplementedError: no handler; the file may be damaged, export it again",
            ),
            (KeyError(), "case 'p1': unexpected KeyError; the file may be damaged, export it again"),
            (
                PermissionError(errno.EACCES, "Permission denied", "/x/1.dcm"),
                "case 'p1': cannot read /x/1.dcm (PermissionError: Permission denied); mend it and repeat",
            ),
            (OSError("broken stream"), "case 'p1': cannot read a file (OSError: broken stream); mend it and repeat"),
            (MemoryError(), "case 'p1': not enough memory (MemoryError); use fewer --workers"),
            (ChordomaError("ct.mha: truncated"), "case 'p1': ct.mha: truncated"),
            (ChordomaError("case 'p1': no CT"), "case 'p1': no CT"),
        ],
    )
    @pytest.mark.parametrize("place", ["open_case", "mask"])
    def test_are_problems_of_the_case(self, tmp_path, monkeypatch, place, error, expected):
        def fail(*_arguments, **_options):
            raise error

        if place == "open_case":
            monkeypatch.setattr(preflight, "open_case", fail)
        else:
            monkeypatch.setattr(VolumeCase, "mask", fail)
        found = put(tmp_path, gtv=(0, 0, 5))
        assert found.problems == (expected,)
        assert found.kind == ("unreadable" if place == "open_case" else "volumes")

    @pytest.mark.parametrize(
        "error", [OSError(errno.ENOSPC, "full"), OSError(errno.EROFS, "read-only"), KeyboardInterrupt()]
    )
    @pytest.mark.parametrize("place", ["open_case", "mask"])
    def test_what_is_no_fault_of_the_case_passes(self, tmp_path, monkeypatch, place, error):
        def fail(*_arguments, **_options):
            raise error

        if place == "open_case":
            monkeypatch.setattr(preflight, "open_case", fail)
        else:
            monkeypatch.setattr(VolumeCase, "mask", fail)
        with pytest.raises(type(error)):
            put(tmp_path, gtv=(0, 0, 5))

    def test_structures_that_can_be_read_are_still_known(self, tmp_path, monkeypatch):
        whole = VolumeCase.mask

        def fail(self, key, clip=False):
            if key == "gtv":
                raise RuntimeError("boom")
            return whole(self, key, clip)

        monkeypatch.setattr(VolumeCase, "mask", fail)
        found = put(tmp_path, gtv=(0, 0, 5), paraspinal=(1, 1, 3))
        assert found.volumes_cm3 == pytest.approx({"paraspinal": 0.006})
        assert len(found.problems) == 1


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (SourceOptions(ct_series={"p9": "1.2"}), "--ct-series p9: unknown case; the cases are p1"),
            (SourceOptions(rtstruct={"p9": "x"}), "--rtstruct p9: unknown case; the cases are p1"),
        ],
    )
    def test_unknown_cases(self, tmp_path, options, expected):
        put(tmp_path / "p1", gtv=(0, 0, 5))
        with pytest.raises(ChordomaError) as error:
            check_cohort(tmp_path, RoiMap(), 1, options)
        assert str(error.value) == expected

    def test_names_that_cannot_be_read_are_said_once(self, tmp_path):
        put(tmp_path / "p1", gtv=(0, 0, 5))
        with pytest.raises(ChordomaError, match=r"--label-names .*absent\.yaml: no such file"):
            check_cohort(tmp_path, RoiMap(), 1, SourceOptions(label_names=tmp_path / "absent.yaml"))

    def test_reach_the_case(self, tmp_path):
        put(tmp_path / "p1", export=np.full(GRID.shape_zyx, 3, np.uint8) * (np.arange(6) > 3) + np.uint8(1))
        (tmp_path / "names.yaml").write_text("{1: body, 4: gtv}")
        ((found,), _) = check_cohort(tmp_path, RoiMap(), 1, SourceOptions(label_names=tmp_path / "names.yaml"))
        assert found.rois == {"body": ("body",), "gtv": ("gtv",)}


class TestPatient:
    def test_is_known_but_stays_in_memory(self, tmp_path, make):
        series = make.dicom_case(tmp_path / "p1", patient_id="MRN-7")
        found = check_case("p1", tmp_path / "p1", RoiMap())
        assert found.patient.identifier == "MRN-7"
        assert found.identifiers["frame_of_reference"] == series.frame_uid
        assert "MRN-7" not in repr(found)
        assert series.frame_uid not in repr(found)

    @pytest.mark.parametrize("folder", ["MRN-4711", "x_mrn-4711_y", "JaneDoe", "ct_doe", "jane.2"])
    def test_folder_that_names_the_patient(self, tmp_path, make, folder):
        make.dicom_case(tmp_path / folder, patient_id="MRN-4711")
        (warning, *_) = check_case(folder, tmp_path / folder, RoiMap()).warnings
        assert "the folder name holds" in warning
        assert not any(text in warning.casefold() for text in ("4711", "jane", "doe"))

    @pytest.mark.parametrize(
        ("case", "patient"),
        [
            ("case_01", Patient("4711", "Doe^Jane")),
            ("STS_001", Patient("STS_001", "STS_001", identity_removed=True)),
            # "Lee" is only found as a word, "Wu" not at all, and words that stand for no name say nothing.
            ("sleeve_1", Patient("", "Lee^Wu")),
            ("wu_1", Patient("", "Lee^Wu")),
            ("anon_patient_1", Patient("anonymous", "Anon^Patient")),
            ("p1", Patient()),
        ],
    )
    def test_folder_that_does_not(self, case, patient):
        assert identifying(case, patient) is None

    def test_short_names_count_as_words(self):
        assert identifying("lee_1", Patient("", "Lee^Wu")) is not None

    def test_pseudonym_is_trusted_only_where_the_header_vouches(self):
        assert identifying("STS_001", Patient("STS_001", "STS_001")) is not None


def case(name, frame="", patient="", rois=(), unmapped=(), **volumes):
    return CheckedCase(
        name,
        None,
        geometry=GRID,
        rois={structure: (structure,) for structure in volumes},
        roi_names=tuple(RoiName(key, key) for key in (*rois, *unmapped)),
        unmapped=tuple(unmapped),
        volumes_cm3=volumes,
        patient=Patient(patient),
        identifiers={"frame_of_reference": frame},
    )


class TestRemarks:
    def test_one_patient_by_id_or_frame(self):
        cases = [case("a", "1", "A"), case("b", "2", "A"), case("c", "3", "B"), case("d", "3"), case("e")]
        found = cohort_remarks(cases)
        assert [remark.split(" are one patient")[0] for remark in found] == ["a, b", "c, d"]
        assert not any(word in remark.split() for remark in found for word in ("A", "B"))

    def test_one_placeholder_for_all(self):
        (remark,) = cohort_remarks([case("a", "1", "ANON"), case("b", "2", "ANON")])
        assert "all 2 cases have one PatientID" in remark

    def test_volume_out_of_line(self):
        cases = [case(name, piriformis=volume) for name, volume in zip("abcd", (30.0, 36.0, 3.0, 33.0), strict=True)]
        (remark,) = cohort_remarks(cases)
        assert remark.startswith("c: piriformis has 3.0 cm³, 11 times smaller than the median of the other cases (33.0")
        (remark,) = cohort_remarks([case(n, body=v) for n, v in zip("abcd", (9e3, 9e4, 9e3, 9e3), strict=True)])
        assert remark.startswith("b: body has 90000.0 cm³, 10 times larger")

    def test_usual_spread_and_few_cases_pass(self):
        assert cohort_remarks([case(n, gtv=v) for n, v in zip("abcd", (20.0, 1600.0, 300.0, 400.0), strict=True)]) == ()
        assert (
            cohort_remarks([case(n, paraspinal=v) for n, v in zip("abcd", (200.0, 800.0, 400.0, 500.0), strict=True)])
            == ()
        )
        assert cohort_remarks([case(n, piriformis=v) for n, v in zip("abc", (1.0, 50.0, 40.0), strict=True)]) == ()

    def test_numbered_gtvs_are_proposed_where_none_is_mapped(self):
        cases = [case("a", unmapped=("GTV1", "GTV2", "Bladder")), case("b", gtv=3.0, unmapped=("GTV2",))]
        (remark,) = cohort_remarks(cases)
        assert remark.startswith("a: no gtv, though GTV1, GTV2 may be (part of) it")
        assert "'gtv: [GTV1, GTV2]'" in remark


def test_the_line_for_a_case_without_structures_takes_the_likeliest_name(tmp_path):
    (problem,) = put(tmp_path, bladder=(0, 0, 5), gtv_old=(1, 0, 5)).problems
    assert "ROI names found: bladder, gtv_old; add a line such as 'gtv: gtv_old'" in problem


def test_masks_are_unions_of_left_and_right(tmp_path, make):
    """The volume of a pair is that of both files together, read independently here."""
    make.volume_case(tmp_path / "p1")
    found = check_case("p1", tmp_path / "p1", RoiMap())
    sides = [read_image(tmp_path / f"p1/masks/gluteus_maximus_{side}.nii.gz").array.sum() for side in ("left", "right")]
    assert found.volumes_cm3["gluteus_maximus"] == pytest.approx(int(sum(sides)) * 0.016)
