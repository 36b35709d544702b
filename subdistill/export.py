"""Students as files for other programs, each checked against torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from subdistill.models import frozen, unwrap


def export_student(
    student: nn.Module, path: str | Path, inputs: Tensor, *, tolerance: float = 1e-4
) -> float:
    """Write a student, read the file again, and compare what comes out.

    Parameters
    ----------
    student : torch.nn.Module
        The student; as it was afterwards.
    path : str | pathlib.Path
        File to write; its ending says how, see :data:`FORMATS`.
    inputs : Tensor, shape (batch, ...)
        Two inputs or more; programs take any batch.
    tolerance : float
        Largest difference, relative to the largest output.

    Returns
    -------
    difference : float
        The largest difference between the outputs, relative to the largest output.

    Raises
    ------
    ValueError
        If the outputs differ by more than the tolerance.

    Examples
    --------
    >>> import torch
    >>> from subdistill import export_student
    >>> export_student(torch.nn.Linear(3, 2), "student.onnx", torch.rand(2, 3))  # doctest: +SKIP
    2.1e-08
    """
    path, inner = Path(path), unwrap(student)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(FORMATS)}.")
    if len(inputs) < 2:
        raise ValueError("Pass two inputs or more, so that programs know the batch from the rest.")
    with frozen(inner), torch.no_grad():
        wanted = inner(inputs)
        found = FORMATS[path.suffix](inner, path, inputs)
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    if not difference <= tolerance:
        raise ValueError(
            f"{path} gives other outputs than torch: the largest difference is {difference:.2g} of "
            "the largest output. Export to another format."
        )
    return difference


def _state(student: nn.Module, path: Path, inputs: Tensor) -> Tensor:
    """Parameters and buffers."""
    from safetensors.torch import load_file, save_file

    save_file({k: v.contiguous() for k, v in student.state_dict().items()}, path)
    other = copy.deepcopy(student)
    for tensor in (*other.parameters(), *other.buffers()):
        tensor.zero_()
    other.load_state_dict(load_file(path))
    return other(inputs)


def _program(student: nn.Module, path: Path, inputs: Tensor) -> Tensor:
    """A graph for torch without the code of the student."""
    shapes = ({0: Dim("batch")},)
    torch.export.save(torch.export.export(student, (inputs,), dynamic_shapes=shapes), path)
    return torch.export.load(path).module()(inputs)


def _onnx(student: nn.Module, path: Path, inputs: Tensor) -> Tensor:
    """A graph for onnxruntime and others."""
    import onnxruntime

    torch.onnx.export(
        student, (inputs,), path, input_names=["inputs"], output_names=["outputs"],
        dynamic_shapes=({0: "batch"},), external_data=False, verbose=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"inputs": inputs.cpu().numpy()})
    return torch.from_numpy(found).to(inputs.device)


FORMATS: dict[str, Callable[[nn.Module, Path, Tensor], Tensor]] = {
    ".safetensors": _state,
    ".pt2": _program,
    ".onnx": _onnx,
}
"""Writers by the ending of the file: parameters, a torch.export program, an ONNX graph.

TorchScript is not among them: torch warns when it is written and when it is read, and names
torch.export as its successor. ``torch.jit.trace(student.eval(), inputs)`` still makes it.
"""
