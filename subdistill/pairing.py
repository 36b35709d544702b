"""Which layer of a student should learn from which layer of a teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from subdistill.capture import Layout
from subdistill.models import frozen, unwrap


@dataclass(frozen=True)
class _Layer:
    name: str
    n_positions: int


def pair_layers(teacher: nn.Module, student: nn.Module, inputs: Tensor) -> dict[str, str]:
    """Pair the last layers before each change of resolution.

    Stages of the same resolution are paired in their order. Models that share none, or that
    never change it as vision transformers do, are paired by relative depth. The last block of a
    transformer with a class token is left out: its other tokens do not reach the output.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        Two models that take the same inputs; as they were afterwards.
    inputs : Tensor, shape (batch, ...)
        A batch, as small as one likes.

    Returns
    -------
    layers : dict of str
        The student's layer for each of the teacher's.

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
    runs = [_runs(model, inputs) for model in (teacher, student)]
    if not all(runs):
        raise ValueError(
            "No layer has maps with more than one position: pass layers={teacher_name: "
            "student_name, ...}."
        )
    theirs, ours = ([run[-1] for run in stages] for stages in runs)
    same = _same_resolution(theirs, ours)
    if same and min(len(theirs), len(ours)) > 1:
        return same
    theirs, ours = (
        _blocks(stages, Layout.of(unwrap(model)).n_prefix > 0)
        for stages, model in zip(runs, (teacher, student), strict=True)
    )
    n = min(len(theirs), len(ours), max(2, min(map(len, runs))))
    picked = [
        [layers[(number + 1) * len(layers) // n - 1].name for number in range(n)]
        for layers in (theirs, ours)
    ]
    return dict(zip(*picked, strict=True))


def _same_resolution(theirs: list[_Layer], ours: list[_Layer]) -> dict[str, str]:
    """Match stages of equal resolution, in their order."""
    found, start = {}, 0
    for layer in ours:
        for number in range(start, len(theirs)):
            if theirs[number].n_positions == layer.n_positions:
                found[theirs[number].name] = layer.name
                start = number + 1
                break
    return found


def _blocks(runs: list[list[_Layer]], class_token: bool) -> list[_Layer]:
    """Stages, or the blocks of the only one: the members of its longest container."""
    if len(runs) > 1:
        return [run[-1] for run in runs]
    siblings: dict[str, list[_Layer]] = {}
    for layer in runs[0]:
        container, _, name = layer.name.rpartition(".")
        if name.isdigit():
            siblings.setdefault(container, []).append(layer)
    blocks = max(siblings.values(), key=len, default=runs[0][-1:])
    return blocks[:-1] if class_token and len(blocks) > 1 else blocks


def _runs(model: nn.Module, inputs: Tensor) -> list[list[_Layer]]:
    """Layers in the order they ran, split where the resolution changes."""
    inner = unwrap(model)
    layout, ran = Layout.of(inner), []

    def hook(name):
        def record(module, inputs, output):
            first = output[0] if type(output) in (tuple, list) else output
            if isinstance(first, Tensor) and first.ndim >= 3:
                n_positions = layout.to_map(first).shape[2:].numel()
                if n_positions > 1:
                    ran.append(_Layer(name, n_positions))

        return record

    handles = [m.register_forward_hook(hook(name)) for name, m in _outer_layers(inner)]
    try:
        with frozen(inner), torch.no_grad():
            inner(inputs)
    finally:
        for handle in handles:
            handle.remove()
    runs: list[list[_Layer]] = []
    for layer in ran:
        if not runs or runs[-1][-1].n_positions != layer.n_positions:
            runs.append([])
        runs[-1].append(layer)
    # with a class token the resolution stays; before it joins, one patch would be left out for it
    return [max(runs, key=len)] if layout.n_prefix and runs else runs


def _outer_layers(module: nn.Module, prefix: str = ""):
    """Children of the model and of its containers; what blocks are made of is left out."""
    for name, child in module.named_children():
        yield prefix + name, child
        lists = any(isinstance(c, (nn.Sequential, nn.ModuleList)) for c in child.children())
        if lists or isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _outer_layers(child, f"{prefix}{name}.")
