"""Optuna's sampler, kept from training the same thing twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from nnunet_chordoma.training.search.space import Choice, Label, Space

Identity = Callable[[Mapping[str, Label]], str | None]
"""What a combination trains, None if it cannot be trained."""

STARTUP_TRIALS = 10
_DRAWS = 50


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space as Optuna describes it."""
    found: dict[str, BaseDistribution] = {}
    for name, axis in space.axes.items():
        if isinstance(axis, Choice):
            found[name] = CategoricalDistribution(axis.labels)
        elif isinstance(axis.low, int) and isinstance(axis.high, int):
            found[name] = IntDistribution(axis.low, axis.high, log=axis.log)
        else:
            found[name] = FloatDistribution(axis.low, axis.high, log=axis.log)
    return found


def parameters_of(trial: FrozenTrial) -> dict[str, Label]:
    """The combination of a trial, also of one that only waits to be run."""
    return dict(trial.params or trial.system_attrs.get("fixed_params", {}))


class UnrepeatedSampler(BaseSampler):
    """Draws at random for the first trials, then by tree-structured Parzen estimators; never what was drawn before.

    Where these keep to what is known, one of the other combinations is drawn at random.
    """

    def __init__(self, space: Space, identity: Identity, seed: int | None = None) -> None:
        self._space = space
        self._identity = _remembered(identity)
        self._distributions = distributions(space)
        self._random = np.random.default_rng(seed)
        # It would note every draw in the study for the sake of other processes; we avoid theirs below.
        self._estimators = TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed, constant_liar=False)

    def untried(self, trials: list[FrozenTrial]) -> list[dict[str, Label]] | None:
        """Combinations that differ from those of all trials and from each other; None if they cannot be counted."""
        combinations = self._space.combinations()
        if combinations is None:
            return None
        known = self._known(trials)
        fresh: dict[str, dict[str, Label]] = {}
        for combination in combinations:
            identity = self._identity(combination)
            if identity is not None and identity not in known:
                fresh.setdefault(identity, combination)
        return list(fresh.values())

    def _known(self, trials: list[FrozenTrial]) -> set[str | None]:
        return {self._identity(chosen) for chosen in map(parameters_of, trials) if chosen}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        known = {*self._known(trials), None}
        chosen: dict[str, Label] = {}
        for _ in range(_DRAWS):
            chosen = self._estimators.sample_relative(study, trial, search_space) or self._at_random(study, trial)
            if self._identity(chosen) not in known:
                return chosen
        others = self.untried(trials)
        return others[self._random.integers(len(others))] if others else chosen

    def _at_random(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Label]:
        return {
            name: self._estimators.sample_independent(study, trial, name, distribution)
            for name, distribution in self._distributions.items()
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._estimators.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._estimators.reseed_rng()

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._estimators.after_trial(study, trial, state, values)


def _remembered(identity: Identity) -> Identity:
    found: dict[tuple[tuple[str, Label], ...], str | None] = {}

    def look_up(chosen: Mapping[str, Label]) -> str | None:
        key = tuple(sorted(chosen.items()))
        if key not in found:
            found[key] = identity(chosen)
        return found[key]

    return look_up
