"""chordoma-gate from files to verdicts: sound cases pass, each damage trips its check, bad input gets one line."""

import csv
import json
import shutil

import numpy as np
import pytest

from nnunet_chordoma import console
from nnunet_chordoma.files import read_json, sha256, write_json
from nnunet_chordoma.gate.cli import app
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.verdicts import Level, one_line, read_verdict


def test_ranges(fitted):
    qa = read_json(fitted.qa)
    gtv = qa["ranges"]["volume/gtv"]
    assert (qa["schema"], qa["cases"], qa["predicted"], gtv["n"]) == ("chordoma-qa", 15, 3, 15)
    # Boxes of 6 to 8 slices of 5 x 8 voxels of 8 mm3.
    assert (gtv["min"], gtv["max"]) == (pytest.approx(1.92), pytest.approx(2.56))
    assert gtv["stop_low"] < gtv["look_low"] < 1.92
    assert gtv["stop_high"] > gtv["look_high"] > 2.56
    assert sorted(gtv["values"]) == gtv["values"]
    assert gtv["mean"] == pytest.approx(np.mean(gtv["values"]))
    assert gtv["sd"] == pytest.approx(np.std(gtv["values"], ddof=1))
    assert qa["ranges"]["disagreement/gtv"]["n"] == 3
    assert qa["present"]["piriformis"] == 15
    assert qa["alignment_methods"] == {"bone": 15}
    assert qa["held_out"]["stop"] == {}
    assert not any("unknown" in finding for finding in qa["held_out"]["look"].values())


def test_a_prediction_from_another_image_is_not_judged(cohort, capsys):
    def predicted_from(digest):
        case = {"images_sha256": [digest]}
        content = {"schema": "chordoma-predictions", "cases": {cohort.test: case}}
        write_json(cohort.predictions / "chordoma_predictions.json", content)

    predicted_from("e" * 64)
    assert cohort.check() == 1
    assert "case 'new_patient': " in (said := capsys.readouterr().err)
    assert "was predicted from another image than" in said
    assert not (cohort.verdicts / "new_patient.json").exists()
    predicted_from(sha256(cohort.dataset / "imagesTs/new_patient_0000.nii.gz"))
    assert cohort.check() == 0


def test_predictions_take_the_place_of_references(cohort, draw, command):
    prediction = draw()
    prediction[13:17, 9:14, 16:24] = CHORDOMA.value("gtv")
    write_image(cohort.validation / "val_0.nii.gz", Image(prediction, Geometry(**vars_of(cohort))))
    assert command("fit", cohort.dataset, "-o", cohort.root / "other.json", "-p", cohort.validation) == 0
    assert read_json(cohort.root / "other.json")["ranges"]["volume/gtv"]["max"] == pytest.approx(11 * 5 * 8 * 0.008)


def test_a_sound_case_passes(cohort, capsys):
    assert cohort.check() == 0
    verdict = read_verdict(cohort.verdicts / "new_patient.json")
    assert verdict.level is Level.PASS, one_line(verdict)
    # Nothing beside these predictions says which models made them.
    assert [text.split(":")[0] for text in verdict.unjudged] == ["models"]
    assert "new_patient  PASS" in capsys.readouterr().out
    with (cohort.verdicts / "verdicts.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert len(rows) == len(verdict.checks)
    assert float(rows["volume/gtv"]["value"]) == pytest.approx(2.24)
    assert 0 < float(rows["volume/gtv"]["percentile"]) < 100


def grown(labels):
    labels[4:20, 8:18, 13:27][labels[4:20, 8:18, 13:27] == 1] = CHORDOMA.value("gtv")
    return labels


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (grown, {"volume/gtv": "stop"}),
        (lambda labels: np.roll(labels, 5, axis=0), {"position/muscles_z": "stop"}),
        (lambda labels: labels[::-1], {"position/gtv_z": "stop"}),
        (lambda labels: labels[:, ::-1], {"position/gtv_y": "stop", "position/muscles_y": "stop"}),
        (lambda labels: np.where(np.arange(30)[:, None, None] < 9, 0, labels), {"volume/gluteus_maximus": "stop"}),
    ],
)
def test_label_maps_that_stop(cohort, draw, change, expected):
    cohort.predict(change(draw()))
    assert cohort.check() == 3
    assert expected.items() <= cohort.flagged().items()


def test_a_mirrored_symmetric_patient_is_not_seen(cohort, draw):
    cohort.predict(draw()[:, :, ::-1])
    cohort.scan(lambda hu: hu[:, :, ::-1])
    assert cohort.check() == 0
    assert cohort.verdict()["level"] == "pass"


