"""chordoma-convert inspect: the same facts as tables and as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_chordoma.images import Image, read_image, write_image


def rows(text, title):
    """Cells of a printed table, row by row, without the header; words are split at two or more spaces."""
    block = text.split(f"\n{title}")[1] if not text.startswith(title) else text[len(title) :]
    lines = [line.rstrip() for line in block.splitlines()]
    rule = next(i for i, line in enumerate(lines) if "──" in line)
    found = []
    for line in lines[rule + 1 :]:
        if not line.strip():
            break
        found.append([cell.strip() for cell in line.split("  ") if cell.strip()])
    return found


@pytest.fixture
def cohort(tmp_path, make):
    """a: DICOM with an unknown GTV name; b: no piriformis, a GTV over a muscle; c: its right gluteus is empty."""
    folder = tmp_path / "src"
    make.dicom_case(folder / "a", "HFP", rename={"gtv": "Mass [CT]"})
    make.volume_case(folder / "b", leave_out=("piriformis_left",))
    maximus = read_image(folder / "b/masks/gluteus_maximus_left.nii.gz")
    gtv = read_image(folder / "b/masks/gtv.nii.gz")
    shared = gtv.array.copy()
    shared[np.nonzero(maximus.array)[0][:10], np.nonzero(maximus.array)[1][:10], np.nonzero(maximus.array)[2][:10]] = 1
    write_image(folder / "b/masks/gtv.nii.gz", Image(shared, gtv.geometry))
    make.volume_case(folder / "c")
    write_image(folder / "c/masks/gluteus_maximus_right.nii.gz", Image(np.zeros_like(shared), gtv.geometry))
    return folder


class TestTables:
    def test_fit_into_100_columns(self, cohort, convert):
        (cohort / "b").rename(cohort / "a_case_with_a_rather_long_name_2019")
        result = convert("inspect", cohort)
        assert result.status == 0, result.err
        tables = result.out.split("absent: ")[0]
        assert max(len(line) for line in tables.splitlines()) <= 100
        assert "a_case_with_a_rather_long_name_2019" in tables

    def test_mapping(self, cohort, convert, tmp_path):
        (tmp_path / "map.yaml").write_text("gtv: ['mass*', gtv]\n")
        result = convert("inspect", cohort, "--roi-map", tmp_path / "map.yaml")
        assert rows(result.out, "which ROI is which structure") == [
            ["gtv", "Mass [CT]", "both", "map: mass*", "a"],
            ["gtv", "both", "map", "b, c"],
            ["gluteus_maximus", "gluteus_maximus_left", "left", "built-in name", "all 3"],
            ["gluteus_maximus_right", "right", "built-in name", "all 3"],
            ["piriformis", "piriformis_left", "left", "built-in name", "a, c"],
        ]

    def test_cases(self, cohort, convert):
        assert [row[:5] for row in rows(convert("inspect", cohort).out, "cases")] == [
            ["a", "dicom", "HFP", "40×36×14", "2×2×4"],
            ["b", "volumes", "-", "40×36×14", "2×2×4"],
            ["c", "volumes", "-", "40×36×14", "2×2×4"],
        ]

    def test_volumes_with_a_dash_for_what_is_absent(self, cohort, convert):
        found = {row[0]: row[1:] for row in rows(convert("inspect", cohort).out, "volumes (cm³)")}
        # Boxes of 12 x 8 x 12 mm, 22 x 14 x 40 mm and 10 x 14 x 28 mm, 12 x 10 x 12 mm; ten voxels of 16 mm³ more.
        assert found == {
            "a": ["-", "16.2", "-", "-", "-", "1.4", "-"],
            "b": ["1.3", "16.2", "-", "-", "-", "-", "-"],
            "c": ["1.2", "12.3", "-", "-", "-", "1.4", "-"],
        }

    def test_a_mapped_roi_without_voxels_is_empty_not_absent(self, cohort, convert, make):
        write_image(cohort / "c/masks/gtv.nii.gz", Image(np.zeros((14, 36, 40), np.uint8), make.scan_grid()))
        found = {row[0]: row[1:] for row in rows(convert("inspect", cohort).out, "volumes (cm³)")}
        assert found["c"][0] == "empty"

    def test_overlaps_and_who_wins(self, cohort, convert):
        found = rows(convert("inspect", cohort).out, "overlaps (cm³)")
        assert found == [["gtv, gluteus_maximus", "gtv", "b 0.16"]]

    def test_what_is_left_over_and_what_is_missing(self, cohort, convert):
        lines = convert("inspect", cohort).out.splitlines()
        assert "absent: gtv in a" in lines
        assert "absent: piriformis in b" in lines
        assert "absent: paraspinal in all 3" in lines
        assert "not mapped (in how many cases): Mass [CT]" in lines

    def test_all_problems_are_shown_together(self, tmp_path, convert, make):
        make.dicom_case(tmp_path / "a", rename={"piriformis_left": "GTVp"})
        make.volume_case(tmp_path / "b")
        (tmp_path / "b/ct.nii.gz").unlink()
        make.volume_case(tmp_path / "c")
        result = convert("inspect", tmp_path)
        assert result.status == 1
        assert "problem: case 'a': gtv could be any of" in result.out
        assert "problem: case 'b': expected one image" in result.out
        assert result.err.splitlines()[-1].startswith("error: 2 problem(s)")
        assert rows(result.out, "cases")[1] == ["b", "unreadable", "-", "-", "-", "0", "1"]

    def test_only_unreadable_cases(self, tmp_path, convert):
        (tmp_path / "a").mkdir()
        result = convert("inspect", tmp_path)
        assert "problem: case 'a'" in result.out
        assert "absent" not in result.out


class TestJson:
    def test_same_content(self, cohort, convert, tmp_path):
        (tmp_path / "map.yaml").write_text("gtv: ['mass*', gtv]\n")
        result = convert("inspect", cohort, "--roi-map", tmp_path / "map.yaml", "--json", "--workers", 1)
        assert result.status == 0, result.err
        content = json.loads(result.out)
        assert set(content) == {
            *("schema", "schema_version", "problems", "remarks", "mapping", "unmapped", "absent", "cases"),
        }
        assert (content["schema"], content["schema_version"]) == ("chordoma-inspection", 1)
        assert content["mapping"][0] == {
            "structure": "gtv",
            "roi": "Mass [CT]",
            "side": "both",
            "by": "map",
            "pattern": "mass*",
            "cases": ["a"],
        }
        assert content["mapping"][2]["pattern"] is None
        assert content["absent"]["piriformis"] == ["b"]
        a, b, c = content["cases"]
        assert a["rois"]["gtv"] == {"names": ["Mass [CT]"], "by": "map"}
        assert a["volumes_cm3"]["gtv"] == pytest.approx(1.152)
        assert a["absent"] == ["gluteus_medius", "gluteus_minimus", "paraspinal"]
        assert a["geometry"]["size"] == [40, 36, 14]
        assert b["overlaps"] == [{"structures": ["gtv", "gluteus_maximus"], "volume_cm3": 0.16, "winner": "gtv"}]
        assert c["roi_volumes_cm3"]["gluteus_maximus_right"] == 0
        assert any("gluteus_maximus has its left side only" in warning for warning in c["warnings"])
        assert [case["problems"] for case in content["cases"]] == [[], [], []]

    def test_nothing_that_names_the_patient(self, cohort, convert, make):
        out = convert("inspect", cohort, "--json").out + convert("inspect", cohort).out
        for value in (*make.PATIENT.values(), "Jane", "1.2.826"):
            assert value not in out

    def test_entries_that_match_nothing_are_problems(self, cohort, convert, tmp_path):
        (tmp_path / "map.yaml").write_text("gtv: [mass, tumour]\n")
        result = convert("inspect", cohort, "--roi-map", tmp_path / "map.yaml", "--json")
        assert result.status == 1
        problems = json.loads(result.out)["problems"]
        assert ["gtv: mass" in problems[0], "gtv: tumour" in problems[1]] == [True, True]


@pytest.mark.real_data
def test_pelvis_with_empty_and_foreign_masks(real_data, tmp_path, convert):
    case = tmp_path / "src/pelvis"
    (case / "seg").mkdir(parents=True)
    data = real_data / "totalsegmentator"
    (case / "example_ct.nii.gz").symlink_to((data / "example_ct.nii.gz").resolve())
    for mask in (data / "example_seg").iterdir():
        (case / "seg" / mask.name).symlink_to(mask.resolve())
    content = json.loads(convert("inspect", tmp_path / "src", "--json").out)
    (found,) = content["cases"]
    assert list(found["rois"]) == ["gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal"]
    assert list(content["absent"]) == ["gtv", "piriformis"]
    assert len(content["unmapped"]) == 104 - 8
    assert (found["warnings"], found["overlaps"], found["problems"], content["remarks"]) == ([], [], [], [])
    for structure, masks in {"gluteus_maximus": "gluteus_maximus", "paraspinal": "autochthon"}.items():
        voxels = sum(int((read_image(case / f"seg/{masks}_{s}.nii.gz").array > 0).sum()) for s in ("left", "right"))
        assert found["volumes_cm3"][structure] == pytest.approx(voxels * 0.027, abs=1e-3)
