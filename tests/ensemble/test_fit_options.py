"""What a fit can be asked for, and what it tells about the worth of its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.ensemble.fit import fit, fit_compressed
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.reading.compression import compress
from nnunet_chordoma.labels import LabelScheme

SCHEME = LabelScheme(("background", "body", "gtv", "piriformis"))


@pytest.fixture
def fitted(make_cohort: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Fit a random cohort of four patients with some options; gives the contents of weights.json."""
    cohort = make_cohort(cases=("p1", "p2", "p3", "p4"))

    def of(*options: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(cohort.fit(None, "--bootstrap", "40", *options).read_text())
        return content

    of.cohort = cohort  # type: ignore[attr-defined]
    return of


def mean_iou(prediction: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], labels: tuple[int, ...]) -> float:
    both = [((prediction == k) & (truth == k)).sum() / ((prediction == k) | (truth == k)).sum() for k in labels]
    return float(np.mean(both))


def test_held_out_patients_are_scored_with_weights_that_never_saw_them(fitted: Any) -> None:
    """Each fold is the fit to the other cases alone, and its value that of the label maps of its weights."""
    content, cohort = fitted(), fitted.cohort
    folds = content["held_out"]["folds"]
    assert [fold["patient"] for fold in folds] == ["p1", "p2", "p3", "p4"]
    for fold in folds:
        case = fold["patient"]
        maps = [cohort.maps[m][case].astype(float) for m in "abc"]
        for weights, value in ((fold["weights"].values(), fold["optimal"]), ([1 / 3] * 3, fold["average"])):
            prediction = sum(w * p for w, p in zip(weights, maps, strict=True)).argmax(axis=0)
            assert value == pytest.approx(mean_iou(prediction, cohort.references[case], (0, 1, 2, 3)))
        others = [(c, [cohort.maps[m][c] for m in "abc"], cohort.references[c]) for c in cohort.references if c != case]
        alone = fit(list("abc"), SCHEME, others, FitOptions(held_out=False, resamples=0))
        assert list(fold["weights"].values()) == pytest.approx(alone.weights.values)


def test_two_scans_of_one_patient_are_held_out_together(fitted: Any, tmp_path: Path) -> None:
    listed = tmp_path / "patients.csv"
    listed.write_text("case,patient\np1,A\np2,B\np3,A\np4,C\n")
    folds = fitted("--patients", str(listed))["held_out"]["folds"]
    assert [(fold["patient"], fold["cases"]) for fold in folds] == [("A", ["p1", "p3"]), ("B", ["p2"]), ("C", ["p4"])]


