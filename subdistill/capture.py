"""What a model's layers return: shapes, maps, and gradients with respect to the maps.

The *map* of a layer is its output with the channels second, shape (batch, channels, *space): what a
convolution returns in any number of dimensions. Tokens (batch, tokens, channels) become maps of
one dimension, without the class token. Vectors become maps of one position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from subdistill.data import Inputs, call
from subdistill.models import find_layer, frozen, unwrap

# %% Hooks


@contextmanager
def hooks(
    model: nn.Module, layers: Mapping[str, nn.Module], hook: Callable[[str, object], object]
) -> Iterator[None]:
    """Call a function with all that some layers return, while the context is open.

    Parameters
    ----------
    model : torch.nn.Module
        The model that has the layers. If parts of it are compiled, the compiled code is dropped
        on entering and leaving, because hooks are part of it.
    layers : dict of torch.nn.Module
        Layers by name.
    hook : callable
        Function of a layer's name and output, called each time that the layer runs. If it returns
        something, this takes the place of the output.
    """
    compiled = any(hasattr(module, "_orig_mod") for module in model.modules())
    drop = torch.compiler.reset if compiled else lambda: None

    def named(name: str):
        return lambda module, inputs, output: hook(name, output)

    with ExitStack() as opened:
        opened.callback(drop)
        for name, module in layers.items():
            opened.callback(module.register_forward_hook(named(name)).remove)
        drop()
        yield


def first_tensor(output: object, name: str) -> Tensor:
    """Return the output of a layer, or the tensor that a tuple or list begins with."""
    first = _first(output)
    if not isinstance(first, Tensor):
        raise TypeError(
            f"Layer {name!r} returns {type(first).__name__}: choose a module whose output is a "
            "tensor, or a tuple or list that begins with one."
        )
    return first


def _first(output):
    return output[0] if type(output) in (tuple, list) and output else output


def with_first(output: object, first: Tensor) -> object:
    """Return the output of a layer with another tensor in place of its first one."""
    return first if isinstance(output, Tensor) else type(output)([first, *output[1:]])


# %% Maps


@dataclass(frozen=True)
class Layout:
    """Which axis of a layer's output holds the channels.

    Outputs of three axes are (batch, channels, time) in a model that holds an ``nn.Conv1d``, and
    tokens in any other, unless the model's ``output_fmt`` is "NCL" or "NLC". Outputs of four axes
    are (batch, channels, height, width) unless it is "NHWC". As many leading tokens are left out
    as the model's ``num_prefix_tokens`` says, or one if it has a ``class_token``. These attributes
    are those of timm and torchvision; set them on a model of your own where they are needed.

    Attributes
    ----------
    tokens : bool
        Whether outputs of three axes are tokens.
    nhwc : bool
        Whether outputs of four axes have the channels last.
    n_prefix : int
        Number of leading tokens that belong to no position.
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
        """Return an output with another map; its leading tokens stay."""
        if output.ndim == 2:
            return value[:, :, 0]
        if output.ndim == 3 and self.tokens:
            return torch.cat([output[:, : self.n_prefix], value.transpose(1, 2)], dim=1)
        if output.ndim == 4 and self.nhwc:
            return value.permute(0, 2, 3, 1)
        return value


# %% Shapes


@dataclass(frozen=True)
class Layer:
    """What a layer returned in one call.

    Attributes
    ----------
    name : str
        Name of the module, as in ``model.named_modules()``.
    outer : bool
        Whether the module is a child of the model or of a container, not a part of a block.
    layout : Layout
        Which axis of the output holds the channels.
    shape : tuple of int
        Shape of the map, (batch, channels, *space).
    """

    name: str
    outer: bool
    layout: Layout
    shape: tuple[int, ...]

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.shape[1]

    @property
    def n_positions(self) -> int:
        """Number of positions of the map."""
        return math.prod(self.shape[2:])


