import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunet_chordoma.training.networks import ResidualUNet3D, UNet3D

SMALL = (8, 16, 32)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("network", "count"), [(UNet3D, 16_319_146), (ResidualUNet3D, 113_735_688)])
def test_parameter_counts_of_the_papers_networks(network, count):
    with torch.device("meta"):
        assert parameters(network(1, 8)) == count


@pytest.mark.parametrize("network", [UNet3D, ResidualUNet3D])
@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 10, 11), (4, 16, 5)])
def test_the_output_has_the_size_of_the_input(network, shape):
    out = network(1, 8, SMALL)(torch.randn(2, 1, *shape))
    assert out.shape == (2, 8, *shape)


@pytest.mark.parametrize("network", [UNet3D, ResidualUNet3D])
def test_log_sigmoid_output_is_the_log_of_the_sigmoid_of_the_logits(network):
    torch.manual_seed(0)
    plain = network(1, 3, SMALL)
    scored = network(1, 3, SMALL, output="log_sigmoid")
    scored.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(scored(x).exp(), torch.sigmoid(plain(x)))


def test_softmax_of_log_sigmoids_is_the_normalised_sigmoid():
    scores = torch.randn(1, 8, 2, 2, 2)
    sigmoids = torch.sigmoid(scores)
    expected = sigmoids / sigmoids.sum(1, keepdim=True)
    torch.testing.assert_close(functional.softmax(functional.logsigmoid(scores), 1), expected)


def norm_conv(x, weights, activate=True):
    """Group normalisation, convolution and ReLU, written out from a flat list of tensors."""
    scale, shift, kernel = (weights.pop(0) for _ in range(3))
    groups = 8 if x.shape[1] >= 8 else 1
    x = functional.conv3d(functional.group_norm(x, groups, scale, shift), kernel, padding=1)
    return functional.relu(x) if activate else x


def take(module):
    return [p.detach() for p in module.parameters()]


def test_the_unet_is_what_the_notes_describe():
    torch.manual_seed(1)
    network = UNet3D(1, 4, (8, 16))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    x = torch.randn(1, 1, 6, 7, 8)
    top, bottom, up = (take(m) for m in (network.encoder[0], network.encoder[1], network.decoder[0]))
    assert [w.shape[0] for w in top if w.dim() == 5] == [4, 8]
    skip = norm_conv(norm_conv(x, top), top)
    below = norm_conv(norm_conv(functional.max_pool3d(skip, 2), bottom), bottom)
    joined = torch.cat([skip, functional.interpolate(below, size=(6, 7, 8))], 1)
    features = norm_conv(norm_conv(joined, up), up)
    expected = functional.conv3d(features, network.head.weight, network.head.bias)
    torch.testing.assert_close(network(x), expected)


def residual_block(x, module):
    weights = take(module)
    if isinstance(module.project, nn.Conv3d):
        kernel, bias = module.project.weight, module.project.bias
        x = functional.conv3d(x, kernel, bias)
        weights = weights[2:]
    return functional.relu(norm_conv(norm_conv(x, weights), weights, activate=False) + x)


def test_the_residual_unet_is_what_the_notes_describe():
    torch.manual_seed(2)
    network = ResidualUNet3D(1, 4, (8, 16))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    x = torch.randn(1, 1, 6, 7, 8)
    skip = residual_block(x, network.encoder[0])
    below = residual_block(functional.max_pool3d(skip, 2), network.encoder[1])
    up = functional.conv_transpose3d(below, network.upsampling[0].weight, stride=2, padding=1)
    joined = skip + functional.interpolate(up, size=(6, 7, 8))
    features = residual_block(joined, network.decoder[0])
    expected = functional.conv3d(features, network.head.weight, network.head.bias)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("features", [(8,), (), (8, 12)])
def test_impossible_widths_are_refused(features):
    with pytest.raises(ValueError, match="feature maps"):
        UNet3D(1, 8, features)
