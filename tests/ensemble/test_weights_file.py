"""weights.json keeps weights and results together: what was edited is refused, what was given is taken as given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.ensemble.comparison.fitted import FittedWeights
from nnunet_chordoma.ensemble.fit import fit
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.results import write_weights
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.fitted_weights import read_fitted_weights
from nnunet_chordoma.images import read_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.weights_file import read_weights_file, write_weights_file

READERS = (EnsembleWeights.read, FittedWeights.read, read_fitted_weights, read_weights_file)
LABELS = ("background", "body", "gtv", "piriformis")
HEAD = {"schema": "chordoma-ensemble-weights", "schema_version": 1, "labels": list(LABELS)}


@pytest.fixture(scope="module")
def written_by_fit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text of the weights.json of a fit of three models to two cases."""
    rng = np.random.default_rng(0)
    cases = []
    for case in ("p1", "p2"):
        truth = rng.integers(0, 4, (3, 4, 5))
        logits = [rng.normal(size=(4, 3, 4, 5)) + 2 * (np.arange(4).reshape(4, 1, 1, 1) == truth) for _ in range(3)]
        cases.append((case, [(np.exp(each) / np.exp(each).sum(axis=0)).astype(np.float32) for each in logits], truth))
    path = tmp_path_factory.mktemp("fit") / "weights.json"
    write_weights(path, fit(["a", "b", "c"], LabelScheme(LABELS), cases, FitOptions(resamples=0)))
    return path.read_text()


@pytest.fixture
def fitted(written_by_fit: str, tmp_path: Path) -> Path:
    path = tmp_path / "weights.json"
    path.write_text(written_by_fit)
    return path


def rewritten(path: Path, content: Any, **layout: Any) -> Path:
    path.write_text(json.dumps(content, **layout))
    return path


def swapped(content: dict[str, Any]) -> None:
    content["weights"] = dict(reversed(content["weights"].items()))


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(weights={"a": 0.5, "b": 0.5, "c": 0.0}),
        swapped,
        lambda c: c.update(labels=["background", "body", "gtv", "sacrum"]),
        lambda c: c["objective"].update(pool="voxels"),
        lambda c: c.update(value=3.9),
        lambda c: c["on_fitted_cases"]["average"].update(value=0.1),
        lambda c: c["held_out"].update(reason="none"),
        lambda c: c["cases"].pop(),
        lambda c: c["solver"].update(shrunk=0.5),
        lambda c: c.pop("value"),
        lambda c: c.update(checksum="0" * 64),
        lambda c: c.update(checksum=None),
    ],
)
@pytest.mark.parametrize("read", READERS)
def test_what_was_edited_is_refused(fitted: Path, edit: Callable[[Any], Any], read: Callable[[Path], Any]) -> None:
    content = json.loads(fitted.read_text())
    edit(content)
    with pytest.raises(ChordomaError, match="changed since chordoma-ensemble fit wrote it") as refused:
        read(rewritten(fitted, content))
    assert str(fitted) in str(refused.value)
    assert "keep only the entries schema, schema_version, labels and weights" in str(refused.value)


@pytest.mark.parametrize("read", READERS)
def test_layout_is_no_change(fitted: Path, read: Callable[[Path], Any]) -> None:
    before, content = read(fitted), json.loads(fitted.read_text())
    assert read(rewritten(fitted, content)) == before
    assert read(rewritten(fitted, dict(reversed(content.items())), indent=7)) == before
    # Other programs write 1.0 as 1 and 0.0 as 0.
    content["solver"]["shrunk"], content["solver"]["seed"] = 0, 0.0
    assert read(rewritten(fitted, content)) == before


def test_the_checksum_is_of_labels_models_and_entries(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    write_weights_file(path, LabelScheme(("background", "gtv")), {"weights": {"b": 0.25, "a": 0.75}, "value": 2.0})
    canonical = '{"entries":{"value":2,"weights":{"a":0.75,"b":0.25}},"labels":["background","gtv"],"models":["b","a"]}'
    assert json.loads(path.read_text())["checksum"] == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize("read", READERS)
def test_files_of_earlier_versions_stay_readable(fitted: Path, read: Callable[[Path], Any]) -> None:
    content = json.loads(fitted.read_text())
    del content["checksum"]
    content["weights"] = {"a": 0.5, "b": 0.5, "c": 0.0}
    read(rewritten(fitted, content))


def test_nothing_is_predicted_with_edited_weights(cohort: Any, fitted: Path, refused: Callable[..., str]) -> None:
    content = json.loads(fitted.read_text())
    content["weights"] = {"a": 1.0, "b": 0.0, "c": 0.0}
    rewritten(fitted, content)
    out = cohort.root / "out"
    assert "changed since" in refused("predict", "-w", str(fitted), *cohort.model_arguments(), "-o", str(out))
    assert not out.exists()


def test_given_weights_are_taken(cohort: Any, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "given.json", HEAD | {"weights": {"a": 0.2, "b": 0, "c": 0.8}})
    cohort.predict(path, tmp_path / "out")
    mean = 0.2 * cohort.maps["a"]["p1"].astype(float) + 0.8 * cohort.maps["c"]["p1"].astype(float)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "p1.nii.gz").array, mean.argmax(axis=0))
    given = FittedWeights.read(path)
    assert (given.title, given.model_values, given.cases) == ("given weights", (), ())
    with pytest.raises(ChordomaError, match="given, not fitted"):
        read_fitted_weights(path)


def test_a_fit_cut_down_to_its_weights_is_given(fitted: Path) -> None:
    content = json.loads(fitted.read_text())
    kept = {key: content[key] for key in ("schema", "schema_version", "labels", "weights")}
    assert FittedWeights.read(rewritten(fitted, kept)).title == "given weights"
