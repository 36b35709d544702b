"""Batches of a data loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn


def batches(loader: Iterable, device: torch.device) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Inputs and targets of all batches.

    Parameters
    ----------
    loader : iterable
        Gives batches: inputs alone, or a tuple or list of inputs and targets.
    device : torch.device
        Where to put them.

    Yields
    ------
    inputs : Tensor, shape (batch, ...)
        What the model takes.
    targets : Tensor, shape (batch, ...) | None
        Labels, or what else the second entry is.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    empty = True
    for batch in loader:
        empty = False
        inputs, targets = (*(batch if isinstance(batch, (tuple, list)) else [batch]), None)[:2]
        yield inputs.to(device), targets if targets is None else targets.to(device)
    if empty:
        raise ValueError(
            "The data loader gave no batch: the data set is empty, or smaller than one batch "
            "with drop_last=True."
        )


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter or buffer, the processor without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def check_labels(labels: Tensor, output: Tensor) -> None:
    """Raise if a label is not the number of one of the outputs."""
    low, high = labels.aminmax()
    if low < 0 or high >= output.shape[1]:
        raise ValueError(
            f"The labels go from {low} to {high}, but the subtask has the classes 0 to "
            f"{output.shape[1] - 1}: choose and renumber them with "
            "subdistill.vision.select_classes(data, classes)."
        )


def choose(output: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Return the outputs that belong to the subtask, all without `classes`."""
    if classes is None:
        return output
    if output.ndim != 2 or not all(0 <= c < output.shape[1] for c in classes):
        raise ValueError(
            f"The classes {list(classes)} are not all among the outputs, which have the shape "
            f"{tuple(output.shape)}: count from 0, or pass classes=None for all."
        )
    return output[:, list(classes)]
