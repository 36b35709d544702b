"""A fully convolutional 3-D U-Net that corrects what physics alone finds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mne_piunet.kernel.grid import make_blocks
from mne_piunet.kernel.inputs import FLOOR, MASK, N_INPUTS, N_MOMENTS, N_PATCHES

_N_GLOBAL = 64  # number of global features, which describe a sample as a whole
_N_MAPS = N_MOMENTS // 3 + N_PATCHES  # number of maps of strength in the inputs
_LEAST = 1e-7  # strength of a voxel in which no map has any


class Residual(nn.Module):
    """Two convolutions beside a shortcut, modulated by the global features."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(_groups(n_in), n_in), nn.SiLU(), nn.Conv3d(n_in, n_out, 3, padding=1)
        )
        self.norm = nn.GroupNorm(_groups(n_out), n_out)
        self.modulation = nn.Linear(_N_GLOBAL, 2 * n_out)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv3d(n_out, n_out, 3, padding=1))
        _zero(self.modulation, self.second[-1])
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv3d(n_in, n_out, 1)

    def forward(self, x: Tensor, about: Tensor) -> Tensor:
        """Add the convolutions' output to the shortcut.

        Parameters
        ----------
        x : Tensor, shape (batch, n_in, *grid)
            Features.
        about : Tensor, shape (batch, n_global)
            Global features.

        Returns
        -------
        y : Tensor, shape (batch, n_out, *grid)
            Features.
        """
        scale, shift = self.modulation(about)[:, :, None, None, None].chunk(2, dim=1)
        y = self.norm(self.first(x)) * (1 + scale) + shift
        return self.shortcut(x) + self.second(y)


class Join(nn.Conv3d):
    """Convolution without overlap, from the voxels of blocks to features of each block."""

    def forward(self, voxels: Tensor) -> Tensor:
        """Map shape (batch, n_in, block_side**3 * n_blocks) to (batch, n_blocks, n_out)."""
        blocks = voxels.unflatten(2, (math.prod(self.kernel_size), -1)).flatten(1, 2)
        return blocks.mT @ self.weight.flatten(1).T + self.bias


class Split(nn.ConvTranspose3d):
    """Transposed convolution without overlap, from features of blocks to their voxels."""

    def forward(self, blocks: Tensor) -> Tensor:
        """Map shape (batch, n_blocks, n_in) to (batch, n_out, block_side**3 * n_blocks)."""
        voxels = (self.weight.flatten(1).T @ blocks.mT).unflatten(1, (self.out_channels, -1))
        return voxels.flatten(2) + self.bias[:, None]


