"""What a layer carries, and what the output makes of it: streaming second moments.

Activations a and their context c, the gradient of a scalar of the output with respect to a, are
seen once and never stored: memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from subdistill.capture import Capture
from subdistill.data import Classes, batches, check_labels, choose, device_of
from subdistill.models import frozen

Scalar = Callable[[Tensor, Tensor | None], Tensor]
"""Takes output and targets of a batch; returns one number for each sample, shape (batch,)."""

Rules = Callable[[nn.Module], AbstractContextManager]
"""Takes a model; returns a context in which its gradients are relevances."""

POSITIONS = 20
"""Random positions of each sample that count (Chormai et al., 2026)."""


# %% Scalars of the output


def margin(output: Tensor, targets: Tensor | None) -> Tensor:
    """Winning logit minus the runner-up (Chormai et al., 2026).

    Parameters
    ----------
    output : Tensor, shape (batch, n_classes)
        Logits.
    targets : Tensor | None
        Not used.

    Returns
    -------
    scalar : Tensor, shape (batch,)
        One number for each sample, zero or more.
    """
    if output.ndim != 2 or output.shape[1] < 2:
        raise ValueError(
            "The margin needs logits of two classes or more, but the output has the shape "
            f"{tuple(output.shape)}: pass context=lambda output, targets: ..., which returns one "
            "number for each sample."
        )
    best = output.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def target_logit(output: Tensor, targets: Tensor | None) -> Tensor:
    """Logit of the true class.

    Parameters
    ----------
    output : Tensor, shape (batch, n_classes)
        Logits.
    targets : Tensor of int, shape (batch,)
        True classes.

    Returns
    -------
    scalar : Tensor, shape (batch,)
        One number for each sample.
    """
    check_labels(targets, output)
    return output.gather(1, targets[:, None]).squeeze(1)


CONTEXTS: dict[str, Scalar] = dict(margin=margin, target=target_logit)
"""Scalars of the output by name."""


# %% Moments


class Moments:
    """Second moments of activations and context, accumulated in double precision.

    Parameters
    ----------
    n_channels : int
        The number of channels d.

    Attributes
    ----------
    n : int
        Positions seen.

    Examples
    --------
    >>> import torch
    >>> from subdistill import Moments
    >>> moments = Moments(2)
    >>> moments.update(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    >>> moments.activation
    tensor([[1., 0.],
            [0., 0.]], dtype=torch.float64)
    """

    def __init__(self, n_channels: int):
        self.n = 0
        self._shift = None  # of the first batch: near the mean, so that products cancel little
        self._sums = torch.zeros(2, n_channels, dtype=torch.float64)
        self._products = torch.zeros(3, n_channels, n_channels, dtype=torch.float64)
        self._has_context = False

    def update(self, activations: Tensor, context: Tensor | None = None) -> None:
        """Add positions.

        Parameters
        ----------
        activations : Tensor, shape (n, d)
            Activations a.
        context : Tensor, shape (n, d) | None
            Gradients c at the same positions.
        """
        single = activations.device.type == "mps"  # which knows no double precision
        a = activations.to(torch.float32 if single else torch.float64)
        if self._shift is None:
            self._shift = a.mean(dim=0)
            self._has_context = context is not None
        a = a - self._shift
        self.n += len(a)
        self._sums[0] += a.sum(dim=0).cpu()
        self._products[0] += (a.T @ a).cpu()
        if context is not None:
            c = context.to(a.dtype)
            self._sums[1] += c.sum(dim=0).cpu()
            self._products[1] += (c.T @ c).cpu()
            self._products[2] += (a.T @ c).cpu()

    @property
    def mean(self) -> Tensor:
        """Mean activation mu, shape (d,)."""
        return self._shift.cpu().double() + self._sums[0] / self.n

    @property
    def activation(self) -> Tensor:
        """S_a = E[(a - mu)(a - mu)^T], shape (d, d)."""
        mean = self._sums[0] / self.n
        return self._products[0] / self.n - torch.outer(mean, mean)

    @property
    def context(self) -> Tensor:
        """S_c = E[c c^T], shape (d, d)."""
        self._check_context()
        return self._products[1] / self.n

    @property
    def cross(self) -> Tensor:
        """S_ac = E[(a - mu) c^T], shape (d, d)."""
        self._check_context()
        mean_a, mean_c = self._sums / self.n
        return self._products[2] / self.n - torch.outer(mean_a, mean_c)

    def _check_context(self) -> None:
        if not self._has_context:
            raise ValueError(
                "These moments hold no gradients: measure them with "
                'measure_moments(..., context="margin"), or choose the subspace "pca".'
            )


def measure_moments(
    teacher: nn.Module,
    loader: Iterable,
    layers: Iterable[str],
    *,
    context: str | Scalar | None = "margin",
    classes: Classes | None = None,
    positions: int | None = POSITIONS,
    rules: Rules | None = None,
    seed: int = 0,
) -> dict[str, Moments]:
    """Moments of several layers in one pass over the data: one forward and one backward.

    Parameters
    ----------
    teacher : torch.nn.Module
        The teacher; as it was afterwards.
    loader : iterable
        Batches of the subtask: inputs, or inputs and targets.
    layers : iterable of str
        Names of the teacher's layers.
    context : str | callable | None
        Name in :data:`CONTEXTS`, or a function of output and targets that returns one number
        for each sample; None to leave gradients out.
    classes : sequence of (int | sequence of int) | None
        Outputs of the teacher that belong to the subtask; None for all.
    positions : int | None
        Random positions to keep of each sample; None for all.
    rules : callable | None
        Rules of layer-wise relevance propagation, such as ``EpsilonPlus().context`` with zennit's
        composite; the context is then relevance divided by activation, in the gradient's place.
    seed : int
        Of the random positions.

    Returns
    -------
    moments : dict of Moments
        One for each layer.

    References
    ----------
    Chormai et al. (2026), arXiv:2601.05913.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from subdistill import measure_moments
    >>> teacher = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> measure_moments(teacher, [torch.randn(8, 5)], ["0"])["0"].n
    8
    """
    if rules and context is None:
        raise ValueError('Rules explain a scalar of the output: pass context="margin".')
    if isinstance(context, str) and context not in CONTEXTS:
        raise ValueError(f"There is no context {context!r}: pass one of {list(CONTEXTS)}.")
    scalar = CONTEXTS[context] if isinstance(context, str) else context
    layers = list(layers)
    generators = {name: torch.Generator().manual_seed(seed) for name in layers}
    moments: dict[str, Moments] = {}
    captured = Capture(teacher, layers, gradients=scalar is not None)
    with frozen(teacher), rules(teacher) if rules else nullcontext(), captured:
        for inputs, targets in batches(loader, device_of(teacher)):
            with torch.set_grad_enabled(scalar is not None):
                output = choose(teacher(inputs), classes)
                wanted = scalar(output, targets) if scalar else None
                if rules:
                    wanted = _relevance_of(output, wanted)
            gradients = captured.gradients(wanted) if scalar else {}
            for name, value in captured.maps().items():
                pair = [value.detach(), *([gradients[name]] if scalar else [])]
                kept = _sample_positions(pair, positions, generators[name])
                if rules:
                    kept[1] = torch.where(kept[0] == 0, 0, kept[1] / kept[0])
                if name not in moments:
                    moments[name] = Moments(value.shape[1])
                moments[name].update(*kept)
    return moments


def _relevance_of(output: Tensor, scalar: Tensor) -> Tensor:
    """Return a scalar whose gradient at the output is output times gradient of the other one."""
    (slope,) = torch.autograd.grad(scalar.sum(), output, retain_graph=True)
    return (output * (output * slope).detach()).flatten(1).sum(dim=1)


def _sample_positions(
    maps: list[Tensor], positions: int | None, generator: torch.Generator
) -> list[Tensor]:
    """Values (n, channels) of maps at the same random positions of each sample."""
    rows = [m.flatten(2).transpose(1, 2) for m in maps]
    n_samples, n_positions, _ = rows[0].shape
    if positions is not None and positions < n_positions:
        order = torch.rand(n_samples, n_positions, generator=generator).argsort(dim=1)
        index = order[:, :positions, None].to(rows[0].device)
        rows = [r.take_along_dim(index, dim=1) for r in rows]
    return [r.flatten(0, 1) for r in rows]
