"""A torch model: without its wrappers, its layers by name, frozen while it teaches."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model without the wrappers of compilation and parallel training."""
    if hasattr(model, "_orig_mod"):
        return unwrap(model._orig_mod)
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        return unwrap(model.module)
    return model


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the module of a name; if there is none, raise an error that lists close names."""
    modules = {known: module for known, module in model.named_modules() if known}
    if name not in modules:
        close = difflib.get_close_matches(name, modules, n=5, cutoff=0.4) or list(modules)[:5]
        raise ValueError(
            f"{type(model).__name__} has no layer {name!r}; close names are {', '.join(close)} "
            "(all: dict(model.named_modules()))."
        )
    return modules[name]


def check_weights(model: nn.Module, whose: str | Path) -> None:
    """Raise if weights of a model are infinite or not a number.

    Parameters
    ----------
    model : torch.nn.Module
        The model. Its buffers may be infinite, as masks are.
    whose : str | pathlib.Path
        The model or its file, for the error.
    """
    bad = [name for name, value in model.named_parameters() if not value.isfinite().all()]
    bad += [name for name, value in model.named_buffers() if value.isnan().any()]
    if bad:
        raise ValueError(
            f"{whose} is of no use: its weights {bad[0]!r} are infinite or not a number (NaN). "
            "Train it again."
        )


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Keep a model in evaluation mode and without gradients, even if ``train()`` is called.

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is changed in place. Its mode and parameters are restored afterwards.

    Yields
    ------
    model : torch.nn.Module
        The same model.

    Examples
    --------
    >>> from torch import nn
    >>> from subdistill.models import frozen
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
