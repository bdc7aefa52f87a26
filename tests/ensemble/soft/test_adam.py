"""The paper's ascent: on the simplex, reproducible, and where a stopped Adam ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.soft.adam import AdamAscent, ascend, nearest_on_simplex
from nnunet_chordoma.ensemble.soft.exact import maximise_soft
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics

SEEDS = st.integers(0, 2**32 - 1)


def random_objective(seed: int, models: int = 6, cases: int = 5, labels: int = 8) -> SoftIoU:
    rng = np.random.default_rng(seed)
    inside = np.clip(rng.uniform(0.7, 0.9, labels) + rng.normal(0, 0.05, (cases, models, labels)), 0, 1)
    outside = np.abs(rng.normal(0.15, 0.05, (cases, models, labels)))
    return SoftIoU(
        tuple(
            SoftStatistics(a * 1e4, (a + b) * 1e4, np.full(labels, 10_000))
            for a, b in zip(inside, outside, strict=True)
        )
    )


@settings(max_examples=20)
@given(SEEDS, st.integers(2, 8))
def test_the_ascent_stays_on_the_simplex_and_rises(seed: int, models: int) -> None:
    objective = random_objective(seed, models)
    found = ascend(objective)
    assert found.weights.min() >= 0
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert found.value == pytest.approx(objective.value(found.weights), abs=1e-12)
    assert found.value >= objective.value(np.full(models, 1 / models)) - 1e-4
    assert found.value <= maximise_soft(objective).upper_bound + 1e-12


def test_every_run_ends_at_the_same_weights() -> None:
    first, second = ascend(random_objective(3)), ascend(random_objective(3))
    assert first.weights.tolist() == second.weights.tolist()
    assert first.steps == second.steps


def test_first_step_is_the_learning_rate_along_the_gradient() -> None:
    """With two models the gradient on the simplex is (g, -g), and Adam's first step its sign."""
    objective = random_objective(0, models=2)
    gradient = objective.gradient(np.array([0.5, 0.5]))
    found = ascend(objective, most_steps=1, tolerance=0)
    sign = np.sign(gradient[0] - gradient[1])
    assert found.weights == pytest.approx([0.5 + 1e-3 * sign, 0.5 - 1e-3 * sign], abs=1e-8)


def test_later_steps_follow_the_published_recursion() -> None:
    """Two models, as a function of the first weight alone, by torch's Adam."""
    import torch

    objective = random_objective(1, models=2)
    parameter = torch.tensor([0.5, 0.5], dtype=torch.float64)
    optimiser = torch.optim.Adam([parameter], lr=1e-3, maximize=True)
    for _ in range(50):
        gradient = objective.gradient(parameter.numpy())
        parameter.grad = torch.from_numpy(gradient - gradient.mean())
        optimiser.step()
    assert ascend(objective, most_steps=50, tolerance=0).weights == pytest.approx(parameter.numpy(), abs=1e-10)


def changes_of(objective: SoftIoU, found: AdamAscent) -> NDArray[np.float64]:
    """Change of the objective by each step of an ascent."""
    shorter = [
        ascend(objective, found.learning_rate, tolerance=0, most_steps=steps).value
        for steps in range(1, found.steps + 1)
    ]
    return np.diff([objective.value(np.full(objective.models, 1 / objective.models)), *shorter])


def test_it_stops_with_the_first_step_that_changes_little() -> None:
    objective = random_objective(2)
    found = ascend(objective)
    changes = np.abs(changes_of(objective, found))
    assert found.converged
    assert found.steps > 1
    assert changes[-1] < found.tolerance == 1e-4
    assert (changes[:-1] >= found.tolerance).all()


def test_a_step_too_far_is_no_end() -> None:
    """w / (1 + 3 w) + (1 - w) / (2 - w), highest at w = 1/4; Adam's momentum carries beyond and back."""
    inside, outside = np.diag([100.0, 100.0]), np.diag([300.0, 100.0])
    objective = SoftIoU((SoftStatistics(inside, inside + outside, np.array([100, 100])),))
    found = ascend(objective, learning_rate=0.03, tolerance=1e-6)
    assert changes_of(objective, found)[:-1].min() < -1e-4
    assert found.weights == pytest.approx([0.25, 0.75], abs=1e-3)


def test_it_says_when_it_ran_out_of_steps() -> None:
    found = ascend(random_objective(2), most_steps=3)
    assert (found.steps, found.converged) == (3, False)


def test_models_that_are_alike_keep_equal_weights() -> None:
    one = SoftStatistics(np.full((4, 2), 80.0), np.full((4, 2), 95.0), np.array([100, 100]))
    found = ascend(SoftIoU((one,)))
    assert found.weights.tolist() == [0.25] * 4
    assert found.converged


def test_it_leaves_interior_weights_where_one_model_is_the_optimum() -> None:
    """Weights of several models, some exactly 0, as the paper reports them; the maximum is at one model."""
    objective = random_objective(4)
    stopped, best = ascend(objective), maximise_soft(objective)
    assert best.single_model is not None
    assert 1 < np.count_nonzero(stopped.weights) < 6
    assert stopped.value < best.value - 1e-3


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), SEEDS)
def test_the_nearest_point_of_the_simplex(point: list[float], seed: int) -> None:
    target = np.array(point)
    nearest: NDArray[np.float64] = nearest_on_simplex(target)
    assert nearest.min() >= 0
    assert nearest.sum() == pytest.approx(1)
    # Nearest of a convex set: the angle to every other point of it is obtuse.
    others = np.random.default_rng(seed).dirichlet(np.ones(target.size), size=50)
    assert ((others - nearest) @ (target - nearest)).max() <= 1e-9


def test_points_of_the_simplex_stay_where_they_are() -> None:
    assert nearest_on_simplex(np.array([0.25, 0.75, 0])).tolist() == [0.25, 0.75, 0]
    assert nearest_on_simplex(np.array([2.0, 0, 0])).tolist() == [1, 0, 0]
