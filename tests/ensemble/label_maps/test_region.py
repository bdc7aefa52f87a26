"""Regions of weights: where lines leave them, and that counting in them is counting all voxels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.ensemble.label_maps import narrowing
from nnunet_chordoma.ensemble.label_maps import tally as tally_module
from nnunet_chordoma.ensemble.label_maps.moves import Moves
from nnunet_chordoma.ensemble.label_maps.narrowing import narrowed
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.region import Region, undecided
from nnunet_chordoma.ensemble.label_maps.tally import Tally, threads
from nnunet_chordoma.ensemble.reading.compression import compress


def objective_of(cases: Any) -> LabelMapIoU:
    return LabelMapIoU(tuple(compress(*case) for case in cases))


def test_a_line_leaves_where_differences_sum_to_the_radius() -> None:
    region = Region(np.array([0.5, 0.5, 0.0]), 0.2)
    low, high = region.limits(np.array([0.5, 0.5, 0.0]), np.array([1.0, -1.0, 0.0]))
    assert (low, high) == pytest.approx((-0.1, 0.1), abs=1e-9)
    # From (0.55, 0.45, 0): back through the centre, to (0.4, 0.6, 0).
    low, high = region.limits(np.array([0.55, 0.45, 0.0]), np.array([1.0, -1.0, 0.0]))
    assert (low, high) == pytest.approx((-0.15, 0.05), abs=1e-9)
    assert region.distance(np.array([0.55, 0.45, 0.0])) == pytest.approx(0.1)


def test_at_the_edge_a_line_leads_inward_only() -> None:
    region = Region(np.array([0.5, 0.5]), 0.2)
    for past in (0.0, 1e-12, 1e-9):  # rounding
        low, high = region.limits(np.array([0.6 + past, 0.4 - past]), np.array([1.0, -1.0]))
        assert (low, high) == pytest.approx((-0.2, 0.0), abs=1e-8)


@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.01, 1.0))
def test_limits_are_on_the_edge_and_all_between_is_inside(seed: int, models: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.dirichlet(np.ones(models))
    offset = rng.normal(size=models)
    offset -= offset.mean()
    weights = centre + offset * radius * rng.uniform(0, 0.99) / max(np.abs(offset).sum(), 1e-9)
    direction = rng.normal(size=models) * rng.integers(0, 2, models)
    direction[:2] += (1, -1)
    direction -= direction.mean()
    direction /= np.abs(direction).max()
    region = Region(centre, radius)
    low, high = region.limits(weights, direction)
    assert low < high
    for edge in (low, high):
        assert region.distance(weights + edge * direction) == pytest.approx(radius, rel=1e-6)
    for share in rng.uniform(size=5):
        assert region.distance(weights + (low + share * (high - low)) * direction) <= radius * (1 + 1e-9)


def test_a_lead_that_no_weights_nearby_undo_is_decided() -> None:
    """One voxel: its lead of 0.1 at equal weights changes by half the radius times the range 0.6 of single leads."""
    rows = [np.array([[0.7], [0.3]], np.float32), np.array([[0.4], [0.6]], np.float32)]
    scores = (rows[0] + rows[1]).astype(np.float64) / 2
    assert undecided(scores, rows, 0.32)[0].tolist() == [False]
    assert undecided(scores, rows, 0.34)[0].tolist() == [True]
    assert undecided(scores, rows, 0.32)[1].tolist() == [0]


@pytest.mark.parametrize("pooled", ["cases", "voxels"])
def test_counting_in_a_region_is_counting_all_voxels(arrays: Callable[..., Any], pooled: Any) -> None:
    objective = LabelMapIoU(
        tuple(compress(*case) for case in arrays(3, models=4, labels=5, shape=(700,))), pooled, multiplicity=(1, 2)
    )
    rng = np.random.default_rng(0)
    with threads() as executor:
        whole = Tally.full(objective, executor)
        centre = whole.point(rng.dirichlet(np.full(4, 3.0)))
        near = narrowed(whole, centre, 0.1)
        nearer = narrowed(near, near.point(centre.weights), 0.02)
        assert 0 < nearer.voxels < near.voxels < whole.voxels
        for tally, radius in ((near, 0.1), (nearer, 0.02)):
            for _ in range(50):
                step = rng.normal(size=4)
                step -= step.mean()
                away = radius * rng.uniform(0, 0.999) * step / np.abs(step).sum()
                if (centre.weights + away < 0).any():
                    continue
                weights = centre.weights + away
                assert tally.point(weights).value == whole.point(weights).value
                assert tally.values(weights[None])[0] == whole.values(weights[None])[0]


def test_a_line_in_a_region_is_part_of_the_whole_line(arrays: Callable[..., Any]) -> None:
    whole = Tally.full(objective_of(arrays(5, models=3, labels=4, shape=(500,))))
    centre = np.array([0.4, 0.35, 0.25])
    direction = np.array([1.0, -1.0, 0.0])
    near = narrowed(whole, whole.point(centre), 0.1)
    low, high = near.limits(centre, direction)
    assert (low, high) == pytest.approx((-0.05, 0.05), abs=1e-9)
    one, other = (each.along(each.point(centre), direction, low, high) for each in (whole, near))
    for t in np.linspace(low, high, 77)[1:-1]:
        found = [values[(begin <= t) & (t < end)] for values, begin, end in (one, other)]
        # Only the promising intervals need be there.
        if all(each.size for each in found):
            assert found[0][0] == pytest.approx(found[1][0], abs=1e-9)
    assert one[0].max() == pytest.approx(other[0].max(), abs=1e-9)


def test_a_region_in_a_region_ends_where_that_one_does(arrays: Callable[..., Any]) -> None:
    whole = Tally.full(objective_of(arrays(6, models=3, labels=4, shape=(200,))))
    near = narrowed(whole, whole.point(np.array([0.4, 0.3, 0.3])), 0.1)
    beside = narrowed(near, near.point(np.array([0.44, 0.26, 0.3])), 0.1)
    assert beside.region is not None
    assert beside.region.radius == pytest.approx(0.02)


def test_a_region_with_too_many_voxels_is_made_smaller(
    arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Tally.full(objective_of(arrays(5, models=3, labels=4, shape=(2000,))))
    centre = whole.point(np.array([0.4, 0.35, 0.25]))
    wanted = narrowed(whole, centre, 0.2)
    monkeypatch.setattr(narrowing, "MOST_VOXELS", wanted.voxels // 3)
    near = narrowed(whole, centre, 0.2)
    assert 0 < near.voxels <= wanted.voxels // 3
    assert 0.01 < near.radius < wanted.radius == 0.2
    weights = centre.weights + 0.49 * near.radius * np.array([1.0, -1.0, 0.0])
    assert near.point(weights).value == whole.point(weights).value


def test_exact_ties_stay_undecided_in_every_region(arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    certain = np.eye(2, dtype=np.float32)[:, [0, 1] * 20]
    whole = Tally.full(objective_of([("tied", [certain, certain[::-1].copy()], np.zeros(40, np.uint8))]))
    monkeypatch.setattr(narrowing, "MOST_VOXELS", 10)
    near = narrowed(whole, whole.point(np.array([0.5, 0.5])), 0.2)
    assert near.voxels == whole.voxels == 40


def test_points_around_are_counted_exactly_whatever_fits_into_memory(
    arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Tally.full(objective_of(arrays(7, models=4, labels=4, shape=(900,))))
    rng = np.random.default_rng(0)
    centre = whole.point(np.array([0.3, 0.3, 0.2, 0.2]))
    steps = rng.normal(size=(300, 4)) * 10 ** rng.uniform(-4, -1, (300, 1))
    places = np.maximum(centre.weights + steps, 0)
    places /= places.sum(axis=1, keepdims=True)
    expected = whole.values(places)
    for most in (10**6, 200, 20):
        monkeypatch.setattr(narrowing, "MOST_VOXELS", most)
        assert (Moves(whole, range(4)).values_around(centre, places) == expected).all()


def test_scores_that_are_not_remembered_are_the_same(
    arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Tally.full(objective_of(arrays(8, models=3, labels=4, shape=(600,))))
    weights, direction = np.array([0.5, 0.3, 0.2]), np.array([1.0, -0.5, -0.5])

    def seen() -> tuple[Any, ...]:
        point = whole.point(weights)
        near = narrowed(whole, point, 0.1)
        return (
            point.value,
            whole.gradient(point, 0.1).tolist(),
            [part.tolist() for part in whole.along(point, direction, -0.3, 0.4)],
            near.voxels,
            near.point(weights).value,
        )

    remembered = seen()
    monkeypatch.setattr(tally_module, "MOST_REMEMBERED", 100)
    assert whole.point(weights).scores == ()
    assert seen() == remembered


def test_a_line_followed_in_parts_is_the_same_line(arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Tally.full(objective_of(arrays(9, models=3, labels=4, shape=(600,))))
    point, direction = whole.point(np.array([0.5, 0.3, 0.2])), np.array([1.0, -1.0, 0.0])
    line = whole.along(point, direction, -0.5, 0.3)
    monkeypatch.setattr(tally_module, "MOST_ON_LINE", whole.voxels // 4)
    parts = whole.along(point, direction, -0.5, 0.3)
    assert (parts[1].min(), parts[2].max()) == (-0.5, 0.3)
    assert parts[0].max() == pytest.approx(line[0].max(), abs=1e-12)
    for value, begin, end in zip(*parts, strict=True):
        if end - begin > 1e-6:
            assert value == pytest.approx(whole.point(point.weights + (begin + end) / 2 * direction).value, abs=1e-9)
