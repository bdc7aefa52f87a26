"""chordoma-eval score and show, through the command line: files in, scores.csv and one line of error out."""

import hashlib
import json
import math
import os
import re
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation import inputs, scoring
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.files import write_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA, LabelScheme
from nnunet_chordoma.layout import Splits, write_splits

DATA = Path(os.environ.get("CHORDOMA_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
METRICS = [
    *("VDSC", "IoU", "SDSC2", "SDSC3", "ASSD", "HD95", "ASD_ref_to_pred", "ASD_pred_to_ref"),
    *("APL", "area_beyond_2mm", "area_beyond_3mm", "volume_reference", "volume_prediction", "volume_difference"),
]
GRID = Geometry((22, 18, 20), (2.0, 2.0, 2.0), (-21.0, -17.0, -19.0))
STRUCTURES = ["gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis"]


def left_behind(cohort):
    """Names beside the inputs after a run."""
    return sorted(p.name for p in cohort.root.iterdir() if p.is_file() or p.name.startswith("."))


def test_the_csv_is_tidy(cohort, evaluate):
    status, out, err = evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    assert status == 0, err
    rows = cohort.rows()
    assert cohort.scores.read_text().splitlines()[0] == "model,case,split,structure,metric,value,unit"
    assert [(r["model"], r["case"], r["structure"], r["metric"]) for r in rows] == [
        (model, case, structure, metric)
        for model in ("exact", "shifted")
        for case in ("case_1", "case_2", "case_3")
        for structure in STRUCTURES
        for metric in METRICS
    ]
    assert {r["case"]: r["split"] for r in rows} == {"case_1": "test", "case_2": "test", "case_3": "outlier"}
    units = {r["metric"]: r["unit"] for r in rows}
    assert [units[m] for m in METRICS] == [*["1"] * 4, *["mm"] * 5, *["cm2"] * 2, *["cm3"] * 3]
    assert cohort.value("exact", "case_1", "gtv", "VDSC") == 1
    assert cohort.value("shifted", "case_1", "paraspinal", "VDSC") == 0.75
    assert cohort.value("shifted", "case_1", "gtv", "HD95") == 2
    assert cohort.value("exact", "case_1", "gtv", "volume_reference") == 64 * 0.008
    assert "VDSC %" in out
    assert "100.0*" in out
    assert left_behind(cohort) == ["scores.csv", "scores.json"]


def test_progress_says_how_fast(cohort, evaluate):
    _, _, err = evaluate(*cohort.score_arguments("exact"))
    assert re.search(r"scoring cases .* 3/3 +[\d.]+ (per second|s each),", err), err


def test_without_splits_all_references_are_test_cases(cohort, evaluate):
    assert evaluate(*cohort.score_arguments("exact"))[0] == 0
    assert {r["split"] for r in cohort.rows()} == {"test"}


def test_only_test_and_outlier_cases_of_the_splits_are_scored(cohort, evaluate):
    write_splits(cohort.splits, Splits(("case_1",), ("case_2",), (), ("case_3",)))
    assert evaluate(*cohort.score_arguments("exact", extra=("--splits", cohort.splits)))[0] == 0
    assert {(r["case"], r["split"]) for r in cohort.rows()} == {("case_3", "outlier")}


def test_structures_without_reference(cohort, evaluate, drawn):
    wrong = drawn(without=("piriformis",))
    wrong[2, 2:4, 15:18] = 7  # 6 voxels of piriformis where the outlier has none
    cohort.add_prediction("shifted", "case_3", wrong)
    cohort.add_prediction("shifted", "case_1", drawn(without=("gtv",)))
    status, out, _ = evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    assert status == 0
    for metric in METRICS[:11]:
        assert math.isnan(cohort.value("exact", "case_3", "piriformis", metric))
    assert cohort.value("shifted", "case_3", "piriformis", "VDSC") == 0
    assert cohort.value("shifted", "case_3", "piriformis", "ASSD") == math.inf
    assert cohort.value("shifted", "case_1", "gtv", "SDSC2") == 0
    assert cohort.value("shifted", "case_1", "gtv", "HD95") == math.inf
    text = cohort.scores.read_text()
    assert "exact,case_3,outlier,piriformis,VDSC,nan,1" in text
    assert "shifted,case_3,outlier,piriformis,ASSD,inf,mm" in text
    assert math.isnan(pd.read_csv(cohort.scores).query("structure == 'piriformis' and case == 'case_3'").value.iloc[0])
    sidecar = json.loads(cohort.scores.with_suffix(".json").read_text())
    assert sidecar["not_evaluated"] == [{"case": "case_3", "structure": "piriformis"}]
    assert sidecar["misclassified"] == [
        {"model": "shifted", "case": "case_3", "structure": "piriformis", "volume_cm3": pytest.approx(0.048)}
    ]
    assert "Piriformis: no reference in any case" in out
    assert "predicted without a reference by shifted (1 case, 0.05 cm³)" in " ".join(out.split())
    assert "†" in out


def test_the_sidecar_says_how_the_scores_came_about(cohort, evaluate):
    arguments = cohort.score_arguments("exact", extra=("--splits", cohort.splits, "--tolerances", "1,2.5"))
    assert evaluate(*arguments)[0] == 0
    sidecar = json.loads(cohort.scores.with_suffix(".json").read_text())
    assert (sidecar["schema"], sidecar["schema_version"]) == ("chordoma-scores", 1)
    assert sidecar["labels"][2] == "gtv"
    assert sidecar["tolerances_mm"] == [1, 2.5]
    assert [m["key"] for m in sidecar["metrics"]][2:4] == ["SDSC1", "SDSC2.5"]
    assert sidecar["models"] == {"exact": str(cohort.root / "exact")}
    assert sidecar["reference"] == str(cohort.references)
    assert sidecar["splits"] == str(cohort.splits)
    assert set(sidecar["versions"]) >= {"python", "numpy", "surface-distance"}
    case = sidecar["cases"]["case_3"]
    file = cohort.references / "case_3.nii.gz"
    assert case["split"] == "outlier"
    assert case["reference"] == {"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert case["predictions"]["exact"]["file"] == str(cohort.root / "exact" / "case_3.nii.gz")
    assert sidecar["scores"]["sha256"] == hashlib.sha256(cohort.scores.read_bytes()).hexdigest()


def test_workers_give_the_same_file(cohort, evaluate):
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    alone = cohort.scores.read_bytes()
    cohort.scores.unlink()
    assert evaluate(*cohort.score_arguments("exact", "shifted", extra=("--workers", 2)))[0] == 0
    assert cohort.scores.read_bytes() == alone


def test_a_cluster_gives_the_same_file(cohort, evaluate):
    distributed = pytest.importorskip("distributed", reason="dask and distributed are not installed")
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    alone = cohort.scores.read_bytes()
    cohort.scores.unlink()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        arguments = cohort.score_arguments("exact", "shifted", extra=("--cluster", cluster.scheduler_address))
        status, _, err = evaluate(*arguments)
        assert status == 0, err
        assert cohort.scores.read_bytes() == alone
        cohort.scores.unlink()
        cohort.add_prediction("shifted", "case_2", np.full(GRID.shape_zyx, 9, np.uint8))
        status, _, err = evaluate(*arguments)
    assert status == 1
    assert "error: model 'shifted', case 'case_2'" in err
    assert not cohort.scores.exists()


# What is refused. Names and headers are looked at before anything is computed; what is wrong inside a file comes up
# when its turn comes, no scores are written then, and what was scored before it is kept.


@pytest.fixture
def refused(cohort, evaluate, monkeypatch):
    """Function that runs score and expects one line of error with all the given parts; `computed` allows scores."""

    def run(*parts, models=("exact", "shifted"), extra=(), status=1, computed=False):
        if not computed:
            monkeypatch.setattr(scoring, "PreparedReference", lambda *_, **__: pytest.fail("computed before checking"))
        found, _, err = evaluate(*cohort.score_arguments(*models, extra=extra))
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert found == status, err
        assert len(lines) == 1, err
        for part in parts:
            assert part in lines[0]
        assert "Traceback" not in err
        assert left_behind(cohort) == ([".scores.csv.partial"] if computed else [])

    return run


def test_a_missing_case(cohort, refused):
    (cohort.root / "shifted" / "case_2.nii.gz").unlink()
    refused("1 case (case_2)", "model 'shifted'", "--allow-missing")


def test_an_extra_case(cohort, refused, drawn):
    cohort.add_prediction("shifted", "case_9", drawn())
    refused("1 case (case_9)", "model 'shifted'", "without a reference")


def test_images_instead_of_references(cohort, refused, drawn):
    for file in cohort.references.iterdir():
        file.rename(file.with_name(file.name.replace(".nii.gz", "_0000.nii.gz")))
    refused("reference: these are images (_0000)", "did you mean labelsTs?")


def test_images_instead_of_predictions(cohort, refused):
    for file in (cohort.root / "shifted").iterdir():
        file.rename(file.with_name(file.name.replace(".nii.gz", "_0000.nii.gz")))
    refused("model 'shifted': these are images (_0000)", extra=("--allow-missing",))


def test_cases_may_be_numbered_like_channels(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("sacrum_0000",), outliers=())
    cohort.add_prediction("model", "sacrum_0000", drawn())
    assert evaluate(*cohort.score_arguments("model"))[0] == 0


def test_a_missing_reference(cohort, refused):
    write_splits(cohort.splits, Splits((), (), ("case_1", "case_7"), ("case_3",)))
    refused("case_7", "without a reference", extra=("--splits", cohort.splits))


def test_splits_of_other_cases(cohort, refused):
    write_splits(cohort.splits, Splits(("case_1",), ("case_2", "case_3")))
    refused("none of its 0 test and outlier cases", "leave out --splits", extra=("--splits", cohort.splits))


def test_another_grid(cohort, refused, drawn):
    grid = Geometry((22, 18, 20), (2.0, 2.0, 2.5), (-21.0, -17.0, -19.0))
    cohort.add_prediction("shifted", "case_2", drawn(), grid)
    refused("model 'shifted'", "case 'case_2'", "spacing (2, 2, 2.5) against (2, 2, 2) mm")


def test_an_unknown_label(cohort, refused, drawn):
    labels = drawn()
    labels[0, 0, 0] = 8
    cohort.add_prediction("shifted", "case_3", labels)
    refused("model 'shifted'", "case 'case_3'", "label 8", "0 to 7", "piriformis", computed=True)


def test_an_unknown_label_in_the_reference(cohort, refused, drawn):
    labels = drawn()
    labels[0, 0, 0] = 11
    cohort.add_prediction("Dataset900_Chordoma/labelsTs", "case_2", labels)
    refused("reference", "case 'case_2'", "label 11", computed=True)


def test_a_truncated_file(cohort, refused):
    path = cohort.root / "shifted" / "case_2.nii.gz"
    path.write_bytes(path.read_bytes()[:-60])
    refused("model 'shifted'", "case 'case_2'", "truncated", computed=True)


def test_a_damaged_header(cohort, refused):
    path = cohort.root / "shifted" / "case_2.nii.gz"
    path.write_bytes(b"no image" + path.read_bytes())
    refused("model 'shifted'", "case 'case_2'", "not a readable image")


def test_a_file_whose_checksum_does_not_fit(tmp_path):
    # Large enough that its header can be read: ITK would give its voxels without a word.
    labels = np.random.default_rng(0).integers(0, 8, (60, 60, 60)).astype(np.uint8)
    path = tmp_path / "case.nii.gz"
    write_image(path, Image(labels, Geometry((60, 60, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))))
    content = bytearray(path.read_bytes())
    assert np.array_equal(inputs.read_labels(path, CHORDOMA, "model 'a'").array, labels)
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChordomaError, match=r"model 'a': .*case\.nii\.gz: truncated or damaged"):
        inputs.read_labels(path, CHORDOMA, "model 'a'")


def test_an_image_instead_of_a_label_map(cohort, refused, drawn):
    cohort.add_prediction("shifted", "case_2", drawn().astype(np.float32) + 0.5)
    refused("case 'case_2'", "label map of integers", computed=True)


def test_what_was_scored_before_a_fault_is_kept(cohort, refused, evaluate, drawn, computed):
    cohort.add_prediction("shifted", "case_3", drawn() + 5)
    refused("case 'case_3'", "label 12", computed=True)
    # Both models on two cases, and the first on the third.
    assert computed.calls == 5
    cohort.add_prediction("shifted", "case_3", drawn(shift=1))
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    assert computed.calls == 6


def test_negative_labels(cohort, refused, drawn):
    labels = drawn().astype(np.int16)
    labels[3, 3, 3] = -1
    cohort.add_prediction("shifted", "case_2", labels)
    refused("model 'shifted'", "case 'case_2'", "label -1", "0 to 7", computed=True)


def test_each_label_map_is_read_once(cohort, evaluate, monkeypatch):
    read = []
    original = scoring.read_labels
    monkeypatch.setattr(scoring, "read_labels", lambda path, *rest: read.append(path.name) or original(path, *rest))
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    assert sorted(read) == sorted(f"case_{k}.nii.gz" for k in (1, 2, 3) for _ in range(3))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_label_maps_of_every_kind(cohort, evaluate, drawn, kind, suffix):
    path = cohort.root / "shifted" / "case_2.nii.gz"
    path.unlink()
    write_image(path.with_name(f"case_2{suffix}"), Image(drawn(shift=1).astype(kind), GRID))
    status, _, err = evaluate(*cohort.score_arguments("shifted"))
    assert status == 0, err
    assert cohort.value("shifted", "case_2", "paraspinal", "VDSC") == 0.75


def test_scaled_labels_mean_what_the_header_says(cohort, evaluate, drawn):
    path = cohort.root / "shifted" / "case_2.nii"
    path.with_name("case_2.nii.gz").unlink()
    write_image(path, Image(drawn(shift=1), GRID))
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<2f", 1.0, 1.0)
    content[352:] = bytes(max(value - 1, 0) for value in content[352:])
    path.write_bytes(content)
    # Every label is one higher than stored; the lowest, 1, is the body.
    assert evaluate(*cohort.score_arguments("shifted"))[0] == 0
    assert cohort.value("shifted", "case_2", "paraspinal", "VDSC") == 0.75


def test_paths_are_added_up_on_transverse_slices(cohort, evaluate, drawn):
    labels, reference = drawn(shift=1), drawn()
    lengths = []
    for direction in ((1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, 1, 1, 0, 0)):
        grid = Geometry(GRID.size, GRID.spacing_mm, GRID.origin_mm, tuple(map(float, direction)))
        write_image(cohort.references / "case_1.nii.gz", Image(reference, grid))
        cohort.add_prediction("shifted", "case_1", labels, grid)
        assert evaluate(*cohort.score_arguments("shifted"))[0] == 0
        lengths.append(cohort.value("shifted", "case_1", "gtv", "APL"))
    # A 4 x 4 x 4 cube, shifted by a voxel of 2 mm along the image's x: in slices across x no pixel stays on a contour
    # of the lost plane alone, in the others the square of each slice keeps half of its contour.
    assert lengths == [4 * 6 * 2, 4 * 6 * 2, 12 * 2]


def test_models_of_another_dataset(cohort, refused):
    labels = {"background": 0, "body": 1, "gtv": 2}
    write_json(cohort.root / "shifted" / "dataset.json", {"labels": labels})
    refused("model 'shifted'", "background, body, gtv", "same dataset")


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        (("--tolerances", "two"), "--tolerances two"),
        (("-o", "scores.txt"), "ends in .csv"),
        (("-o", "exact/case_1.nii.gz/scores.csv"), "cannot write in exact/case_1.nii.gz"),
        (("--splits", "nowhere.json"), "no such file"),
        (("-r", "nowhere"), "nowhere is not an existing folder"),
        (("-m", "third"), "NAME=DIR"),
        (("-m", "exact=."), "given twice"),
        (("--workers", "0"), "--workers must be 1 or more"),
    ],
)
def test_wrong_arguments(refused, extra, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(part, extra=extra)


def test_allow_missing_lists_and_goes_on(cohort, evaluate, drawn):
    (cohort.root / "shifted" / "case_2.nii.gz").unlink()
    cohort.add_prediction("shifted", "case_9", drawn())
    status, out, err = evaluate(*cohort.score_arguments("exact", "shifted", extra=("--allow-missing",)))
    assert status == 0
    assert "warning: model 'shifted' has no label map of case 'case_2'" in err
    assert "warning: model 'shifted', case 'case_9': no reference" in err
    assert {r["case"] for r in cohort.rows() if r["model"] == "shifted"} == {"case_1", "case_3"}
    sidecar = json.loads(cohort.scores.with_suffix(".json").read_text())
    assert sidecar["missing"] == [{"model": "shifted", "case": "case_2"}]
    assert sidecar["extra"] == [{"model": "shifted", "case": "case_9"}]
    assert "not predicted" in out


# Stopping and starting again


@pytest.fixture
def computed(monkeypatch):
    """Counts calls of the metrics; `computed.limit` makes the call after so many fail like an interruption."""

    class Counter:
        calls = 0
        limit = math.inf

    original = scoring.PreparedReference.scores

    def counting(*arguments):
        if Counter.calls >= Counter.limit:
            raise KeyboardInterrupt
        Counter.calls += 1
        return original(*arguments)

    monkeypatch.setattr(scoring.PreparedReference, "scores", counting)
    return Counter


def test_an_interrupted_run_continues(cohort, evaluate, computed):
    computed.limit = 4
    status, _, err = evaluate(*cohort.score_arguments("exact", "shifted"))
    assert status == 130, err
    assert left_behind(cohort) == [".scores.csv.partial"]
    assert len(list((cohort.root / ".scores.csv.partial").iterdir())) == 4
    computed.limit = math.inf
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    assert computed.calls == 6
    assert left_behind(cohort) == ["scores.csv", "scores.json"]
    continued = cohort.scores.read_bytes()
    cohort.scores.unlink()
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    assert computed.calls == 12
    assert cohort.scores.read_bytes() == continued


def test_changed_files_and_tolerances_are_scored_anew(cohort, evaluate, computed, drawn):
    arguments = cohort.score_arguments("exact", "shifted")
    assert evaluate(*arguments)[0] == 0
    assert evaluate(*arguments)[0] == 0
    assert computed.calls == 6
    cohort.add_prediction("shifted", "case_1", drawn(without=("paraspinal",)))
    assert evaluate(*arguments)[0] == 0
    assert computed.calls == 7
    assert cohort.value("shifted", "case_1", "gtv", "VDSC") == 1
    assert evaluate(*arguments, "--tolerances", "2,4")[0] == 0
    assert computed.calls == 13


def test_results_used_again_are_the_same_to_the_last_digit(cohort, evaluate, computed, drawn):
    cohort.add_prediction("shifted", "case_1", drawn(without=("gtv",)))
    assert evaluate(*cohort.score_arguments("shifted"))[0] == 0
    first = cohort.scores.read_bytes()
    assert evaluate(*cohort.score_arguments("shifted"))[0] == 0
    assert computed.calls == 3
    assert cohort.scores.read_bytes() == first


def test_a_further_model_costs_only_itself(cohort, evaluate, computed):
    assert evaluate(*cohort.score_arguments("shifted"))[0] == 0
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    assert computed.calls == 6
    assert cohort.value("shifted", "case_1", "gtv", "HD95") == 2


def test_an_edited_scores_file_is_not_trusted(cohort, evaluate, computed):
    assert evaluate(*cohort.score_arguments("exact"))[0] == 0
    cohort.scores.write_text(cohort.scores.read_text().replace("VDSC,1.0,1", "VDSC,0.5,1"))
    assert evaluate(*cohort.score_arguments("exact"))[0] == 0
    assert computed.calls == 6
    assert cohort.value("exact", "case_1", "gtv", "VDSC") == 1


# show


def test_show_prints_what_score_printed(cohort, evaluate):
    _, scored, _ = evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    status, shown, _ = evaluate("show", cohort.scores)
    assert status == 0
    assert shown == scored
    assert "Table 1a. Test set, 2 cases" in shown
    assert "Table 1b. Outlier set, 1 case" in shown


HEADER = "model,case,split,structure,metric,value,unit\n"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "no such file"),
        ("", "not a readable CSV"),
        ("model,value\na,1\n", "expected the columns model, case, split"),
        (HEADER, "no scores"),
        (HEADER + "a,c,test,gtv,VDSC,good,1\n", "expected numbers"),
        (HEADER + "a,c,test,gtv,VDSC,1,1\n" * 2, "more than one value"),
        (HEADER + "a,c,test,gtv,VDSC,1,1\n", "expected every metric"),
    ],
)
def test_show_refuses_other_files(tmp_path, evaluate, text, part):
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    status, out, err = evaluate("show", path)
    assert status == 1
    assert out == ""
    assert part in err
    assert len(err.splitlines()) == 1


