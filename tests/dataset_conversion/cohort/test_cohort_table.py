"""Tables of a converted cohort, against figures worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY, TransformChain
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import Cohort, write_cohort
from nnunet_chordoma.dataset_conversion.cohort.cohort_report import write_cohort_tables
from nnunet_chordoma.dataset_conversion.cohort.cohort_table import cohort_tables, resolution_mm
from nnunet_chordoma.dataset_conversion.cohort.cohort_text import markdown_text, print_cohort_tables
from nnunet_chordoma.dataset_conversion.quarantine import Quarantined
from nnunet_chordoma.dataset_conversion.record import CaseRecord, StructureVolume, write_record
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import Splits, write_splits

TARGET = Geometry((182, 157, 216), (2.0,) * 3, (0.0, 0.0, 0.0))


def record(case, **changes):
    values = {
        "case": case,
        "fingerprint": "0",
        "source_kind": "dicom",
        "patient": f"patient of {case}",
        "patient_position": "HFP",
        "sex": None,
        "age_years": None,
        "pseudonymised": True,
        "identifiers": {},
        "input_sha256": {},
        "orientation_fix": None,
        "anatomy": {},
        "alignment": Alignment.none(),
        "chain": TransformChain(Geometry((512, 512, 90), (0.9765625, 0.9765625, 2.5), (0.0, 0.0, 0.0)), TARGET),
        "body_from": "threshold",
        "rois": {},
        "rule": {},
        "unmapped": (),
        "absent": (),
        "skipped_contours": {},
        "overwritten": (),
        "volumes_cm3": {},
        "written_sha256": {"image": "", "labels": ""},
        "warnings": (),
        "ignored": (),
    }
    return CaseRecord(**{**values, **changes})


def volumes(**cm3):
    # The converted volume must not be the one that is reported.
    return {structure: StructureVolume(value, value + 1000) for structure, value in cm3.items()}


def spacing(*values):
    return TransformChain(Geometry((9, 9, 9), values, (0.0, 0.0, 0.0)), TARGET)


@pytest.fixture
def dataset(tmp_path):
    """Five cases of four patients; one prone scan was stored as supine, and one case was left out."""
    folder = tmp_path / "Dataset007_Chordoma"
    moved = Alignment(IDENTITY, "bone", 0.4, 0.8, 0.5, 0.9, 3.0, 12.0)
    poor = Alignment(IDENTITY, "centroid", 0.2, 0.2, 0.1, 0.1, 0.0, 30.0, "bone overlap | fell to 0.1")
    cases = [
        record(
            "a", sex="F", age_years=60, volumes_cm3=volumes(gtv=100.0, piriformis=20.0), alignment=Alignment.reference()
        ),
        record("b", patient="patient of a", age_years=70, sex="F", volumes_cm3=volumes(gtv=200.0), alignment=moved),
        record(
            "c",
            sex="M",
            age_years=31,
            patient_position="HFS",
            orientation_fix="HFP",
            volumes_cm3=volumes(gtv=600.0),
            alignment=poor,
        ),
        record("d", patient_position="HFS", orientation_fix="keep", chain=spacing(0.84, 0.8, 3.75), alignment=moved),
        record("e", source_kind="volumes", patient_position=None, chain=spacing(1.0, 1.0, 2.5)),
    ]
    for case in cases:
        write_record(folder / f"conversion/{case.case}.json", case)
    write_splits(folder / "splits_final.json", Splits(("a", "b", "c"), ("d",), ("e",)))
    left_out = Quarantined("f", "survey", "case 'f': no patient found")
    write_cohort(folder, Cohort("a", TARGET, 0, (left_out,)), pseudonymise=True)
    return folder


class TestFigures:
    def test_groups_are_all_cases_and_the_splits_that_have_any(self, dataset):
        tables = cohort_tables(dataset)
        assert tables.dataset == "Dataset007_Chordoma"
        assert [(g.name, g.cases, g.patients) for g in tables.groups] == [
            ("all", 5, 4),
            ("train", 3, 2),
            ("val", 1, 1),
            ("test", 1, 1),
        ]

    def test_volumes_are_those_of_the_scan_with_population_sd(self, dataset):
        everyone, train, val, _ = cohort_tables(dataset).groups
        gtv = everyone.volumes["gtv"]
        assert (gtv.volume_cm3.n, gtv.absent) == (3, 2)
        assert gtv.volume_cm3.mean == pytest.approx(300)
        assert gtv.volume_cm3.sd == pytest.approx(math.sqrt((200**2 + 100**2 + 300**2) / 3))
        assert (gtv.volume_cm3.minimum, gtv.volume_cm3.median, gtv.volume_cm3.maximum) == (100, 200, 600)
        assert train.volumes["piriformis"].volume_cm3.n == 1
        assert train.volumes["piriformis"].absent == 2
        assert (val.volumes["gtv"].volume_cm3.mean, val.volumes["gtv"].absent) == (None, 1)
        assert list(everyone.volumes) == list(CHORDOMA.structures)

    def test_a_patient_with_two_scans_counts_once(self, dataset):
        everyone, train, *_ = cohort_tables(dataset).groups
        assert everyone.sexes == {"F": 1, "M": 1, "not stated": 2}
        # 60 (the first scan of the patient) and 31.
        assert (train.age_years.n, train.age_years.mean) == (2, 45.5)
        assert (train.age_years.minimum, train.age_years.maximum) == (31, 60)

    def test_position_is_the_mended_one(self, dataset):
        everyone = cohort_tables(dataset).groups[0]
        assert everyone.positions == {"HFS": 1, "HFP": 3, "not stated": 1}
        assert list(everyone.positions) == ["HFS", "HFP", "not stated"]

    def test_resolutions_are_rounded_as_in_the_paper_and_sorted_by_count(self, dataset):
        everyone = cohort_tables(dataset).groups[0]
        assert list(everyone.resolutions_mm.items()) == [(("1", "1", "2.5"), 4), (("0.8", "0.8", "3.75"), 1)]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ((0.9765625, 0.9765625, 2.5), ("1", "1", "2.5")),
            ((1.26953, 1.26953, 3.75), ("1.3", "1.3", "3.75")),
            ((0.703125, 1.8, 5.0), ("0.7", "1.8", "5")),
            ((10.0, 20.0, 100.0), ("10", "20", "100")),
        ],
    )
    def test_rounding(self, values, expected):
        assert resolution_mm(Geometry((2, 2, 2), values, (0.0, 0.0, 0.0))) == expected

    def test_registration_counts_all_and_measures_those_that_were_moved(self, dataset):
        tables = cohort_tables(dataset)
        everyone = tables.groups[0].registration
        assert everyone.methods == {"reference": 1, "bone": 2, "centroid": 1, "none": 1}
        assert everyone.rejected == 1
        assert (everyone.overlap_before.n, everyone.overlap_before.mean) == (3, pytest.approx(1 / 3))
        assert everyone.overlap_after.mean == pytest.approx(0.6)
        assert (everyone.rotation_deg.maximum, everyone.shift_mm.maximum) == (3.0, 30.0)
        assert tables.groups[3].registration.rotation_deg.n == 0
        assert tables.rejected == {"c": "bone overlap | fell to 0.1"}
        assert tables.quarantined == {"f": "survey"}


def rows_of(markdown):
    """First cell of a table row to the others."""
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.splitlines() if line[:1] == "|"
    ]
    return {row[0].replace("\\", ""): row[1:] for row in rows}


class TestText:
    def test_markdown(self, dataset):
        text = markdown_text(cohort_tables(dataset))
        rows = rows_of(text)
        assert text.startswith("# Dataset007\\_Chordoma: 5 cases of 4 patients\n")
        assert rows["cases"] == ["5", "3", "1", "1"]
        assert rows["patients"] == ["4", "2", "1", "1"]
        assert rows["HFP"] == ["3", "3", "0", "-"]
        assert rows["position not stated"] == ["1", "0", "0", "1"]
        assert rows["female"] == ["1", "1", "-", "-"]
        assert rows["sex not stated"] == ["2", "0", "1", "1"]
        assert rows["age (years)"] == ["46, 46 (31–60)", "46, 46 (31–60)", "-", "-"]
        assert rows["1 x 1 x 2.5"] == ["4", "3", "0", "1"]
        assert rows["gtv"] == [
            *["300.0 ± 216.0 (100.0–600.0) \\[n = 3, 2 absent\\]", "300.0 ± 216.0 (100.0–600.0) \\[n = 3\\]"],
            *["-", "-"],
        ]
        assert rows["piriformis"][0] == "20.0 \\[n = 1, 4 absent\\]"
        assert rows["aligned by bone"] == ["2", "1", "1", "0"]
        assert rows["bone overlap after (Dice)"] == ["0.60 (0.20–0.80)", "0.50 (0.20–0.80)", "0.80", "-"]
        assert rows["shift (mm)"] == ["18.0 (12.0–30.0)", "21.0 (12.0–30.0)", "12.0", "-"]
        assert "* c: registration rejected: bone overlap \\| fell to 0.1" in text
        assert "* f: not in the dataset, it failed at: survey" in text
        assert "population" in text

    def test_without_alignment_there_are_no_figures_of_it(self, dataset):
        for case in "abcd":
            write_record(dataset / f"conversion/{case}.json", record(case))
        rows = rows_of(markdown_text(cohort_tables(dataset)))
        assert rows["not aligned"] == ["5", "3", "1", "1"]
        assert not rows.keys() & {"rotation (degrees)", "shift (mm)", "correlation after", "aligned by bone"}

    def test_every_row_is_as_wide_as_its_head(self, dataset):
        widths = {line.replace("\\|", "").count("|") for line in markdown_text(cohort_tables(dataset)).splitlines()}
        assert widths == {0, 6}

    def test_terminal_shows_the_same_cells(self, dataset, capsys):
        tables = cohort_tables(dataset)
        print_cohort_tables(tables)
        out = capsys.readouterr().out
        for expected in (
            "Dataset007_Chordoma: 5 cases of 4 patients",
            "1 x 1 x 2.5",
            "300.0 ± 216.0 (100.0–600.0) [n = 3]",
        ):
            assert expected in out
        assert "c: registration rejected: bone overlap | fell to 0.1" in out


class TestFiles:
    def test_csv_is_tidy_and_empty_where_nothing_is_known(self, dataset, tmp_path):
        _, values, _ = write_cohort_tables(cohort_tables(dataset), tmp_path / "out")
        rows = list(csv.DictReader(io.StringIO(values.read_text())))
        keys = [tuple(row[c] for c in ("split", "quantity", "item", "statistic")) for row in rows]
        assert len(set(keys)) == len(keys)
        found = dict(zip(keys, rows, strict=True))
        assert found["all", "volume", "gtv", "mean"]["value"] == "300.0"
        assert found["all", "volume", "gtv", "mean"]["unit"] == "cm3"
        assert found["all", "volume", "gtv", "absent"]["value"] == "2"
        assert found["val", "volume", "gtv", "n"]["value"] == "0"
        assert found["val", "volume", "gtv", "mean"]["value"] == ""
        assert found["test", "age", "", "mean"]["value"] == ""
        assert found["train", "position", "HFP", "count"]["value"] == "3"
        assert found["all", "resolution_mm", "0.8 x 0.8 x 3.75", "count"]["value"] == "1"
        assert ("test", "position", "HFP", "count") not in found

    def test_json(self, dataset, tmp_path):
        *_, document = write_cohort_tables(cohort_tables(dataset), tmp_path / "out")
        content = json.loads(document.read_text())
        assert (content["schema"], content["schema_version"]) == ("chordoma-cohort-tables", 1)
        assert content["ddof"] == 0
        assert [group["name"] for group in content["groups"]] == ["all", "train", "val", "test"]
        everyone, _, val, _ = content["groups"]
        assert everyone["resolutions_mm"] == [
            {"resolution_mm": [1.0, 1.0, 2.5], "cases": 4},
            {"resolution_mm": [0.8, 0.8, 3.75], "cases": 1},
        ]
        assert val["volumes"]["gtv"]["volume_cm3"]["mean"] is None
        assert val["age_years"] == {"n": 0, "mean": None, "sd": None, "median": None, "minimum": None, "maximum": None}
        assert content["quarantined"] == {"f": "survey"}

    def test_three_files(self, dataset, tmp_path):
        written = write_cohort_tables(cohort_tables(dataset), tmp_path / "new/folder")
        assert sorted(p.name for p in (tmp_path / "new/folder").iterdir()) == ["cohort.csv", "cohort.json", "cohort.md"]
        assert [p.name for p in written] == ["cohort.md", "cohort.csv", "cohort.json"]


class TestCommand:
    def test_prints_and_writes(self, dataset, tmp_path, monkeypatch, convert):
        monkeypatch.setenv("nnUNet_raw", str(dataset.parent))
        result = convert("cohort", 7, "-o", tmp_path / "out")
        assert result.status == 0, result.err
        assert "5 cases of 4 patients" in result.out
        assert (tmp_path / "out/cohort.md").read_text() == markdown_text(cohort_tables(dataset))

    def test_without_a_folder_nothing_is_written(self, dataset, monkeypatch, convert):
        monkeypatch.setenv("nnUNet_raw", str(dataset.parent))
        before = sorted(dataset.parent.rglob("*"))
        assert convert("cohort", 7).status == 0
        assert sorted(dataset.parent.rglob("*")) == before

    def test_dataset_that_does_not_exist(self, tmp_path, monkeypatch, convert):
        monkeypatch.setenv("nnUNet_raw", str(tmp_path))
        result = convert("cohort", 8)
        assert result.status == 1
        assert result.err.count("\n") == 1
        assert "Dataset008" in result.err


class TestWrongInput:
    def test_folder_without_records(self, tmp_path):
        with pytest.raises(ChordomaError, match=r"expected the records that chordoma-convert run writes"):
            cohort_tables(tmp_path)

    def test_missing_record(self, dataset):
        (dataset / "conversion/c.json").unlink()
        with pytest.raises(ChordomaError, match=r"conversion/c\.json: no such file"):
            cohort_tables(dataset)

    def test_record_of_a_case_in_no_split(self, dataset):
        write_record(dataset / "conversion/x.json", record("x"))
        with pytest.raises(ChordomaError, match=r"record\(s\) of x, which no split of splits_final\.json names"):
            cohort_tables(dataset)

    def test_record_of_another_version(self, dataset):
        path = dataset / "conversion/c.json"
        path.write_text(path.read_text().replace('"schema_version": ', '"schema_version": 9'))
        with pytest.raises(ChordomaError, match="schema version"):
            cohort_tables(dataset)

    def test_no_case_at_all(self, dataset):
        for path in (dataset / "conversion").glob("*.json"):
            path.unlink()
        write_splits(dataset / "splits_final.json", Splits((), ()))
        with pytest.raises(ChordomaError, match="expected at least one case"):
            cohort_tables(dataset)
