"""Whole searches of trainings that only pretend."""

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from skimage.io import imread

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.plans import configured

RATES = [5e-5, 1e-4, 3e-4, 5e-4, 7e-4, 1e-3]


def by_rate(rows):
    return {float(row["learning_rate"]): row for row in rows}


def wait_for(condition, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_every_choice_is_tried_once_and_the_best_is_told(searches, capsys):
    rows = searches.run(trials=20, space=searches.space(learning_rate=RATES), pruner="none")
    assert sorted(float(r["learning_rate"]) for r in rows) == RATES
    assert float(rows[0]["learning_rate"]) == 3e-4
    assert float(rows[0]["val_loss"]) == pytest.approx(0.25)
    assert (rows[0]["state"], rows[0]["best_epoch"], rows[0]["epochs"]) == ("finished", "3", "4")
    losses = [float(r["val_loss"]) for r in rows]
    assert losses == sorted(losses)
    best = json.loads((searches.folder / "best.json").read_text())
    assert best["learning_rate"] == 3e-4
    assert "max_epochs" not in best
    printed = capsys.readouterr().out
    assert f"chordoma-plan 900 -c 3d_chordoma_demo --settings {searches.folder}/best.json" in printed
    assert re.search(
        r"CHORDOMA_SETTINGS=\S+/best.json nnUNetv2_train 900 3d_chordoma_demo 0 -tr ChordomaTrainerCE", printed
    )
    markdown = (searches.folder / "trials.md").read_text()
    assert markdown.count("\n| ") == 8
    assert "--settings" in markdown
    assert imread(searches.folder / "search.png")[..., :3].std() > 10
    # The weights of all trials would fill a disk.
    assert not list(searches.folder.rglob("*.pth*"))


def test_the_best_settings_make_the_plans_of_the_best_trial_again(searches):
    searches.plan(max_epochs=9, seed=4, batch_size=3)
    searches.run(trials=1, space=searches.space(weight_decay=[1e-3]))
    best = json.loads((searches.folder / "best.json").read_text())
    assert best == {"max_epochs": 9, "seed": 4, "batch_size": 3, "weight_decay": 1e-3}
    again = configured("3d_chordoma_demo", **best)
    assert (again.batch_size, again.settings.max_epochs, again.settings.weight_decay) == (3, 9, 1e-3)


def test_the_same_command_goes_on(searches):
    space = searches.space(learning_rate=RATES)
    first = searches.run(trials=2, space=space)
    assert len(first) == 2
    assert searches.run(trials=2, space=space) == first
    second = searches.run(trials=4, space=space)
    assert len(second) == 4
    assert {r["trial"] for r in first} < {r["trial"] for r in second}
    assert len({r["learning_rate"] for r in second}) == 4


def test_poor_trials_are_pruned_and_the_others_are_not(searches):
    space = searches.space(learning_rate=[2.6e-4, 2.7e-4, 2.8e-4, 2.9e-4, 3e-4, 3.1e-4, 3.2e-4])
    # The median judges nobody before five have finished.
    todo = {"worse": {"0001": 5, "0005": 5, "0006": -0.2}}
    rows = {r["trial"]: r for r in searches.run(todo, trials=7, space=space, epochs=8)}
    assert {number for number, row in rows.items() if row["state"] == "pruned"} == {"5"}
    assert (rows["5"]["epochs"], rows["5"]["remark"]) == ("3", "pruned after epoch 2")
    assert rows["1"]["state"] == rows["6"]["state"] == "finished"
    assert searches.rows()[0]["trial"] == "6"


def test_halving_lets_only_a_third_of_the_trials_go_on(searches):
    space = searches.space(learning_rate=[2.6e-4, 2.8e-4, 3e-4, 3.2e-4])
    todo = {"worse": {"0000": 1, "0001": 2, "0002": 3, "0003": 0}}
    rows = {r["trial"]: r for r in searches.run(todo, trials=4, space=space, epochs=9, pruner="halving")}
    assert [rows[n]["state"] for n in "0123"] == ["finished", "pruned", "pruned", "finished"]


def test_a_diverged_training_is_not_trained_on(searches):
    rows = searches.run({"diverge": [1e-3], "epoch_s": 0.2}, trials=2, space=searches.space(learning_rate=[3e-4, 1e-3]))
    lost = by_rate(rows)[1e-3]
    assert (lost["state"], lost["remark"], lost["val_loss"]) == ("pruned", "diverged in epoch 0", "")
    assert by_rate(rows)[3e-4]["state"] == "finished"


def test_a_training_that_dies_is_continued_once(searches):
    space = searches.space(learning_rate=[3e-4])
    rows = searches.run({"die": [[3e-4, 2]]}, trials=5, space=space)
    assert [(r["state"], r["epochs"]) for r in rows] == [("finished", "4")]
    log = (searches.folder / "trials" / "0000" / "training.log").read_text()
    assert "continued after 0 epochs" in log
    assert "continued after 2 epochs" in log
    assert (searches.trial("0000") / "attempts_0").read_text() == "x"


def test_a_training_that_dies_twice_is_given_up_and_the_search_goes_on(searches):
    space = searches.space(learning_rate=[3e-4, 1e-3])
    rows = by_rate(searches.run({"die": [[1e-3, 1]], "deaths": 9}, trials=2, space=space))
    assert rows[3e-4]["state"] == "finished"
    assert rows[1e-3]["state"] == "failed"
    assert rows[1e-3]["remark"] == "training failed with status 1: CUDA out of memory"
    assert not list(searches.folder.rglob("*.pth*"))
    logs = [p.read_text() for p in searches.folder.glob("trials/*/training.log")]
    assert sorted(log.count("CUDA out of memory") for log in logs) == [0, 2]
    assert len(searches.run({}, trials=2, space=space)) == 2


@pytest.mark.parametrize(
    ("todo", "said"),
    [
        ({"refuse": True}, "status 1: the plans are refused; its output is in .*training.log"),
        ({"die": [[3e-4, 0]]}, "status 1: CUDA out of memory"),
    ],
)
def test_trainings_that_cannot_work_end_the_search_and_are_done_when_they_can(searches, todo, said):
    space = searches.space(learning_rate=[3e-4])
    with pytest.raises(ChordomaError, match=said) as caught:
        searches.run(todo, trials=3, space=space)
    assert "\n" not in str(caught.value)
    assert [r["state"] for r in searches.rows()] == ["waiting"]
    assert [r["state"] for r in searches.run({}, trials=3, space=space)] == ["finished"]


def test_a_combination_that_cannot_be_trained_does_not_stop_a_search_for_ever(searches):
    space = searches.space(learning_rate=[3e-4, 1e-3, 5e-4])
    todo = {"die": [[1e-3, 0], [3e-4, 0]], "deaths": 9}
    for _ in range(3):
        # Whichever come first: each ends one run, as long as nothing has worked.
        try:
            rows = by_rate(searches.run(todo, trials=3, space=space))
        except ChordomaError as error:
            assert "which begins with another combination" in str(error)  # noqa: PT017 - it need not be raised
        else:
            break
    assert {rate: row["state"] for rate, row in rows.items()} == {3e-4: "failed", 1e-3: "failed", 5e-4: "finished"}


def test_a_trainer_that_refuses_one_combination_does_not_end_the_others(searches):
    space = searches.space(learning_rate=[3e-4, 1e-3, 5e-4])
    rows = []
    for _ in range(2):
        with contextlib.suppress(ChordomaError):
            rows = by_rate(searches.run({"refuse": [1e-3]}, trials=3, space=space))
    assert {rate: row["state"] for rate, row in rows.items()} == {3e-4: "finished", 1e-3: "failed", 5e-4: "finished"}


@pytest.mark.parametrize("what", ["plans", "splits"])
def test_plans_and_splits_that_change_while_it_runs_end_a_search(searches, what):
    base = searches.preprocessed.base
    if what == "plans":
        change = [str(base / "ChordomaPlans.json"), json.dumps(searches.preprocessed.plans(seed=3))]
    else:
        change = [str(base / "splits_final.json"), json.dumps([{"train": ["a", "b"], "val": ["c"]}])]
    with pytest.raises(ChordomaError, match=f"the {what} of .* were changed while the search runs") as caught:
        searches.run({"meanwhile": change}, trials=3, space=searches.space(learning_rate=RATES))
    assert "\n" not in str(caught.value)
    assert len(searches.rows()) == 1


def test_joining_when_all_trials_are_taken_is_no_error(searches, capsys):
    space = searches.space(learning_rate=[3e-4])
    go_on = searches.preprocessed.folder / "go_on"
    process = searches.join({"wait_for": str(go_on)}, trials=1, space=space)
    wait_for((searches.trial("0000") / "pid").is_file, process)
    rows = searches.run(trials=1, space=space)
    assert [r["state"] for r in rows] == ["running"]
    assert "no trial has finished yet; other processes are running" in capsys.readouterr().out
    go_on.touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_trainings_run_side_by_side_in_places_of_their_own(searches, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    # Each waits for the other to begin, so one after the other they would never end.
    searches.run({"side_by_side": 2}, trials=2, workers=2, epochs=3, space=searches.space(learning_rate=RATES))
    assert [row["state"] for row in searches.rows()] == ["finished"] * 2


@pytest.mark.slow
def test_an_interrupted_search_leaves_no_training_and_goes_on(searches):
    space = searches.space(learning_rate=[3e-4])
    process = searches.join({"epoch_s": 0.5}, trials=1, epochs=8, space=space)
    numbers = searches.trial("0000") / "chordoma_progress.json"
    wait_for(lambda: numbers.is_file() and len(json.loads(numbers.read_text())) >= 2, process)
    pid = int((searches.trial("0000") / "pid").read_text())
    assert alive(pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not alive(pid)
    assert [r["state"] for r in searches.rows()] == ["waiting"]
    rows = searches.run(trials=1, epochs=8, space=space)
    assert [(r["state"], r["epochs"]) for r in rows] == [("finished", "8")]
    assert (searches.trial("0000") / "attempts_0").read_text() == "x"


@pytest.mark.slow
def test_a_killed_search_takes_its_training_along_and_the_trial_is_continued(searches):
    space = searches.space(learning_rate=[3e-4])
    process = searches.join({"epoch_s": 0.5}, trials=1, epochs=8, space=space)
    numbers = searches.trial("0000") / "chordoma_progress.json"
    wait_for(lambda: numbers.is_file() and len(json.loads(numbers.read_text())) >= 2, process)
    pid = int((searches.trial("0000") / "pid").read_text())
    process.kill()
    process.communicate()
    rows = searches.run(trials=1, epochs=8, space=space)
    assert not alive(pid)
    assert [(r["state"], r["epochs"]) for r in rows] == [("finished", "8")]
    assert (searches.trial("0000") / "attempts_0").read_text() == "x"


@pytest.mark.slow
def test_processes_share_the_trials(searches):
    space = searches.space(learning_rate=RATES, weight_decay=[0, 1e-5])
    # The first cannot do all before the second has begun.
    both = [searches.join({"side_by_side": 2}, trials=4, space=space, pruner="none") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    rows = searches.run(trials=4, space=space, pruner="none")
    assert [r["state"] for r in rows] == ["finished"] * 4
    assert len({(r["learning_rate"], r["weight_decay"]) for r in rows}) == 4
    # Each has done some of them.
    journal = (searches.folder / "journal.log").read_text()
    assert len(set(re.findall(r'"owner":\{"host":"[^"]*","pid":(\d+)\}', journal))) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 5}, "has epochs 4, not 5"),
        ({"trainer": "ChordomaTrainerResCE"}, 'has trainer "ChordomaTrainerCE", not "ChordomaTrainerResCE"'),
        ({"patches_per_image": 3}, "has patches_per_image 2, not 3"),
        ({"pruner": "halving"}, 'has pruner "median", not "halving"'),
        ({"space": None}, "has space"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(searches, changes, said):
    space = searches.space(learning_rate=[3e-4])
    searches.run(trials=1, space=space)
    with pytest.raises(ChordomaError, match=said) as caught:
        searches.run(**{"trials": 1, "space": space, **changes})
    assert "\n" not in str(caught.value)
    assert "another --out" in str(caught.value)


def test_other_plans_and_splits_are_refused(searches):
    space = searches.space(learning_rate=[3e-4])
    searches.run(trials=1, space=space)
    searches.plan(seed=3)
    with pytest.raises(ChordomaError, match="the search there used other plans"):
        searches.run(trials=1, space=space)
    searches.plan()
    searches.preprocessed.split([{"train": ["a", "b"], "val": ["c"]}])
    with pytest.raises(ChordomaError, match="cases of another split"):
        searches.run(trials=1, space=space)


def test_folders_of_others_and_damaged_journals_are_refused(searches):
    searches.folder.mkdir()
    (searches.folder / "mine.txt").touch()
    with pytest.raises(ChordomaError, match="expected a new folder"):
        searches.run()
    (searches.folder / "mine.txt").unlink()
    space = searches.space(learning_rate=[3e-4, 1e-3])
    searches.run(trials=1, space=space)
    with (searches.folder / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "tri\n{}\n')
    with pytest.raises(ChordomaError, match=r"journal\.log: damaged"):
        searches.run(trials=2, space=space)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer": "ChordomaTrainer"}, "--trainer ChordomaTrainer: expected one of .*ChordomaTrainerResEncWCE"),
        ({"pruner": "hyperband"}, "--pruner hyperband: expected one of median, halving, none"),
        ({"measure": "dice"}, "--measure dice: expected auto, val_loss or mean_iou"),
        ({"trainer": "ChordomaTrainerWCE", "measure": "val_loss"}, "different class_weights cannot be compared"),
        ({"configuration": "3d_other"}, "no configuration '3d_other'; run chordoma-plan 900 -c 3d_other"),
        ({"configuration": "3d_fullres"}, "the plans need the entry 'chordoma'"),
        ({"dataset_id": 901}, r"no Dataset901_\*"),
        ({"fold": 3}, "with a fold 3, found 1"),
        ({"device": "tpu"}, "--device tpu"),
    ],
)
def test_wrong_options_are_refused_in_one_line(searches, changes, said):
    with pytest.raises(ChordomaError, match=said) as caught:
        searches.run(**changes)
    assert "\n" not in str(caught.value)
    assert not list(searches.folder.glob("trials/*"))


def test_class_weights_are_compared_by_iou_and_belong_to_weighted_losses(searches):
    rows = searches.run(trainer="ChordomaTrainerWCE", trials=9)
    assert {r["class_weights"] for r in rows} == {"best", "small_muscles", "balanced", "gtv_and_piriformis"}
    assert json.loads((searches.folder / "study.json").read_text())["measure"] == "mean_iou"
    best = json.loads((searches.folder / "best.json").read_text())
    assert sum(best["class_weights"].values()) == pytest.approx(1)
    space = searches.space(class_weights=["best"])
    with pytest.raises(ChordomaError, match="ChordomaTrainerCE has no class weights"):
        searches.run(space=space, out=searches.folder.with_name("other"))


def test_a_search_goes_on_from_the_best_of_another(searches):
    searches.run(trials=1, space=searches.space(learning_rate=[5e-4]))
    weighted = searches.folder.with_name("weighted")
    best = searches.folder / "best.json"
    searches.run(trainer="ChordomaTrainerWCE", trials=1, settings=best, out=weighted)
    used = json.loads((weighted / "trials" / "0000" / "settings.json").read_text())
    assert used["learning_rate"] == 5e-4
    assert used["max_epochs"] == 4
    assert json.loads((weighted / "best.json").read_text())["learning_rate"] == 5e-4


def test_the_budget_of_shared_settings_is_kept_for_the_training_after_the_search(searches):
    settings = searches.preprocessed.folder / "shared.json"
    settings.write_text(json.dumps({"max_epochs": 77, "patches_per_image": 30, "seed": 3}))
    searches.run(trials=1, settings=settings, space=searches.space(learning_rate=[5e-4]))
    used = json.loads((searches.folder / "trials" / "0000" / "settings.json").read_text())
    assert (used["max_epochs"], used["patches_per_image"], used["seed"]) == (4, 2, 3)
    best = json.loads((searches.folder / "best.json").read_text())
    assert best == {"max_epochs": 77, "patches_per_image": 30, "seed": 3, "learning_rate": 5e-4}


def test_the_default_folder_is_beside_the_results(searches):
    name = "ChordomaTrainerCE__3d_chordoma_demo__fold_0"
    expected = Path(os.environ["nnUNet_results"]).parent / "chordoma_search" / "Dataset900_Chordoma" / name
    searches.folder = expected
    rows = searches.run(trials=1, out=None, space=searches.space(learning_rate=[3e-4]))
    assert len(rows) == 1
    assert not Path(os.environ["nnUNet_results"]).exists()