def test_piriformis_of_one_side_missed(cohort, draw):
    cohort.predict(draw(without=("piriformis_left",)))
    assert cohort.check() == 3
    flagged = cohort.flagged()
    assert flagged["obliterated/piriformis"] == flagged["symmetry/piriformis"] == "stop"
    (symmetry,) = [each for each in cohort.verdict()["checks"] if each["name"] == "symmetry/piriformis"]
    assert symmetry["value"] == -1


def test_an_absent_structure(cohort, draw):
    cohort.predict(draw(without=("piriformis",)))
    assert cohort.check() == 3
    (found,) = [each for each in cohort.verdict()["checks"] if each["name"] == "volume/piriformis"]
    assert (found["level"], found["value"]) == ("stop", 0)
    assert found["finding"] == "piriformis is absent (15 of 15 training cases have it)"
    # Said once, not again by each check of the piriformis; what needs all muscles is listed.
    assert not {"symmetry/piriformis", "obliterated/piriformis"} & {each["name"] for each in cohort.verdict()["checks"]}
    assert any(text.startswith("muscles' centre, x (LPS): cannot") for text in cohort.verdict()["unjudged"])


def test_a_structure_that_training_cases_lacked_too_is_a_look(cohort, draw):
    rare = read_json(cohort.qa)
    rare["present"]["piriformis"] = 14
    write_json(cohort.qa, rare)
    cohort.predict(draw(without=("piriformis",)))
    cohort.check()
    assert cohort.flagged()["volume/piriformis"] == "look"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda hu: hu + 1000, {"hu/outside", "hu/body", "hu/muscle", "hu/not_muscle"}),
        (lambda hu: hu // 2, {"hu/outside", "hu/body", "hu/muscle"}),
        (lambda hu: np.clip(hu, -160, 240), {"hu/outside"}),
        (lambda hu: np.where(np.indices(hu.shape).sum(0) % 47 == 0, 3000, hu), {"hu/metal"}),
        (lambda hu: np.roll(hu, 6, axis=0), {"hu/not_muscle"}),
    ],
)
def test_images_that_stop(cohort, change, expected):
    cohort.scan(change)
    assert cohort.check() == 3
    flagged = cohort.flagged()
    assert expected <= {name for name, level in flagged.items() if level == "stop"}
    assert all(name.startswith("hu/") for name in flagged)


def test_a_cut_structure_and_crumbs(cohort, draw):
    labels = draw()
    labels[0:3, 14:19, 26:32] = CHORDOMA.value("gluteus_maximus")
    labels[28, 3:13, 18:22] = CHORDOMA.value("gtv")
    cohort.predict(labels)
    assert cohort.check() == 3
    assert {"border/gluteus_maximus": "stop", "crumbs/gtv": "stop"}.items() <= cohort.flagged().items()


def test_half_a_scan(cohort, conversion):
    content = conversion()
    content["transform_chain"]["source"]["size"][2] = 12
    cohort.convert(content)
    assert cohort.check() == 3
    assert cohort.flagged() == {"scan/covered": "stop"}


def test_alignment_and_orientation(cohort, conversion):
    cohort.convert(conversion(method="centroid", rejected="too little bone", contradictions=["the spine is in front"]))
    assert cohort.check() == 0
    assert cohort.flagged() == {"alignment/method": "look", "scan/orientation": "look"}
    assert "too little bone (training: bone 15)" in cohort.verdict()["one_line"]
    assert cohort.check("--strict") == 3
    bad = conversion()
    bad["alignment"] |= {"overlap_after": 0.3, "metric_after": 0.2, "rotation_deg": 30.0}
    cohort.convert(bad)
    assert cohort.check() == 3
    assert cohort.flagged() == dict.fromkeys(
        ("alignment/overlap", "alignment/correlation", "alignment/rotation_deg"), "stop"
    )


def test_disagreement(cohort):
    cohort.write_disagreement(cohort.predictions, {"new_patient": 0.02})
    cohort.check()
    # Three validation cases say little: only a wide departure is seen.
    assert cohort.flagged()["disagreement/gtv"] == "look"
    (cohort.predictions / "disagreement.csv").unlink()
    assert cohort.check() == 0
    assert cohort.flagged() == {"disagreement/table": "look"}


def test_a_table_that_lacks_structures_is_a_look(cohort, capsys):
    table = cohort.predictions / "disagreement.csv"
    kept = [line for line in table.read_text().splitlines() if ",gtv," not in line and ",any," not in line]
    table.write_text("\n".join(kept) + "\n")
    assert cohort.check() == 0
    assert cohort.flagged() == {"disagreement/gtv": "look", "disagreement/any": "look"}
    assert "no value of 'gtv' in disagreement.csv" in capsys.readouterr().out


