"""Voxels cut down to the labels that can win, in memory and on disk, whole and sampled."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps import contests as module
from nnunet_chordoma.ensemble.label_maps.contests import contests_of
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.scoring import RIGHT, WRONG
from nnunet_chordoma.ensemble.label_maps.solver import maximise
from nnunet_chordoma.ensemble.reading.compression import CompressedCase, compress
from nnunet_chordoma.ensemble.reading.row_file import RowFile
from nnunet_chordoma.ensemble.reading.spill import SpilledProbabilities


def spilled(case: CompressedCase, folder: Path) -> CompressedCase:
    """The same case with its probabilities on disk."""
    path = folder / f"{case.case}.f32"
    np.asarray(case.probabilities).tofile(path)
    return dataclasses.replace(case, probabilities=SpilledProbabilities(path, case.probabilities.shape))


def maps_of(*models: list[tuple[float, ...]]) -> list[NDArray[np.float32]]:
    return [np.array(model, dtype=np.float32).T for model in models]


def test_labels_beaten_in_every_model_are_left_out() -> None:
    # Voxel 0: label 2 always behind label 0. Voxel 1: label 0 behind 1 or 2, but never behind the same one.
    # Voxel 2: label 1 is as high as label 0 in one model.
    maps = maps_of(
        [(0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.4, 0.4, 0.2)],
        [(0.3, 0.5, 0.2), (0.2, 0.1, 0.7), (0.7, 0.2, 0.1)],
    )
    case = compress("p", maps, np.array([0, 2, 1]))
    two, three = contests_of(case).contests
    assert two.codes.tolist() == [[0 + RIGHT, 0 + WRONG], [2 + WRONG, 2 + RIGHT]]
    assert three.codes.tolist() == [[0 + WRONG], [2 + WRONG], [4 + RIGHT]]
    np.testing.assert_array_equal(two.rows[1], np.float32([[0.3, 0.7], [0.5, 0.2]]))
    assert two.reference.tolist() == [0, 1]


def test_voxels_that_one_label_wins_after_all_are_settled(arrays: Callable[..., Any]) -> None:
    """A case may keep voxels that need not be kept: they move to the counts."""
    case = compress(*arrays(1, cases=1)[0])
    clear = np.tile(np.float32([0.1, 0.7, 0.1, 0.1])[:, None], (3, 1, 5))
    padded = dataclasses.replace(
        case,
        voxels=case.voxels + 5,
        probabilities=np.concatenate((np.asarray(case.probabilities), clear), axis=2),
        reference=np.append(case.reference, np.uint8([1, 1, 1, 0, 0])),
        reference_count=case.reference_count + np.array([2, 3, 0, 0]),
    )
    found, whole = contests_of(padded), contests_of(case)
    assert found.voxels == whole.voxels
    assert (found.settled - whole.settled).tolist() == [0, 0, 3, 2, 0, 0, 0, 0]
    assert (found.settled_reference - whole.settled_reference).tolist() == [2, 3, 0, 0]


def test_several_contests_of_a_kind_count_like_one(arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = arrays(2, models=3, labels=4, shape=(40, 50))
    monkeypatch.setattr("nnunet_chordoma.ensemble.reading.compression.BLOCK", 64)
    monkeypatch.setattr(module, "CONTEST_VOXELS", 100)
    objective = LabelMapIoU(tuple(compress(*case) for case in cases))
    assert len(contests_of(objective.cases[0]).contests) > 5
    for weights in np.random.default_rng(0).dirichlet(np.ones(3), size=5):
        np.testing.assert_array_equal(
            objective.counts(weights).predicted, objective.counts_by_definition(weights).predicted
        )


def test_contests_are_made_once_and_live_as_long_as_their_case(arrays: Callable[..., Any]) -> None:
    case = compress(*arrays(3, cases=1)[0])
    assert contests_of(case) is contests_of(case)
    known = len(module._KNOWN)
    del case
    gc.collect()
    assert len(module._KNOWN) == known - 1


@pytest.mark.parametrize("room", [0, 10**9])
def test_probabilities_on_disk_give_the_same_and_stay_there(
    arrays: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(module, "ROWS_IN_MEMORY_BYTES", room)
    cases = tuple(compress(*case) for case in arrays(4, models=4, labels=5, shape=(300,)))
    on_disk = tuple(spilled(case, tmp_path) for case in cases)
    files = sorted(tmp_path.iterdir())
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    one, other = LabelMapIoU(cases), LabelMapIoU(on_disk)
    assert one.value(weights) == other.value(weights)
    in_memory = [isinstance(contest.rows, np.ndarray) for contest in contests_of(on_disk[0]).contests]
    assert in_memory == [room > 0] * len(in_memory) != []
    for sample_voxels in (10**6, 200):
        solutions = [maximise(objective, seed=1, sample_voxels=sample_voxels) for objective in (one, other)]
        assert solutions[0].weights.tolist() == solutions[1].weights.tolist()
        assert solutions[0].value == solutions[1].value
    assert sorted(tmp_path.iterdir()) == files


def test_a_temporary_file_that_is_cut_short_is_noticed(tmp_path: Path) -> None:
    file = RowFile(tmp_path)
    rows = file.append(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    assert rows[1].tolist() == [[6, 7], [8, 9], [10, 11]]
    file._file.truncate(40)
    with pytest.raises(EOFError, match="ends too early"):
        rows[1]


def test_a_sample_is_part_of_the_whole_and_the_same_for_a_seed(arrays: Callable[..., Any]) -> None:
    whole = contests_of(compress(*arrays(5, models=3, labels=4, cases=1, shape=(900,))[0]))
    sample = whole.sampled(4, seed=7)
    assert sample.voxels == -(-whole.voxels // 4)
    assert sample is whole.sampled(4, seed=7)
    again = whole._sample(4, 7)
    other = whole.sampled(4, seed=8)
    for contest, same, unlike in zip(sample.contests, again.contests, other.contests, strict=True):
        np.testing.assert_array_equal(np.asarray(contest.rows), np.asarray(same.rows))
        assert not np.array_equal(contest.rows[0], unlike.rows[0])
    everything = {
        (tuple(codes), tuple(rows.ravel()))
        for contest in whole.contests
        for codes, rows in zip(contest.codes.T, np.asarray(contest.rows).transpose(2, 0, 1), strict=True)
    }
    for contest in sample.contests:
        for codes, rows in zip(contest.codes.T, np.asarray(contest.rows).transpose(2, 0, 1), strict=True):
            assert (tuple(codes), tuple(rows.ravel())) in everything
