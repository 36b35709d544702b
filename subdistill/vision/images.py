"""Images from folders or from torchvision, as tensors."""

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
    """Load images with labels and the names of their classes.

    Parameters
    ----------
    source : str | pathlib.Path
        A folder with the folders ``train`` and ``test`` (or ``val``), which hold one folder of
        images for each class; or ``torchvision/<name>``, a data set of torchvision in `root`.
    train : bool
        Whether to load the training images or the test images.
    root : str | pathlib.Path
        Folder of torchvision's data sets. Nothing is downloaded.
    transform : callable
        Function that turns an image into an input of the models, see
        :func:`subdistill.vision.images.image_transform`.

    Returns
    -------
    data : torch.utils.data.Dataset
        Images with labels; its attribute ``classes`` is the list of names.
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
            raise ValueError(
                f"torchvision has no data set {name!r}; close names are {', '.join(close)}."
            )
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
    """Make a function that turns an image of PIL into a normalized tensor.

    Parameters
    ----------
    size : int
        Height and width of the tensor.
    train : bool
        Whether to shift images by up to an eighth of the size and flip them at random.
    mean, std : sequence of float
        Mean and standard deviation of red, green and blue for the normalization.

    Returns
    -------
    transform : callable
        The argument `transform` of :func:`load_images`.
    """
    from torchvision.transforms import v2

    augment = [v2.RandomCrop(size, padding=size // 8), v2.RandomHorizontalFlip()] if train else []
    return v2.Compose([
        v2.Resize(size), v2.CenterCrop(size), *augment,
        v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std),
    ])  # fmt: skip
