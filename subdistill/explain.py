"""Why a model decides as it does, and whether a student has the reasons of its teacher.

A heatmap says how much each position of an input speaks for a class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional

from subdistill.data import Classes, batches, check_labels, choose, device_of
from subdistill.models import frozen, unwrap
from subdistill.vision.models import ResidualBlock

Explainer = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Takes model, inputs and classes; returns attributions of the shape of the inputs."""


class Subtask(nn.Module):
    """A teacher with the outputs of a subtask alone.

    Parameters
    ----------
    model : torch.nn.Module
        The teacher.
    classes : sequence of (int | sequence of int) | None
        As for :func:`subdistill.data.choose`.
    """

    def __init__(self, model: nn.Module, classes: Classes | None):
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of the subtask."""
        return choose(self.model(inputs), self.classes)


# %% Attributions


def integrated_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean gradient on the way from zero, times the input (Sundararajan et al., 2017), by captum.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier.
    inputs : Tensor, shape (batch, channels, *space)
        What to explain.
    targets : Tensor of int, shape (batch,)
        Classes to explain.

    Returns
    -------
    attributions : Tensor, shape (batch, channels, *space)
        Their sum is the logit minus that of zero inputs, up to the error of 32 steps.
    """
    from captum.attr import IntegratedGradients

    return IntegratedGradients(model).attribute(
        inputs, target=targets, n_steps=32, internal_batch_size=max(64, len(inputs))
    )


