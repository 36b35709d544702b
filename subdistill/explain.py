"""Explain the decisions of a model, and compare those of a student with its teacher's.

A heatmap tells how much each position of an input contributes to the logit of a class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from subdistill._docs import fill_doc
from subdistill.data import batches, call, device_of
from subdistill.models import frozen, unwrap
from subdistill.subtask import Classes, Subtask, check_labels, choose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Explainer = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Function of model, inputs and classes; returns attributions of the shape of the inputs."""


# %% Attributions


@fill_doc
def integrated_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Compute integrated gradients (Sundararajan et al., 2017) from zero to the input, by captum.

    Parameters
    ----------
    %(classifier)s
    %(explained)s

    Returns
    -------
    attributions : Tensor, shape (batch, channels, *space)
        Attributions. Their sum is the logit minus the logit of zero inputs, up to the error of
        an integral of 32 steps.
    """
    from captum.attr import IntegratedGradients

    return IntegratedGradients(model).attribute(
        inputs, target=targets, n_steps=32, internal_batch_size=max(64, len(inputs))
    )


@runtime_checkable
class Residual(Protocol):
    """A residual block whose ``forward(x)`` is ``finish`` of the sum of ``branches(x)``."""

    def branches(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the terms of the sum."""

    def finish(self, total: Tensor) -> Tensor:
        """Return the output of the block, given the sum."""


@fill_doc
def lrp(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Propagate relevance from layer to layer (LRP; Bach et al., 2015), by zennit.

    Convolutions have the z-plus rule, linear layers the epsilon rule, and the first layer the flat
    rule. Batch norms are merged into the layer before them. Relevance is distributed over the
    branches of torchvision's residual blocks, and of blocks that have the methods of
    :class:`subdistill.explain.Residual`. Other architectures need other rules.

    Parameters
    ----------
    %(classifier)s
    %(explained)s

    Returns
    -------
    attributions : Tensor, shape (batch, channels, *space)
        Attributions. Their sum is approximately the logit.
    """
    from zennit.attribution import Gradient
    from zennit.canonizers import AttributeCanonizer
    from zennit.composites import EpsilonPlusFlat
    from zennit.layer import Sum
    from zennit.torchvision import ResNetCanonizer

    def summed(block: Residual, x: Tensor) -> Tensor:
        return block.finish(block.sum(torch.stack(block.branches(x), dim=-1)))

    def attributes(name: str, module: nn.Module) -> dict | None:
        if isinstance(module, Residual):
            return {"forward": MethodType(summed, module), "sum": Sum()}
        return None

    canonizers = [ResNetCanonizer(), AttributeCanonizer(attributes)]
    model = copy.deepcopy(model)  # canonizers restore the weights only up to rounding
    with Gradient(model, EpsilonPlusFlat(canonizers=canonizers)) as attributor:
        n_classes = model(inputs[:1]).shape[1]
        wanted = functional.one_hot(targets, n_classes).to(inputs.dtype)
        _, relevance = attributor(inputs.clone(), lambda output: wanted * output)
    return relevance


EXPLAINERS: dict[str, Explainer] = dict(integrated_gradients=integrated_gradients, lrp=lrp)
"""Functions that compute attributions, by name."""


@fill_doc
def heatmaps(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    method: str | Explainer = "integrated_gradients",
    *,
    classes: Classes | None = None,
) -> Tensor:
    """Compute how much each position contributes to the logit of a class.

    Parameters
    ----------
    %(classifier)s
    %(explained)s
    %(explainer)s
    %(classes)s

    Returns
    -------
    heatmaps : Tensor, shape (batch, *space)
        Sum of the attributions over the channels.
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"A heatmap explains one tensor of inputs, got {type(inputs).__name__}: wrap the model "
            "in a module that takes this tensor and holds the other inputs."
        )
    if isinstance(method, str) and method not in EXPLAINERS:
        raise ValueError(f"There is no explanation {method!r}: pass one of {list(EXPLAINERS)}.")
    explain = EXPLAINERS[method] if isinstance(method, str) else method
    subtask = Subtask(unwrap(model), classes)
    with frozen(subtask):
        return explain(subtask, inputs, targets).detach().sum(dim=1)


