"""What is read of a conversion record, including one that the conversion itself wrote."""

from dataclasses import replace

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.record import CaseRecord
from nnunet_chordoma.dataset_conversion.record import write_record as conversion_writes
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_document, write_json
from nnunet_chordoma.gate.scan_record import covered_share, read_scan_record
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA

FIELD = Geometry((50, 50, 50), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("size", "direction", "origin", "expected"),
    [
        ((50, 50, 50), (1, 0, 0, 0, 1, 0, 0, 0, 1), (0.0, 0.0, 0.0), 1.0),
        ((50, 50, 25), (1, 0, 0, 0, 1, 0, 0, 0, 1), (0.0, 0.0, 0.0), 0.5),
        ((25, 50, 25), (-1, 0, 0, 0, -1, 0, 0, 0, 1), (98.0, 98.0, 0.0), 0.25),
        ((50, 50, 50), (1, 0, 0, 0, 1, 0, 0, 0, 1), (200.0, 0.0, 0.0), 0.0),
    ],
)
def test_coverage(size, direction, origin, expected):
    scan = Geometry(size, (2.0, 2.0, 2.0), origin, direction)
    # In 25 samples along an axis, half of it is 12 or 13.
    assert covered_share(scan, FIELD, np.eye(4)) == pytest.approx(expected, abs=0.03)


def test_coverage_after_alignment():
    shift = np.eye(4)
    shift[0, 3] = 20.0
    assert covered_share(FIELD, FIELD, shift) == pytest.approx(0.8)
    # Half a scan, from the right end to the middle, moved to the left stays within the field.
    half = Geometry((25, 50, 50), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    assert covered_share(half, FIELD, shift) == pytest.approx(0.5, abs=0.03)


def test_the_records_of_the_conversion_are_understood(tmp_path):
    chain = TransformChain(
        Geometry((100, 100, 40), (0.9, 0.9, 2.5), (44.55, 44.55, -48.75), (-1, 0, 0, 0, -1, 0, 0, 0, 1)),
        Geometry((44, 40, 50), (2.0, 2.0, 2.0), (-43.0, -39.0, -49.0)),
    )
    alignment = Alignment(
        chain.rigid, "centroid", 0.3, 0.3, 0.5, 0.5, rotation_deg=2.5, shift_mm=4.0, rejected="too little bone"
    )
    given = CaseRecord(
        "a", "f", "dicom", "patient-001", "HFP", None, None, True, {}, {}, "keep",
        {"contradictions": ["the couch is in front"]}, alignment, chain, "contour", {}, {}, (), (), {}, (), {},
        {"image": "x", "labels": "y"}, (), (),
    )  # fmt: skip
    conversion_writes(tmp_path / "a.json", given)
    found = read_scan_record(tmp_path / "a.json")
    assert found.scheme == CHORDOMA
    assert (found.method, found.rejected) == ("centroid", "too little bone")
    assert found.orientation == "the couch is in front, converted with --fix-orientation keep"
    assert found.values == {
        "scan/pixel_mm": 0.9,
        "scan/slice_mm": 2.5,
        "scan/covered": 1.0,
        "alignment/overlap": 0.3,
        "alignment/correlation": 0.5,
        "alignment/rotation_deg": 2.5,
    }
    conversion_writes(tmp_path / "b.json", replace(given, alignment=Alignment.reference()))
    assert not any(name.startswith("alignment") for name in read_scan_record(tmp_path / "b.json").values)


def test_a_fix_that_removed_every_contradiction_is_still_doubtful(tmp_path, conversion):
    for name, fix in (("a", None), ("b", "flip-x")):
        write_document(
            tmp_path / f"{name}.json", "chordoma-conversion", 2, CHORDOMA, conversion() | {"orientation_fix": fix}
        )
    assert read_scan_record(tmp_path / "a.json").orientation == ""
    assert read_scan_record(tmp_path / "b.json").orientation == "converted with --fix-orientation flip-x"


def test_sagittal_slices_are_recognised(tmp_path, conversion):
    content = conversion()
    content["transform_chain"]["source"] |= {
        "spacing_mm": [0.5, 0.6, 3.0],
        "direction": [0, 0, 1, 1, 0, 0, 0, 1, 0],
    }
    write_document(tmp_path / "a.json", "chordoma-conversion", 2, CHORDOMA, content)
    values = read_scan_record(tmp_path / "a.json").values
    # The patient's long axis runs along the second index; the others lie in the axial plane.
    assert (values["scan/slice_mm"], values["scan/pixel_mm"]) == (0.6, 3.0)


def test_damaged_and_missing_records(tmp_path, conversion):
    path = tmp_path / "a.json"
    with pytest.raises(ChordomaError, match="case 'a': expected its conversion record"):
        read_scan_record(path)
    write_document(path, "chordoma-conversion", 2, CHORDOMA, conversion())
    for key in ("alignment", "transform_chain", "anatomy"):
        write_json(tmp_path / "b.json", {k: v for k, v in read_json(path).items() if k != key})
        with pytest.raises(ChordomaError, match="incomplete conversion record"):
            read_scan_record(tmp_path / "b.json")
