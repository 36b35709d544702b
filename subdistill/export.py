"""Files of a student for other programs, each compared with torch before it is kept."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from subdistill.data import Inputs, arguments, call
from subdistill.files import check_new, read_tensors, replacing, write_object, write_tensors
from subdistill.models import check_weights, frozen, unwrap


def export_student(
    student: nn.Module,
    path: str | Path,
    inputs: Inputs,
    *,
    tolerance: float = 1e-4,
    overwrite: bool = False,
) -> float:
    """Write a student to a file that gives the same outputs as torch.

    The file is read again and compared with the student. If the outputs differ, it is deleted, and
    an older file of the same name stays as it is.

    Parameters
    ----------
    student : torch.nn.Module
        The student. Its mode and parameters are restored afterwards.
    path : str | pathlib.Path
        File to write. Its suffix is the format, see :data:`subdistill.export.FORMATS`.
    inputs : Tensor | tuple of Tensor | dict of Tensor
        Inputs of the student, two samples or more. The exported program takes any batch size.
    tolerance : float
        Largest allowed difference, relative to the largest output.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    difference : float
        Largest difference between the outputs, relative to the largest output.

    Raises
    ------
    ValueError
        If the outputs differ by more than the tolerance, or weights are not finite.
    FileExistsError
        If there is a file and `overwrite` is False.

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
    check_new(path, overwrite)
    check_weights(inner, "The student")
    args, kwargs = arguments(inputs)
    if min(map(len, (*args, *kwargs.values()))) < 2:
        raise ValueError("Pass two samples or more, so that the axis of the batch is known.")
    with replacing(path) as new, frozen(inner), torch.no_grad():
        wanted = call(inner, inputs)
        found = FORMATS[path.suffix](inner, new, inputs)
        difference = float((found - wanted).abs().max() / wanted.abs().max())
        if not difference <= tolerance:
            raise ValueError(
                f"{path} would give other outputs than torch: the largest difference is "
                f"{difference:.2g} of the largest output. Export to another format."
            )
    return difference


def _state(student: nn.Module, path: Path, inputs: Inputs) -> Tensor:
    """Write parameters and buffers; return the outputs of a student that has read them."""
    write_tensors(path, student.state_dict())
    other = copy.deepcopy(student)
    for tensor in (*other.parameters(), *other.buffers()):
        tensor.zero_()
    other.load_state_dict(read_tensors(path, "a student"))
    return call(other, inputs)


def _program(student: nn.Module, path: Path, inputs: Inputs) -> Tensor:
    """Write a graph that torch runs without the student's code; return its outputs."""
    args, kwargs = arguments(inputs)
    batch = {0: Dim("batch")}
    shapes = dict.fromkeys(kwargs, batch) or (batch,) * len(args)
    program = torch.export.export(student, args, kwargs, dynamic_shapes=shapes)
    write_object(torch.export.save, program, path)
    return call(torch.export.load(path).module(), inputs)


def _onnx(student: nn.Module, path: Path, inputs: Inputs) -> Tensor:
    """Write a graph for onnxruntime and other programs; return its outputs.

    Inputs have the names of the keyword arguments, or else ``inputs``, ``inputs_1`` and so on.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it tells Microsoft of what it runs
    import onnxruntime

    args, kwargs = arguments(inputs)
    names = list(kwargs) or [f"inputs_{k}" if k else "inputs" for k in range(len(args))]
    batch = {0: "batch"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*axis name: batch will not be used")  # used once
        torch.onnx.export(
            student, args, path, kwargs=kwargs, input_names=names, output_names=["outputs"],
            dynamic_shapes=dict.fromkeys(kwargs, batch) or (batch,) * len(args),
            external_data=False, verbose=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    tensors = zip(names, (*args, *kwargs.values()), strict=True)
    (found,) = session.run(None, {name: tensor.cpu().numpy() for name, tensor in tensors})
    return torch.from_numpy(found).to(next(iter((*args, *kwargs.values()))).device)


FORMATS: dict[str, Callable[[nn.Module, Path, Inputs], Tensor]] = {
    ".safetensors": _state,
    ".pt2": _program,
    ".onnx": _onnx,
}
"""Functions that write a file, by its suffix: parameters, a torch.export program, an ONNX graph.

TorchScript is not among them: torch warns when it is written and when it is read, and recommends
torch.export instead. ``torch.jit.trace(student.eval(), inputs)`` still makes it.
"""
