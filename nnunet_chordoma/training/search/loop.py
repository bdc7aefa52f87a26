"""The search itself: keeps so many trainings running, reports and prunes them, and records how they end."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from optuna.trial import TrialState

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.progress import best_epoch
from nnunet_chordoma.training.search.definition import Base, Definition, trial_settings
from nnunet_chordoma.training.search.outcome import report_of, value_of
from nnunet_chordoma.training.search.study import Ended, LostTrialError, SearchStudy, Started
from nnunet_chordoma.training.search.training import LOG, Command, Training, remove_weights

_POLL_S = 0.2
_ASK_AGAIN_S = 30.0


class Display(Protocol):
    """Where a person follows the search."""

    def say(self, line: str) -> None: ...

    def began(self, number: int, epochs: int) -> None: ...

    def went_on(self, number: int, epoch: int, value: float) -> None: ...

    def ended(self, number: int) -> None: ...


@dataclass(frozen=True)
class Options:
    """How this process takes part; other processes of the same search may have others.

    `environments` are those of the trainings that run side by side, one each.
    """

    trials: int
    environments: Sequence[Mapping[str, str]]
    keep_weights: bool = False


@dataclass
class _Running:
    started: Started
    training: Training
    place: int
    reported: int = 0


class Search:
    """`study` and `base` belong to `definition`; `command` is what each trial runs.

    `check` is called before each trial and raises ChordomaError if the search can no longer go on.
    """

    def __init__(
        self,
        study: SearchStudy,
        definition: Definition,
        base: Base,
        command: Command,
        options: Options,
        show: Display,
        check: Callable[[], None],
    ) -> None:
        self._check = check
        self._study = study
        self._definition = definition
        self._base = base
        self._command = command
        self._options = options
        self._show = show
        self._running: list[_Running] = []
        self._ask_at = 0.0
        self._stopped = False

    def run(self, after_each: Callable[[], None]) -> None:
        """Run trials until there are enough; `after_each` is called when one has ended.

        Raises KeyboardInterrupt after a signal and ChordomaError if trainings cannot work at all, in both cases
        with no training left running and the trials noted as to be continued.
        """
        with self._signals():
            try:
                while not self._stopped and (self._fill() or self._running):
                    for one in list(self._running):
                        if not self._stopped and self._look_at(one):
                            after_each()
                    if self._running:
                        time.sleep(_POLL_S)
            finally:
                self._interrupt_all()
        if self._stopped:
            raise KeyboardInterrupt

    def _fill(self) -> bool:
        """Start trainings in free places; whether there was any to start."""
        if time.monotonic() < self._ask_at:
            return False
        places = set(range(len(self._options.environments))) - {one.place for one in self._running}
        for place in sorted(places):
            self._check()
            started = self._study.start(self._options.trials)
            if started is None:
                # Until one of ours has ended; another process's may die meanwhile.
                self._ask_at = time.monotonic() + _ASK_AGAIN_S
                return False
            self._start(started, place)
        return True

    def _start(self, started: Started, place: int) -> None:
        settings = trial_settings(self._definition, self._base, started.parameters)
        if settings is None:
            self._study.end(started, Ended(TrialState.FAIL, why="its patches would leave gaps"))
            started.presence.end()
            return
        chosen = ", ".join(f"{name} {value}" for name, value in started.parameters.items())
        self._show.say(f"trial {started.number}: {chosen}")
        self._show.began(started.number, self._definition.epochs)
        training = Training(
            self._command,
            started.folder,
            settings.overrides,
            self._options.environments[place],
            (started.presence.handle,),
        )
        self._running.append(_Running(started, training, place))

    def _look_at(self, one: _Running) -> bool:
        """Report what is new of a training; whether it has ended."""
        one.started.presence.beat()
        status = one.training.status()
        try:
            pruned = self._report(one)
            if pruned:
                one.training.stop()
                self._end(one, TrialState.PRUNED, pruned)
            elif status == 0:
                self._finish(one)
            elif status is not None:
                self._failed(one, status)
            else:
                return False
        except LostTrialError:
            self._show.say(f"trial {one.started.number}: continued by another process, which took this one for dead")
            self._leave(one)
        return True

    def _report(self, one: _Running) -> str | None:
        """Report new epochs; why the trial is to be pruned, if it is."""
        epochs = one.training.epochs()
        for number in range(one.reported, len(epochs)):
            epoch, value = epochs[number], value_of(epochs[number], self._definition.measure)
            one.reported = number + 1
            prune = self._study.report(one.started, value, number)
            self._show.went_on(one.started.number, number + 1, value)
            if not math.isfinite(epoch.val_loss):
                return f"diverged in epoch {number}"
            if prune and number + 1 < self._definition.epochs:
                return f"pruned after epoch {number}"
        return None

    def _finish(self, one: _Running) -> None:
        epochs = one.training.epochs()
        if not epochs:
            self._failed(one, 0)
            return
        best = epochs[best_epoch([e.val_loss for e in epochs])]
        self._end(one, TrialState.COMPLETE, "", value_of(best, self._definition.measure))

    def _end(self, one: _Running, state: TrialState, why: str, value: float | None = None) -> None:
        # Not what it trained between being judged and being ended.
        report = report_of(one.training.epochs()[: one.reported], one.training.minutes)
        self._study.end(one.started, Ended(state, value, why, report))
        self._show.say(f"trial {one.started.number}: {why or f'{self._definition.measure} {value:.4f}'}")
        self._leave(one)
        if not self._options.keep_weights:
            remove_weights(one.started.folder)

    def _failed(self, one: _Running, status: int) -> None:
        words = one.training.last_words()
        log = one.started.folder / LOG
        # As long as no training has got through an epoch, it may be the fault of all rather than of this one.
        hopeless = not self._study.has_results()
        ended = Ended(
            TrialState.FAIL,
            why=f"training failed with status {status}: {words[:200]}",
            report=report_of(one.training.epochs(), one.training.minutes),
        )
        if hopeless:
            self._study.postpone(one.started, ended)
            self._leave(one)
            raise ChordomaError(
                f"trial {one.started.number}: the training failed with status {status}: {words.removeprefix('error: ')}"
                f"; its output is in {log}; mend the cause and run the same command again, which "
                "begins with another combination if there is one"
            )
        again = self._study.run_again(one.started, ended, counts=True)
        self._leave(one)
        if not again and not self._options.keep_weights:
            remove_weights(one.started.folder)
        self._show.say(
            f"trial {one.started.number}: failed with status {status} ({words[:200]}; see {log}), "
            + ("will be run once more" if again else "for the second time, and is given up")
        )

    def _leave(self, one: _Running) -> None:
        one.training.stop()
        one.started.presence.end()
        self._running.remove(one)
        self._ask_at = 0.0
        self._show.ended(one.started.number)

    def _interrupt_all(self) -> None:
        for one in list(self._running):
            one.training.stop()
            report = report_of(one.training.epochs(), one.training.minutes)
            with contextlib.suppress(LostTrialError):
                self._study.run_again(one.started, Ended(TrialState.FAIL, None, "interrupted", report), counts=False)
            self._leave(one)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Let Ctrl-C, a closed terminal or `kill` end the search between two steps, never in the middle of a write."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopped = True

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
