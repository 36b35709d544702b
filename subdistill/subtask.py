"""Classes of a subtask: among the outputs of a model, and among the samples of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from subdistill._docs import fill_doc

Classes = Sequence[int | Sequence[int]]
"""Classes of a subtask, in the order of its labels: single ones, or groups that count as one."""


# %% Outputs


@fill_doc
def choose(output: Tensor, classes: Classes | None) -> Tensor:
    """Return the logits of a subtask.

    Parameters
    ----------
    output : Tensor, shape (batch, n_outputs)
        Logits of all classes.
    %(classes)s

    Returns
    -------
    logits : Tensor, shape (batch, n_classes)
        Logits of the subtask's classes. The logit of a group is the log-sum-exp of its outputs,
        so that its probability is the sum of theirs.
    """
    if classes is None:
        return output
    groups = [[c] if isinstance(c, int) else list(c) for c in classes]
    if output.ndim != 2 or not all(0 <= c < output.shape[1] for group in groups for c in group):
        raise ValueError(
            f"The classes {list(classes)} are not all among the outputs, which have the shape "
            f"{tuple(output.shape)}: count from 0, or pass classes=None for all."
        )
    return torch.stack([output[:, group].logsumexp(dim=1) for group in groups], dim=1)


@fill_doc
class Subtask(nn.Module):
    """A model whose output is restricted to a subtask.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier.
    %(classes)s
    """

    def __init__(self, model: nn.Module, classes: Classes | None):
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the logits of the subtask; the arguments are those of the model."""
        return choose(self.model(*args, **kwargs), self.classes)


def check_labels(labels: Tensor | None, output: Tensor) -> None:
    """Raise if there are no labels, or if a label is not the number of an output."""
    if labels is None:
        raise ValueError("The batches hold no labels: pass data of inputs and labels.")
    low, high = labels.aminmax()
    if low < 0 or high >= output.shape[1]:
        raise ValueError(
            f"The labels go from {low} to {high}, but the subtask has the classes 0 to "
            f"{output.shape[1] - 1}: choose and renumber them with "
            "subdistill.select_classes(data, classes)."
        )


# %% Samples


def labels_of(data: Dataset) -> Tensor:
    """Return the labels of all samples without reading the images.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        A data set of torchvision, an ImageFolder, a subset of one, or any with ``targets``.

    Returns
    -------
    labels : Tensor of int, shape (n_samples,)
        Label of each sample.
    """
    if isinstance(data, Subset):
        return labels_of(data.dataset)[torch.as_tensor(data.indices, dtype=torch.long)]
    for name in ("targets", "labels", "_labels"):
        if hasattr(data, name):
            return torch.as_tensor(getattr(data, name)).long()
    raise ValueError(
        f"The labels of {type(data).__name__} are not known: give it an attribute `targets`, a "
        "list with the class of each sample."
    )


class Selection(Dataset):
    """Some samples of a data set, with new labels.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Pairs of image and label.
    indices : sequence of int
        Samples to keep.
    targets : sequence of int
        New label of each of these samples.
    """

    def __init__(self, data: Dataset, indices: Sequence[int], targets: Sequence[int]):
        self.data, self.indices, self.targets = data, list(indices), list(targets)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int):
        return self.data[self.indices[number]][0], self.targets[number]


def select_classes(data: Dataset, classes: Classes) -> Selection:
    """Select the samples of a subtask, and number their labels from 0.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Pairs of image and label; see :func:`subdistill.subtask.labels_of`.
    classes : sequence of (int | sequence of int)
        Classes in the order of their new labels. A group counts as one class: two groups make a
        subtask of some classes against others.

    Returns
    -------
    selection : Selection
        The samples.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from subdistill import select_classes
    >>> data = TensorDataset(torch.arange(6), torch.tensor([0, 1, 2, 0, 1, 2]))
    >>> data.targets = data.tensors[1]
    >>> [(int(x), y) for x, y in select_classes(data, [2, [0, 1]])]
    [(0, 1), (1, 1), (2, 0), (3, 1), (4, 1), (5, 0)]
    """
    new = {
        c: label
        for label, group in enumerate(classes)
        for c in ([group] if isinstance(group, int) else group)
    }
    labels = labels_of(data).tolist()
    missing = set(new).difference(labels)
    if missing:
        raise ValueError(
            f"No sample has the label {min(missing)}; labels go from {min(labels, default=None)} "
            f"to {max(labels, default=None)}."
        )
    kept = [n for n, label in enumerate(labels) if label in new]
    return Selection(data, kept, [new[labels[n]] for n in kept])


def split(data: Dataset, fraction: float, *, seed: int = 0) -> tuple[Subset, Subset]:
    """Split a data set in two, with the same fraction of each class in the first part.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        See :func:`labels_of`.
    fraction : float
        Fraction of each class that goes to the first part, at least one sample.
    seed : int
        Seed of the random draw.

    Returns
    -------
    part, rest : torch.utils.data.Subset
        The first part, and the remaining samples.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"The fraction must be above 0 and at most 1, got {fraction}.")
    labels, generator = labels_of(data), torch.Generator().manual_seed(seed)
    part, rest = [], []
    for label in labels.unique():
        where = (labels == label).nonzero().squeeze(1)
        order = where[torch.randperm(len(where), generator=generator)].tolist()
        size = max(1, round(fraction * len(order)))
        part += order[:size]
        rest += order[size:]
    return Subset(data, sorted(part)), Subset(data, sorted(rest))
