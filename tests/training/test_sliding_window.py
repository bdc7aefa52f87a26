"""The paper's sliding window against independent computations in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.training.sliding_window import Windows, mean_probabilities

SMALL = Windows((8, 6, 7), (2, 1, 3), mirror_padding=0)


def scores_of(image):
    """Three labels as functions of the voxel alone."""
    return torch.cat((image, image**2, 1 - image), dim=1)


def convolution(channels=1, labels=3):
    torch.manual_seed(1)
    return torch.nn.Conv3d(channels, labels, kernel_size=5, padding=2).eval()


def random_image(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def mean_by_hand(network, image, windows):
    """Every patch cut, mirrored, predicted and added up one after the other, in double precision."""
    array, rim = image.numpy(), windows.mirror_padding
    total, count = 0.0, np.zeros(array.shape[1:])
    starts = [[*range(0, n - p, s), n - p] for n, p, s in zip(count.shape, windows.patch, windows.stride, strict=True)]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                box = tuple(slice(a, a + p) for a, p in zip((z, y, x), windows.patch, strict=True))
                padded = np.pad(array[(slice(None), *box)], [(0, 0)] + [(rim, rim)] * 3, mode="reflect")
                with torch.inference_mode():
                    scores = network(torch.from_numpy(padded)[None])[0].numpy().astype(float)
                cut = tuple(slice(rim, rim + p) for p in windows.patch)
                one = np.zeros((len(scores), *count.shape))
                one[(slice(None), *box)] = softmax(scores[(slice(None), *cut)])
                total = total + one
                count[box] += 1
    return total / count


def test_the_papers_image_has_60_patches():
    windows = Windows.of_paper((128, 128, 128))
    assert windows.stride == (32, 16, 16)  # z, y, x
    assert windows.mirror_padding == 4
    boxes = windows.boxes((216, 157, 182))
    assert len(boxes) == 60
    starts = [sorted({box[axis].start for box in boxes}) for axis in range(3)]
    assert starts == [[0, 32, 64, 88], [0, 16, 29], [0, 16, 32, 48, 54]]


def test_small_patches_move_in_proportion_and_plans_may_transpose():
    assert Windows.of_paper((40, 32, 32)).stride == (10, 4, 4)
    assert Windows.of_paper((32, 40, 48), transpose_forward=(2, 0, 1)).stride == (4, 10, 6)


def test_networks_that_take_only_multiples_get_no_rim_where_it_does_not_fit():
    assert Windows.of_paper((128, 128, 128), size_divisors=(32, 32, 32)).mirror_padding == 0
    assert Windows.of_paper((128, 128, 128), size_divisors=(8, 8, 8)).mirror_padding == 4
    assert Windows.of_paper((4, 8, 8)).mirror_padding == 0


@pytest.mark.parametrize("stride", [(9, 1, 1), (0, 1, 1)])
def test_strides_that_leave_gaps_or_never_end_are_refused(stride):
    with pytest.raises(ValueError, match="gaps"):
        Windows((8, 8, 8), stride)


axes = st.tuples(st.integers(1, 9), st.integers(0, 20), st.integers(1, 9))


@settings(max_examples=60)
@given(st.tuples(axes, axes, axes))
def test_every_voxel_is_covered_as_often_as_the_coverage_says(drawn):
    patch, larger, stride = zip(*drawn, strict=True)
    shape = tuple(p + more for p, more in zip(patch, larger, strict=True))
    stride = tuple(min(s, p) for s, p in zip(stride, patch, strict=True))
    windows = Windows(patch, stride, mirror_padding=0)
    counted = np.zeros(shape)
    for box in windows.boxes(shape):
        assert counted[box].shape == patch  # whole patches only, inside the image
        counted[box] += 1
    assert counted.min() >= 1
    np.testing.assert_array_equal(windows.coverage(shape).numpy(), counted)


@pytest.mark.parametrize("rim", [0, 3])
def test_a_function_of_the_voxel_is_stitched_without_seams(rim):
    position = torch.stack(torch.meshgrid(*(torch.linspace(-2, 2, n) for n in (21, 17, 19)), indexing="ij"))
    image = position.prod(dim=0, keepdim=True) + position.sum(dim=0, keepdim=True)
    direct = scores_of(image[None])[0].softmax(dim=0)
    stitched = mean_probabilities(scores_of, image, 3, Windows(SMALL.patch, SMALL.stride, rim), batch_size=4)
    torch.testing.assert_close(stitched, direct, rtol=0, atol=1e-6)


def test_overlapping_patches_are_averaged_with_equal_weights_and_mirrored_rims():
    windows = Windows((8, 6, 7), (3, 2, 4), mirror_padding=3)
    image, network = random_image(2, 13, 11, 15), convolution(channels=2)
    with torch.inference_mode():
        stitched = mean_probabilities(network, image, 3, windows, batch_size=3)
    np.testing.assert_allclose(stitched.numpy(), mean_by_hand(network, image, windows), atol=1e-6)


def test_each_patch_weighs_the_same():
    """A network that knows only how many patches came before: nothing but the weights decides the mean."""
    seen = []

    def network(patches):
        for _ in patches:
            seen.append(len(seen))
        count = torch.tensor(seen[-len(patches) :], dtype=torch.float32).reshape(-1, 1, 1, 1, 1)
        share = (count + 1) / 1000
        return torch.cat((share, 1 - share), dim=1).log().expand(-1, -1, *patches.shape[2:])

    windows = Windows((4, 4, 4), (2, 3, 1), mirror_padding=0)
    stitched = mean_probabilities(network, torch.zeros(1, 7, 8, 6), 2, windows, batch_size=5).numpy()
    shares, count = np.zeros((7, 8, 6)), np.zeros((7, 8, 6))
    for number, box in enumerate((z, y, x) for z in (0, 2, 3) for y in (0, 3, 4) for x in (0, 1, 2)):
        inside = tuple(slice(start, start + 4) for start in box)
        shares[inside] += (number + 1) / 1000
        count[inside] += 1
    np.testing.assert_allclose(stitched[0], shares / count, atol=1e-6)


@pytest.mark.parametrize("rim", [0, 2])
def test_one_patch_over_the_whole_image_is_a_plain_forward_pass(rim):
    image, network = random_image(1, 8, 6, 7), convolution()
    with torch.inference_mode():
        padded = torch.from_numpy(np.pad(image.numpy(), [(0, 0)] + [(rim, rim)] * 3, mode="reflect"))
        inner = slice(rim, -rim or None)
        plain = network(padded[None])[0, :, inner, inner, inner].softmax(dim=0)
        stitched = mean_probabilities(network, image, 3, Windows((8, 6, 7), (1, 1, 1), rim))
    torch.testing.assert_close(stitched, plain, rtol=0, atol=1e-6)


def test_results_are_reproducible_and_independent_of_batches():
    image, network = random_image(1, 14, 12, 13), convolution()
    with torch.inference_mode():
        first, again = (mean_probabilities(network, image, 3, SMALL) for _ in range(2))
        batched = mean_probabilities(network, image, 3, SMALL, batch_size=7)
    assert torch.equal(first, again)
    torch.testing.assert_close(batched, first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rim", [0, 2])
def test_half_precision_networks_are_added_up_in_float32(rim):
    def network(patches):
        return torch.zeros(len(patches), 3, *patches.shape[2:], dtype=torch.bfloat16)

    # 1/3 in bfloat16 is off by 1e-3, and so would be sums of it.
    stitched = mean_probabilities(network, torch.zeros(1, 30, 20, 20), 3, Windows(SMALL.patch, SMALL.stride, rim))
    assert stitched.dtype == torch.float32
    np.testing.assert_allclose(stitched.numpy(), 1 / 3, atol=1e-6)


def test_log_sigmoids_become_normalised_sigmoids():
    logits = random_image(3, 8, 6, 7)
    stitched = mean_probabilities(lambda p: torch.nn.functional.logsigmoid(logits[None]), logits[:1], 3, SMALL)
    sigmoids = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    np.testing.assert_allclose(stitched.numpy(), sigmoids / sigmoids.sum(axis=0), atol=1e-6)


def test_an_image_smaller_than_a_patch_lies_in_the_middle_of_air():
    seen = []

    def network(patches):
        seen.append(patches)
        return scores_of(patches)

    image = random_image(1, 5, 9, 4)
    stitched = mean_probabilities(network, image, 3, SMALL)
    torch.testing.assert_close(stitched, scores_of(image[None])[0].softmax(dim=0), rtol=0, atol=1e-6)
    expected = np.full((1, 8, 6, 7), image.min().item(), dtype=np.float32)
    expected[:, 1:6, :, 1:5] = image[:, :, :6]
    np.testing.assert_array_equal(seen[0][0].numpy(), expected)
