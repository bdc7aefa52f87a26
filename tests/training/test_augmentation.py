import numpy as np
import pytest
import torch

from nnunet_chordoma.training.augmentation import AirPaddedSpatialTransform, PoissonNoiseTransform, training_transforms


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)
    torch.manual_seed(0)


def patch():
    """A bright box of label 3 in air, so that image and labels can be compared after any transform."""
    segmentation = torch.zeros(1, 16, 16, 16, dtype=torch.int16)
    segmentation[:, 5:12, 4:11, 6:13] = 3
    image = torch.where(segmentation == 3, 2.0, -2.0)
    return {"image": image, "segmentation": segmentation}


@pytest.mark.parametrize("augmentation", ["paper", "flips"])
@pytest.mark.parametrize("shape", [(16, 16, 16), (20, 16, 12)])
def test_shape_type_and_label_values_survive(augmentation, shape):
    transforms = training_transforms(shape, augmentation)
    for _ in range(20):
        data = {
            "image": torch.randn(1, *shape),
            "segmentation": torch.randint(0, 8, (1, *shape), dtype=torch.int16),
        }
        out = transforms(**data)
        assert out["image"].shape == (1, *shape)
        assert out["segmentation"].dtype == torch.int16
        assert set(out["segmentation"].unique().tolist()) <= set(range(8))


def test_labels_follow_the_image():
    transforms = training_transforms((16, 16, 16), "paper")
    moved = 0
    for _ in range(40):
        out = transforms(**patch())
        inside = out["segmentation"] == 3
        assert out["image"][inside].mean() > out["image"][~inside].mean() + 2
        moved += not torch.equal(out["segmentation"], patch()["segmentation"])
    assert moved > 20


def test_what_enters_from_outside_is_air_and_background():
    transform = AirPaddedSpatialTransform(
        (16, 16, 16),
        0,
        random_crop=False,
        p_rotation=1,
        rotation=(0.7, 0.7),
        mode_seg="nearest",
        padding_mode_image="constant",
    )

    def data():
        image = torch.full((1, 16, 16, 16), 5.0)
        image[0, 8, 8, 8] = -3.0
        return {"image": image, "segmentation": torch.full((1, 16, 16, 16), 4, dtype=torch.int16)}

    out = transform(**data())
    assert out["segmentation"][0, 0, 0, 0] == 0
    assert out["image"][0, 0, 0, 0] == pytest.approx(-3.0)
    # A patch from the middle of the body has no air of its own.
    assert transform(**data(), air=-9.0)["image"][0, 0, 0, 0] == pytest.approx(-9.0)


def test_labels_are_moved_by_nearest_neighbour():
    """Between labels 1 and 7 nothing in between may appear, and every voxel keeps exactly one of them."""
    transforms = training_transforms((16, 16, 16), "paper")
    for _ in range(60):
        segmentation = torch.ones(1, 16, 16, 16, dtype=torch.int16)
        segmentation[:, :, :8] = 7
        out = transforms(image=segmentation.float(), segmentation=segmentation, air=-1.0)
        assert set(out["segmentation"].unique().tolist()) <= {0, 1, 7}


def test_the_seven_transforms_in_the_order_of_the_reference_implementation():
    names = [type(getattr(t, "transform", t)).__name__ for t in training_transforms((16, 16, 16), "paper").transforms]
    assert names == [
        "MirrorTransform",
        "Rot90Transform",
        # Small rotation and elastic deformation in one resampling.
        "AirPaddedSpatialTransform",
        "ContrastTransform",
        "GaussianNoiseTransform",
        "PoissonNoiseTransform",
        "RemoveLabelTransform",
    ]


def test_voxels_beyond_the_image_become_background():
    data = patch()
    data["segmentation"][0, 0] = -1
    assert training_transforms((16, 16, 16), "flips")(**data)["segmentation"].min() == 0


def test_poisson_noise_is_centred_and_grows_with_brightness():
    image = torch.zeros(1, 2, 100, 100)
    image[0, 1] = 1.0
    out = PoissonNoiseTransform(rate=(0.1, 0.1))(image=image.clone())["image"]
    noise = out - image
    assert noise[0, 0].abs().max() == 0
    assert noise[0, 1].mean().item() == pytest.approx(0, abs=0.005)
    assert noise[0, 1].std().item() == pytest.approx(0.1, abs=0.01)