def test_a_range_taken_out_by_hand_is_a_look(cohort, draw):
    qa = read_json(cohort.qa)
    del qa["ranges"]["volume/gtv"]
    write_json(cohort.qa, qa)
    assert cohort.check() == 0
    assert cohort.flagged() == {"volume/gtv": "look"}


def test_a_fixed_orientation_is_a_look(cohort, conversion):
    cohort.convert(conversion() | {"orientation_fix": "flip-x"})
    assert cohort.check() == 0
    assert cohort.flagged() == {"scan/orientation": "look"}
    assert "--fix-orientation flip-x" in cohort.verdict()["one_line"]


def test_foreign_and_old_files_among_verdicts_are_left_out(cohort, capsys):
    assert cohort.check() == 0
    old = cohort.verdict()
    for case in ("gone", "val_0"):
        write_json(cohort.verdicts / f"{case}.json", old | {"case": case})
    write_json(cohort.verdicts / "val_1.json", old | {"case": "val_1", "schema_version": 0})
    write_json(cohort.verdicts / "qa.json", read_json(cohort.qa))
    for case in ("val_0", "val_1"):
        shutil.copy(cohort.validation / f"{case}.nii.gz", cohort.predictions)
    capsys.readouterr()
    assert cohort.check("--case", "new_patient") == 0
    with (cohort.verdicts / "verdicts.csv").open() as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == {"new_patient", "val_0"}
    said = " ".join(capsys.readouterr().err.split())
    assert all(f"{name}.json" in said for name in ("gone", "qa", "val_1"))


@pytest.mark.parametrize(("key", "value"), [("sd", 0), ("sd", float("nan")), ("stop_high", float("nan"))])
def test_ranges_that_cannot_be(cohort, refusal, key, value):
    qa = read_json(cohort.qa)
    qa["ranges"]["volume/gtv"][key] = value
    cohort.qa.write_text(json.dumps(qa))
    assert "qa.json" in (line := refusal())
    assert "damaged" in line


def test_without_predictions_disagreement_is_not_judged(cohort, command, capsys):
    assert command("fit", cohort.dataset, "-o", cohort.root / "other.json") == 0
    assert cohort.check(qa=cohort.root / "other.json") == 0
    unjudged = cohort.verdict()["unjudged"]
    assert len(unjudged) == 7
    assert "checks, 7 not judged" in capsys.readouterr().out
    assert all("fitted without predictions that have a disagreement.csv" in text for text in unjudged)


def test_a_wrong_reference_is_named_by_the_fit(cohort, draw, command, capsys):
    labels = draw(without=("gluteus_medius_left",))
    write_image(cohort.dataset / "labelsTr" / "train_03.nii.gz", Image(labels, Geometry(**vars_of(cohort))))
    assert command("fit", cohort.dataset, "-o", cohort.root / "other.json") == 0
    assert "stop train_03: " in capsys.readouterr().err
    assert "train_03" in read_json(cohort.root / "other.json")["held_out"]["stop"]


def test_training_cases_without_a_structure_do_not_widen_its_volume(cohort, draw, command):
    labels = draw(without=("piriformis",))
    write_image(cohort.dataset / "labelsTr" / "train_03.nii.gz", Image(labels, Geometry(**vars_of(cohort))))
    assert command("fit", cohort.dataset, "-o", cohort.root / "other.json") == 0
    qa = read_json(cohort.root / "other.json")
    assert (qa["present"]["piriformis"], qa["ranges"]["volume/piriformis"]["n"]) == (14, 14)
    assert qa["ranges"]["volume/piriformis"]["min"] > 0.5
    assert "train_03" in qa["held_out"]["stop"]


def vars_of(cohort):
    from nnunet_chordoma.images import read_geometry

    return vars(read_geometry(cohort.dataset / "labelsTr" / "train_03.nii.gz"))


def test_bounds_set_by_hand_count(cohort):
    qa = read_json(cohort.qa)
    qa["ranges"]["volume/gtv"]["look_high"] = 2.0
    write_json(cohort.qa, qa)
    assert cohort.check() == 0
    assert cohort.flagged() == {"volume/gtv": "look"}


