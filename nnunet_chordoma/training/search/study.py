"""The study on disk: which trials there are, who runs them, and which have to be run again.

Optuna's journal is appended to under a lock that network shares honour, so processes and machines may join and
leave at any time. Every method that changes what is to be run holds a lock of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.search.definition import Definition
from nnunet_chordoma.training.search.presence import SILENT_S, Owner, Presence, is_dead
from nnunet_chordoma.training.search.sampler import UnrepeatedSampler, distributions, parameters_of
from nnunet_chordoma.training.search.space import Label

JOURNAL = "journal.log"
TRIALS = "trials"
_NAME = "chordoma-search"
_OWNER, _FOLDER, _ATTEMPT, _WHY, _AGAIN, _REPORT = "owner", "folder", "attempt", "why", "run_again", "result"
_POSTPONED, _CONTINUES = "postponed", "continues"

MOST_ATTEMPTS = 2
STARTUP_TRIALS = 5
"""Finished trials before the median prunes."""


@dataclass(frozen=True)
class Started:
    """A trial that this process is to run, in a folder of its own or in that of its first attempt."""

    trial: Trial
    parameters: Mapping[str, Label]
    folder: Path
    presence: Presence

    @property
    def number(self) -> int:
        return int(self.trial.number)


@dataclass(frozen=True)
class Ended:
    """How a trial ended. `why` says it in words; `report` is what the tables show of it."""

    state: TrialState
    value: float | None = None
    why: str = ""
    report: Mapping[str, float | int | None] = dataclasses.field(default_factory=dict)


def pruner(definition: Definition) -> optuna.pruners.BasePruner:
    """No trial is judged in its first quarter (median) or ninth (halving) of the epochs."""
    if definition.pruner == "median":
        return optuna.pruners.MedianPruner(STARTUP_TRIALS, max(1, definition.epochs // 4))
    if definition.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(max(1, definition.epochs // 9), reduction_factor=3)
    return optuna.pruners.NopPruner()


class SearchStudy:
    """One process's view of the study in a folder, which it makes if there is none."""

    def __init__(self, folder: Path, definition: Definition, sampler: UnrepeatedSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder = folder
        self._sampler = sampler
        self._space = distributions(definition.space)
        self._asking = JournalFileOpenLock(str(folder / "asking"))
        journal = str(folder / JOURNAL)
        try:
            self._storage = JournalStorage(JournalFileBackend(journal, JournalFileOpenLock(journal)))
            self._study = optuna.create_study(
                storage=self._storage,
                sampler=sampler,
                pruner=pruner(definition),
                study_name=_NAME,
                direction="minimize" if definition.smaller_is_better else "maximize",
                load_if_exists=True,
            )
        except (json.JSONDecodeError, ValueError, KeyError) as error:
            raise ChordomaError(
                f"{journal}: damaged ({error}); remove its last line if that is incomplete, or begin with another --out"
            ) from None

    def trials(self) -> list[FrozenTrial]:
        """All trials that stand for themselves: not those that were, or are to be, run again."""
        everything = self.everything()
        continued = {t.user_attrs.get(_CONTINUES) for t in everything}
        return [t for t in everything if not t.user_attrs.get(_AGAIN) and t.number not in continued]

    def everything(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def best(self) -> FrozenTrial | None:
        """The finished trial with the best value."""
        finished = [t for t in self.trials() if t.state == TrialState.COMPLETE]
        return self._study.best_trial if finished else None

    def has_results(self) -> bool:
        """Whether any trial has ever finished an epoch."""
        return any(t.intermediate_values for t in self.everything())

    def start(self, most: int) -> Started | None:
        """The next trial: one to be run again, or a new combination; None if there are `most` or no others."""
        with self._alone():
            self._bury_the_dead()
            trials = self.trials()
            waiting = any(t.state == TrialState.WAITING for t in trials)
            if not waiting and (len(trials) >= most or self._sampler.untried(self.everything()) == []):
                postponed = next((t for t in trials if t.user_attrs.get(_POSTPONED)), None)
                if postponed is None:
                    return None
                self._enqueue(postponed, self._attempt(postponed) + 1, postponed.user_attrs[_FOLDER])
            trial = self._study.ask(self._space)
            name = str(trial.user_attrs.get(_FOLDER) or f"{trial.number:04d}")
            folder = self.folder / TRIALS / name
            presence = Presence(_sign(folder))
            trial.set_user_attr(_FOLDER, name)
            trial.set_user_attr(_OWNER, dataclasses.asdict(Owner.here()))
            return Started(trial, dict(trial.params), folder, presence)

    def report(self, started: Started, value: float, epoch: int) -> bool:
        """Note an epoch's result; whether the trial is to be pruned. Raises LostTrialError."""
        with _lost_if_finished():
            started.trial.report(value, epoch)
            return bool(started.trial.should_prune())

    def end(self, started: Started, ended: Ended) -> None:
        """Record the end of a trial. Raises LostTrialError."""
        with self._alone(), _lost_if_finished():
            self._note(started.trial, ended)
            self._study.tell(started.trial, ended.value, ended.state)

    def run_again(self, started: Started, ended: Ended, *, counts: bool) -> bool:
        """Record a trial as failed and have its training continued later; False if it has had its attempts.

        `counts` is whether this was an attempt, rather than an interruption that says nothing of the training.
        Raises LostTrialError.
        """
        with self._alone(), _lost_if_finished():
            self._note(started.trial, ended)
            frozen = self._frozen(started.number)
            return self._fail(frozen, counts=counts, folder=started.folder.name)

    def postpone(self, started: Started, ended: Ended) -> None:
        """Record a trial as failed and have its training continued after all other combinations.

        Raises LostTrialError.
        """
        with self._alone(), _lost_if_finished():
            self._note(started.trial, ended)
            started.trial.set_user_attr(_POSTPONED, True)
            self._study.tell(started.trial, state=TrialState.FAIL)

    def _note(self, trial: Trial, ended: Ended) -> None:
        trial.set_user_attr(_WHY, ended.why)
        trial.set_user_attr(_REPORT, dict(ended.report))

    def _frozen(self, number: int) -> FrozenTrial:
        return next(t for t in self.everything() if t.number == number)

    def _fail(self, trial: FrozenTrial, *, counts: bool, folder: str | None) -> bool:
        attempt = self._attempt(trial)
        again = attempt < MOST_ATTEMPTS or not counts
        if again:
            # Before the trial ends: dying between the two leaves a trial too many rather than one too few.
            self._set(trial, _AGAIN, True)
        self._study.tell(trial.number, state=TrialState.FAIL)
        if again:
            self._enqueue(trial, attempt + counts, folder)
        return again

    @staticmethod
    def _attempt(trial: FrozenTrial) -> int:
        return int(trial.user_attrs.get(_ATTEMPT, 1))

    def _enqueue(self, trial: FrozenTrial, attempt: int, folder: str | None) -> None:
        attributes: dict[str, Any] = {_ATTEMPT: attempt, _CONTINUES: trial.number}
        if folder is not None:
            attributes[_FOLDER] = folder
        self._study.enqueue_trial(parameters_of(trial), user_attrs=attributes)

    def _set(self, trial: FrozenTrial, name: str, value: Any) -> None:
        study = self._storage.get_study_id_from_name(_NAME)
        number = self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)
        self._storage.set_trial_user_attr(number, name, value)

    def _bury_the_dead(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            content = trial.user_attrs.get(_OWNER)
            folder = self.folder / TRIALS / str(trial.user_attrs.get(_FOLDER, f"{trial.number:04d}"))
            # Without an owner: its process died in the middle of starting it.
            owner = Owner.from_json(content) if content else None
            if owner is None or is_dead(owner, _sign(folder), SILENT_S):
                self._set(trial, _WHY, "its process died")
                # Of a process on another machine it is not certain that it will never write there again.
                certain = owner is not None and owner.is_on_this_machine
                self._fail(trial, counts=True, folder=folder.name if certain else None)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self._asking.acquire()
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):
                self._asking.release()


class LostTrialError(Exception):
    """Another process took this one for dead and has its trial now."""


@contextlib.contextmanager
def _lost_if_finished() -> Iterator[None]:
    try:
        yield
    except UpdateFinishedTrialError:
        raise LostTrialError from None
    except ValueError as error:
        if "Cannot tell a" in str(error):
            raise LostTrialError from None
        raise


def _sign(folder: Path) -> Path:
    return folder / "alive"
