"""Samples of a subtask: some classes, groups of classes, a share of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

# %% Classes


def labels_of(data: Dataset) -> Tensor:
    """Labels of all samples without reading the images.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        A data set of torchvision, an ImageFolder, a subset of one, or any with ``targets``.

    Returns
    -------
    labels : Tensor of int, shape (n_samples,)
        The labels.
    """
    if isinstance(data, Subset):
        return labels_of(data.dataset)[torch.as_tensor(data.indices, dtype=torch.long)]
    for name in ("targets", "labels", "_labels"):
        if hasattr(data, name):
            return torch.as_tensor(getattr(data, name)).long()
    raise ValueError(
        f"{type(data).__name__} does not tell its labels: give it an attribute `targets`, a list "
        "with the class of each sample."
    )


class Selection(Dataset):
    """Samples of some classes, with labels from 0 on.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Pairs of image and label.
    indices : sequence of int
        Samples to keep.
    targets : sequence of int
        Their new labels.
    """

    def __init__(self, data: Dataset, indices: Sequence[int], targets: Sequence[int]):
        self.data, self.indices, self.targets = data, list(indices), list(targets)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int):
        return self.data[self.indices[number]][0], self.targets[number]


def select_classes(data: Dataset, classes: Sequence[int | Sequence[int]]) -> Selection:
    """Samples of a subtask, with its labels.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Pairs of image and label; see :func:`labels_of`.
    classes : sequence of (int | sequence of int)
        Classes in the order of their new labels; a group counts as one class. With two groups
        this is some versus others.

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
    """Draw a share of each class.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        See :func:`labels_of`.
    fraction : float
        Share of the first part, of each class, at least one sample.
    seed : int
        Of the draw.

    Returns
    -------
    part, rest : torch.utils.data.Subset
        The share, and what is left.
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


# %% Images