class Attention(nn.Module):
    """Multi-head self-attention over all places of the grid."""

    def __init__(self, n_channels: int, n_heads: int = 4):
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.GroupNorm(_groups(n_channels), n_channels)
        self.qkv = nn.Linear(n_channels, 3 * n_channels)
        self.out = nn.Linear(n_channels, n_channels)
        _zero(self.out)

    def forward(self, x: Tensor, about: Tensor) -> Tensor:
        """Add attention between all places to the features."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        qkv = self.qkv(tokens).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv.unbind(0))
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        return x + mixed.transpose(1, 2).reshape(x.shape)


class Chain(nn.ModuleList):
    """Modules one after the other, each with the global features."""

    def forward(self, x: Tensor, about: Tensor) -> Tensor:
        """Pass the features through all modules."""
        for module in self:
            x = module(x, about)
        return x


class UNet(nn.Module):
    """U-Net on blocks of voxels.

    Parameters
    ----------
    widths : sequence of int
        Number of channels at each level. Each level halves the grid of the one before.
    n_residual : sequence of int
        Number of residual modules at each level, on the way down and again on the way up. The
        lowest level has attention after every second one and after the last.
    block_side : int
        Number of voxels along each side of a block. 1 is a U-Net at full resolution, as in the
        paper.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 64),
        n_residual: Sequence[int] = (1, 4),
        block_side: int = 2,
    ):
        super().__init__()
        self.block_side = block_side
        self.multiple = block_side * 2 ** (len(widths) - 1)
        self.about = nn.Sequential(
            nn.Linear(N_INPUTS, _N_GLOBAL), nn.SiLU(), nn.Linear(_N_GLOBAL, _N_GLOBAL), nn.SiLU()
        )
        self.stem = Join(N_INPUTS, widths[0], block_side, stride=block_side)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for width, lower, n in zip(widths, widths[1:], n_residual, strict=False):
            self.down.append(Chain(Residual(width, width) for _ in range(n)))
            self.shrink.append(nn.Conv3d(width, lower, 2, stride=2))
            self.grow.append(nn.ConvTranspose3d(lower, width, 2, stride=2))
            rest = (Residual(width, width) for _ in range(n - 1))
            self.up.append(Chain([Residual(2 * width, width), *rest]))
        self.middle = Chain()
        for k in range(n_residual[-1]):
            self.middle.append(Residual(widths[-1], widths[-1]))
            if k % 2 or k == n_residual[-1] - 1:
                self.middle.append(Attention(widths[-1]))
        self.head = nn.Sequential(
            nn.GroupNorm(_groups(widths[0]), widths[0]),
            nn.SiLU(),
            Split(widths[0], 4, block_side, stride=block_side),
        )
        self.weigh = nn.Linear(_N_GLOBAL, _N_MAPS)
        self.tilt = nn.Linear(_N_GLOBAL, N_INPUTS)
        _zero(self.head[-1], self.weigh, self.tilt)

    def forward(self, voxels: Tensor, places: Tensor) -> Tensor:
        """Map inputs to moments and strengths.

        Parameters
        ----------
        voxels : Tensor of float32, shape (batch, N_INPUTS, block_side**3 * n_blocks)
            Inputs for the voxels of all blocks, see
            :meth:`mne_piunet.kernel.inputs.VoxelModel.inputs`.
        places : Tensor of int, shape (n_x, n_y, n_z)
            Index of the block at each place, ``n_blocks`` where there is none. Each side is a
            multiple of ``self.multiple // self.block_side``.

        Returns
        -------
        found : Tensor of float32, shape (batch, 4, block_side**3 * n_blocks)
            Moment (three channels) and strength of each voxel. Strengths sum to 1 over the
            voxels that hold locations. No moment is longer than the voxel's strength.
        """
        filled = places.flatten().argsort()[: voxels.shape[2] // self.block_side**3]
        inside = voxels[:, MASK : MASK + 1]
        about = self.about((voxels @ inside.mT).squeeze(2) / inside.sum(2))
        y = self.stem(voxels)
        nothing = self.stem.bias.to(y).expand(len(y), 1, -1)
        y = torch.cat([y, nothing], dim=1).index_select(1, places.flatten())
        y = y.mT.unflatten(2, places.shape)
        skips = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            y = level(y, about)
            skips.append(y)
            y = shrink(y)
        y = self.middle(y, about)
        for level, grow, skip in zip(self.up[::-1], self.grow[::-1], skips[::-1], strict=True):
            y = level(torch.cat([grow(y), skip], dim=1), about)
        y = self.head[:2](y).flatten(2).mT.index_select(1, filled)
        y = self.head[2](y).float()
        start = _mixture(voxels, inside, self.weigh(about).float().softmax(dim=1)[:, None])
        tilt = self.tilt(about).float()[:, None] @ voxels
        logits = torch.log(start + _LEAST) + tilt + y[:, 3:]
        strength = torch.where(inside > 0, logits, -1e4).softmax(dim=2)
        direction = voxels[:, 3:6] + y[:, :3]
        length = torch.sqrt((direction**2).sum(dim=1, keepdim=True) + 1e-4)
        return torch.cat([strength * direction / length, strength], dim=1)


def on_grid(network: UNet, x: Tensor) -> Tensor:
    """Apply a network to a whole grid.

    Parameters
    ----------
    network : UNet
        The network, or its wrapper in a training.
    x : Tensor, shape (batch, N_INPUTS, *grid)
        Inputs. Samples may differ in the voxels that hold locations.

    Returns
    -------
    y : Tensor of float32, shape (batch, 4, *grid)
        Moments and strengths; zero where there are no locations.
    """
    blocks = make_blocks(x[:, MASK].any(dim=0).cpu().numpy(), network.block_side)
    within = torch.from_numpy(blocks.voxels.ravel()).to(x.device)
    found = network(x.flatten(2)[:, :, within], torch.from_numpy(blocks.places).to(x.device))
    empty = found.new_zeros(len(x), 4, math.prod(x.shape[2:]))
    return empty.index_copy(2, within, found).unflatten(2, x.shape[2:])


@torch.inference_mode()
def run_network(network: UNet, inputs: np.ndarray) -> np.ndarray:
    """Apply a network to arrays.

    Parameters
    ----------
    network : UNet
        The network.
    inputs : ndarray of float32, shape (batch, N_INPUTS, *grid)
        Inputs.

    Returns
    -------
    found : ndarray of float32, shape (batch, 4, *grid)
        Moments and strengths.
    """
    return on_grid(network, torch.from_numpy(inputs)).numpy()


def _mixture(voxels: Tensor, inside: Tensor, weights: Tensor) -> Tensor:
    """Mix the maps of strength of pseudo-inverses and patches, each scaled to a sum of 1.

    Parameters
    ----------
    voxels : Tensor, shape (batch, N_INPUTS, n_voxels)
        Inputs.
    inside : Tensor, shape (batch, 1, n_voxels)
        1 in voxels that hold locations.
    weights : Tensor, shape (batch, 1, n_maps)
        Weights of the maps.

    Returns
    -------
    strength : Tensor, shape (batch, 1, n_voxels)
        The weighted sum, which has no meaning where there are no locations.
    """
    moments, patches = voxels[:, :N_MOMENTS], voxels[:, N_MOMENTS : N_MOMENTS + N_PATCHES]
    moments = torch.sqrt((moments.unflatten(1, (-1, 3)) ** 2).sum(dim=2) + 1e-12)
    patches = (-math.log(FLOOR) * patches).exp_().sub_(1)  # up to the factor FLOOR; expm1 is slow
    start = 0
    for maps, weight in zip(
        (moments, patches), weights.split([_N_MAPS - N_PATCHES, N_PATCHES], 2), strict=True
    ):
        totals = (maps @ inside.mT).mT.clamp(min=1e-12)
        start = start + (weight / totals) @ maps
    return start


def _groups(n_channels: int) -> int:
    """Choose the number of groups for normalization, each of 8 channels or more."""
    return max(1, min(8, n_channels // 8))


def _zero(*layers: nn.Module) -> None:
    """Set layers to zero, so that they have no effect at first."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
