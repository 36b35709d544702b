"""A fully convolutional 3-D U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

N_OUTPUTS = 3  # components of a moment


class Residual(nn.Module):
    """Two normalized, activated convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(_groups(n_in), n_in),
            nn.SiLU(),
            nn.Conv3d(n_in, n_out, 3, padding=1),
            nn.GroupNorm(_groups(n_out), n_out),
            nn.SiLU(),
            nn.Conv3d(n_out, n_out, 3, padding=1),
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv3d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both."""
        return self.shortcut(x) + self.body(x)


class Attention(nn.Module):
    """Multi-head self-attention over all voxels."""

    def __init__(self, n_channels: int, n_heads: int = 4):
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.GroupNorm(_groups(n_channels), n_channels)
        self.qkv = nn.Conv3d(n_channels, 3 * n_channels, 1)
        self.out = nn.Conv3d(n_channels, n_channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus what the voxels tell each other."""
        batch, channels = x.shape[:2]
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.n_heads, channels // self.n_heads, -1)
        query, key, value = qkv.transpose(3, 4).unbind(1)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(2, 3).reshape(x.shape))


class PatchUNet(nn.Module):
    """U-Net on patches of voxels.

    Parameters
    ----------
    n_inputs : int
        Channels of the input.
    widths : sequence of int
        Channels of each level; each halves the grid of the one before.
    n_blocks : int
        Residual blocks of each level, on the way down and on the way up.
    patch : int
        Side of a patch in voxels; 1 is a U-Net at full resolution, as in the paper.
    """

    def __init__(
        self, n_inputs: int, widths: Sequence[int] = (32, 64, 96), n_blocks: int = 2, patch: int = 2
    ):
        super().__init__()
        self.patch = patch
        self.multiple = patch * 2 ** (len(widths) - 1)
        self.stem = nn.Conv3d(n_inputs, widths[0], patch, stride=patch)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for k, width in enumerate(widths):
            self.down.append(nn.Sequential(*(Residual(width, width) for _ in range(n_blocks))))
            if k + 1 < len(widths):
                self.shrink.append(nn.Conv3d(width, widths[k + 1], 2, stride=2))
                self.grow.append(nn.ConvTranspose3d(widths[k + 1], width, 2, stride=2))
                rest = (Residual(width, width) for _ in range(n_blocks - 1))
                self.up.append(nn.Sequential(Residual(2 * width, width), *rest))
        self.middle = nn.Sequential(Attention(widths[-1]), Residual(widths[-1], widths[-1]))
        self.head = nn.Sequential(
            nn.GroupNorm(_groups(widths[0]), widths[0]),
            nn.SiLU(),
            nn.ConvTranspose3d(widths[0], N_OUTPUTS, patch, stride=patch),
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (batch, n_inputs, *grid) to moments (batch, 3, *grid).

        The sides of the grid must be multiples of the attribute ``multiple``.
        """
        x = self.stem(x)
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=False):
            x = blocks(x)
            skips.append(x)
            x = shrink(x)
        x = self.middle(self.down[-1](x))
        for blocks, grow, skip in zip(self.up[::-1], self.grow[::-1], skips[::-1], strict=True):
            x = blocks(torch.cat([grow(x), skip], dim=1))
        return self.head(x)


def _groups(n_channels: int) -> int:
    """Groups of the normalization: of 8 channels or more."""
    return max(1, min(8, n_channels // 8))
