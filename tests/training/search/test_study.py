"""Trials shared by processes, here two views of one study."""

import os
import socket
import time

import pytest
from optuna.trial import TrialState

from nnunet_chordoma.training.search.command import SearchOptions, define
from nnunet_chordoma.training.search.definition import read_base, trial_settings
from nnunet_chordoma.training.search.presence import SILENT_S
from nnunet_chordoma.training.search.sampler import UnrepeatedSampler
from nnunet_chordoma.training.search.study import Ended, LostTrialError, SearchStudy


@pytest.fixture
def join(searches):
    def join(**options):
        if "space" not in options:
            options["space"] = searches.space(learning_rate=[1e-4, 3e-4, 5e-4, 7e-4, 9e-4])
        base = read_base(900, "3d_chordoma_demo", 0)
        definition = define(SearchOptions(**searches.options(**options)), base)
        searches.folder.mkdir(exist_ok=True)

        def identity(chosen):
            return trial_settings(definition, base, chosen).identity

        return SearchStudy(searches.folder, definition, UnrepeatedSampler(definition.space, identity, seed=0))

    return join


def test_two_processes_never_get_the_same(join):
    first, second = join(), join()
    started = [study.start(5) for _ in range(3) for study in (first, second)]
    assert [s.number for s in started[:5]] == [0, 1, 2, 3, 4]
    assert started[5] is None
    assert len({s.parameters["learning_rate"] for s in started[:5]}) == 5


def test_no_more_trials_than_asked_for_whoever_runs_them(join):
    first, second = join(), join()
    assert [first.start(2) is None, second.start(2) is None, first.start(2) is None] == [False, False, True]
    assert second.start(3) is not None


def test_a_trial_of_a_living_process_is_left_alone(join, searches):
    first, second = join(), join()
    mine = first.start(1)
    # Silent for long, as if it had been suspended, but its lock is still held.
    sign = mine.folder / "alive"
    os.utime(sign, (time.time() - 10 * SILENT_S,) * 2)
    assert second.start(1) is None
    assert first.report(mine, 1.0, 0) is False


def test_a_dead_trial_is_continued_in_its_folder_and_given_up_after_the_second_death(join):
    first, second = join(), join()
    died = first.start(1)
    first.report(died, 1.0, 0)
    died.presence.end()
    again = second.start(1)
    assert (again.number, again.folder, again.parameters) == (1, died.folder, died.parameters)
    again.presence.end()
    # It counts as a trial, but one that has had its chances.
    assert first.start(1) is None
    assert [(t.number, t.state) for t in first.trials()] == [(1, TrialState.FAIL)]


def test_a_silent_process_on_another_machine_loses_its_trial(join, monkeypatch):
    here = socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    theirs, lost = join(), None
    lost = theirs.start(1)
    monkeypatch.setattr(socket, "gethostname", lambda: here)
    ours = join()
    assert ours.start(1) is None
    os.utime(lost.folder / "alive", (time.time() - SILENT_S - 60,) * 2)
    taken = ours.start(1)
    assert taken.parameters == lost.parameters
    # It may come back and write into its folder.
    assert taken.folder != lost.folder
    with pytest.raises(LostTrialError):
        theirs.report(lost, 1.0, 0)
    with pytest.raises(LostTrialError):
        theirs.end(lost, Ended(TrialState.COMPLETE, 1.0))
    with pytest.raises(LostTrialError):
        theirs.run_again(lost, Ended(TrialState.FAIL), counts=False)
    ours.end(taken, Ended(TrialState.COMPLETE, 2.0))
    assert ours.best().number == taken.number


def test_interruptions_do_not_count_as_attempts(join):
    study = join()
    for _ in range(4):
        started = study.start(1)
        assert study.run_again(started, Ended(TrialState.FAIL, why="interrupted"), counts=False)
        started.presence.end()
    started = study.start(1)
    assert study.run_again(started, Ended(TrialState.FAIL, why="died"), counts=True)
    started.presence.end()
    last = study.start(1)
    assert not study.run_again(last, Ended(TrialState.FAIL, why="died"), counts=True)
    assert [t.user_attrs["why"] for t in study.trials()] == ["died"]
    assert len({s.folder for s in (started, last)}) == 1


def test_the_best_is_the_largest_iou_and_the_smallest_loss(join, searches):
    for measure, best in (("val_loss", 0.25), ("mean_iou", 0.75)):
        searches.folder = searches.folder.with_name(measure)
        study = join(measure=measure)
        assert study.best() is None
        for value in (0.5, 0.25, 0.75):
            study.end(study.start(9), Ended(TrialState.COMPLETE, value))
        assert study.best().value == best


def test_parzen_estimators_repeat_nothing_and_reach_every_choice(join, searches):
    rates = [i * 1e-5 for i in range(1, 26)]
    study = join(space=searches.space(learning_rate=rates))
    seen = []
    while (started := study.start(99)) is not None:
        rate = started.parameters["learning_rate"]
        seen.append(rate)
        study.end(started, Ended(TrialState.COMPLETE, abs(rate - 1.2e-4)))
        started.presence.end()
    assert sorted(seen) == rates
