"""What training minimizes: the earth mover's distance, and fast approximations to it.

The strengths of each sample sum to 1. `mask` is 1 in voxels that hold locations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

N_PROJECTIONS = 6
"""Number of random lines that the sliced distance projects strengths on."""
_LEVELS = 4  # number of sizes of the pyramid's cubes
_TINY = 1e-20
_ROUNDING = 1e-9  # share of the whole mass that does not count as surplus


def losses(
    output: Tensor, target: Tensor, mask: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Compute the terms of the loss, each a mean over the batch.

    Parameters
    ----------
    output, target : Tensor, shape (batch, 4, *grid)
        Moments and strengths. Moments of the target may be shorter than its strengths.
    mask : Tensor, shape (batch, 1, *grid)
        Voxels that hold locations.
    generator : torch.Generator
        Draws the lines of the sliced distance and the offset of the pyramid.

    Returns
    -------
    terms : dict of Tensor
        ``sliced`` and ``pyramid`` approximate the earth mover's distance. Like the normalized
        distance, they are 1 for equal strength everywhere. ``direction`` is 1 minus the cosine
        between moments near the sources. ``moment`` is the sum of the errors of all moments.
    """
    found, true = output[:, 3:], target[:, 3:]
    uniform = mask / mask.sum((1, 2, 3, 4), keepdim=True)
    lines = draw_projections(found.shape[2:], generator).to(found.device)
    offset = torch.randint(2**_LEVELS, (3,), generator=generator).tolist()
    error, most = found - true, uniform - true
    near = 27 * functional.avg_pool3d(target[:, :3], 3, stride=1, padding=1) * mask
    size = _length(near)
    cosine = (output[:, :3] * near).sum(1, keepdim=True) / (found + _TINY) / (size + _TINY)
    astray = ((1 - cosine) * size).sum((1, 2, 3, 4)) / (size.sum((1, 2, 3, 4)) + _TINY)
    return {
        "sliced": (sliced_distance(error, lines) / sliced_distance(most, lines)).mean(),
        "pyramid": (pyramid(error, offset) / pyramid(most, offset)).mean(),
        "direction": astray.mean(),
        "moment": _length(output[:, :3] - target[:, :3]).sum((1, 2, 3, 4)).mean(),
    }


def normalized_transport(
    found: Tensor, true: Tensor, mask: Tensor, generator: torch.Generator
) -> Tensor:
    """Earth mover's distance of strengths, divided by that of equal strength everywhere.

    Parameters
    ----------
    found, true : Tensor, shape (batch, 1, *grid)
        Strengths.
    mask : Tensor, shape (batch, 1, *grid)
        Voxels that hold locations.
    generator : torch.Generator
        Draws the offset of the blocks.

    Returns
    -------
    distance : Tensor
        Mean over the batch. Strength moves between blocks of 2 x 2 x 2 voxels, and of
        4 x 4 x 4 in the divisor.
    """
    uniform = mask / mask.sum((1, 2, 3, 4), keepdim=True)
    offset = torch.randint(2, (3,), generator=generator).tolist()
    most = transport(uniform - true, mask, offset, block_side=4)
    return (transport(found - true, mask, offset) / most).mean()


