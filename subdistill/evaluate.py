"""How good a model is, and how much of it a subspace keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from subdistill.capture import Layout, first_tensor, with_first
from subdistill.data import Classes, batches, check_labels, choose, device_of
from subdistill.models import find_layer, frozen, unwrap
from subdistill.subspace import Subspace


def accuracy(model: nn.Module, loader: Iterable, classes: Classes | None = None) -> float:
    """Share of samples whose class is found.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier; as it was afterwards.
    loader : iterable
        Batches of inputs and labels.
    classes : sequence of (int | sequence of int) | None
        Outputs to choose among, in the order of the labels; None for all.

    Returns
    -------
    accuracy : float
        Between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> from subdistill import accuracy
    >>> accuracy(torch.nn.Identity(), [(torch.eye(4), torch.tensor([0, 1, 2, 0]))])
    0.75
    """
    right = total = 0
    with frozen(model), torch.inference_mode():
        for inputs, labels in batches(loader, device_of(model)):
            output = choose(model(inputs), classes)
            check_labels(labels, output)
            right += (output.argmax(dim=1) == labels).sum().item()
            total += len(labels)
    return right / total


@contextmanager
def projected(model: nn.Module, subspaces: Mapping[str, Subspace]) -> Iterator[nn.Module]:
    """Let layers pass on only what lies in a subspace.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.
    subspaces : dict of Subspace
        Subspaces by names of layers. Leading tokens pass as they are.

    Yields
    ------
    model : torch.nn.Module
        The same model.
    """
    inner = unwrap(model)
    layout = Layout.of(inner)

    def hook(name):
        def project(module, inputs, output):
            value = first_tensor(output, name)
            rows = layout.to_map(value).movedim(1, -1)
            kept = subspaces[name].reconstruct(subspaces[name].project(rows)).movedim(-1, 1)
            return with_first(output, layout.from_map(kept, value))

        return project

    layers = {name: find_layer(inner, name) for name in subspaces}
    handles = [module.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def projected_accuracy(
    teacher: nn.Module,
    loader: Iterable,
    layer: str,
    subspace: Subspace,
    ranks: Sequence[int],
    *,
    classes: Classes | None = None,
) -> dict[int, float]:
    """Accuracy of a teacher of which one layer keeps k dimensions only.

    Parameters
    ----------
    teacher : torch.nn.Module
        A classifier; as it was afterwards.
    loader : iterable
        Batches of inputs and labels.
    layer : str
        Name of the layer.
    subspace : Subspace
        Subspace of the layer, of the largest of the ranks or more.
    ranks : sequence of int
        Dimensions k to try.
    classes : sequence of (int | sequence of int) | None
        Outputs of the teacher to choose among, in the order of the labels; None for all.

    Returns
    -------
    accuracies : dict of float
        Accuracy for each k.
    """
    found = {}
    for rank in ranks:
        with projected(teacher, {layer: subspace.truncate(rank)}):
            found[rank] = accuracy(teacher, loader, classes)
    return found
