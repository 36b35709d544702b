"""Accuracy of a model, and of a teacher restricted to a subspace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from subdistill._docs import fill_doc
from subdistill.capture import Layout, first_tensor, hooks, with_first
from subdistill.data import batches, call, device_of
from subdistill.models import find_layer, frozen, unwrap
from subdistill.subspace import Subspace
from subdistill.subtask import Classes, check_labels, choose


@fill_doc
def accuracy(model: nn.Module, data: Iterable, classes: Classes | None = None) -> float:
    """Return the fraction of samples that are classified correctly.

    Parameters
    ----------
    %(classifier)s
    %(data)s
    %(classes)s

    Returns
    -------
    accuracy : float
        Fraction between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> from subdistill import accuracy
    >>> accuracy(torch.nn.Identity(), [(torch.eye(4), torch.tensor([0, 1, 2, 0]))])
    0.75
    """
    right = total = 0
    with frozen(model), torch.inference_mode():
        for inputs, labels in batches(data, device_of(model)):
            output = choose(call(model, inputs), classes)
            check_labels(labels, output)
            right += (output.argmax(dim=1) == labels).sum().item()
            total += len(labels)
    return right / total


@contextmanager
def projected(model: nn.Module, subspaces: Mapping[str, Subspace]) -> Iterator[nn.Module]:
    """Project the outputs of layers to subspaces, while the context is open.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.
    subspaces : dict of Subspace
        Subspaces by the names of layers. Leading tokens are not projected.

    Yields
    ------
    model : torch.nn.Module
        The same model.
    """
    inner = unwrap(model)
    layout = Layout.of(inner)

    def project(name: str, output):
        value = first_tensor(output, name)
        rows = layout.to_map(value).movedim(1, -1)
        kept = subspaces[name].reconstruct(subspaces[name].project(rows)).movedim(-1, 1)
        return with_first(output, layout.from_map(kept, value))

    with hooks(model, {name: find_layer(inner, name) for name in subspaces}, project):
        yield model


@fill_doc
def projected_accuracy(
    teacher: nn.Module,
    data: Iterable,
    layer: str,
    subspace: Subspace,
    ranks: Sequence[int],
    *,
    classes: Classes | None = None,
) -> dict[int, float]:
    """Return the accuracy of a teacher after one of its layers is projected to k dimensions.

    Parameters
    ----------
    %(teacher)s
    %(data)s
    layer : str
        Name of the layer.
    subspace : Subspace
        Subspace of the layer, with at least as many dimensions as the largest rank.
    ranks : sequence of int
        Numbers of dimensions k.
    %(classes)s

    Returns
    -------
    accuracies : dict of float
        Accuracy by the number of dimensions k.
    """
    found = {}
    for rank in ranks:
        with projected(teacher, {layer: subspace.truncate(rank)}):
            found[rank] = accuracy(teacher, data, classes)
    return found
