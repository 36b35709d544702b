"""Descriptions of arguments that several functions share."""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import indent
from typing import TypeVar

Documented = TypeVar("Documented", bound=Callable)

SHARED = {
    "classes": """\
classes : sequence of (int | sequence of int) | None
    Outputs of the model that belong to the subtask, in the order of its labels. A group of
    outputs counts as one class. None for all outputs.""",
    "classifier": """\
model : torch.nn.Module
    A classifier. Its mode and parameters are restored afterwards.""",
    "context": """\
context : str | callable | None
    Scalar of the output whose gradient tells which activations matter: a name in
    :data:`subdistill.moments.CONTEXTS`, or a function of output and targets that returns one
    number for each sample. None to measure no gradients.""",
    "data": """\
data : iterable
    Batches, such as a DataLoader or a list. A batch is either the inputs or a tuple (inputs,
    targets). Inputs are a tensor, a tuple of tensors in the order of the model's arguments, or
    a dict of tensors by the names of the arguments; see :mod:`subdistill.data`.""",
    "explained": """\
inputs : Tensor, shape (batch, channels, *space)
    Inputs to explain.
targets : Tensor of int, shape (batch,)
    Class to explain for each input.""",
    "explainer": """\
method : str | callable
    Name in :data:`subdistill.explain.EXPLAINERS`, or a function of model, inputs and targets
    that returns attributions of the shape of the inputs.""",
    "layer_names": """\
layers : dict of str
    Name of the student's layer for the name of each of the teacher's layers.""",
    "method": """\
method : str | callable
    Name in :data:`subdistill.subspace.SUBSPACES`, or a function of moments and generator that
    returns spectrum and basis.""",
    "output_loss": """\
output_loss : callable
    Function of the student's and the teacher's output that returns a scalar.""",
    "teacher": """\
teacher : torch.nn.Module
    The teacher. Its mode and parameters are restored afterwards.""",
}
"""Text by the name that stands for it in a docstring, as in ``%(classes)s``."""


def fill_doc(function: Documented) -> Documented:
    """Fill the shared descriptions into a docstring, in place of their names.

    Parameters
    ----------
    function : callable
        Function or class with a docstring.

    Returns
    -------
    function : callable
        The same function.
    """

    def described(match: re.Match) -> str:
        return indent(SHARED[match[2]], match[1])

    function.__doc__ = re.sub(r"(?m)^( *)%\((\w+)\)s$", described, function.__doc__ or "")
    return function
