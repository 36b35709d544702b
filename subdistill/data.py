"""What a batch is, and how a model is called with its inputs.

A batch is either the inputs or a tuple or list that begins with the inputs and the targets. Inputs
are one tensor, a tuple or list of tensors (arguments of the model, in their order) or a dict of
tensors (arguments by name). A batch of several inputs without targets is therefore a dict, or
``((one, two), None)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from subdistill._docs import fill_doc

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""Inputs of a model: one tensor, several in the order of its arguments, or several by name."""


@fill_doc
def batches(data: Iterable, device: torch.device) -> Iterator[tuple[Inputs, Tensor | None]]:
    """Iterate over the inputs and targets of all batches.

    Parameters
    ----------
    %(data)s
    device : torch.device
        Device to move the tensors to.

    Yields
    ------
    inputs : Tensor | tuple of Tensor | dict of Tensor
        Inputs of the model.
    targets : Tensor | None
        Labels or other targets; None if the batch has none.

    Raises
    ------
    TypeError
        If a batch holds something else than tensors.
    ValueError
        If there is no batch.
    """
    empty = True
    for batch in data:
        empty = False
        parts = batch if isinstance(batch, (tuple, list)) else [batch]
        inputs, targets = (*parts, None)[:2]
        yield _move(inputs, device), targets if targets is None else _move(targets, device)
    if empty:
        raise ValueError(
            "The data gave no batch: the data set is empty, or smaller than one batch with "
            "drop_last=True."
        )


def _move(value, device: torch.device):
    """Move a tensor, or all tensors of a tuple, list or dict, to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _move(part, device) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_move(part, device) for part in value)
    raise TypeError(
        f"A batch holds {type(value).__name__} where a tensor is needed: pass batches of the form "
        "(inputs, targets), and convert arrays by torch.as_tensor(array)."
    )


def check_epochs(data: Iterable) -> None:
    """Raise if the data does not give its batches again for each epoch.

    Parameters
    ----------
    data : iterable
        Data to train on.
    """
    if isinstance(data, (Iterator, Tensor, Mapping)) or not isinstance(data, Iterable):
        reason = "ends after one" if isinstance(data, Iterator) else "has no batches"
        raise TypeError(
            f"Data must give its batches anew for each epoch, but {type(data).__name__} {reason}: "
            "pass torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True), a list of "
            "batches, or an object with a method __iter__ that yields the batches of an epoch."
        )


def arguments(inputs: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return the positional and the keyword arguments with which inputs are passed to a model.

    Parameters
    ----------
    inputs : Tensor | tuple of Tensor | dict of Tensor
        Inputs of a model.

    Returns
    -------
    args : tuple of Tensor
        Positional arguments.
    kwargs : dict of Tensor
        Keyword arguments.
    """
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Return the output of a model.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.
    inputs : Tensor | tuple of Tensor | dict of Tensor
        A tuple is unpacked into the model's arguments, a dict into its arguments by name.

    Returns
    -------
    output : Tensor
        Output of the model.

    Examples
    --------
    >>> import torch
    >>> from subdistill.data import call
    >>> call(torch.nn.Bilinear(3, 4, 2), (torch.zeros(5, 3), torch.zeros(5, 4))).shape
    torch.Size([5, 2])
    """
    args, kwargs = arguments(inputs)
    return model(*args, **kwargs)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter or buffer; the CPU if there is none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")
