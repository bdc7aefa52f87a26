"""The gate's verdicts on the page."""

import csv

import pytest

from nnunet_chordoma.files import sha256
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.verdicts import Check, Level, Verdict, write_verdict

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")


@pytest.fixture
def judged(cohort, evaluate):
    """Function that writes verdicts (case -> level of its one check) and reports; returns status, error and folder."""
    status, _, err = evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    assert status == 0, err

    def make(levels, model="shifted"):
        folder = cohort.root / "verdicts"
        folder.mkdir(exist_ok=True)
        for case, level in levels.items():
            check = Check(
                "volume/gtv", "GTV volume", level, f"GTV volume of {case}", 1622.0, "cm3", 35, 20.0, 900.0, 3.2
            )
            quiet = Check("size", "Size", Level.PASS, "182 x 157 x 216")
            files = (("prediction", sha256(cohort.root / model / f"{case}.nii.gz")),) if model else ()
            write_verdict(folder / f"{case}.json", Verdict(case, (quiet, check), (), "0" * 64, files), CHORDOMA)
        status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report", "--gate", folder)
        return status, err, cohort.root / "report"

    return make


def scored_cases(cohort):
    with cohort.scores.open() as stream:
        return list(dict.fromkeys(row["case"] for row in csv.DictReader(stream)))


def test_verdicts_stand_beside_dice(judged, cohort):
    first, second, *others = scored_cases(cohort)
    status, err, report = judged({first: Level.PASS, second: Level.STOP})
    assert status == 0, err
    # Long names may break after underscores.
    text = (report / "index.html").read_text().replace("<wbr>", "")
    assert "The gate judged 2 cases without knowing references: 1 pass, 0 look, 1 stop." in text
    assert "Mean Dice of shifted where the gate said stop: " in text
    assert "not known" not in text
    assert f"Without a verdict: {', '.join(others)}." in text
    with (report / "tables" / "gate.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    # The gravest first, and every check.
    assert [(row["case"], row["check"], row["check_level"]) for row in rows] == [
        (second, "size", "pass"),
        (second, "volume/gtv", "stop"),
        (first, "size", "pass"),
        (first, "volume/gtv", "pass"),
    ]
    assert (rows[1]["value"], rows[1]["unit"], rows[1]["n"], rows[1]["z"]) == ("1622.0", "cm3", "35", "3.2")
    assert rows[0]["value"] == ""
    assert f"GTV volume of {second}" in text
    assert f"GTV volume of {first}" not in text


def test_verdicts_of_other_cases_are_refused(judged):
    status, err, _ = judged({"somebody": Level.PASS}, model=None)
    assert status == 1
    assert "no CASE.json of any of the" in err


def test_a_damaged_verdict_is_refused(judged, cohort):
    (cohort.root / "verdicts").mkdir()
    (cohort.root / "verdicts" / f"{scored_cases(cohort)[0]}.json").write_text("{")
    status, err, report = judged({})
    assert status == 1
    assert "verdicts" in err
    assert not (report / "index.html").exists()


def test_verdicts_of_label_maps_that_were_not_scored(judged, cohort):
    status, err, report = judged({scored_cases(cohort)[0]: Level.STOP}, model=None)
    assert status == 0, err
    text = (report / "index.html").read_text()
    assert "Which of the models was judged is not known, or none of them; Dice is that of exact." in text
    # Its label maps are the references.
    assert "Mean Dice of exact where the gate said stop: 100.0 % (lowest 100.0 %, 1 case)." in text
