"""The network does what its docstring says."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from mne_piunet.kernel.grid import make_blocks
from mne_piunet.kernel.inputs import FLOOR, MASK, N_INPUTS, N_MOMENTS, N_PATCHES
from mne_piunet.net.losses import losses
from mne_piunet.net.unet import Join, Split, UNet, on_grid


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("widths", "n_residual", "block_side"),
    [((8,), (2,), 1), ((8, 16), (1, 2), 1), ((8, 16), (2, 1), 2), ((16, 24, 32), (1, 1, 4), 2)],
)
def test_strengths_are_a_distribution_over_the_voxels(widths, n_residual, block_side):
    torch.manual_seed(0)
    network = UNet(widths, n_residual, block_side)
    torch.nn.init.normal_(network.head[-1].weight)
    shape = tuple(network.multiple * k for k in (4, 3, 5))
    inputs = torch.rand(2, N_INPUTS, *shape)
    inputs[:, MASK] = (inputs[:, MASK] > 0.5).float()
    out = on_grid(network, inputs)
    assert out.shape == (2, 4, *shape)
    torch.testing.assert_close(out[:, 3].sum((1, 2, 3)), torch.ones(2))
    assert not out[:, 3][inputs[:, MASK] == 0].any()
    assert (out[:, :3].norm(dim=1) <= out[:, 3] + 1e-6).all()
    losses(out, out.detach().flip(2), inputs[:, MASK : MASK + 1], generator())["sliced"].backward()
    for name, parameter in network.named_parameters():
        if name.startswith(("head", "weigh", "tilt")):
            assert parameter.grad.abs().sum() > 0, name


def test_a_sample_does_not_depend_on_the_others():
    """Only blocks that hold a location of some sample are computed."""
    torch.manual_seed(0)
    network = UNet((8, 16), (1, 2))
    torch.nn.init.normal_(network.head[-1].weight)
    inputs = torch.zeros(2, N_INPUTS, 8, 12, 8)
    inputs[0, :, 1:4, 2:5, 3:6] = torch.rand(N_INPUTS, 3, 3, 3)
    inputs[1, :, 3:8, 4:9, 1:4] = torch.rand(N_INPUTS, 5, 5, 3)
    inputs[:, MASK] = (inputs[:, MASK] > 0).float()
    together = on_grid(network, inputs)
    torch.testing.assert_close(together, torch.cat([on_grid(network, x[None]) for x in inputs]))


@pytest.mark.parametrize("block_side", [1, 2, 3])
def test_blocks_are_convolutions_with_a_stride(block_side):
    torch.manual_seed(0)
    grid = (2 * block_side, 3 * block_side, block_side)
    order = make_blocks(np.ones(grid, bool), block_side).voxels.ravel()
    x = torch.rand(2, 3, *grid)
    join, split = (
        Join(3, 5, block_side, stride=block_side),
        Split(5, 4, block_side, stride=block_side),
    )
    dense = functional.conv3d(x, join.weight, join.bias, stride=block_side)
    blocks = join(x.flatten(2)[:, :, order])
    torch.testing.assert_close(blocks.mT, dense.flatten(2))
    dense = functional.conv_transpose3d(dense, split.weight, split.bias, stride=block_side)
    torch.testing.assert_close(split(blocks), dense.flatten(2)[:, :, order])


def test_an_untrained_network_is_the_mean_of_the_physics():
    network = UNet((8, 16), (1, 2))
    inputs = torch.rand(1, N_INPUTS, 8, 4, 4)
    inputs[:, MASK] = 1
    moments = inputs[0, :N_MOMENTS].reshape(-1, 3, 8, 4, 4).norm(dim=1)
    patches = FLOOR ** (1 - inputs[0, N_MOMENTS : N_MOMENTS + N_PATCHES]) - FLOOR
    maps = torch.cat([moments, patches])
    maps /= maps.sum((1, 2, 3), keepdim=True)
    out = on_grid(network, inputs)[0]
    torch.testing.assert_close(out[3], maps.mean(dim=0), rtol=1e-3, atol=1e-7)
    direction = inputs[0, 3:6] / inputs[0, 3:6].norm(dim=0)
    torch.testing.assert_close(out[:3] / out[3], direction, rtol=0.05, atol=0.05)


def test_network_can_learn_one_batch():
    """Two bumps in the physics, the truth is the fainter one."""
    torch.manual_seed(0)
    inputs = torch.zeros(2, N_INPUTS, 8, 8, 8)
    inputs[:, MASK] = 1
    inputs[:, 3, 2, 2, 2], inputs[:, 3, 6, 6, 6] = 1.0, 0.5
    target = torch.zeros(2, 4, 8, 8, 8)
    target[:, 0, 6, 6, 6] = target[:, 3, 6, 6, 6] = 1
    network = UNet((16, 32), (1, 2))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    costs = []
    for step in range(60):
        terms = losses(
            on_grid(network, inputs), target, inputs[:, MASK : MASK + 1], generator(step)
        )
        loss = sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        costs.append(loss.item())
    assert costs[-1] < 0.3 * costs[0]
