"""Images in folders, or from torchvision, as tensors."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from subdistill.vision.models import IMAGENET_MEAN, IMAGENET_STD


def load_images(
    source: str | Path, *, train: bool = True, root: str | Path = "data", transform: Callable
) -> Dataset:
    """Images with labels and the names of their classes.

    Parameters
    ----------
    source : str | pathlib.Path
        A folder with ``train`` and ``test`` or ``val`` in it, each with a folder for each class,
        or ``torchvision/<name>`` of a data set that lies in `root` already.
    train : bool
        Whether to take the part for training.
    root : str | pathlib.Path
        Where torchvision looks.
    transform : callable
        Turns an image into what the models take; see :func:`image_transform`.

    Returns
    -------
    data : torch.utils.data.Dataset
        With ``classes``, a list of names.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(f'{error}: pip install "mne-invkit[vision]".') from error
    library, _, name = str(source).partition("/")
    if library == "torchvision":
        make = getattr(datasets, name, None)
        if name not in datasets.__all__:
            close = difflib.get_close_matches(name, datasets.__all__, n=5, cutoff=0.4)
            raise ValueError(f"torchvision has no data set {name!r}; close are {', '.join(close)}.")
        by_flag = "train" in inspect.signature(make).parameters
        part = {"train": train} if by_flag else {"split": "train" if train else "test"}
        return make(root, transform=transform, **part)
    for part in ["train"] if train else ["test", "val"]:
        if (Path(source) / part).is_dir():
            return datasets.ImageFolder(Path(source) / part, transform)
    raise FileNotFoundError(
        f"{source} has no folder {'train' if train else 'test or val'}: put a folder of images for "
        "each class there, or pass torchvision/<name>."
    )


def image_transform(
    size: int,
    *,
    train: bool = False,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Callable:
    """Turn an image of PIL into a normalized tensor.

    Parameters
    ----------
    size : int
        Height and width.
    train : bool
        Whether to shift by up to an eighth and flip at random.
    mean, std : sequence of float
        Of red, green and blue, which images are normalized with.

    Returns
    -------
    transform : callable
        For :func:`load_images`.
    """
    from torchvision.transforms import v2

    augment = [v2.RandomCrop(size, padding=size // 8), v2.RandomHorizontalFlip()] if train else []
    return v2.Compose([
        v2.Resize(size), v2.CenterCrop(size), *augment,
        v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std),
    ])  # fmt: skip
