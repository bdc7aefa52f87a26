from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.cohort.patients import (
    CaseIdentity,
    number_patients,
    placeholder_frame,
    require_apart,
)
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import Splits


def test_one_id_or_one_frame_is_one_patient():
    identities = {
        "a": CaseIdentity("4711", "1.2"),
        "b": CaseIdentity("0815", "1.3"),
        "c": CaseIdentity(" 4711 ", "1.4"),
        "d": CaseIdentity("", "1.4"),
        "e": CaseIdentity("", ""),
        "f": CaseIdentity("", ""),
    }
    assert number_patients(identities) == {
        "a": "patient-001",
        "b": "patient-002",
        "c": "patient-001",
        "d": "patient-001",
        "e": "patient-003",
        "f": "patient-004",
    }


def test_without_patient_ids_only_the_frame_counts():
    identities = {"a": CaseIdentity("x", "1"), "b": CaseIdentity("x", "2"), "c": CaseIdentity("y", "2")}
    assert number_patients(identities, use_patient_ids=False) == {
        "a": "patient-001",
        "b": "patient-002",
        "c": "patient-002",
    }


def test_placeholder_that_all_cases_share():
    identities = {name: CaseIdentity("ANONYMOUS", frame) for name, frame in (("a", "1"), ("b", "2"), ("c", "3"))}
    with pytest.raises(ChordomaError, match=r"all 3 cases have one PatientID.*--no-patient-ids"):
        number_patients(identities)
    assert len(set(number_patients(identities, use_patient_ids=False).values())) == 3


def test_a_single_case_may_have_any_id():
    assert number_patients({"a": CaseIdentity("x", "1")}) == {"a": "patient-001"}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_patients_are_the_connected_cases(pairs):
    """Against a closure by repetition; 0 stands for an identifier that is missing; the last case shares none."""
    pairs = [*pairs, (4, 4)]
    identities = {f"c{i}": CaseIdentity("i" * a, "f" * b) for i, (a, b) in enumerate(pairs)}
    groups = {case: {case} for case in identities}
    for _ in pairs:
        for one, x in identities.items():
            for other, y in identities.items():
                same = (x.patient_id and x.patient_id == y.patient_id) or (
                    x.frame_of_reference_uid and x.frame_of_reference_uid == y.frame_of_reference_uid
                )
                if same:
                    groups[one] = groups[other] = groups[one] | groups[other]
    ids = {identity.patient_id for identity in identities.values()}
    if len(identities) > 1 and len(ids) == 1 and ids != {""}:
        return
    numbers = number_patients(identities)
    for one in identities:
        for other in identities:
            assert (numbers[one] == numbers[other]) == (other in groups[one])


def cohort(*pairs):
    return {f"c{i}": CaseIdentity(*pair) for i, pair in enumerate(pairs)}


@pytest.mark.parametrize("ids", [("x", "y", "z"), ("", "", ""), ("x", "y", ""), ("x", "x", "y")])
def test_a_frame_that_all_cases_share_is_a_placeholder(ids):
    identities = cohort(*((one, "1.2.3") for one in ids))
    assert placeholder_frame(identities)
    expected = {("", "", ""): 3}.get(ids, len(set(ids)))
    assert len(set(number_patients(identities).values())) == expected


@pytest.mark.parametrize(
    "pairs",
    [
        [("x", "1"), ("y", "1")],
        [("x", "1"), ("x", "1"), ("", "1")],
        [("x", "1"), ("y", "1"), ("z", "2")],
        [("x", ""), ("y", ""), ("z", "")],
        [("x", "1"), ("y", "1"), ("z", "")],
    ],
    ids=["two cases", "one id", "another frame", "no frame", "a case without"],
)
def test_other_shared_frames_are_none(pairs):
    assert not placeholder_frame(cohort(*pairs))


def test_frame_of_all_cases_when_patient_ids_are_not_to_be_used():
    identities = cohort(("ANON", "1"), ("ANON", "1"), ("ANON", "1"))
    assert not placeholder_frame(identities)
    assert placeholder_frame(identities, use_patient_ids=False)
    assert len(set(number_patients(identities, use_patient_ids=False).values())) == 3


def test_what_to_do_about_a_patient_in_two_splits():
    with pytest.raises(ChordomaError) as error:
        require_apart(Splits(("a",), ("b",)), {"a": "patient-001", "b": "patient-001"}, "x")
    assert str(error.value) == (
        "x: cases 'a' (train) and 'b' (val) are one patient (same PatientID or frame of reference); put both into "
        "one split; if the PatientIDs are placeholders, give --no-patient-ids"
    )
