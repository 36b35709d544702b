"""Which layer of a student should learn from which layer of a teacher."""

from __future__ import annotations

from torch import nn

from subdistill.capture import Layer, Probe, probe
from subdistill.data import Inputs


def pair_layers(teacher: nn.Module, student: nn.Module, inputs: Inputs) -> dict[str, str]:
    """Pair the last layers before each change of resolution.

    Stages of the same resolution are paired in their order. Models that share no resolution, or
    that never change it, as vision transformers, are paired by relative depth. The last block of
    a transformer with a class token is left out, because its other tokens do not reach the output.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        Two models that take the same inputs. Their modes and parameters are restored afterwards.
    inputs : Tensor | tuple of Tensor | dict of Tensor
        Inputs of both models; a small batch is enough.

    Returns
    -------
    layers : dict of str
        Name of the student's layer for the name of each of the teacher's layers.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from subdistill import pair_layers
    >>> def net(width):
    ...     return nn.Sequential(
    ...         nn.Conv2d(3, width, 3, padding=1), nn.ReLU(),
    ...         nn.Conv2d(width, width, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ...     )
    >>> pair_layers(net(16), net(8), torch.zeros(1, 3, 8, 8))
    {'1': '1', '2': '2'}
    """
    return match_layers(probe(teacher, inputs), probe(student, inputs))


def match_layers(teacher: Probe, student: Probe) -> dict[str, str]:
    """Pair the layers of two models that have run already; see :func:`pair_layers`.

    Parameters
    ----------
    teacher, student : Probe
        What the layers of the two models returned.

    Returns
    -------
    layers : dict of str
        Name of the student's layer for the name of each of the teacher's layers.
    """
    stages = [_stages(model) for model in (teacher, student)]
    if not all(stages):
        raise ValueError(
            "No layer has maps with more than one position: pass layers={teacher_name: "
            "student_name, ...}."
        )
    theirs, ours = ([stage[-1] for stage in model] for model in stages)
    same = _same_resolution(theirs, ours)
    if same and min(len(theirs), len(ours)) > 1:
        return same
    theirs, ours = map(_blocks, stages)
    n = min(len(theirs), len(ours), max(2, min(map(len, stages))))
    picked = [
        [layers[(number + 1) * len(layers) // n - 1].name for number in range(n)]
        for layers in (theirs, ours)
    ]
    return dict(zip(*picked, strict=True))


def _stages(model: Probe) -> list[list[Layer]]:
    """Outer layers in the order they ran, split where the resolution changes."""
    stages: list[list[Layer]] = []
    for layer in model.layers:
        if layer.outer and layer.n_positions > 1:
            if not stages or stages[-1][-1].n_positions != layer.n_positions:
                stages.append([])
            stages[-1].append(layer)
    # A class token joins after the patches are embedded: this change of resolution is none.
    return [max(stages, key=len)] if stages and stages[0][0].layout.n_prefix else stages


def _same_resolution(theirs: list[Layer], ours: list[Layer]) -> dict[str, str]:
    """Match stages of equal resolution, in their order."""
    found, start = {}, 0
    for layer in ours:
        for number in range(start, len(theirs)):
            if theirs[number].n_positions == layer.n_positions:
                found[theirs[number].name] = layer.name
                start = number + 1
                break
    return found


def _blocks(stages: list[list[Layer]]) -> list[Layer]:
    """Last layers of the stages; or, of a single stage, the members of its longest container."""
    if len(stages) > 1:
        return [stage[-1] for stage in stages]
    siblings: dict[str, list[Layer]] = {}
    for layer in stages[0]:
        container, _, name = layer.name.rpartition(".")
        if name.isdigit():
            siblings.setdefault(container, []).append(layer)
    blocks = max(siblings.values(), key=len, default=stages[0][-1:])
    return blocks[:-1] if blocks[0].layout.n_prefix and len(blocks) > 1 else blocks
