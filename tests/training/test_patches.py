from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.training.patches import (
    Patch,
    TrainingOrder,
    ValidationOrder,
    grid_patches,
    grid_starts,
    grid_stride,
    image_grids,
    training_batches,
    validation_batches,
)

PATCH = (128, 128, 128)


def test_the_papers_image_has_its_60_patches():
    corners = {p.corner for p in grid_patches("a", (216, 157, 182), PATCH)}
    assert corners == {(z, y, x) for z in (0, 32, 64, 88) for y in (0, 16, 29) for x in (0, 16, 32, 48, 54)}
    assert len(corners) == 60


def test_the_stride_is_16_x_16_x_32_along_x_y_z_and_shrinks_with_the_patch():
    assert grid_stride(PATCH) == (32, 16, 16)
    assert grid_stride((40, 32, 32)) == (10, 4, 4)
    assert grid_stride((2, 2, 2)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("size", "starts"), [(128, (0,)), (144, (0, 16)), (145, (0, 16, 17)), (100, (-14,)), (127, (0,)), (125, (-1,))]
)
def test_the_last_patch_is_flush_and_a_small_image_lies_in_the_middle(size, starts):
    assert grid_starts(size, 128, 16) == starts


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20))
def test_patches_lie_inside_and_leave_no_gap_larger_than_the_stride(size, patch, stride):
    starts = grid_starts(size, patch, stride)
    if size <= patch:
        (start,) = starts
        assert start <= 0 <= start + patch - size
    else:
        assert (starts[0], starts[-1] + patch) == (0, size)
        assert all(0 < b - a <= stride for a, b in pairwise(starts))


def images(*counts):
    return tuple(tuple(Patch(f"case{i}", (n, 0, 0)) for n in range(count)) for i, count in enumerate(counts))


def test_an_epoch_passes_every_patch_once_in_an_order_of_its_own():
    grids = images(60, 60, 36)
    order = TrainingOrder(grids, seed=3)
    first, second = order.epoch(0), order.epoch(1)
    everything = {p for patches in grids for p in patches}
    assert len(first) == len(everything) == 156
    assert set(first) == set(second) == everything
    assert first != second
    assert order.epoch(1) == second
    assert TrainingOrder(grids, seed=4).epoch(0) != first
    # Mixed over the images, not image by image.
    assert len({p.case for p in first[:20]}) == 3


def test_a_limited_epoch_takes_equally_many_of_each_image_and_others_next_time():
    order = TrainingOrder(images(60, 36, 4), seed=0, patches_per_image=5)
    assert Counter(p.case for p in order.epoch(0)) == {"case0": 5, "case1": 5, "case2": 4}
    assert set(order.epoch(0)) != set(order.epoch(1))


def test_validation_is_the_whole_grid_always_alike():
    grids = images(60, 36)
    assert ValidationOrder(grids).epoch(0) == ValidationOrder(grids).epoch(7) == grids[0] + grids[1]


def test_a_limited_validation_is_evenly_spaced():
    assert [p.corner[0] for p in ValidationOrder(images(60), patches_per_image=4).epoch(0)] == [7, 22, 37, 52]
    assert len(ValidationOrder(images(3), patches_per_image=4).epoch(0)) == 3


def test_grids_come_in_the_order_of_the_names():
    grids = image_grids({"b": (128, 128, 128), "a": (216, 157, 182)}, PATCH)
    assert [(g[0].case, len(g)) for g in grids] == [("a", 60), ("b", 1)]


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 4))
def test_processes_share_an_epoch(count, batch_size, processes):
    batch_size = max(batch_size, processes)
    sizes = [batch_size // processes + (r < batch_size % processes) for r in range(processes)]
    shares = [training_batches(count, sizes, rank) for rank in range(processes)]
    # In step: as many batches on each, none of them empty or too large.
    assert len({len(share) for share in shares}) == 1
    assert all(1 <= len(batch) <= sizes[rank] for rank, share in enumerate(shares) for batch in share)
    taken = Counter(position for share in shares for batch in share for position in batch)
    assert set(taken) == set(range(count))
    assert taken.total() - count < processes
    # Only what the last step repeats is not disjoint.
    rest = count % batch_size
    if rest == 0 or rest >= processes:
        assert set(taken.values()) == {1}


def test_one_process_takes_the_order_as_it_is():
    assert training_batches(5, [2], 0) == [(0, 1), (2, 3), (4,)]
    assert training_batches(5, [1, 1], 0) == [(0,), (2,), (4,)]
    assert training_batches(5, [1, 1], 1) == [(1,), (3,), (0,)]


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 4))
def test_every_validation_patch_is_validated_by_one_process(count, batch_size, processes):
    shares = [validation_batches(count, batch_size, rank, processes) for rank in range(processes)]
    assert sorted(p for share in shares for batch in share for p in batch) == list(range(count))
    assert all(1 <= len(batch) <= batch_size for share in shares for batch in share)
