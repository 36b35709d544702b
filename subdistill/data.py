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


def check_labels(labels: Tensor | None, output: Tensor) -> None:
    """Raise if there are no labels, or one is not the number of one of the outputs."""
    if labels is None:
        raise ValueError("The batches hold no labels: pass a loader of inputs and labels.")
    low, high = labels.aminmax()
    if low < 0 or high >= output.shape[1]:
        raise ValueError(
            f"The labels go from {low} to {high}, but the subtask has the classes 0 to "
            f"{output.shape[1] - 1}: choose and renumber them with "
            "subdistill.select_classes(data, classes)."
        )


Classes = Sequence[int | Sequence[int]]
"""Outputs of a subtask, in the order of its labels: single ones, or groups that count as one."""


def choose(output: Tensor, classes: Classes | None) -> Tensor:
    """Logits of a subtask.

    Parameters
    ----------
    output : Tensor, shape (batch, n_outputs)
        Logits of all classes.
    classes : sequence of (int | sequence of int) | None
        Outputs that belong to the subtask; a group becomes the logit that any of it is true,
        log sum exp. None for all outputs as they are.

    Returns
    -------
    logits : Tensor, shape (batch, n_classes)
        Logits of the subtask's classes.
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
