"""Outputs of a model's layers, and gradients with respect to them, while a context is open.

A layer's *map* is its output with the channels second, shape (batch, channels, *space): what a
convolution returns in any number of dimensions. Tokens (batch, tokens, channels) become maps of
one dimension, without the class token, and vectors maps of one position.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from subdistill.models import find_layer, unwrap


@dataclass(frozen=True)
class Layout:
    """Where a model keeps the channels of its layers.

    Three axes are (batch, channels, time) in a model that holds an ``nn.Conv1d``, and tokens in
    any other, unless the model's ``output_fmt`` is "NCL" or "NLC"; four are (batch, channels,
    height, width) unless it is "NHWC". The leading tokens left out are the model's
    ``num_prefix_tokens``, or one if it has a ``class_token``. These are the attributes of timm
    and torchvision; give them to a model of your own where they are needed.

    Attributes
    ----------
    tokens : bool
        Whether three axes are tokens.
    nhwc : bool
        Whether four axes have the channels last.
    n_prefix : int
        Leading tokens that stand for no place.
    """

    tokens: bool
    nhwc: bool
    n_prefix: int

    @classmethod
    def of(cls, model: nn.Module) -> Layout:
        """Return the layout of a model."""
        form = getattr(model, "output_fmt", None)
        has_1d = any(isinstance(m, nn.Conv1d) for m in model.modules())
        return cls(
            tokens=form == "NLC" if form in ("NCL", "NLC") else not has_1d,
            nhwc=form == "NHWC",
            n_prefix=getattr(model, "num_prefix_tokens", int(hasattr(model, "class_token"))),
        )

    def to_map(self, output: Tensor) -> Tensor:
        """Return the map of an output."""
        if output.ndim == 2:
            return output[:, :, None]
        if output.ndim == 3 and self.tokens:
            return output[:, self.n_prefix :].transpose(1, 2)
        if output.ndim == 4 and self.nhwc:
            return output.permute(0, 3, 1, 2)
        return output

    def from_map(self, value: Tensor, output: Tensor) -> Tensor:
        """Return an output with another map, its leading tokens kept."""
        if output.ndim == 2:
            return value[:, :, 0]
        if output.ndim == 3 and self.tokens:
            return torch.cat([output[:, : self.n_prefix], value.transpose(1, 2)], dim=1)
        if output.ndim == 4 and self.nhwc:
            return value.permute(0, 2, 3, 1)
        return value


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
        layers, even if the model is frozen, and compiled code waits: gradients inside of it
        cannot be had.

    Raises
    ------
    ValueError
        If the model has no such layer; close names are listed.

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
        self._open = ExitStack()
        self._layout = Layout.of(inner)

    def __enter__(self) -> Capture:
        for name, module in self._modules.items():
            self._open.callback(module.register_forward_hook(self._hook(name)).remove)
        if self._wants_gradients:
            self._open.enter_context(torch.compiler.set_stance("force_eager"))
        self._recompile()
        return self

    def __exit__(self, *error) -> None:
        self._open.close()
        self._outputs.clear()
        self._recompile()

    def _recompile(self) -> None:
        if any(hasattr(module, "_orig_mod") for module in self._model.modules()):
            torch.compiler.reset()

    def _hook(self, name: str):
        def record(module, inputs, output):
            first = first_tensor(output, name)
            if not self._wants_gradients:
                self._outputs[name] = first.clone()
                return None
            if not first.requires_grad:
                first = first.detach().requires_grad_()
            self._outputs[name] = first
            return with_first(output, first.clone())

        return record

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
        return {name: self._layout.to_map(self._outputs[name]) for name in self._modules}

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
        return {n: self._layout.to_map(g) for n, g in zip(self._modules, found, strict=True)}


def first_tensor(output, name: str) -> Tensor:
    """Return the output of a layer, or what it begins with."""
    first = output[0] if type(output) in (tuple, list) else output
    if not isinstance(first, Tensor):
        raise TypeError(
            f"Layer {name!r} returns {type(first).__name__}: choose a module whose output is a "
            "tensor, or a tuple or list that begins with one."
        )
    return first


def with_first(output, first: Tensor):
    """Return the output of a layer that begins with another tensor."""
    return first if isinstance(output, Tensor) else type(output)([first, *output[1:]])