# %% Agreement


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine similarity of two sets of heatmaps.

    Parameters
    ----------
    one, other : Tensor, shape (batch, *space)
        Heatmaps.

    Returns
    -------
    similarity : Tensor, shape (batch,)
        Similarity of each pair, from -1 to 1. The scale of the heatmaps does not matter.
    """
    return functional.cosine_similarity(one.flatten(1), other.flatten(1), dim=1)


@fill_doc
def agreement(
    teacher: nn.Module,
    student: nn.Module,
    data: Iterable,
    method: str | Explainer = "integrated_gradients",
    *,
    classes: Classes | None = None,
) -> Tensor:
    """Compare the teacher's and the student's heatmaps for the class that the teacher chooses.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        Two classifiers on the same device; the student has the outputs of the subtask only.
    %(data)s
    %(explainer)s
    %(classes)s

    Returns
    -------
    similarity : Tensor, shape (n_samples,)
        Cosine similarity of each pair of heatmaps.

    Examples
    --------
    >>> import torch
    >>> from subdistill import agreement
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3))
    >>> agreement(model, model, [torch.rand(5, 2, 2, 2)]).mean()  # doctest: +SKIP
    tensor(1.)
    """
    found = []
    for inputs, _ in batches(data, device_of(teacher)):
        with frozen(teacher), torch.no_grad():
            targets = choose(call(teacher, inputs), classes).argmax(dim=1)
        theirs = heatmaps(teacher, inputs, targets, method, classes=classes)
        ours = heatmaps(student, inputs, targets, method)
        found.append(similarity(theirs, ours).cpu())
    return torch.cat(found)


@fill_doc
def pixel_flipping(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    maps: Tensor,
    *,
    patch: int = 4,
    steps: int = 16,
    fill: float = 0.0,
) -> Tensor:
    """Measure the logit of a class while patches are overwritten, the most relevant ones first.

    The faster the logit falls, the better the heatmaps explain the model.

    Parameters
    ----------
    %(classifier)s
    %(explained)s
    maps : Tensor, shape (batch, *space)
        Heatmaps of the inputs.
    patch : int
        Side of a patch in positions. It must divide all sides of the inputs.
    steps : int
        Number of steps in which all patches are overwritten, equally many in each.
    fill : float
        Value that replaces the inputs.

    Returns
    -------
    curve : Tensor, shape (batch, steps + 1)
        Logit before the first step and after each step.
    """
    n_axes = maps.ndim - 1
    if any(side % patch for side in maps.shape[1:]):
        raise ValueError(
            f"Patches of {patch} do not divide the sides {tuple(maps.shape[1:])}: pass another "
            "patch."
        )
    pool = getattr(functional, f"avg_pool{n_axes}d")
    scores = pool(maps[:, None], patch)
    rank = scores.flatten(1).argsort(dim=1, descending=True).argsort(dim=1).float()
    rank = functional.interpolate(rank.reshape(scores.shape), scale_factor=float(patch))
    n_patches = scores[0].numel()
    curve = []
    with frozen(model), torch.no_grad():
        for step in range(steps + 1):
            flipped = inputs.masked_fill(rank < step * n_patches / steps, fill)
            curve.append(model(flipped).gather(1, targets[:, None])[:, 0])
    return torch.stack(curve, dim=1)


# %% Clever Hans


@fill_doc
def mark_effect(
    model: nn.Module,
    data: Iterable,
    mark: Callable[[Tensor], Tensor],
    *,
    classes: Classes | None = None,
) -> dict[str, float]:
    """Measure how a meaningless mark in the inputs changes the decisions.

    A teacher may recognize a class by a watermark in its images, as the horse Clever Hans read the
    results of sums from his questioner's face. A student of other classes should not inherit this.

    Parameters
    ----------
    %(classifier)s
    %(data)s
    mark : callable
        Function that returns the inputs of a batch with the mark in them.
    %(classes)s

    Returns
    -------
    effect : dict of float
        Fractions from 0 to 1: the ``accuracy``, the ``accuracy_marked`` with the mark, and the
        decisions ``changed`` by it.
    """
    sums, total = torch.zeros(3), 0
    with frozen(model), torch.inference_mode():
        for inputs, labels in batches(data, device_of(model)):
            outputs = [choose(call(model, x), classes) for x in (inputs, mark(inputs))]
            check_labels(labels, outputs[0])
            plain, marked = (output.argmax(dim=1) for output in outputs)
            found = [plain == labels, marked == labels, plain != marked]
            sums += torch.stack([x.sum() for x in found]).cpu()
            total += len(labels)
    return dict(
        zip(("accuracy", "accuracy_marked", "changed"), (sums / total).tolist(), strict=True)
    )


# %% Pictures


def plot_heatmaps(images: Tensor, maps: Mapping[str, Tensor]) -> Figure:
    """Draw images and heatmaps, with one row for each image.

    Parameters
    ----------
    images : Tensor, shape (n, 3 or 1, height, width)
        Images. The range of each is scaled to black and white.
    maps : dict of Tensor, shape (n, height, width)
        Heatmaps by the name of the model. Red raises the logit of the class, blue lowers it.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    n = len(images)
    figure = Figure(figsize=(1.6 * (1 + len(maps)), 1.6 * n + 0.3), layout="constrained")
    axes = figure.subplots(n, 1 + len(maps), squeeze=False)
    for row, image in enumerate(images.cpu()):
        low, high = image.aminmax()
        axes[row, 0].imshow(((image - low) / (high - low)).permute(1, 2, 0).squeeze(2).numpy())
        for axis, values in zip(axes[row, 1:], maps.values(), strict=True):
            most = float(values[row].abs().max())
            axis.imshow(values[row].cpu().numpy(), cmap="seismic", vmin=-most, vmax=most)
    for axis, title in zip(axes[0], ["image", *maps], strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure
