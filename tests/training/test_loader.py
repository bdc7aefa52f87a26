import itertools

import numpy as np
import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_chordoma.training.augmentation import training_transforms
from nnunet_chordoma.training.loader import GridLoader, Plan, augmenter, seeded
from nnunet_chordoma.training.patches import TrainingOrder, ValidationOrder, image_grids, training_batches

LABELS = LabelManager({"background": 0, "body": 1, "gtv": 2}, None)
PATCH = (8, 8, 8)
SIZES = {"a": (10, 9, 12), "b": (8, 8, 9)}
AIR = -3.0


class Dataset:
    """Images whose voxels are all different and above their lowest value, which is air."""

    def __init__(self, sizes):
        self.identifiers = sorted(sizes)
        self.images = {}
        for case, size in sizes.items():
            image = np.arange(np.prod(size), dtype=np.float32).reshape(1, *size) / 1000 + ord(case)
            image[0, 0, 0, 0] = AIR
            self.images[case] = image

    def load_case(self, case):
        image = self.images[case]
        return image, (image > 50).astype(np.int16) * 2, None, {"class_locations": None}


def plain(image, segmentation, air):
    return {"image": image, "segmentation": segmentation}


def order(seed=5):
    return TrainingOrder(image_grids(SIZES, PATCH), seed)


def loader(transforms=plain, first_epoch=0, batch_size=2, seed=5, box=PATCH):
    batches = training_batches(len(order().epoch(0)), [batch_size], 0)
    return GridLoader(Dataset(SIZES), Plan(order(seed), batches, seed, first_epoch), box, PATCH, LABELS, transforms)


def take(batches, count):
    return list(itertools.islice(batches, count))


def test_an_epoch_is_the_grid_in_its_order_whatever_the_batch_size():
    epoch = order().epoch(0)
    for batch_size in (1, 2, 5):
        got = take(loader(batch_size=batch_size), -(-len(epoch) // batch_size))
        assert sum(len(b["data"]) for b in got) == len(epoch)
        assert [k for b in got for k in b["keys"]] == [p.case for p in epoch]
        for patch, data, target in zip(
            epoch, torch.cat([b["data"] for b in got]), torch.cat([b["target"] for b in got]), strict=True
        ):
            box = tuple(slice(c, c + 8) for c in patch.corner)
            image = Dataset(SIZES).images[patch.case][0]
            np.testing.assert_array_equal(data[0].numpy(), image[box])
            np.testing.assert_array_equal(target[0].numpy(), (image[box] > 50) * 2)


def equal(first, second):
    return all(
        torch.equal(a["data"], b["data"]) and torch.equal(a["target"], b["target"])
        for a, b in zip(first, second, strict=True)
    )


# batchgenerators' own thread may lose the connection to a worker that is being ended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("processes", [1, 3])
def test_worker_processes_change_nothing(processes):
    transforms = training_transforms(PATCH, "paper")
    steps = 2 * len(loader().plan.batches)
    alone = take(augmenter(loader(transforms), 0, pin_memory=False), steps)
    workers = augmenter(loader(transforms), processes, pin_memory=False)
    try:
        assert equal(alone, take(workers, steps))
    finally:
        workers._finish()


def test_a_later_epoch_can_be_entered_directly():
    transforms = training_transforms(PATCH, "paper")
    steps = len(loader().plan.batches)
    through = take(loader(transforms), 2 * steps)
    assert equal(through[steps:], take(loader(transforms, first_epoch=1), steps))
    assert not equal(through[:steps], through[steps:])


def test_another_seed_augments_and_orders_differently():
    transforms = training_transforms(PATCH, "paper")
    assert not equal(take(loader(transforms), 1), take(loader(transforms, seed=6), 1))


def test_the_global_generators_are_left_as_they_were():
    np.random.seed(1)
    torch.manual_seed(1)
    expected = np.random.rand(), torch.rand(1)
    np.random.seed(1)
    torch.manual_seed(1)
    take(loader(training_transforms(PATCH, "paper")), 3)
    assert (np.random.rand(), torch.rand(1)) == expected


def test_the_same_seeds_give_the_same_numbers():
    def draw(*seeds):
        with seeded(*seeds):
            return np.random.rand(), torch.rand(1).item()

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(1, 3, 2), draw(2, 2, 3), draw(1, 2, 4)}) == 4


def test_beyond_a_small_image_there_is_air_and_background():
    sizes = {"c": (6, 8, 20)}
    validation = ValidationOrder(image_grids(sizes, PATCH))
    plan = Plan(validation, [(i,) for i in range(len(validation.epoch(0)))], 0)
    transforms = training_transforms(PATCH, "flips")
    transforms.transforms.pop(0)
    batches = take(GridLoader(Dataset(sizes), plan, PATCH, PATCH, LABELS, transforms), len(plan.batches))
    # 2 voxels are missing along z, one on each side.
    image = Dataset(sizes).images["c"][0]
    last = batches[-1]
    np.testing.assert_array_equal(last["data"][0, 0, 1:7].numpy(), image[:, :, 12:])
    for z in (0, 7):
        assert set(last["data"][0, 0, z].unique().tolist()) == {AIR}
        assert set(last["target"][0, 0, z].unique().tolist()) == {0}


def test_a_larger_box_has_the_patch_in_its_middle_and_air_beyond_the_image():
    seen = take(loader(batch_size=1, box=(12, 10, 8)), len(order().epoch(0)))
    for patch, batch in zip(order().epoch(0), seen, strict=True):
        image = Dataset(SIZES).images[patch.case][0]
        padded = np.pad(image, ((2, 2), (1, 1), (0, 0)), constant_values=AIR)
        z, y, x = patch.corner
        np.testing.assert_array_equal(batch["data"][0, 0].numpy(), padded[z : z + 12, y : y + 10, x : x + 8])


def test_the_transforms_are_told_what_air_is():
    told = []

    def transforms(image, segmentation, air):
        told.append(air)
        return {"image": image, "segmentation": segmentation}

    take(loader(transforms), 3)
    assert set(told) == {AIR}