def test_a_case_in_two_splits_is_refused(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact"))
    cohort.scores.write_text(cohort.scores.read_text().replace("case_1,test,gtv", "case_1,outlier,gtv"))
    status, _, err = evaluate("show", cohort.scores)
    assert status == 1
    assert "more than one split" in err


def test_names_survive_the_csv(cohort, evaluate, drawn):
    for case in ("case_1", "case_2", "case_3"):
        cohort.add_prediction("NA", case, drawn())
        cohort.add_prediction("a, b", case, drawn())
    assert evaluate(*cohort.score_arguments("NA", "a, b"))[0] == 0
    assert list(read_scores(cohort.scores)["model"].unique()) == ["NA", "a, b"]


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}")
def test_a_sagittal_label_map_of_the_real_world(tmp_path, evaluate, read):
    source = DATA / "panoptica_spine"
    for name, folder in (("ref", "labelsTs"), ("pred", "prediction")):
        image = read(source / f"{name}.nii.gz")
        binary = Image((image.array > 0).astype(np.uint8), image.geometry)
        write_image(tmp_path / "Dataset900_Spine" / folder / "spine.nii.gz", binary)
    scheme = LabelScheme(("background", "spine"))
    write_json(tmp_path / "Dataset900_Spine" / "dataset.json", {"labels": scheme.to_nnunet()})
    folder = tmp_path / "Dataset900_Spine"
    status, out, err = evaluate(
        "score", "-m", f"spine={folder / 'prediction'}", "-r", folder / "labelsTs", "-o", tmp_path / "scores.csv"
    )
    assert status == 0, err
    scores = read_scores(tmp_path / "scores.csv").set_index("metric")["value"]
    assert round(scores["VDSC"], 4) == 0.9732
    assert "97.3" in out
    # The axes have very different spacings; a mix-up would show in the volume or the distances.
    assert scores["volume_reference"] == pytest.approx(
        (read(source / "ref.nii.gz").array > 0).sum() * image.geometry.voxel_volume_cm3, rel=1e-3
    )
    assert 0 < scores["ASSD"] < 1
