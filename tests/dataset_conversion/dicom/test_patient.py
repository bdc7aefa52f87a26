from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers
from nnunet_chordoma.dataset_conversion.dicom.patient import read_patient
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.errors import ChordomaError


def patient(**attributes):
    # A data set is asked by keyword as a dict is, and a dict does not mind values that DICOM forbids.
    return read_patient(attributes, "x")


@pytest.mark.parametrize(
    ("age", "years"),
    [("064Y", 64), ("64Y", 64), ("089Y", 89), ("090Y", 90), ("101Y", 90), ("018M", 1), ("104W", 2), ("400D", 1)],
)
def test_stated_age(age, years):
    assert patient(PatientAge=age, PatientBirthDate="19000101", StudyDate="20000101").age_years == years


@pytest.mark.parametrize(
    ("born", "seen", "years"),
    [
        ("19510203", "20190807", 68),
        ("19510807", "20190807", 68),
        ("19510808", "20190807", 67),
        ("19040229", "20040228", 90),
        ("20190807", "20190807", None),
        ("20200101", "20190807", None),
        ("", "20190807", None),
        ("19510203", "", None),
    ],
)
def test_age_from_dates(born, seen, years):
    assert patient(PatientBirthDate=born, StudyDate=seen).age_years == years


@pytest.mark.parametrize("placeholder", ["000Y", "0Y", "", "unknown"])
def test_placeholder_for_an_age(placeholder):
    known = patient(PatientAge=placeholder, PatientBirthDate="19510203", StudyDate="20190807")
    assert known.age_years == 68
    assert patient(PatientAge=placeholder).age_years is None


@pytest.mark.parametrize(("sex", "expected"), [("F", "F"), ("m", "M"), ("O", "O"), ("", None), ("X", None)])
def test_sex(sex, expected):
    assert patient(PatientSex=sex).sex == expected


def test_identity():
    known = patient(PatientID=" 12 ", PatientName="Doe^Jane")
    assert (known.identifier, known.name, known.identity_removed) == ("12", "Doe^Jane", False)
    assert patient(PatientIdentityRemoved="YES").identity_removed
    assert patient().identifier == ""
    assert patient().age_years is None


def test_of_a_case(tmp_path, make):
    make.dicom_case(tmp_path / "a")
    assert open_case("a", tmp_path / "a").patient.age_years == 68


def test_two_patients_in_one_series_are_refused_without_naming_them(tmp_path, make):
    make.ct(
        *(tmp_path, np.zeros((2, 4, 4)), [[0, 0, 0], [0, 0, 3]]),
        edit=lambda z, s: setattr(s, "PatientID", f"SECRET{z}"),
    )
    with pytest.raises(ChordomaError, match="found 2 different PatientID") as error:
        read_headers(sorted(tmp_path.iterdir()), "x")
    assert "SECRET" not in str(error.value)


def test_structure_set_of_another_patient_is_remarked(tmp_path, make):
    from pydicom import dcmread

    make.dicom_case(tmp_path / "a", patient_id="MRN-4711")
    assert open_case("a", tmp_path / "a").warnings == ()
    structures = dcmread(tmp_path / "a/rs.dcm")
    structures.PatientID = "SECRET"
    structures.save_as(tmp_path / "a/rs.dcm")
    (warning,) = open_case("a", tmp_path / "a").warnings
    assert "different PatientID" in warning
    assert "SECRET" not in warning
