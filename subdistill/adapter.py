"""Make the maps of a student and a teacher comparable: positions, channels, means."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import orthogonal


def align(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Bring two maps to the same positions: along each axis, average the finer one.

    Parameters
    ----------
    student, teacher : Tensor, shape (batch, channels, *space)
        Maps with any number of channels each. Tokens and vectors, which have one spatial axis, are
        laid out as a square or cube if the other map has two or three axes.

    Returns
    -------
    student, teacher : Tensor, shape (batch, channels, positions)
        The maps at the same positions, in single precision.

    Raises
    ------
    ValueError
        If the maps have different numbers of axes, and the tokens do not fill a square or cube.

    Examples
    --------
    >>> import torch
    >>> from subdistill.adapter import align
    >>> one, other = align(torch.zeros(2, 8, 4, 4), torch.zeros(2, 16, 8, 8))
    >>> one.shape, other.shape
    (torch.Size([2, 8, 16]), torch.Size([2, 16, 16]))
    """
    n_axes = max(student.ndim, teacher.ndim) - 2
    student, teacher = _as_grid(student, n_axes), _as_grid(teacher, n_axes)
    space = [min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    pool = getattr(functional, f"adaptive_avg_pool{n_axes}d")
    return tuple(
        (m if list(m.shape[2:]) == space else pool(m, space)).float().flatten(2)
        for m in (student, teacher)
    )


def _as_grid(value: Tensor, n_axes: int) -> Tensor:
    """Lay out the positions of a map along a given number of axes."""
    if value.ndim == n_axes + 2:
        return value
    n_positions = value.shape[2:].numel()
    side = round(n_positions ** (1 / n_axes))
    if value.ndim != 3 or side**n_axes != n_positions:
        raise ValueError(
            f"A map of shape {tuple(value.shape)} cannot be compared with one of {n_axes} spatial "
            "axes: pair layers with the same number of axes, or tokens that fill a square. Set "
            "model.num_prefix_tokens to leave leading tokens out."
        )
    return value.reshape(*value.shape[:2], *[side] * n_axes)


def mix(weight: Tensor, values: Tensor) -> Tensor:
    """Multiply the channels of maps by a matrix.

    Parameters
    ----------
    weight : Tensor, shape (n_out, n_in)
        The matrix.
    values : Tensor, shape (batch, n_in, positions)
        The maps.

    Returns
    -------
    mixed : Tensor, shape (batch, n_out, positions)
        The product ``weight @ values``, but without two copies of the values.
    """
    return torch.bmm(weight.expand(len(values), -1, -1), values)


class Rotation(nn.Module):
    """A learned linear map of channels whose rows (or columns, if fewer) stay orthonormal.

    Parameters
    ----------
    n_in, n_out : int
        Number of channels of the input and the output.
    """

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        # torch's default for n_in != n_out, Householder, gives zeros after the first step
        linear = nn.Linear(n_in, n_out, bias=False)
        self.linear = orthogonal(linear, orthogonal_map="cayley")

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, n_in, positions) to (batch, n_out, positions)."""
        return mix(self.linear.weight, values)


class Projector(nn.Module):
    """Learned affine maps of channels, with a ReLU between each two.

    Parameters
    ----------
    *widths : int
        Number of channels of the input, between the maps, and of the output.
    """

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, widths[0], positions) to (batch, widths[-1], positions)."""
        for number, layer in enumerate(self.layers):
            values = functional.relu(values) if number else values
            values = mix(layer.weight, values) + layer.bias[:, None]
        return values


class Centring(nn.Module):
    """Subtract the running mean of each channel.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    momentum : float
        Smallest weight of the newest batch. The first batches have equal weights.
    """

    def __init__(self, n_channels: int, momentum: float = 0.1):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(n_channels))
        self.register_buffer("n_batches", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """Subtract the mean from values of shape (batch, n_channels, positions)."""
        if self.training:
            with torch.no_grad():
                self.n_batches += 1
                weight = (1 / self.n_batches).clamp(min=self.momentum)
                self.mean.lerp_(values.mean(dim=(0, 2)), weight)
        return values - self.mean[:, None]