def draw_projections(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Project the voxels of a grid on random lines.

    Parameters
    ----------
    shape : tuple of int
        Shape of the grid.
    generator : torch.Generator
        Draws the directions of the lines.

    Returns
    -------
    places : Tensor of int, shape (N_PROJECTIONS, n_voxels)
        Place of each voxel on each line, in voxels from 0 on.
    """
    lines = torch.randn(N_PROJECTIONS, 3, generator=generator)
    lines /= lines.norm(dim=1, keepdim=True)
    voxels = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in shape))
    places = lines @ voxels.T
    return (places - places.min(dim=1, keepdim=True).values).round().long()


def sliced_distance(surplus: Tensor, lines: Tensor) -> Tensor:
    """Mean earth mover's distance of projections on lines (sliced Wasserstein distance), in voxels.

    Parameters
    ----------
    surplus : Tensor, shape (batch, 1, *grid)
        Difference of two fields of equal mass.
    lines : Tensor of int, shape (n_lines, n_voxels)
        Place of each voxel on each line.

    Returns
    -------
    distance : Tensor, shape (batch,)
        Mean over the lines. It is half the true distance if all mass moves the same way.
    """
    flat = surplus.flatten(1)
    total = 0
    for places in lines:
        bins = flat.new_zeros(len(flat), int(places.max()) + 1)
        total = total + bins.index_add(1, places, flat).cumsum(dim=1).abs().sum(dim=1)
    return total / len(lines)


def pyramid(surplus: Tensor, offset: list[int]) -> Tensor:
    """Earth mover's distance on a tree of cubes, each split into eight, in voxels.

    Parameters
    ----------
    surplus : Tensor, shape (batch, 1, *grid)
        Difference of two fields of equal mass.
    offset : list of int
        Number of voxels to shift the cubes by along each axis.

    Returns
    -------
    distance : Tensor, shape (batch,)
        Mass that is not balanced within a cube moves as far as the cube is wide.
    """
    surplus = _pad(surplus, offset, 2**_LEVELS)
    total = 0.5 * surplus.abs().sum((1, 2, 3, 4))
    for level in range(_LEVELS):
        surplus = 8 * functional.avg_pool3d(surplus, 2)
        total = total + 2**level * surplus.abs().sum((1, 2, 3, 4))
    return total


def transport(surplus: Tensor, mask: Tensor, offset: list[int], block_side: int = 2) -> Tensor:
    """Exact earth mover's distance between blocks of voxels, in voxels.

    Parameters
    ----------
    surplus : Tensor, shape (batch, 1, *grid)
        Difference of two fields of equal mass.
    mask : Tensor, shape (batch, 1, *grid)
        Voxels that hold locations.
    offset : list of int
        Number of voxels, less than `block_side`, to shift the blocks by along each axis.
    block_side : int
        Number of voxels along each side of a block. Mass moves freely within a block.

    Returns
    -------
    distance : Tensor, shape (batch,)
        The distance. Its gradient is the optimal potential.

    Notes
    -----
    A network simplex solves it on the CPU, in a few ms for 500 blocks.
    """
    surplus, mask = (
        functional.avg_pool3d(_pad(x, offset, block_side), block_side) for x in (surplus, mask)
    )
    total = []
    for blocks, inside in zip(block_side**3 * surplus[:, 0], mask[:, 0] > 0, strict=True):
        mass = blocks[inside]
        places = block_side * inside.nonzero().cpu().numpy()
        potential = _potential(mass.detach().cpu().numpy().astype(float), places)
        total.append(mass @ torch.from_numpy(potential).to(mass))
    return torch.stack(total)


def _potential(surplus: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Solve the dual problem of Kantorovich and Rubinstein.

    Parameters
    ----------
    surplus : ndarray, shape (n_places,)
        Mass to move, of sum 0.
    places : ndarray, shape (n_places, n_axes)
        Where the mass is.

    Returns
    -------
    potential : ndarray, shape (n_places,)
        Potential whose product with the surplus is the earth mover's distance. No two places
        differ in it by more than the distance between them.
    """
    import ot

    more, less = surplus > _ROUNDING, surplus < -_ROUNDING
    if not (more.any() and less.any()):
        return np.zeros(len(surplus))
    apart = ot.dist(places.astype(float), places[less].astype(float), "euclidean")
    source, sink = surplus[more], -surplus[less]
    _, log = ot.emd(source / source.sum(), sink / sink.sum(), apart[more], 10_000_000, log=True)
    return np.min(apart - log["v"], axis=1)


def _pad(field: Tensor, offset: list[int], width: int) -> Tensor:
    """Shift cubes of a width over a field: pad it by the offset before, and by the rest after."""
    return functional.pad(field, [p for k in reversed(offset) for p in (k, width - k)])


def _length(moments: Tensor) -> Tensor:
    """Compute the length of moments, with a gradient even at zero."""
    return torch.sqrt((moments**2).sum(dim=1, keepdim=True) + 1e-16)
