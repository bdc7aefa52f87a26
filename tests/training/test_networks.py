import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

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


def reference(network, out_channels, features):
    """The public implementation [28] of the same network."""
    models = pytest.importorskip("pytorch3dunet.unet3d.model", reason="pytorch3dunet is not installed")
    return getattr(models, network.__name__)(1, out_channels, f_maps=list(features), layer_order="gcr", num_groups=8)


def copy_weights(network, theirs):
    """Same tensors in the same places; the reference counts decoder levels from the deepest one."""
    blocks = [(ours, other.basic_module) for ours, other in zip(network.encoder, theirs.encoders, strict=True)]
    for level, other in enumerate(reversed(theirs.decoders)):
        blocks.append((network.decoder[level], other.basic_module))
        if hasattr(network, "upsampling"):
            blocks.append((network.upsampling[level], other.upsampling))
    blocks.append((network.head, theirs.final_conv))
    with torch.no_grad():
        for ours, other in blocks:
            for mine, yours in zip(ours.parameters(), other.parameters(), strict=True):
                mine.copy_(yours.normal_(1, 0.3) if yours.dim() == 1 else yours)
    assert sum(p.numel() for pair in blocks for p in pair[0].parameters()) == parameters(network)


@pytest.mark.parametrize("network", [UNet3D, ResidualUNet3D])
@pytest.mark.parametrize(
    ("features", "shape"),
    [((8, 16, 32), (16, 16, 16)), ((8, 16, 32), (13, 18, 11)), ((16, 32, 64, 128), (24, 19, 30)), ((8, 32), (5, 6, 7))],
)
def test_the_same_weights_compute_what_the_reference_implementation_computes(network, features, shape):
    torch.manual_seed(3)
    theirs = reference(network, 8, features).train()
    ours = network(1, 8, features)
    copy_weights(ours, theirs)
    x = torch.randn(2, 1, *shape)
    with torch.no_grad():
        expected, got = theirs(x, return_logits=True)[1], ours(x)
    assert expected.std() > 0.01
    assert (got - expected).abs().max() < 1e-4


def run(network, x):
    """Output, gradients, and the bytes that the forward pass keeps for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = network(x)
    out.square().mean().backward()
    return out.detach(), [p.grad.clone() for p in network.parameters()], sum(kept.values())


@pytest.mark.parametrize("network", [UNet3D, ResidualUNet3D])
def test_activation_checkpointing_changes_memory_and_nothing_else(network):
    torch.manual_seed(4)
    plain = network(1, 3, SMALL)
    saving = network(1, 3, SMALL, activation_checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 17, 16, 12)
    (out, gradients, kept), (out_2, gradients_2, kept_2) = run(plain, x), run(saving, x)
    torch.testing.assert_close(out, out_2, rtol=0, atol=0)
    torch.testing.assert_close(gradients, gradients_2, rtol=0, atol=0)
    assert kept_2 < kept / 2


@pytest.mark.parametrize("network", [UNet3D, ResidualUNet3D])
def test_the_memory_format_does_not_matter(network):
    torch.manual_seed(5)
    made = network(1, 3, SMALL)
    x = torch.randn(1, 1, 8, 9, 10)
    expected = made(x)
    torch.testing.assert_close(made.to(memory_format=torch.channels_last_3d)(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "teraflop"), [(UNet3D, 3.79), (ResidualUNet3D, 3.76)])
def test_a_forward_pass_of_a_128_cube_costs(network, teraflop):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network(1, 8)(torch.empty(1, 1, 128, 128, 128))
    assert counter.get_total_flops() / 1e12 == pytest.approx(teraflop, abs=0.005)


@pytest.mark.parametrize("features", [(8,), (), (8, 12)])
def test_impossible_widths_are_refused(features):
    with pytest.raises(ValueError, match="feature maps"):
        UNet3D(1, 8, features)