def test_finished_verdicts_are_kept_until_something_changes(cohort, draw):
    cohort.check()
    path = cohort.verdicts / "new_patient.json"

    def judged_again(*options):
        before = path.stat().st_ino
        cohort.check(*options)
        return path.stat().st_ino != before

    assert not judged_again()
    assert judged_again("--overwrite")
    cohort.predict(draw(without=("gtv",)))
    assert judged_again()
    cohort.scan(lambda hu: hu + 1)
    assert judged_again()
    cohort.write_disagreement(cohort.predictions, {"new_patient": 0.90})
    assert judged_again()
    write_json(cohort.qa, read_json(cohort.qa) | {"look_rate": 0.2})
    assert judged_again()
    write_json(path, read_json(path) | {"package_version": "0.0.0"})
    assert judged_again()
    path.write_text('{"schema": "chordoma-qa-verdict"}')
    assert judged_again()
    assert not judged_again()


def test_workers_do_not_change_verdicts(cohort, draw):
    cohort.predict(draw())
    write_image(cohort.predictions / "val_0.nii.gz", Image(draw(), Geometry(**vars_of(cohort))))
    cohort.check("--workers", "1")
    one = [read_verdict(cohort.verdicts / f"{case}.json") for case in ("new_patient", "val_0")]
    cohort.check("--workers", "2", "--overwrite")
    assert [read_verdict(cohort.verdicts / f"{case}.json") for case in ("new_patient", "val_0")] == one


@pytest.fixture
def refusal(cohort, capsys):
    def refused(*options, qa=None):
        assert cohort.check(*options, qa=qa) == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    return refused


def test_missing_and_foreign_files(cohort, refusal):
    assert "missing.json: no such file; run: chordoma-gate fit" in refusal(qa=cohort.root / "missing.json")
    assert "expected a 'chordoma-qa' file" in refusal(qa=cohort.dataset / "dataset.json")
    assert "--case nobody: no label map nobody.nii.gz" in refusal("--case", "nobody")
    cohort.verdicts.mkdir()
    write_json(cohort.verdicts / "new_patient.json", {"mine": 1})
    assert "new_patient.json is no verdict and would be replaced" in refusal()


def test_a_case_without_record_or_image(cohort, refusal):
    (cohort.dataset / "conversion" / "new_patient.json").unlink()
    assert "case 'new_patient': no conversion record" in refusal()
    (cohort.dataset / "imagesTs" / "new_patient_0000.nii.gz").unlink()
    assert "case 'new_patient': no image new_patient_0000.nii.gz" in refusal()
    assert not cohort.verdicts.exists()


def test_other_grids_and_labels(cohort, refusal, draw):
    moved = Geometry((40, 24, 30), (2.0, 2.0, 2.0), (0.0, -23.0, -29.0))
    write_image(cohort.predictions / "new_patient.nii.gz", Image(draw(), moved))
    assert "case 'new_patient': label map" in (line := refusal())
    assert "origin (0, -23, -29) against (-39, -23, -29) mm" in line
    cohort.predict(np.where(draw() == 7, 9, draw()))
    assert "has the label 9, expected 0 to 7" in refusal()
    cohort.predict(draw())
    for folder in (cohort.predictions, cohort.dataset):
        write_json(folder / "dataset.json", {"labels": {"background": 0, "body": 1, "gtv": 2}})
    assert "was fitted to the labels background, body, gtv, gluteus_maximus" in refusal()


def test_what_cannot_be_fitted(cohort, command, capsys):
    def refused(*arguments):
        assert command("fit", *arguments) == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    new = cohort.root / "new.json"
    assert "may hold bounds set by hand; give --overwrite" in refused(cohort.dataset, "-o", cohort.qa)
    assert "expected a name that ends in .json" in refused(cohort.dataset, "-o", cohort.root / "qa")
    assert "no training or validation case" in refused(cohort.dataset, "-o", new, "-p", cohort.predictions)
    assert "--stop-rate < --look-rate" in refused(cohort.dataset, "-o", new, "--look-rate", "0.001")
    assert "splits_final.json: no such file" in refused(cohort.root / "nowhere", "-o", new)
    splits = read_json(cohort.dataset / "splits_final.json")
    write_json(cohort.dataset / "splits_final.json", [splits[0] | {"train": ["train_00"], "val": ["val_0", "val_1"]}])
    assert "at least 4 training and validation cases, found 3" in refused(cohort.dataset, "-o", new)
    (cohort.dataset / "labelsTr" / "train_00.nii.gz").unlink()
    assert "references: 1 case(s) missing" in refused(cohort.dataset, "-o", new)
    assert not new.exists()


def test_the_help_ends_like_that_of_the_other_programs(capsys):
    with pytest.raises(SystemExit) as end:
        console.run(app, arguments=["--help"])
    assert end.value.code == 0
    assert "Research use only." in (said := capsys.readouterr().out)
    assert "--debug" in said