def lrp(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Layer-wise relevance propagation (Bach et al., 2015), by zennit.

    The z-plus rule in convolutions, epsilon in linear layers and flat in the first one. Batch
    norms are merged into the layer before them. Sums of residual blocks are shared out in the
    networks of torchvision and of this package; other architectures need rules of their own.

    Parameters
    ----------
    model : torch.nn.Module
        A convolutional classifier.
    inputs : Tensor, shape (batch, channels, *space)
        What to explain.
    targets : Tensor of int, shape (batch,)
        Classes to explain.

    Returns
    -------
    attributions : Tensor, shape (batch, channels, *space)
        Their sum is about the logit.
    """
    from zennit.attribution import Gradient
    from zennit.canonizers import AttributeCanonizer
    from zennit.composites import EpsilonPlusFlat
    from zennit.layer import Sum
    from zennit.torchvision import ResNetCanonizer

    def summed(block: ResidualBlock, x: Tensor) -> Tensor:
        return block.relu2(block.sum(torch.stack(block.branches(x), dim=-1)))

    def attributes(name: str, module: nn.Module) -> dict | None:
        if isinstance(module, ResidualBlock):
            return {"forward": MethodType(summed, module), "sum": Sum()}
        return None

    canonizers = [ResNetCanonizer(), AttributeCanonizer(attributes)]
    model = copy.deepcopy(model)  # canonizers change weights, and back up to rounding
    with Gradient(model, EpsilonPlusFlat(canonizers=canonizers)) as attributor:
        n_classes = model(inputs[:1]).shape[1]
        wanted = functional.one_hot(targets, n_classes).to(inputs.dtype)
        _, relevance = attributor(inputs.clone(), lambda output: wanted * output)
    return relevance


EXPLAINERS: dict[str, Explainer] = dict(integrated_gradients=integrated_gradients, lrp=lrp)
"""Attributions by name."""


def heatmaps(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    method: str | Explainer = "integrated_gradients",
    *,
    classes: Classes | None = None,
) -> Tensor:
    """How much each position speaks for a class.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier; as it was afterwards.
    inputs : Tensor, shape (batch, channels, *space)
        What to explain.
    targets : Tensor of int, shape (batch,)
        Classes to explain.
    method : str | callable
        Name in :data:`EXPLAINERS`, or a function as these.
    classes : sequence of (int | sequence of int) | None
        Outputs of the model that belong to the subtask, in the order of `targets`.

    Returns
    -------
    heatmaps : Tensor, shape (batch, *space)
        Sum of the attributions over the channels.
    """
    if isinstance(method, str) and method not in EXPLAINERS:
        raise ValueError(f"There is no explanation {method!r}: pass one of {list(EXPLAINERS)}.")
    explain = EXPLAINERS[method] if isinstance(method, str) else method
    subtask = Subtask(unwrap(model), classes)
    with frozen(subtask):
        return explain(subtask, inputs, targets).detach().sum(dim=1)


# %% Agreement


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """Cosine between heatmaps.

    Parameters
    ----------
    one, other : Tensor, shape (batch, *space)
        Heatmaps.

    Returns
    -------
    similarity : Tensor, shape (batch,)
        From -1 to 1, whatever the scale of each.
    """
    return functional.cosine_similarity(one.flatten(1), other.flatten(1), dim=1)


def agreement(
    teacher: nn.Module,
    student: nn.Module,
    loader: Iterable,
    method: str | Explainer = "integrated_gradients",
    *,
    classes: Classes | None = None,
) -> Tensor:
    """Similarity of teacher's and student's heatmaps for the class that the teacher chooses.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        Two classifiers on the same device.
    loader : iterable
        Batches of inputs, or of inputs and targets.
    method : str | callable
        Name in :data:`EXPLAINERS`, or a function as these.
    classes : sequence of (int | sequence of int) | None
        Outputs of the teacher that the student's outputs stand for.

    Returns
    -------
    similarity : Tensor, shape (n_samples,)
        Cosine of each pair of heatmaps.

    Examples
    --------
    >>> import torch
    >>> from subdistill import agreement
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3))
    >>> agreement(model, model, [torch.rand(5, 2, 2, 2)]).mean()  # doctest: +SKIP
    tensor(1.)
    """
    found = []
    for inputs, _ in batches(loader, device_of(teacher)):
        with frozen(teacher), torch.no_grad():
            targets = choose(teacher(inputs), classes).argmax(dim=1)
        theirs = heatmaps(teacher, inputs, targets, method, classes=classes)
        ours = heatmaps(student, inputs, targets, method)
        found.append(similarity(theirs, ours).cpu())
    return torch.cat(found)


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
    """Logit of a class while patches are overwritten, those that speak for it most first.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier; as it was afterwards.
    inputs : Tensor, shape (batch, channels, *space)
        What was explained.
    targets : Tensor of int, shape (batch,)
        Classes that were explained.
    maps : Tensor, shape (batch, *space)
        Heatmaps; the faster the logit falls, the better they know the model.
    patch : int
        Side of a patch, which divides all sides.
    steps : int
        Equal numbers of patches to overwrite one after the other, until none is left.
    fill : float
        What they are overwritten with.

    Returns
    -------
    curve : Tensor, shape (batch, steps + 1)
        The logit, from the whole input to none of it.
    """
    n_axes = maps.ndim - 1
    if any(side % patch for side in maps.shape[1:]):
        raise ValueError(f"Patches of {patch} do not divide the sides {tuple(maps.shape[1:])}.")
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


def mark_effect(
    model: nn.Module,
    loader: Iterable,
    mark: Callable[[Tensor], Tensor],
    *,
    classes: Classes | None = None,
) -> dict[str, float]:
    """What a mark in the inputs, which should mean nothing, does to the decisions.

    A teacher may know a class by a watermark in its images, like the horse Clever Hans who read
    the sums from his questioner's face. A student of other classes should not inherit that.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier; as it was afterwards.
    loader : iterable
        Batches of inputs and labels.
    mark : callable
        Puts the mark into a batch of inputs.
    classes : sequence of (int | sequence of int) | None
        Outputs of the model to choose among, in the order of the labels; None for all.

    Returns
    -------
    effect : dict of float
        Shares from 0 to 1: ``accuracy``, ``accuracy_marked``, and ``changed`` decisions.
    """
    sums, total = torch.zeros(3), 0
    with frozen(model), torch.inference_mode():
        for inputs, labels in batches(loader, device_of(model)):
            outputs = [choose(model(x), classes) for x in (inputs, mark(inputs))]
            check_labels(labels, outputs[0])
            plain, marked = (output.argmax(dim=1) for output in outputs)
            found = [plain == labels, marked == labels, plain != marked]
            sums += torch.stack([x.sum() for x in found]).cpu()
            total += len(labels)
    return dict(
        zip(("accuracy", "accuracy_marked", "changed"), (sums / total).tolist(), strict=True)
    )


# %% Pictures


def plot_heatmaps(images: Tensor, maps: Mapping[str, Tensor]):
    """Draw images and heatmaps, a row for each image.

    Parameters
    ----------
    images : Tensor, shape (n, 3 or 1, height, width)
        Images of any range, which is stretched.
    maps : dict of Tensor, shape (n, height, width)
        Heatmaps by the name of the model; red speaks for the class, blue against it.

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