@dataclass(frozen=True)
class Probe:
    """What a model and its layers returned in one forward pass.

    Attributes
    ----------
    model : torch.nn.Module
        The model, without wrappers.
    output : Tensor
        Output of the model.
    layers : list of Layer
        One entry for each call of a layer, in the order in which they returned.
    """

    model: nn.Module
    output: Tensor
    layers: list[Layer]

    def __getitem__(self, name: str) -> Layer:
        """Return the last call of a layer."""
        find_layer(self.model, name)
        found = [layer for layer in self.layers if layer.name == name]
        if not found:
            raise ValueError(
                f"Layer {name!r} returned no map: choose a layer that the model's forward() uses, "
                "and whose output is a tensor, or a tuple or list that begins with one."
            )
        return found[-1]


def probe(model: nn.Module, inputs: Inputs) -> Probe:
    """Run a model once and record what each of its layers returned.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Its mode and parameters are restored afterwards.
    inputs : Tensor | tuple of Tensor | dict of Tensor
        Inputs of the model; a small batch is enough.

    Returns
    -------
    probe : Probe
        Output of the model, and the calls of its layers.

    Examples
    --------
    >>> import torch
    >>> from subdistill.capture import probe
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> probe(model, torch.zeros(2, 3, 8, 8))["1"].shape
    (2, 4, 6, 6)
    """
    inner = unwrap(model)
    layout, outer, layers = Layout.of(inner), set(_outer_names(inner)), []

    def record(name: str, output) -> None:
        first = _first(output)
        if isinstance(first, Tensor) and first.ndim >= 2:
            shape = tuple(layout.to_map(first).shape)
            layers.append(Layer(name, name in outer, layout, shape))

    modules = {name: module for name, module in inner.named_modules() if name}
    with frozen(inner), torch.no_grad(), hooks(inner, modules, record):
        output = call(inner, inputs)
    return Probe(inner, output, layers)


def _outer_names(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of the children of a model and of its containers, but not of the parts of blocks."""
    for name, child in module.named_children():
        yield prefix + name
        lists = any(isinstance(c, (nn.Sequential, nn.ModuleList)) for c in child.children())
        if lists or isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _outer_names(child, f"{prefix}{name}.")


# %% Outputs and gradients


class Capture:
    """Keep what named layers return, while the context is open.

    If a layer runs several times in a forward pass, its last output is kept. Later operations in
    place do not change what was kept.

    Parameters
    ----------
    model : torch.nn.Module
        Any model, also one that is wrapped for parallel training or by ``torch.compile``.
    layers : iterable of str
        Names of modules, as in ``model.named_modules()``.
    gradients : bool
        Whether :meth:`gradients` will be called. The graph then begins at the first of the layers,
        even if the model is frozen, and compiled models run without their compiled code, inside of
        which there are no gradients.

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
        if self._wants_gradients:
            self._open.enter_context(torch.compiler.set_stance("force_eager"))
        self._open.enter_context(hooks(self._model, self._modules, self._record))
        return self

    def __exit__(self, *error) -> None:
        self._open.close()
        self._outputs.clear()

    def _record(self, name: str, output):
        first = first_tensor(output, name)
        if not self._wants_gradients:
            self._outputs[name] = first.clone()
            return None
        if not first.requires_grad:
            first = first.detach().requires_grad_()
        self._outputs[name] = first
        return with_first(output, first.clone())

    def maps(self) -> dict[str, Tensor]:
        """Return the maps of the layers in the last forward pass.

        Returns
        -------
        maps : dict of Tensor, shape (batch, channels, *space)
            Map of each layer.
        """
        missing = [name for name in self._modules if name not in self._outputs]
        if missing:
            raise RuntimeError(
                f"Layer {missing[0]!r} did not run: call the model inside the context first, and "
                "choose layers that its forward() uses."
            )
        return {name: self._layout.to_map(self._outputs[name]) for name in self._modules}

    def gradients(self, scalar: Tensor) -> dict[str, Tensor]:
        """Return the gradients of the sum of a scalar with respect to the maps.

        Parameters
        ----------
        scalar : Tensor, shape (batch,)
            One number for each sample, from the output of the last forward pass.

        Returns
        -------
        gradients : dict of Tensor, shape (batch, channels, *space)
            Gradient for each layer. Samples do not mix if the model is in evaluation mode.
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
