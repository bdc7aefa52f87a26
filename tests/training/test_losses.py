import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS, class_weights, parse_class_weights
from nnunet_chordoma.training.losses import CrossEntropyLoss, SoftDiceLoss


def example(labels=4, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(2, labels, 3, 4, 2, generator=rng, dtype=dtype)
    target = torch.randint(0, labels, (2, 1, 3, 4, 2), generator=rng, dtype=torch.int16)
    return scores, target


def one_hot(target, labels):
    return np.stack([target.numpy()[:, 0] == label for label in range(labels)], axis=1)


def test_dice_against_the_formula():
    scores, target = example()
    p, y = 1 / (1 + np.exp(-scores.numpy())), one_hot(target, 4)
    dice = [2 * (p[:, c] * y[:, c]).sum() / ((p[:, c] ** 2).sum() + y[:, c].sum()) for c in range(4)]
    loss = SoftDiceLoss()(functional.logsigmoid(scores), target)
    assert loss.item() == pytest.approx(1 - np.mean(dice), abs=1e-12)


@pytest.mark.parametrize("weights", [None, (0.1, 0.2, 0.3, 0.4), (1, 0, 0, 2)])
def test_cross_entropy_against_the_formula(weights):
    scores, target = example()
    s = scores.numpy()
    softmax = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    w = np.ones(4) if weights is None else np.array(weights, float)
    true = one_hot(target, 4)
    per_voxel = -(w[None, :, None, None, None] * true * np.log(softmax)).sum()
    expected = per_voxel / (w[None, :, None, None, None] * true).sum()
    assert CrossEntropyLoss(weights)(scores, target).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", [SoftDiceLoss(), CrossEntropyLoss(), CrossEntropyLoss((0.1, 0.2, 0.3, 0.4))])
def test_gradients(loss):
    scores, target = example()
    to_input = functional.logsigmoid if isinstance(loss, SoftDiceLoss) else (lambda x: x)
    assert torch.autograd.gradcheck(lambda x: loss(to_input(x), target), scores.requires_grad_())


@pytest.mark.parametrize("loss", [SoftDiceLoss(), CrossEntropyLoss(), CrossEntropyLoss((0, 1, 1, 1))])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_where_labels_are_absent_and_scores_extreme(loss, dtype):
    target = torch.zeros(1, 1, 8, 8, 8, dtype=torch.int16)
    scores = torch.full((1, 4, 8, 8, 8), -30.0, dtype=dtype).requires_grad_()
    value = loss(functional.logsigmoid(scores), target)
    value.backward()
    assert math.isfinite(value.item())
    assert torch.isfinite(scores.grad).all()


def test_half_precision_does_not_overflow_on_large_patches():
    target = torch.ones(1, 1, 64, 64, 64, dtype=torch.int16)
    scores = torch.zeros(1, 2, 64, 64, 64, dtype=torch.float16)
    scores[:, 1] = 20
    # 262 144 voxels exceed what half precision can count; label 1 is perfect, label 0 absent but predicted at 1/2.
    assert SoftDiceLoss()(functional.logsigmoid(scores), target).item() == pytest.approx(0.5, abs=1e-3)


def test_a_perfect_prediction_has_no_loss():
    _, target = example()
    scores = torch.full((2, 4, 3, 4, 2), -50.0).scatter_(1, target.long(), 50.0)
    assert SoftDiceLoss()(functional.logsigmoid(scores), target).item() == pytest.approx(0, abs=1e-6)
    assert CrossEntropyLoss()(scores, target).item() == pytest.approx(0, abs=1e-6)


def test_the_papers_weights_in_our_order():
    assert class_weights(CHORDOMA.names) == (0.05, 0.05, 0.25, 0.1, 0.1, 0.1, 0.15, 0.2)


def test_all_four_candidates_sum_to_one():
    assert len(CLASS_WEIGHTS) == 4
    for weights in CLASS_WEIGHTS.values():
        assert sum(weights.values()) == pytest.approx(1)


def test_the_four_candidates_as_printed():
    order = ("gtv", *CHORDOMA.names[3:], "background", "body")
    printed = {
        "best": (0.25, 0.1, 0.1, 0.1, 0.15, 0.2, 0.05, 0.05),
        "small_muscles": (0.25, 0.05, 0.05, 0.25, 0.05, 0.25, 0.05, 0.05),
        "balanced": (0.2, 0.1, 0.1, 0.2, 0.1, 0.2, 0.05, 0.05),
        "gtv_and_piriformis": (0.3, 0.05, 0.05, 0.1, 0.1, 0.3, 0.05, 0.05),
    }
    assert {name: tuple(weights[label] for label in order) for name, weights in CLASS_WEIGHTS.items()} == printed


def test_dice_equals_the_reference_implementations():
    losses = pytest.importorskip("pytorch3dunet.unet3d.losses", reason="pytorch3dunet is not installed")
    scores, target = example(5)
    expected = losses.DiceLoss()(scores, torch.from_numpy(one_hot(target, 5)).double())
    assert SoftDiceLoss()(functional.logsigmoid(scores), target).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("loss", [SoftDiceLoss(), CrossEntropyLoss(), CrossEntropyLoss((0.1, 0.2, 0.3, 0.4))])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_lose_no_more_than_their_own_rounding(loss, dtype):
    scores, target = example()
    to_input = functional.logsigmoid if isinstance(loss, SoftDiceLoss) else (lambda x: x)
    rounded = to_input(scores).to(dtype)
    assert loss(rounded, target).item() == pytest.approx(loss(rounded.double(), target).item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_in_half_precision_have_the_right_direction(dtype):
    scores, target = example()
    for loss in (CrossEntropyLoss(), CrossEntropyLoss((0.1, 0.2, 0.3, 0.4))):
        exact, half = scores.clone().requires_grad_(), scores.to(dtype).requires_grad_()
        loss(exact, target).backward()
        loss(half, target).backward()
        assert functional.cosine_similarity(exact.grad.flatten(), half.grad.double().flatten(), dim=0) > 0.999


@pytest.mark.parametrize(
    ("text", "weights"),
    [("balanced", CLASS_WEIGHTS["balanced"]), ("gtv=2, body=0,x=1e-1", {"gtv": 2.0, "body": 0.0, "x": 0.1})],
)
def test_weights_can_be_named_or_given(text, weights):
    assert parse_class_weights(text) == weights


@pytest.mark.parametrize("text", ["", "worst", "gtv", "gtv=", "gtv=much", "gtv=-1", "gtv=nan", "gtv=inf"])
def test_what_is_no_weight_is_refused(text):
    with pytest.raises(ChordomaError, match="balanced") as caught:
        parse_class_weights(text)
    assert "\n" not in str(caught.value)


def test_weights_for_other_labels_are_refused():
    with pytest.raises(ChordomaError, match="class weights"):
        class_weights(("background", "liver"))
