"""weights.png says what was fitted and how certain it is, and spends no room on weights above the largest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest

from nnunet_chordoma.ensemble.fit import fit
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.results import FitResult
from nnunet_chordoma.ensemble.summary import sentences, soft_warning
from nnunet_chordoma.ensemble.weights_picture import draw_weights, subtitle
from nnunet_chordoma.ensemble.worth.bootstrap import Bootstrap
from nnunet_chordoma.labels import LabelScheme

SCHEME = LabelScheme(("background", "body", "gtv", "piriformis"))
SHAPE = (2, 4, 5)


@pytest.fixture
def fitted(arrays: Callable[..., Any]) -> Callable[..., FitResult]:
    def run(cases: int = 2, models: int = 3, resamples: int = 0, **options: Any) -> FitResult:
        names = [f"m{index}" for index in range(models)]
        given = arrays(seed=5, models=models, cases=cases, shape=SHAPE)
        return fit(names, SCHEME, given, FitOptions(resamples=resamples, random_starts=1, **options))

    return run


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FitResult], Any]:
    """The figure that is saved."""

    def run(result: FitResult) -> Any:
        saved = []
        save = matplotlib.figure.Figure.savefig

        def keep(self: Any, *arguments: Any, **options: Any) -> None:
            saved.append(self)
            save(self, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(matplotlib.figure.Figure, "savefig", keep)
            draw_weights(tmp_path / "w.png", result)
        return saved[0]

    return run


def test_it_says_what_was_fitted(fitted: Callable[..., FitResult]) -> None:
    first = subtitle(fitted()).splitlines()[0]
    assert first == "Objective iou, pool cases, shrink 0%, 2 case(s), classes: all 4"
    other = subtitle(fitted(objective="soft-iou", pool="voxels", shrink=0.25, classes=("gtv", "piriformis")))
    assert (
        other.splitlines()[0] == "Objective soft-iou, pool voxels, shrink 25%, 2 case(s), classes: gtv and piriformis"
    )


def test_the_axis_says_which_classes_the_mean_is_over(
    fitted: Callable[..., FitResult], drawn: Callable[[FitResult], Any]
) -> None:
    figure = drawn(fitted(classes=("gtv", "piriformis")))
    assert figure.axes[1].get_xlabel() == "IoU of label maps, mean over classes: gtv and piriformis"
    assert figure.get_suptitle().startswith("Objective iou")
    assert drawn(fitted()).axes[1].get_xlabel() == "IoU of label maps, mean over classes: all 4"


def test_few_patients_are_mentioned_as_on_the_terminal(fitted: Callable[..., FitResult]) -> None:
    result = fitted(resamples=200)
    (said,) = [each for each in sentences(result) if each.startswith("No intervals: ")]
    assert said in subtitle(result).splitlines()
    assert "2 patients are too few to tell any gain from chance." in subtitle(result)
    alone = " ".join(subtitle(fitted(cases=1, resamples=200)).split())
    assert "No intervals and nothing held out: only one patient has a class that counts" in alone


def test_enough_patients_need_no_excuse(fitted: Callable[..., FitResult]) -> None:
    assert len(subtitle(fitted(cases=6, resamples=40)).splitlines()) == 1


def test_the_weights_end_where_the_data_do(fitted: Callable[..., FitResult], drawn: Callable[[FitResult], Any]) -> None:
    single = fitted(objective="soft-iou", held_out=False)
    result = fitted(cases=4, models=4, resamples=40)
    assert isinstance(result.worth.bootstrap, Bootstrap)
    reach = max(*result.weights.values, *(each.high for each in result.worth.bootstrap.weights))
    for each, largest in ((single, max(single.weights.values)), (result, reach)):
        low, high = drawn(each).axes[0].get_xlim()
        assert low == 0
        assert largest <= high <= min(1.0, 1.1 * largest)


def test_worse_label_maps_of_the_soft_optimum_are_told_once(fitted: Callable[..., FitResult]) -> None:
    soft = fitted(objective="soft-iou", held_out=False)
    warned = soft_warning(soft)
    assert warned is not None
    assert f"IoU {soft.optimal.value:.4f} against {soft.average.value:.4f}" in warned
    assert not any(f"{soft.optimal.value:.4f} against" in each for each in sentences(soft))
    label_maps = fitted(held_out=False)
    assert soft_warning(label_maps) is None
    assert any(f"{label_maps.optimal.value:.4f} against" in each for each in sentences(label_maps))


def test_a_folder_without_probabilities_names_both_programs(cohort: Any, refused: Callable[..., str]) -> None:
    empty = cohort.root / "empty"
    empty.mkdir()
    for arguments in (
        ("predict", "-w", "average", "-o", str(cohort.root / "out")),
        ("fit", "-r", str(cohort.reference_folder), "-o", str(cohort.root / "w.json")),
    ):
        line = refused(*arguments, "-m", f"a={empty}", f"b={cohort.folder('b')}")
        assert "predict with chordoma-predict, or nnUNetv2_predict --save_probabilities" in line
