"""Predicted minutes of editing on the page."""

import csv
import json

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.editing_fit import fit_editing_minutes
from nnunet_chordoma.evaluation.editing_minutes import RatedItem, write_editing_model
from nnunet_chordoma.evaluation.report.sections.editing_minutes import editing_minutes_section, usable_model
from nnunet_chordoma.evaluation.sidecar import read_sidecar
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import summarise
from nnunet_chordoma.labels import CHORDOMA, LabelScheme

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

BASE, PER_CM2, PER_CM3 = 2.0, 0.5, 0.25


def minutes(area_cm2, volume_cm3):
    return BASE + PER_CM2 * area_cm2 + PER_CM3 * volume_cm3


@pytest.fixture
def make_model(tmp_path):
    """Function that writes a model fitted to exact minutes over given ranges; returns its path."""

    def make(areas=(0.0, 3.0, 20.0), volumes=(0.1, 1.0, 5.0), cases=5, scheme=CHORDOMA, metric="area_beyond_2mm"):
        items = [
            RatedItem(f"case_{p + 1}" if cases == "scored" else f"rated_{p}", "model", "gtv", minutes(a, v), a, v)
            for p in range(5)
            for a, v in zip(areas, (volumes[(p + i) % 3] for i in range(3)), strict=True)
        ]
        path = tmp_path / "minutes.json"
        write_editing_model(path, fit_editing_minutes(items, scheme, metric, 2))
        return path

    return make


@pytest.fixture
def section(reported):
    """Function that makes the section of the reported cohort with a model's file."""

    def make(path):
        scores, sidecar = read_scores(reported.scores), read_sidecar(reported.scores)
        model = usable_model(path, scores, sidecar)
        return editing_minutes_section(model, scores, summarise(scores))

    return make


def table(found, name):
    return next(t for t in found.tables if t.name == name)


def records(found, name):
    shown = table(found, name)
    return [dict(zip(shown.record_columns, record, strict=True)) for record in shown.records]


def test_the_page_says_predicted_and_from_how_much(reported, evaluate, make_model, tmp_path):
    cohort, report = reported, tmp_path / "report"
    status, _, err = evaluate("report", cohort.scores, "-o", report, "--editing-minutes", make_model())
    assert status == 0, err
    text = (report / "index.html").read_text().replace("<wbr>", "")
    assert "Predicted from a model fitted on 15 rated structures of 5 patients by 2 reviewers, never measured." in text
    assert "minutes = 2.00 + 0.5 per cm² of surface beyond 2 mm + 0.25 per cm³ of reference volume" in text
    assert "Mean absolute error on patients left out in turn: 0.0 min" in text
    for name in ("minutes_test", "minutes_patients_test", "minutes_outlier", "minutes_patients_outlier"):
        for ending in ("csv", "md", "tex"):
            assert (report / "tables" / f"{name}.{ending}").is_file()
    with (report / "tables" / "minutes_test.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 2 * 2 * 6
    for row in found:
        place = (row["model"], row["case"], row["structure"])
        expected = minutes(*(cohort.value(*place, key) for key in ("area_beyond_2mm", "volume_reference")))
        assert float(row["predicted"]) == pytest.approx(expected)


def test_without_a_model_there_is_no_section(reported):
    assert "editing-minutes" not in (reported.root / "report" / "index.html").read_text()


def test_totals_are_sums_over_the_structures_of_a_case(section, make_model):
    found = section(make_model())
    parts, totals = records(found, "minutes_outlier"), records(found, "minutes_patients_outlier")
    assert {row["structure"] for row in parts} == set(CHORDOMA.structures) - {"piriformis"}
    (total,) = [row for row in totals if row["model"] == "shifted"]
    assert float(total["predicted"]) == pytest.approx(
        sum(float(row["predicted"]) for row in parts if row["model"] == "shifted")
    )
    assert total["structures"] == "5"
    # Without a reference anywhere in the split a structure is not evaluated, and not said to be missing.
    remarks = {
        entry.remark
        for group in table(found, "minutes_patients_outlier").groups
        for r in group.rows
        for entry in r.entries
    }
    assert remarks == {""}


def test_totals_over_fewer_structures_are_noted(reported, make_model):
    path = make_model()
    scores, sidecar = read_scores(reported.scores), read_sidecar(reported.scores)
    noted = []
    for absent in ("", "gtv"):
        # Of one case alone.
        first = scores.loc[scores["split"] == "test", "case"].iloc[0]
        given = scores[~((scores["case"] == first) & (scores["structure"] == absent))]
        found = editing_minutes_section(usable_model(path, given, sidecar), given, summarise(given))
        noted.append([note for note in table(found, "minutes_test").notes if "other structures alone" in note])
    assert noted == [[], ["1 case lacks the reference of a structure: its total is over the other structures alone."]]


def test_the_mean_over_cases_is_printed_per_model(section, make_model):
    found = section(make_model())
    (group,) = table(found, "minutes_test").groups
    assert [row.head for row in group.rows] == ["exact", "shifted"]
    # A tumour of 4 x 4 x 4 voxels of 8 mm3 that lies as the reference does: 2 + 0.25 * 0.512 min.
    assert (group.rows[0].entries[0].text, group.rows[0].entries[0].detail) == ("2.1", "(2.1–2.1)")


def test_what_was_never_rated_is_marked(section, make_model):
    found = section(make_model(volumes=(0.1, 0.6, 1.0)))
    beyond = {(row["structure"], row["extrapolated"]) for row in records(found, "minutes_test")}
    # 0.512 cm3 were rated, 6 x 4 x 4 x 8 mm3 = 0.768 cm3 too, 14 x 4 x 4 x 8 mm3 = 1.792 cm3 were not.
    assert {("gtv", "0"), ("gluteus_maximus", "0"), ("paraspinal", "1")} <= beyond
    assert {row["extrapolated"] for row in records(found, "minutes_patients_test")} == {"1"}
    (group,) = table(found, "minutes_test").groups
    column = CHORDOMA.structures.index("paraspinal")
    assert group.rows[0].entries[column].remark == "2 of 2 extrapolated"
    assert any("extrapolated: no structure was rated with" in sentence for sentence in found.content.sentences)


def test_cases_that_the_fit_has_seen_are_named(section, make_model):
    seen = section(make_model(cases="scored")).content.sentences
    assert any("Caution: the model was fitted to ratings of 3 cases scored here (case_1, case_2" in s for s in seen)
    assert not any("Caution" in s for s in section(make_model()).content.sentences)


@pytest.mark.parametrize(
    "names",
    [("background", "body", "gtv"), (*CHORDOMA.names[:2], *CHORDOMA.names[:1:-1])],
    ids=["other structures", "other order"],
)
def test_a_model_of_another_label_scheme_is_refused(section, make_model, names):
    with pytest.raises(ChordomaError, match="another label scheme") as error:
        section(make_model(scheme=LabelScheme(names)))
    assert "\n" not in str(error.value)


def test_a_surface_that_was_not_scored_is_refused(section, make_model):
    with pytest.raises(ChordomaError, match="needs area_beyond_5mm, which the scores do not have"):
        section(make_model(metric="area_beyond_5mm"))


def test_another_file_is_refused_before_anything_is_written(reported, evaluate, tmp_path):
    path = tmp_path / "minutes.json"
    path.write_text(json.dumps({"schema": "chordoma-ensemble-weights"}))
    status, _, err = evaluate("report", reported.scores, "-o", tmp_path / "report", "--editing-minutes", path)
    assert status == 1
    assert "expected a 'chordoma-editing-minutes' file" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "report").exists()
