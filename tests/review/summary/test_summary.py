"""Table 1c, paired differences and reviewers from filled sheets; sheets that do not fit the key are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.evaluation.paper.minutes import published_source
from nnunet_chordoma.files import sha256
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.rating_sheet import read_sheet, write_sheet
from nnunet_chordoma.review.reviews import mean_over_known, named_sheets
from nnunet_chordoma.review.table_1c import minutes_cell, patient_totals

# Minutes of five patients whose mean and range are those of the paper's Table 1c.
LEAST = {"reference": (0, 2, 2, 2, 4), "resunet_dice": (0, 2, 2, 2, 4), "optimal_ensemble": (0, 2, 2, 2, 4)}
LATER = dict.fromkeys(LEAST, (1, 3, 3, 4, 4))
PAPER_MINUTES = {
    "gtv": {
        "reference": (3, 3, 5, 6, 13),
        "resunet_dice": (3, 6, 6, 7, 8),
        "optimal_ensemble": (7, 11, 12, 12, 13),
    },
    "gluteus_maximus": LEAST | {"optimal_ensemble": (0, 4, 4, 5, 7)},
    "gluteus_medius": LEAST,
    "gluteus_minimus": LATER,
    "paraspinal": LATER,
    "piriformis": LATER,
}
# As printed: mean (minimum-maximum).
TABLE_1C = {
    "gtv": {"reference": (6, 3, 13), "resunet_dice": (6, 3, 8), "optimal_ensemble": (11, 7, 13)},
    "gluteus_maximus": {"reference": (2, 0, 4), "resunet_dice": (2, 0, 4), "optimal_ensemble": (4, 0, 7)},
    "gluteus_medius": dict.fromkeys(LEAST, (2, 0, 4)),
    "gluteus_minimus": dict.fromkeys(LEAST, (3, 1, 4)),
    "paraspinal": dict.fromkeys(LEAST, (3, 1, 4)),
    "piriformis": dict.fromkeys(LEAST, (3, 1, 4)),
}


def paper_minutes(patient, source, structure):
    return float(PAPER_MINUTES[structure][source][patient])


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_the_papers_table_1c_comes_out(make_review, command, rows, ending):
    review = make_review()
    sheet = review.write_sheet(paper_minutes, f"ratings.{ending}")
    done = command("review-summary", sheet, "--key", review.key_file, "-o", review.root / "out", "--paper")
    assert done.status == 0, done.err
    found = {(row["structure"], row["source"]): row for row in rows(review.root / "out" / "table_1c.csv")}
    for structure, by_source in TABLE_1C.items():
        for source, expected in by_source.items():
            row = found[structure, source]
            assert tuple(float(row[name]) for name in ("mean", "min", "max")) == expected, (structure, source)
            assert tuple(float(row[f"paper_{name}"]) for name in ("mean", "min", "max")) == expected
    # 19 minutes for the best single model.
    assert [float(found["total", s]["mean"]) for s in LEAST] == [19, 19, 26]
    assert [float(found["total", s]["paper_mean"]) for s in LEAST] == [19, 19, 26]
    # 3 + 0 + 0 + 1 + 1 + 1 of the first patient, 13 + 4 + 4 + 4 + 4 + 4 of the last.
    assert (float(found["total", "reference"]["min"]), float(found["total", "reference"]["max"])) == (6, 33)
    assert "6.0 (3.0–13.0)" in done.out
    assert "GTV, published" in done.out
    assert "5 patients, 1 reviewer" in done.out
    for name in ("table_1c.md", "table_1c.tex", "differences.csv", "summary.md", "ratings.csv"):
        assert (review.root / "out" / name).is_file()


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (("labels", "resunet_dice", "optimal_ensemble"), ["reference", "resunet_dice", "optimal_ensemble"]),
        (("reference", "My Ensemble", "unet"), ["reference", "optimal_ensemble", "resunet_dice"]),
        # Which of two ensembles, or of two models, is the paper's?
        (("reference", "average_ensemble", "optimal_ensemble"), ["reference", None, None]),
        (("reference", "unet", "resunet", "ensemble"), ["reference", None, None, "optimal_ensemble"]),
    ],
)
def test_counterparts_in_the_paper(sources, expected):
    assert [published_source(sources, source) for source in sources] == expected


def test_without_paper_no_published_number_is_shown(make_review, command):
    review = make_review()
    done = command("review-summary", review.write_sheet(paper_minutes), "--key", review.key_file)
    assert done.status == 0, done.err
    assert "published" not in done.out.lower()


def test_rows_may_stand_in_any_order(make_review, command, rows):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    tables = []
    for ratings in (read_sheet(sheet), read_sheet(sheet)[::-1]):
        write_sheet(sheet, ratings)
        assert command("review-summary", sheet, "-k", review.key_file, "-o", review.root / "out").status == 0
        tables.append(rows(review.root / "out" / "table_1c.csv"))
    assert tables[0] == tables[1]


def test_ratings_are_joined_with_case_and_source(make_review, command, rows):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    assert command("review-summary", f"Dr X={sheet}", "-k", review.key_file, "-o", review.root / "out").status == 0
    found = rows(review.root / "out" / "ratings.csv")
    assert len(found) == 5 * 3 * 6
    # The tumour of patient 2: the letter of the ensemble is A there, (2 + 1) modulo 3.
    (row,) = [r for r in found if (r["patient"], r["contours"], r["structure"]) == ("patient_2", "A", "gtv")]
    assert (row["reviewer"], row["case"], row["source"], row["minutes"]) == (
        "Dr X",
        "case_1",
        "optimal_ensemble",
        "11.0",
    )


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def without_a_row(lines):
    return [*lines[:3], *lines[4:]]


def with_another_row(lines):
    return [*lines, "patient_1,A,bladder,3,"]


def with_a_row_twice(lines):
    return [*lines, lines[5]]


def with_a_renamed(old, new):
    def edit(lines):
        return [lines[0], *(line.replace(old, new, 1) for line in lines[1:2]), *lines[2:]]

    return edit


def with_minutes(text):
    def edit(lines):
        cells = lines[1].split(",")
        return [lines[0], ",".join([*cells[:3], text, *cells[4:]]), *lines[2:]]

    return edit


EDITS = {
    "row missing": (without_a_row, "1 row missing (the first: patient_1, contours A, gluteus_medius)"),
    "row added": (with_another_row, "1 row not of the kit (the first: patient_1, contours A, bladder)"),
    "row twice": (with_a_row_twice, "is in row 6 already"),
    "patient renamed": (with_a_renamed("patient_1", "Smith"), "not of the kit (the first: Smith, contours A, gtv)"),
    "contours renamed": (with_a_renamed(",A,", ",Z,"), "not of the kit (the first: patient_1, contours Z, gtv)"),
    "structure renamed": (with_a_renamed("gtv", "tumour"), "not of the kit (the first: patient_1, contours A, tumour)"),
    "column renamed": (lambda lines: [lines[0].replace("minutes", "seconds"), *lines[1:]], "restore its first row"),
    "column added": (lambda lines: [f"{line},x" for line in lines], "restore its first row"),
    "minutes below zero": (with_minutes("-1"), "found '-1'"),
    "minutes in words": (with_minutes("ten"), "found 'ten'"),
    "minutes without end": (with_minutes("inf"), "found 'inf'"),
    "minutes no number": (with_minutes("nan"), "found 'nan'"),
    "minutes missing": (with_minutes(""), "1 of 90 rows without minutes, the first patient_1, contours A, gtv"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_sheet_is_refused(make_review, command, edit):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    change, said = EDITS[edit]
    sheet.write_text("\n".join(change(lines_of(sheet))) + "\n", encoding="utf-8")
    done = command("review-summary", sheet, "-k", review.key_file, "-o", review.root / "out")
    assert done.status == 1
    assert said in done.err
    assert str(sheet) in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (review.root / "out").exists()


def test_an_incomplete_sheet_is_summarised_on_request(make_review, command, rows):
    review = make_review()

    def some(patient, source, structure):
        return None if (patient, structure) == (4, "gtv") else paper_minutes(patient, source, structure)

    sheet = review.write_sheet(some)
    done = command("review-summary", sheet, "-k", review.key_file)
    assert done.status == 1
    assert "3 of 90 rows without minutes, the first patient_5, contours A, gtv" in done.err
    done = command("review-summary", sheet, "-k", review.key_file, "-o", review.root / "out", "--allow-incomplete")
    assert done.status == 0, done.err
    assert "Incomplete: 3 ratings of 90 missing" in done.out
    found = {(row["structure"], row["source"]): row for row in rows(review.root / "out" / "table_1c.csv")}
    # 3, 3, 5, 6 without the fifth, 13; and no total of the fifth patient.
    assert (float(found["gtv", "reference"]["mean"]), found["gtv", "reference"]["n"]) == (4.25, "4")
    assert found["total", "reference"]["n"] == "4"
    assert float(found["total", "reference"]["max"]) == 6 + 2 + 2 + 4 + 4 + 4
    assert "Incomplete" in (review.root / "out" / "summary.md").read_text(encoding="utf-8")


def test_an_empty_sheet_is_refused_whatever_is_allowed(make_review, command):
    review = make_review()
    sheet = review.write_sheet(lambda *place: None)
    done = command("review-summary", sheet, "-k", review.key_file, "--allow-incomplete")
    assert done.status == 1
    assert "no minutes in any of its 90 rows" in done.err


def test_the_key_of_other_patients_is_refused(make_review, command):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    review.write_key(name="pelvis")
    done = command("review-summary", sheet, "-k", review.key_file)
    assert done.status == 1
    assert "none of its rows is of the kit" in done.err


def test_the_key_of_another_kit_shows_in_the_files_beside_the_sheet(make_review, command):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    files = [review.root / name for name in ("one.dcm", "other.dcm")]
    for path in files:
        path.write_text(path.name)
    names = [(0, 0), (1, 1)]
    right = {place: {p.name: sha256(p)} for place, p in zip(names, files, strict=True)}
    review.write_key(hashes=right)
    done = command("review-summary", sheet, "-k", review.key_file)
    assert (done.status, done.err) == (0, "")
    files[0].write_text("edited")
    done = command("review-summary", sheet, "-k", review.key_file)
    assert done.status == 0
    assert "one.dcm: changed since the kit was made (1 file of 2)" in done.err
    review.write_key(hashes={place: {p.name: "0" * 64} for place, p in zip(names, files, strict=True)})
    done = command("review-summary", sheet, "-k", review.key_file)
    assert done.status == 1
    assert "is the key of another kit" in done.err


def test_something_else_than_a_key_is_refused(make_review, command):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    review.key_file.write_text("{}")
    done = command("review-summary", sheet, "-k", review.key_file)
    assert done.status == 1
    assert "expected the key of a review kit" in done.err


def test_reviewers_are_averaged_first(make_review, command, rows):
    review = make_review()
    first = review.write_sheet(paper_minutes, "first.csv")
    # Twice as long for the tumour, one minute more for the piriformis.
    more = {"gtv": lambda m: 2 * m, "piriformis": lambda m: m + 1}
    second = review.write_sheet(lambda p, s, r: more.get(r, lambda m: m)(paper_minutes(p, s, r)), "second.xlsx")
    done = command("review-summary", first, f"Dr B={second}", "-k", review.key_file, "-o", review.root / "out")
    assert done.status == 0, done.err
    found = {(row["structure"], row["source"]): row for row in rows(review.root / "out" / "table_1c.csv")}
    cell = found["gtv", "reference"]
    assert (float(cell["mean"]), float(cell["min"]), float(cell["max"])) == (9, 4.5, 19.5)
    (between,) = rows(review.root / "out" / "reviewers.csv")
    assert (between["reviewer"], between["compared_with"], between["n"]) == ("Dr B", "first", "90")
    # Tumours add (6 + 6 + 11) / 3 min on average, piriformis 1, the four others 0; the largest is a tumour's 13.
    assert float(between["mean_difference"]) == pytest.approx((23 / 3 + 1) / 6)
    assert float(between["mean_absolute_difference"]) == pytest.approx((23 / 3 + 1) / 6)
    assert float(between["largest_difference"]) == 13
    assert float(between["mean_difference_of_totals"]) == pytest.approx(23 / 3 + 1)
    totals = {(row["reviewer"], row["source"]): row for row in rows(review.root / "out" / "reviewer_totals.csv")}
    # 19 minutes, and twice the tumour's 6 and one more for the piriformis: 19 + 6 + 1.
    assert [float(totals[name, "reference"]["mean"]) for name in ("first", "Dr B")] == [19, 26]
    assert [float(totals["Dr B", "reference"][name]) for name in ("min", "max")] == [10, 47]
    assert "5 patients, 2 reviewers" in done.out


def test_one_reviewer_has_no_table_of_reviewers(make_review, command):
    review = make_review()
    done = command("review-summary", review.write_sheet(paper_minutes), "-k", review.key_file)
    assert "Differences between reviewers" not in done.out


def test_names_of_reviewers(make_review, command):
    review = make_review()
    sheet = review.write_sheet(paper_minutes)
    other = review.root / "other" / "ratings.csv"
    write_sheet(other, read_sheet(sheet))
    done = command("review-summary", f"B={sheet}", f"B={other}", "-k", review.key_file)
    assert (done.status, "tell reviewers apart as NAME=FILE" in done.err) == (1, True)
    assert list(named_sheets([str(sheet), str(other)])) == [review.root.name, "other"]
    done = command("review-summary", sheet, f"B={sheet}", "-k", review.key_file)
    assert (done.status, "give each sheet once" in done.err) == (1, True)
    assert list(named_sheets([str(sheet), f"B={other}"])) == ["ratings", "B"]
    equals = review.root / "a=b.csv"
    write_sheet(equals, read_sheet(sheet))
    assert named_sheets([str(equals)]) == {"a=b": equals}


def constant(by_source):
    return lambda patient, source, structure: by_source[source] + patient


@pytest.mark.parametrize(("patients", "p", "p_corrected"), [(5, 0.0625, 0.375), (8, 2 / 2**8, 6 * 2 / 2**8)])
def test_paired_differences(make_review, command, rows, patients, p, p_corrected):
    review = make_review(patients)
    sheet = review.write_sheet(constant({"reference": 1.0, "resunet_dice": 3.0, "optimal_ensemble": 1.0}))
    done = command("review-summary", sheet, "-k", review.key_file, "-o", review.root / "out")
    assert done.status == 0, done.err
    found = {
        (row["source"], row["compared_with"], row["structure"]): row
        for row in rows(review.root / "out" / "differences.csv")
    }
    row = found["resunet_dice", "reference", "gtv"]
    assert (float(row["mean_difference"]), float(row["median_difference"])) == (2, 2)
    assert (row["longer"], row["shorter"], row["equal"], row["n"]) == (str(patients), "0", "0", str(patients))
    # All signs alike: the least that n patients can give, by either test; Holm over six structures.
    assert float(row["wilcoxon_p_raw"]) == pytest.approx(p)
    assert float(row["permutation_p_raw"]) == pytest.approx(p)
    assert float(row["wilcoxon_p_corrected"]) == pytest.approx(p_corrected)
    total = found["resunet_dice", "reference", "total"]
    assert float(total["mean_difference"]) == 12
    # Over three pairs of sources, of which two differ alike.
    assert float(total["wilcoxon_p_corrected"]) == pytest.approx(3 * p)
    same = found["optimal_ensemble", "reference", "gtv"]
    assert (float(same["mean_difference"]), float(same["wilcoxon_p_raw"]), same["equal"]) == (0, 1, str(patients))
    assert float(found["optimal_ensemble", "resunet_dice", "gtv"]["mean_difference"]) == -2
    if patients == 5:
        assert "5 patients cannot give a two-sided p below 0.0625" in done.out
        assert (
            "6 patients are the fewest for one comparison, 7 for 3 pairs of totals corrected together, 8 for 6 "
            "structures corrected together"
        ) in done.out
    else:
        assert "resunet_dice minus reference, total per patient: +12.0 minutes, p = 0.0234 (wilcoxon)" in done.out


def test_only_patients_rated_for_both_sources_are_paired(make_review, command, rows):
    review = make_review()

    def minutes(patient, source, structure):
        missing = (patient, source, structure) == (0, "reference", "gtv")
        return None if missing else 5.0 + patient * (source == "resunet_dice")

    done = command(
        *("review-summary", review.write_sheet(minutes), "-k", review.key_file, "--allow-incomplete"),
        *("-o", review.root / "out"),
    )
    assert done.status == 0, done.err
    by_place = {
        (r["source"], r["compared_with"], r["structure"]): r for r in rows(review.root / "out" / "differences.csv")
    }
    assert by_place["resunet_dice", "reference", "gtv"]["n"] == "4"
    assert float(by_place["resunet_dice", "reference", "gtv"]["mean_difference"]) == 2.5
    assert by_place["resunet_dice", "reference", "paraspinal"]["n"] == "5"
    assert by_place["resunet_dice", "reference", "total"]["n"] == "4"


def test_sums_that_differ_by_rounding_alone_are_equal(make_review, command, rows):
    """0.1 + 0.2 + 0.3 against 0.3 + 0.2 + 0.1 minutes: binary fractions make them differ."""
    review = make_review()
    given = {"reference": (0.1, 0.2, 0.3, 0, 0, 0), "resunet_dice": (0.3, 0.2, 0.1, 0, 0, 0)}
    assert sum(given["reference"]) != sum(given["resunet_dice"])

    def minutes(patient, source, structure):
        return given.get(source, (1,) * 6)[CHORDOMA.structures.index(structure)]

    done = command("review-summary", review.write_sheet(minutes), "-k", review.key_file, "-o", review.root / "out")
    assert done.status == 0, done.err
    (row,) = [
        r
        for r in rows(review.root / "out" / "differences.csv")
        if (r["source"], r["compared_with"], r["structure"]) == ("resunet_dice", "reference", "total")
    ]
    assert (row["longer"], row["shorter"], row["equal"]) == ("0", "0", "5")


def test_one_patient_is_summarised_without_tests(make_review, command):
    review = make_review(1)
    done = command("review-summary", review.write_sheet(paper_minutes), "-k", review.key_file)
    assert done.status == 0, done.err
    assert "1 patient with ratings of two sources: nothing was tested." in done.out


minutes_arrays = st.integers(1, 6).flatmap(
    lambda patients: st.lists(st.floats(0, 200), min_size=patients * 6, max_size=patients * 6).map(
        lambda values: np.array(values).reshape(patients, 2, 3)
    )
)


@given(minutes_arrays)
def test_the_mean_total_is_the_sum_of_the_means(minutes):
    totals = patient_totals(minutes)
    for source in range(2):
        cells = [minutes_cell(minutes[:, source, structure]) for structure in range(3)]
        total = minutes_cell(totals[:, source])
        assert total.mean == pytest.approx(sum(cell.mean for cell in cells))
        # The range of totals is no wider than the sums of the extremes, and need not reach them.
        assert total.minimum >= sum(cell.minimum for cell in cells) - 1e-9
        assert total.maximum <= sum(cell.maximum for cell in cells) + 1e-9


@given(st.lists(st.one_of(st.none(), st.floats(0, 1000)), min_size=1, max_size=8))
def test_means_over_reviewers_are_over_those_who_rated(values):
    found = mean_over_known(np.array([[np.nan if v is None else v] for v in values]))[0]
    known = [v for v in values if v is not None]
    assert np.isnan(found) if not known else found == pytest.approx(sum(known) / len(known))


def test_other_letters_of_the_same_contours_change_nothing(make_review, command, rows):
    """What comes out depends on the source alone, not on the name that blinded it."""
    review = make_review(3)
    sheet = review.write_sheet(lambda p, source, structure: len(source) + p + len(structure) / 10)

    def table():
        assert command("review-summary", sheet, "-k", review.key_file, "-o", review.root / "out").status == 0
        return rows(review.root / "out" / "table_1c.csv")

    before = table()
    text = review.key_file.read_text()
    for old, new in (("A", "?"), ("B", "A"), ("?", "B")):
        text = text.replace(f'"contours": "{old}"', f'"contours": "{new}"')
    review.key_file.write_text(text)
    swapped = {"A": "B", "B": "A", "C": "C"}
    assert table() != before
    write_sheet(sheet, [replace(r, contours=swapped[r.contours]) for r in read_sheet(sheet)])
    assert table() == before
