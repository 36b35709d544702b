"""Teachers and students for images, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from subdistill.files import read_checkpoint, read_tensors
from subdistill.models import check_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue, by which most teachers want images scaled."""


# %% Models of our own


class SmallCNN(nn.Module):
    """Three stages of two convolutions each, a student for small images.

    Parameters
    ----------
    n_classes : int
        Number of outputs.
    widths : sequence of int
        Number of channels of each stage. Each stage but the first halves the resolution. With four
        classes, the default has 18,428 parameters.

    Examples
    --------
    >>> import torch
    >>> from subdistill.vision.models import SmallCNN
    >>> SmallCNN(4)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4])
    """

    def __init__(self, n_classes: int, widths: Sequence[int] = (8, 16, 32)):
        super().__init__()
        ends = [3, *widths]
        self.stages = nn.Sequential()
        for number, (n_in, n_out) in enumerate(zip(ends[:-1], widths, strict=True)):
            first = _conv(n_in, n_out, stride=2 if number else 1)
            self.stages.append(nn.Sequential(first, _conv(n_out, n_out, stride=1)))
        self.linear = nn.Linear(widths[-1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 3, height, width) to logits (batch, n_classes)."""
        return self.linear(self.stages(images).mean(dim=(2, 3)))


def _conv(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut without parameters.

    Parameters
    ----------
    n_in, n_out : int
        Number of channels of the input and the output.
    stride : int
        Stride of the first convolution and of the shortcut.
    """

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU()
        self.stride, self.pad = stride, (n_out - n_in) // 2

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two terms: subsampled inputs padded with channels of zeros, and residual."""
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.pad, self.pad))
        return shortcut, self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))

    def finish(self, total: Tensor) -> Tensor:
        """Return the output, given the sum of the branches."""
        return self.relu2(total)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_in, height, width) to (batch, n_out, height', width')."""
        shortcut, residual = self.branches(x)
        return self.finish(shortcut + residual)


class CifarResNet(nn.Module):
    """Residual network for images of 32 x 32 (He et al., 2016, section 4.2).

    Parameters
    ----------
    n_classes : int
        Number of outputs.
    n_blocks : int
        Number n of blocks in each of the three stages. The network has 6 n + 2 layers.

    References
    ----------
    He, Zhang, Ren and Sun (2016), arXiv:1512.03385.
    """

    def __init__(self, n_classes: int = 10, n_blocks: int = 9):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(16, 16, 1, n_blocks)
        self.layer2 = self._stage(16, 32, 2, n_blocks)
        self.layer3 = self._stage(32, 64, 2, n_blocks)
        self.linear = nn.Linear(64, n_classes)

    @staticmethod
    def _stage(n_in: int, n_out: int, stride: int, n_blocks: int) -> nn.Sequential:
        rest = (ResidualBlock(n_out, n_out, 1) for _ in range(n_blocks - 1))
        return nn.Sequential(ResidualBlock(n_in, n_out, stride), *rest)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 3, height, width) to logits (batch, n_classes)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "cifar_resnet20": lambda n_classes: CifarResNet(n_classes, 3),
    "cifar_resnet56": lambda n_classes: CifarResNet(n_classes, 9),
    "small_cnn": SmallCNN,
}
"""Functions of the number of classes that make the models of this package, by name."""


# %% Loading


def load_model(
    name: str, *, n_classes: int | None = None, weights: str | Path | None = "pretrained"
) -> nn.Module:
    """Load a model of timm, torchvision or this package.

    Small students like those of Chormai et al. (2026) are ``small_cnn``,
    ``timm/mobilenetv4_conv_small`` and ``timm/efficientformer_l1``.

    Parameters
    ----------
    name : str
        ``timm/<name>``, ``torchvision/<name>``, or a name in :data:`MODELS`.
    n_classes : int | None
        Number of outputs. None for the default of timm and torchvision, or for the number in the
        file of weights of a model of this package.
    weights : str | pathlib.Path | None
        "pretrained" for weights that timm or torchvision download, a file with a state dict
        (.safetensors, or written by ``torch.save``), or None for random weights.

    Returns
    -------
    model : torch.nn.Module
        The model, in evaluation mode.

    Examples
    --------
    >>> from subdistill.vision.models import load_model
    >>> student = load_model("small_cnn", n_classes=4, weights=None)
    >>> sum(p.numel() for p in student.parameters())
    18428
    >>> teacher = load_model("torchvision/resnet18")  # doctest: +SKIP
    """
    state = None if weights in (None, "pretrained") else _read_state(Path(weights))
    library, _, model_name = name.rpartition("/")
    if library not in ("", "timm", "torchvision") or (not library and name not in MODELS):
        raise ValueError(
            f"There is no model {name!r}: pass timm/<name>, torchvision/<name> or one of "
            f"{', '.join(MODELS)}."
        )
    if library:
        make = _timm if library == "timm" else _torchvision
        model = make(model_name, n_classes, weights == "pretrained")
    elif state is None and (n_classes is None or weights == "pretrained"):
        raise ValueError(f"{name} needs weights=<file>, or weights=None and n_classes=<number>.")
    else:
        model = MODELS[name](n_classes or _number_of_classes(state, weights))
    if state is not None:
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{weights} holds no weights of {name}: pass those of this model, with as many "
                f"outputs. {' '.join(str(error).split())[:300]}"
            ) from error
    check_weights(model, weights)
    return model.eval()


def _number_of_classes(state: object, path: str | Path) -> int:
    """Return the number of outputs of a model of this package, given its weights."""
    try:
        return len(state["linear.bias"])
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path} has no 'linear.bias', as the models of this package have: pass n_classes, or "
            "the weights of such a model."
        ) from error


def _timm(name: str, n_classes: int | None, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ImportError(f'{error}: pip install "mne-invkit[vision]".') from error
    if not timm.is_model(name):
        _unknown("timm", name, timm.list_models())
    return timm.create_model(name, pretrained=pretrained, num_classes=n_classes)


def _torchvision(name: str, n_classes: int | None, pretrained: bool) -> nn.Module:
    try:
        from torchvision import models
    except ImportError as error:
        raise ImportError(f'{error}: pip install "mne-invkit[vision]".') from error
    if name not in models.list_models():
        _unknown("torchvision", name, models.list_models())
    if pretrained:
        if n_classes is not None:
            raise ValueError(
                "torchvision's pretrained models have a fixed number of outputs: leave n_classes "
                "out, or pass weights=None for a student."
            )
        return models.get_model(name, weights="DEFAULT")
    return models.get_model(name, weights=None, num_classes=n_classes or 1000)


def _unknown(library: str, name: str, names: Sequence[str]) -> None:
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
    raise ValueError(f"{library} has no model {name!r}; close names are {', '.join(close)}.")


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running code from the file."""
    what = "a file of weights (a state dict: .safetensors, or written by torch.save)"
    return (read_tensors if path.suffix == ".safetensors" else read_checkpoint)(path, what)
