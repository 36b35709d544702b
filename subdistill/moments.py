"""Second moments of a layer's activations and of the gradients of the output.

Activations a and their context c, the gradient of a scalar of the output with respect to a, are
seen once and never stored, so that memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from subdistill._docs import fill_doc
from subdistill.capture import Capture
from subdistill.data import batches, call, device_of
from subdistill.models import frozen
from subdistill.subtask import Classes, check_labels, choose

Scalar = Callable[[Tensor, Tensor | None], Tensor]
"""Function of output and targets of a batch; returns a number for each sample, shape (batch,)."""

Rules = Callable[[nn.Module], AbstractContextManager]
"""Function of a model; returns a context in which the model's gradients are relevances."""

POSITIONS = 20
"""Number of random positions that are used of each sample (Chormai et al., 2026)."""


# %% Scalars of the output


def margin(output: Tensor, targets: Tensor | None) -> Tensor:
    """Return the largest logit minus the second largest (Chormai et al., 2026), shape (batch,)."""
    if output.ndim != 2 or output.shape[1] < 2:
        raise ValueError(
            "The margin needs logits of two classes or more, but the output has the shape "
            f"{tuple(output.shape)}: pass context=lambda output, targets: ..., a function that "
            "returns one number for each sample."
        )
    best = output.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def target_logit(output: Tensor, targets: Tensor | None) -> Tensor:
    """Return the logit of the true class, shape (batch,)."""
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
        Number of channels d.

    Attributes
    ----------
    n : int
        Number of positions seen.

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
        self._shift = None  # mean of the first batch: subtracted, so that few digits cancel
        self._sums = torch.zeros(2, n_channels, dtype=torch.float64)
        self._products = torch.zeros(3, n_channels, n_channels, dtype=torch.float64)
        self._has_context = False

    def update(self, activations: Tensor, context: Tensor | None = None) -> None:
        """Add the values at some positions.

        Parameters
        ----------
        activations : Tensor, shape (n, d)
            Activations a.
        context : Tensor, shape (n, d) | None
            Gradients c at the same positions.
        """
        single = activations.device.type == "mps"  # has no double precision
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


@fill_doc
def measure_moments(
    teacher: nn.Module,
    data: Iterable,
    layers: Iterable[str],
    *,
    context: str | Scalar | None = "margin",
    classes: Classes | None = None,
    positions: int | None = POSITIONS,
    rules: Rules | None = None,
    seed: int = 0,
) -> dict[str, Moments]:
    """Measure the moments of several layers in one pass over the data.

    Each batch is run forward and backward once (Chormai et al., 2026, arXiv:2601.05913).

    Parameters
    ----------
    %(teacher)s
    %(data)s
    layers : iterable of str
        Names of the teacher's layers.
    %(context)s
    %(classes)s
    positions : int | None
        Number of random positions that are used of each sample. None for all positions.
    rules : callable | None
        Rules of layer-wise relevance propagation, such as ``EpsilonPlus().context`` with zennit's
        composite. The context is then relevance divided by activation instead of the gradient.
    seed : int
        Seed of the random positions.

    Returns
    -------
    moments : dict of Moments
        Moments of each layer.

    Examples
    --------
    >>> import torch
    >>> from subdistill import measure_moments
    >>> teacher = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3))
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
        for inputs, targets in batches(data, device_of(teacher)):
            with torch.set_grad_enabled(scalar is not None):
                output = choose(call(teacher, inputs), classes)
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
    """Return a scalar whose gradient is the output times the gradient of another scalar."""
    (slope,) = torch.autograd.grad(scalar.sum(), output, retain_graph=True)
    return (output * (output * slope).detach()).flatten(1).sum(dim=1)


def _sample_positions(
    maps: list[Tensor], positions: int | None, generator: torch.Generator
) -> list[Tensor]:
    """Return values (n, channels) of maps at the same random positions of each sample."""
    rows = [m.flatten(2).transpose(1, 2) for m in maps]
    n_samples, n_positions, _ = rows[0].shape
    if positions is not None and positions < n_positions:
        order = torch.rand(n_samples, n_positions, generator=generator).argsort(dim=1)
        index = order[:, :positions, None].to(rows[0].device)
        rows = [r.take_along_dim(index, dim=1) for r in rows]
    return [r.flatten(0, 1) for r in rows]
