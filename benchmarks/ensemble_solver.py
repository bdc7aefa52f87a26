"""The search for ensemble weights: time, and whether anything is better than what it finds.

The data are voxels on which six models disagree, in five cases of eight labels; how they are made is at the head of
`disagreeing_models.py`. Timed is `maximise` with its defaults, as in a fit: from compressed cases in memory to weights,
including the cut to the labels that can win. The loops are compiled beforehand, as they are from the second fit on.

Then the fitted value is held against that of random weights, drawn uniformly from the simplex, and of weights near the
fitted ones: each changed by normal numbers of 1e-4 to 1e-1 standard deviation, cut at zero and made to sum to 1 again.
With `--extensive` the search is repeated on a smaller case with many more starts and seeds, without sampling.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

import numpy as np
from disagreeing_models import disagreeing_cases

from nnunet_chordoma.ensemble.label_maps.moves import IMPROVEMENT
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.solver import Solution, maximise
from nnunet_chordoma.ensemble.label_maps.tally import available_processors, objective_values

GOAL_S = 60.0
EXTENSIVE_VOXELS, EXTENSIVE_STARTS, EXTENSIVE_SEEDS = 100_000, 200, 3


def timed(objective: LabelMapIoU, **options: int) -> tuple[Solution, float, float]:
    """Solution, seconds on the clock, and seconds of processor time."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    solution = maximise(objective, **options)
    return solution, time.perf_counter() - begin, time.process_time() - begin_cpu


def rivals(weights: np.ndarray, at_random: int, nearby: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weight vectors (ensemble, model): random ones and ones near the fitted."""
    size = 10 ** rng.uniform(-4, -1, (nearby, 1))
    near = np.maximum(weights + size * rng.normal(size=(nearby, weights.size)), 0)
    return rng.dirichlet(np.ones(weights.size), size=at_random), near / near.sum(axis=1, keepdims=True)


def report_search(objective: LabelMapIoU, solution: Solution, seconds: float, cpu_s: float) -> None:
    voxels = sum(case.disagreeing for case in objective.cases)
    share = voxels / sum(case.voxels for case in objective.cases)
    average = objective.value(np.full(objective.models, 1 / objective.models))
    best = max(objective.value(vertex) for vertex in np.eye(objective.models))
    print(
        f"{objective.models} models, {len(objective.cases)} cases, {objective.labels} labels, {voxels:,} voxels "
        f"({share:.1%}) that depend on the weights; {available_processors()} processors, load {os.getloadavg()[0]:.1f}"
    )
    print(f"  search              {seconds:.1f} s, {cpu_s:.1f} s of processor time (goal: {GOAL_S:g} s on two)")
    print(f"  line searches       {solution.line_searches}, {solution.line_searches / seconds:.0f} per second")
    print(f"  peak memory         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB with the data")
    print(f"  weights             {', '.join(f'{weight:.4f}' for weight in solution.weights)}")
    print(f"  objective           {solution.value:.6f}; average {average:.6f}, best model {best:.6f}")
    print(f"  pairs               {'no pair improves' if solution.optimal_along_pairs else 'not settled'}", flush=True)


def report_rivals(objective: LabelMapIoU, solution: Solution, at_random: int, nearby: int) -> bool:
    """Whether none of the rivals beats the fitted value."""
    begin = time.perf_counter()
    groups = rivals(solution.weights, at_random, nearby, np.random.default_rng(1))
    found = [objective_values(objective, points) for points in groups]
    seconds = time.perf_counter() - begin
    for what, values in zip(("random", "nearby"), found, strict=True):
        best = values.max() - solution.value if values.size else -np.inf
        print(f"  {values.size:6d} {what:<12} best {best:+.2e}, {int((values > solution.value).sum())} beat the fit")
    print(
        f"  evaluated           {seconds:.1f} s, {(at_random + nearby) / seconds:.0f} ensembles per second", flush=True
    )
    return all(not (values > solution.value + IMPROVEMENT).any() for values in found)


def report_extensive(models: int) -> None:
    """What the default search finds beside a far longer one."""
    for seed in range(EXTENSIVE_SEEDS):
        objective = LabelMapIoU(disagreeing_cases(EXTENSIVE_VOXELS, models, seed=100 + seed))
        default, seconds, _ = timed(objective)
        sampled, sampled_s, _ = timed(objective, sample_voxels=EXTENSIVE_VOXELS // 10)
        longest = [
            timed(objective, seed=other, random_starts=EXTENSIVE_STARTS, sample_voxels=10**9) for other in (1, 2, 3)
        ]
        best, best_s = max(each.value for each, _, _ in longest), sum(each_s for _, each_s, _ in longest)
        print(
            f"  data {seed}: default {default.value:.6f} in {seconds:.1f} s, from a sample of a tenth "
            f"{sampled.value:.6f} in {sampled_s:.1f} s, 3 x {EXTENSIVE_STARTS} starts {best:.6f} in {best_s:.1f} s: "
            f"{default.value - best:+.1e}, {sampled.value - best:+.1e}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=1_500_000, help="about this many (default: %(default)s)")
    parser.add_argument("--models", type=int, default=6, help="2 to 20 (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=5, help="cases (default: %(default)s)")
    parser.add_argument("--random", type=int, default=20_000, help="random weight vectors (default: %(default)s)")
    parser.add_argument("--nearby", type=int, default=2_000, help="perturbed weight vectors (default: %(default)s)")
    parser.add_argument("--extensive", action="store_true", help="also beside a far longer search, smaller")
    arguments = parser.parse_args()
    if arguments.voxels < 1000 or not 2 <= arguments.models <= 20 or arguments.cases < 1:
        parser.error("expected at least 1000 voxels, 2 to 20 models and one case")
    if arguments.random < 0 or arguments.nearby < 0:
        parser.error("expected numbers of weight vectors of 0 or more")
    maximise(LabelMapIoU(disagreeing_cases(5000, arguments.models, 2)), sample_voxels=500)
    objective = LabelMapIoU(disagreeing_cases(arguments.voxels, arguments.models, arguments.cases))
    solution, seconds, cpu_s = timed(objective)
    report_search(objective, solution, seconds, cpu_s)
    unbeaten = report_rivals(objective, solution, arguments.random, arguments.nearby)
    if arguments.extensive:
        report_extensive(arguments.models)
    return 0 if unbeaten else 1


if __name__ == "__main__":
    sys.exit(main())