def test_one_patient_gives_no_estimate_and_says_why(
    make_cohort: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(make_cohort(cases=("p1",)).fit(None, "--shrink", "auto").read_text())
    assert "two" in content["held_out"]["reason"]
    assert "two" in content["bootstrap"]["reason"]
    assert content["solver"]["shrunk"] == 0
    assert "No estimate out of sample" in capsys.readouterr().out


def test_intervals_and_selection_lie_where_they_must(fitted: Any) -> None:
    content = fitted()
    bootstrap = content["bootstrap"]
    assert bootstrap["resamples"] == 40
    for name in content["weights"]:
        low, high = bootstrap["weights"][name]
        assert 0 <= low <= high <= 1
        assert 0 <= bootstrap["selected"][name] <= 1


def test_the_same_seed_gives_the_same_file(fitted: Any) -> None:
    assert fitted("--seed", "3") == fitted("--seed", "3")


def test_refits_can_be_left_out(fitted: Any) -> None:
    content = fitted("--bootstrap", "0", "--no-held-out")
    assert (content["held_out"], content["bootstrap"], content["shrinkage"]) == (None, None, None)


def test_shrinking_moves_the_weights_toward_equal_ones(fitted: Any) -> None:
    plain, half, whole = (list(fitted("--shrink", a)["weights"].values()) for a in ("0", "0.5", "1"))
    np.testing.assert_allclose(half, np.array(plain) / 2 + 1 / 6)
    assert whole == [1 / 3] * 3


def test_held_out_patients_choose_how_far_to_shrink(fitted: Any) -> None:
    content, plain = fitted("--shrink", "auto"), fitted()
    chosen, folds = content["shrinkage"], content["held_out"]["folds"]
    assert content["solver"]["shrunk"] == chosen["amount"]
    best = max(chosen["mean_iou"])
    assert chosen["mean_iou"][chosen["amounts"].index(chosen["amount"])] == pytest.approx(best)
    assert chosen["mean_iou"][0] == pytest.approx(plain["held_out"]["mean_iou"]["optimal"])
    assert chosen["mean_iou"][-1] == pytest.approx(plain["held_out"]["mean_iou"]["average"])
    # Every fold's weights are its unshrunk ones, drawn toward 1/3 by one of the amounts.
    for fold, before in zip(folds, plain["held_out"]["folds"], strict=True):
        old, new = (np.array(list(f["weights"].values())) for f in (before, fold))
        assert any(np.allclose(new, (1 - a) * old + a / 3) for a in chosen["amounts"])


def test_what_is_said_of_worth_is_about_the_weights_that_are_written(
    fitted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fully shrunk weights are the average: nothing can be gained, lost or uncertain."""
    content = fitted("--shrink", "1")
    assert content["held_out"]["mean_iou"]["optimal"] == content["held_out"]["mean_iou"]["average"]
    assert all(low == high == pytest.approx(1 / 3) for low, high in content["bootstrap"]["weights"].values())
    assert content["bootstrap"]["gain"] == [0, 0]
    assert content["solver"]["optimal_along_every_pair_direction"] is None
    assert "before shrinking" in capsys.readouterr().out


def test_only_chosen_classes_count(fitted: Any) -> None:
    content = fitted("--classes", "gtv,piriformis")
    scores = content["on_fitted_cases"]["optimal"]
    assert content["objective"]["classes"] == ["gtv", "piriformis"]
    assert scores["iou"]["background"] is None
    assert content["value"] == pytest.approx(scores["iou"]["gtv"] + scores["iou"]["piriformis"])
    everything = fitted()["on_fitted_cases"]["optimal"]["iou"]
    assert content["value"] >= everything["gtv"] + everything["piriformis"] - 1e-9


def test_pooled_voxels_give_one_iou_for_all_cases(fitted: Any) -> None:
    content, cohort = fitted("--pool", "voxels"), fitted.cohort
    weights = content["weights"]
    maps = {
        case: sum(w * cohort.maps[m][case].astype(float) for m, w in weights.items()).argmax(axis=0)
        for case in cohort.references
    }
    prediction = np.stack(list(maps.values()))
    truth = np.stack(list(cohort.references.values()))
    assert content["value"] == pytest.approx(4 * mean_iou(prediction, truth, (0, 1, 2, 3)))


def test_the_soft_optimum_is_certified_and_no_weights_are_better(fitted: Any) -> None:
    content, cohort = fitted("--objective", "soft-iou"), fitted.cohort
    assert content["solver"]["certified"] is True
    assert content["solver"]["gap"] <= 1e-6
    rng = np.random.default_rng(0)
    truth = np.stack(list(cohort.references.values()))

    def soft(weights: Any) -> float:
        p = sum(
            w * np.stack([cohort.maps[m][c] for c in cohort.references]) for m, w in zip("abc", weights, strict=True)
        )
        value = 0.0
        for label in range(4):
            y = truth == label
            inside = (p[:, label] * y).sum(axis=(1, 2, 3))
            value += (inside / (y.sum(axis=(1, 2, 3)) + p[:, label].sum(axis=(1, 2, 3)) - inside)).mean()
        return value

    assert content["value"] == pytest.approx(soft(content["weights"].values()), rel=1e-5)
    assert all(soft(w) <= content["value"] + 1e-5 for w in (*np.eye(3), *rng.dirichlet(np.ones(3), 200)))


def test_the_papers_ascent_ends_short_of_the_optimum(fitted: Any) -> None:
    adam, exact = fitted("--objective", "soft-iou", "--solver", "adam"), fitted("--objective", "soft-iou")
    assert adam["solver"]["name"] == "adam"
    assert adam["solver"]["learning_rate"] == 1e-3
    assert adam["value"] <= exact["value"] + 1e-9


def test_a_collapse_of_the_soft_objective_is_warned_about_with_numbers(
    make_cohort: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Three unsure models, no two wrong in the same voxel, and a sharp one that is wrong more confidently."""
    cohort = make_cohort(cases=("p1",), models=("a", "b", "c", "sharp"))
    truth = cohort.references["p1"]
    right = (np.arange(4).reshape(4, 1, 1, 1) == truth).astype(np.float32)
    wrong = (np.arange(4).reshape(4, 1, 1, 1) == (truth + 1) % 4).astype(np.float32)
    draw = np.random.default_rng(1).integers(0, 12, truth.shape)
    for turn, name in enumerate(("a", "b", "c")):
        maps = np.where(draw % 3 == turn, 0.45 * right + 0.55 * wrong, 0.8 * right + 0.2 * wrong)
        cohort.write_prediction(name, "p1", maps.astype(np.float32))
    maps = np.where(draw == 0, 0.05 * right + 0.95 * wrong, 0.95 * right + 0.05 * wrong)
    cohort.write_prediction("sharp", "p1", maps.astype(np.float32))
    content = json.loads(cohort.fit(None, "--objective", "soft-iou").read_text())
    scores = content["on_fitted_cases"]
    assert content["weights"] == {"a": 0, "b": 0, "c": 0, "sharp": 1}
    assert scores["average"]["value"] == 4
    assert scores["optimal"]["value"] < 3.6
    warned = " ".join(capsys.readouterr().err.split())
    assert f"IoU {scores['optimal']['value']:.4f} against 4.0000 of 4" in warned
    assert f"from {scores['average']['soft_value']:.4f} to {scores['optimal']['soft_value']:.4f}" in warned


def test_the_picture_is_drawn_beside_the_weights(cohort: Any) -> None:
    picture = cohort.fit().with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_arrays_and_compressed_cases_give_the_same(arrays: Callable[..., Any]) -> None:
    cases = arrays(5, cases=3)
    scheme = LabelScheme(("background", "body", "gtv", "piriformis"))
    compressed = tuple(compress(*case) for case in cases)
    options = FitOptions(resamples=40)
    one, other = fit(list("abc"), scheme, cases, options), fit_compressed(list("abc"), scheme, compressed, options)
    assert (one.weights, one.optimal, one.worth) == (other.weights, other.optimal, other.worth)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--objective", "dice"], "iou or soft-iou"),
        (["--solver", "adam"], "soft-iou"),
        (["--solver", "sgd"], "exact or adam"),
        (["--pool", "patients"], "cases or voxels"),
        (["--classes", "gtv,liver"], "liver"),
        (["--classes", "gtv,,body"], "different class names"),
        (["--shrink", "1.5"], "0 to 1"),
        (["--shrink", "some"], "auto or a number"),
        (["--shrink", "auto", "--no-held-out"], "held-out"),
        (["--bootstrap", "-1"], "at least 40"),
        (["--bootstrap", "5"], "at least 40"),
        (["--workers", "0"], "1 or more"),
    ],
)
def test_senseless_options_are_refused_in_one_line(
    cohort: Any, refused: Callable[..., str], options: list[str], said: str
) -> None:
    output = cohort.root / "out" / "weights.json"
    line = refused("fit", *cohort.model_arguments(), "-r", str(cohort.reference_folder), "-o", str(output), *options)
    assert said in line
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case,patient\np1,A\n", "p2"),
        ("case,patient\np1,A\np1,B\n", "more than once"),
        ("a,b\n1,2\n", "columns"),
        ("", "none"),
    ],
)
def test_a_list_of_patients_must_be_complete(
    cohort: Any, refused: Callable[..., str], tmp_path: Path, text: str, said: str
) -> None:
    listed = tmp_path / "patients.csv"
    listed.write_text(text)
    output = cohort.root / "out" / "weights.json"
    arguments = [*cohort.model_arguments(), "-r", str(cohort.reference_folder), "-o", str(output)]
    assert said in refused("fit", *arguments, "--patients", str(listed))
