import dataclasses
import os
import sys
import time

import pytest

from nnunet_chordoma.demo import steps
from nnunet_chordoma.demo.display import Display
from nnunet_chordoma.demo.runner import Progress, Runner
from nnunet_chordoma.demo.steps import Step
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.settings import SMALL


def step(name, code, expected_s=1.0):
    return Step(name, "stage", (sys.executable, "-c", code), expected_s)


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path, {"DEMO_TEST": "set"}, jobs=2)


def ignore(progress):
    pass


def test_steps_run_once_and_their_output_is_kept(tmp_path, runner):
    count = tmp_path / "count"
    steps = [[step("a", f"import os; open({str(count)!r}, 'a').write('x'); print(os.environ['DEMO_TEST'])")]]
    runner.run(steps, ignore)
    runner.run(steps, ignore)
    assert count.read_text() == "x"
    assert "set" in (tmp_path / "a.log").read_text()
    assert (tmp_path / "a.log").read_text().startswith("$ ")


def test_a_failed_step_is_named_with_its_last_line_and_done_again_next_time(tmp_path, runner):
    flag = tmp_path / "flag"
    code = f"import os, sys; sys.exit(0 if os.path.exists({str(flag)!r}) else 'error: no flag')"
    with pytest.raises(ChordomaError, match=r"'a' failed with status 1: error: no flag.*a\.log"):
        runner.run([[step("a", code)]], ignore)
    flag.touch()
    runner.run([[step("a", code)]], ignore)


def test_a_status_that_is_an_answer_is_no_failure(runner):
    judged = dataclasses.replace(step("a", "raise SystemExit(3)"), accepted=(0, 3))
    runner.run([[judged]], ignore)
    assert runner.finished(judged)
    with pytest.raises(ChordomaError, match="failed with status 4"):
        runner.run([[dataclasses.replace(step("b", "raise SystemExit(4)"), accepted=(0, 3))]], ignore)


def test_later_stages_wait_and_do_not_start_after_a_failure(tmp_path, runner):
    with pytest.raises(ChordomaError):
        runner.run([[step("a", "raise SystemExit(3)")], [step("b", f"open({str(tmp_path / 'b')!r}, 'w')")]], ignore)
    assert not (tmp_path / "b").exists()


def test_steps_of_a_stage_run_side_by_side(tmp_path, runner):
    # Each waits for the other's file, so one after the other they would never end.
    code = (
        "import os, time\n"
        "open({mine!r}, 'w')\n"
        "end = time.time() + 60\n"
        "while not os.path.exists({other!r}):\n"
        "    assert time.time() < end\n"
        "    time.sleep(0.01)\n"
    )
    x, y = str(tmp_path / "x"), str(tmp_path / "y")
    runner.run([[step("x", code.format(mine=x, other=y)), step("y", code.format(mine=y, other=x))]], ignore)


def test_an_interruption_stops_the_children_and_marks_nothing(tmp_path, runner):
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    def interrupt(progress):
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run([[step("a", code)]], interrupt)
    assert time.monotonic() - started < 300
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not runner.finished(step("a", code))


def test_progress_counts_up_to_the_whole(runner):
    seen = []
    steps = [[step("a", "pass", 3), step("b", "pass", 4)], [step("c", "pass", 5)]]
    runner.run(steps, seen.append)
    done = [p.done_s for p in seen]
    assert done == sorted(done)
    assert done[-1] == 12
    assert {p.stage_number for p in seen} == {1, 2}


def test_epochs_tell_how_far_a_training_is(tmp_path, runner):
    def train(name):
        # Goes on until its epoch was seen.
        code = (
            "import os, time\n"
            "print('Epoch time: 1 s', flush=True)\n"
            "end = time.time() + 60\n"
            f"while not os.path.exists({str(tmp_path / name)!r}):\n"
            "    assert time.time() < end\n"
            "    time.sleep(0.01)\n"
        )
        return Step(name, "stage", (sys.executable, "-c", code), 100.0, epochs=4)

    def alone(progress):
        if progress.done_s == pytest.approx(0.95 * 25):
            (tmp_path / "train_a").touch()

    def in_company(progress):
        if "train_b (epoch 2 of 4)" in progress.detail:
            (tmp_path / "train_b").touch()

    runner.run([[train("train_a")]], alone)
    runner.run([[train("train_b"), step("c", "pass", 1)]], in_company)


def test_time_left_ignores_what_an_earlier_run_did():
    with Display(2, 1000) as display:
        display.show(Progress("s", 1, "", 500))
        # 100 seconds of work took 200, so the remaining 400 take nearly twice as long.
        assert display.left_s(600, 200) == pytest.approx(400 * 220 / 120)


def test_the_display_counts_the_epochs_that_the_small_configuration_has():
    assert SMALL.max_epochs == steps.SMALL_EPOCHS
