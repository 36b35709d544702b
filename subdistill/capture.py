"""Outputs of a model's layers, and gradients with respect to them, while a context is open.

A layer's *map* is its output with the channels second, shape (batch, channels, *space): what a
convolution returns in any number of dimensions. Tokens (batch, tokens, channels) become maps of
one dimension, without the class token, and vectors maps of one position.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


class Capture:
    """Record the outputs of named modules; a context manager, after which the hooks are gone.

    A module that runs several times in a forward pass counts with its last output. Later
    operations in place do not change what was recorded.

    Parameters
    ----------
    model : torch.nn.Module
        Any model, also one that is wrapped for parallel training or by ``torch.compile``. Its
        compiled code is dropped on entering and leaving, as hooks are part of it.
    layers : iterable of str
        Names of modules, as in ``model.named_modules()``.
    gradients : bool
        Whether :meth:`gradients` will be asked for; the graph then begins at the first of the
        layers, even if the model is frozen.

    Raises
    ------
    ValueError
        If the model has no such layer; close names are listed.

    Notes
    -----
    Three axes are (batch, channels, time) in a model that holds an ``nn.Conv1d``, and tokens in
    any other; four are (batch, channels, height, width) unless the model's ``output_fmt`` is
    "NHWC". The leading tokens left out are the model's ``num_prefix_tokens``, or one if it has a
    ``class_token``. These are the attributes of timm and torchvision; give them to a model of
    your own where they are needed.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from subdistill.capture import Capture
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten())
    >>> with Capture(model, ["0"]) as captured:
    ...     output = model(torch.zeros(2, 3, 8, 8))
    ...     captured.maps()["0"].shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(self, model: nn.Module, layers: Iterable[str], *, gradients: bool = False):
        self._model, self._wants_gradients = model, gradients
        inner = unwrap(model)
        self._modules = {name: find_layer(inner, name) for name in layers}
        self._outputs: dict[str, Tensor] = {}
        self._handles = []
        self._has_1d = any(isinstance(m, nn.Conv1d) for m in inner.modules())
        self._nhwc = getattr(inner, "output_fmt", None) == "NHWC"
        one = int(hasattr(inner, "class_token"))
        self._n_prefix = getattr(inner, "num_prefix_tokens", one)

    def __enter__(self) -> Capture:
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        self._recompile()
        return self

    def __exit__(self, *error) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._outputs.clear()
        self._recompile()

    def _recompile(self) -> None:
        if hasattr(self._model, "_orig_mod"):
            torch.compiler.reset()

    def _hook(self, name: str):
        def record(module, inputs, output):
            several = type(output) in (tuple, list)
            first = output[0] if several else output
            if not isinstance(first, Tensor):
                raise TypeError(
                    f"Layer {name!r} returns {type(first).__name__}: choose a module whose output "
                    "is a tensor, or a tuple or list that begins with one."
                )
            if not self._wants_gradients:
                self._outputs[name] = first.clone()
                return None
            if not first.requires_grad:
                first = first.detach().requires_grad_()
            self._outputs[name] = first
            return type(output)([first.clone(), *output[1:]]) if several else first.clone()

        return record

    def _as_map(self, value: Tensor) -> Tensor:
        if value.ndim == 2:
            return value[:, :, None]
        if value.ndim == 3 and not self._has_1d:
            return value[:, self._n_prefix :].transpose(1, 2)
        if value.ndim == 4 and self._nhwc:
            return value.permute(0, 3, 1, 2)
        return value

    def maps(self) -> dict[str, Tensor]:
        """Maps of the layers in the last forward pass.

        Returns
        -------
        maps : dict of Tensor, shape (batch, channels, *space)
            One for each layer.
        """
        missing = [name for name in self._modules if name not in self._outputs]
        if missing:
            raise RuntimeError(
                f"Layer {missing[0]!r} did not run: call the model inside the context first, and "
                "choose layers that its forward() uses."
            )
        return {name: self._as_map(self._outputs[name]) for name in self._modules}

    def gradients(self, scalar: Tensor) -> dict[str, Tensor]:
        """Gradients of the sum of a scalar with respect to the maps.

        Parameters
        ----------
        scalar : Tensor, shape (batch,)
            One number for each sample, from the output of the last forward pass.

        Returns
        -------
        gradients : dict of Tensor, shape (batch, channels, *space)
            One for each layer; samples do not mix in a model that is in evaluation mode.
        """
        outputs = [self._outputs[name] for name in self._modules]
        found = torch.autograd.grad(scalar.sum(), outputs, allow_unused=True)
        for name, gradient in zip(self._modules, found, strict=True):
            if gradient is None:
                raise ValueError(
                    f"The scalar does not depend on layer {name!r}: choose a layer before the "
                    "output, or another context."
                )
        return {n: self._as_map(g) for n, g in zip(self._modules, found, strict=True)}


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model itself, without the wrappers of compilation and parallel training."""
    if hasattr(model, "_orig_mod"):
        return unwrap(model._orig_mod)
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        return unwrap(model.module)
    return model


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the module of that name, or raise with the names that are close to it."""
    modules = dict(model.named_modules())
    if name not in modules or not name:
        close = difflib.get_close_matches(name, modules, n=5, cutoff=0.4) or list(modules)[1:6]
        raise ValueError(
            f"{type(model).__name__} has no layer {name!r}; close names are {', '.join(close)} "
            "(all: dict(model.named_modules()))."
        )
    return modules[name]


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Keep a model in evaluation mode and without gradients, whoever calls its ``train()``.

    Parameters
    ----------
    model : torch.nn.Module
        The model; it is changed in place, and as it was afterwards.

    Yields
    ------
    model : torch.nn.Module
        The same model.

    Examples
    --------
    >>> from torch import nn
    >>> from subdistill.capture import frozen
    >>> model = nn.BatchNorm1d(3)
    >>> with frozen(model):
    ...     model.train().training
    False
    >>> model.training
    True
    """
    modules = [(m, m.training) for m in model.modules() if "train" not in vars(m)]
    parameters = [(p, p.requires_grad) for p in model.parameters()]
    model.eval().requires_grad_(False)
    for module, _ in modules:
        module.train = lambda mode=True, module=module: module
    try:
        yield model
    finally:
        for module, mode in modules:
            del module.train
            module.training = mode
        for parameter, wanted in parameters:
            parameter.requires_grad_(wanted)
