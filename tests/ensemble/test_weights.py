"""Named weights: what they accept and whom they serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (("a", "b"), (0.5, 0.4), "sum to 1, found 0.9"),
        (("a", "b"), (1.5, -0.5), "'b' must be 0 or more, found -0.5"),
        (("a", "b"), (float("nan"), 1.0), "'a' must be 0 or more, found nan"),
        (("a", "a"), (0.5, 0.5), "names must differ"),
        (("a", "b"), (1.0,), "found 1 for 2"),
        ((), (), "found 0 for 0"),
    ],
)
def test_values_off_the_simplex_are_refused(names: tuple[str, ...], values: tuple[float, ...], message: str) -> None:
    with pytest.raises(ChordomaError, match=message):
        EnsembleWeights(names, values)


def test_average_and_used() -> None:
    assert EnsembleWeights.average(["a", "b", "c", "d"]).values == (0.25,) * 4
    weights = EnsembleWeights(("a", "b", "c"), (0.3, 0.0, 0.7))
    assert weights.used == ("a", "c")
    assert weights.used_values == (0.3, 0.7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "missing b"),
        (["a", "b", "x"], "unknown x"),
        (["a", "x"], "missing b; unknown x"),
    ],
)
def test_other_models_are_refused_by_name(given: list[str], message: str) -> None:
    with pytest.raises(ChordomaError, match=message):
        EnsembleWeights(("a", "b"), (0.5, 0.5)).require_models(given)


def document(**changes: Any) -> dict[str, Any]:
    return {
        "schema": "chordoma-ensemble-weights",
        "schema_version": 1,
        "labels": ["background", "gtv"],
        "weights": {"b": 0.25, "a": 0.75},
    } | changes


def test_weights_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(document()))
    weights, scheme = EnsembleWeights.read(path)
    assert weights == EnsembleWeights(("b", "a"), (0.25, 0.75))
    assert scheme.names == ("background", "gtv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (document(schema="something else"), "expected a 'chordoma-ensemble-weights' file"),
        (document(schema_version=2), "version 2"),
        (document(weights=[0.5, 0.5]), "map each model name to a number"),
        (document(weights={"a": "1.0"}), "map each model name to a number"),
        (document(weights={"a": True}), "map each model name to a number"),
        (document(weights={"a": 0.5}), "sum to 1, found 0.5"),
        ([], "expected a 'chordoma-ensemble-weights' file"),
    ],
)
def test_other_files_are_refused_by_path(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ChordomaError, match=message) as refused:
        EnsembleWeights.read(path)
    assert str(path) in str(refused.value)


def test_models_of_weight_zero_may_be_left_out() -> None:
    weights = EnsembleWeights(("a", "b", "c"), (0.4, 0.0, 0.6))
    weights.require_models(["a", "c"])
    weights.require_models(["a", "b", "c"])
    with pytest.raises(ChordomaError, match="missing c"):
        weights.require_models(["a", "b"])


def test_models_are_known_by_name_in_any_order() -> None:
    EnsembleWeights(("a", "b", "c"), (0.4, 0.0, 0.6)).require_models(["c", "b", "a"])
