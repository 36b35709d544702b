"""Images from folders or from torchvision, as tensors."""

from __future__ import annotations

import difflib
import inspect
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from subdistill.vision.models import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from PIL import Image


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
        if name not in datasets.__all__:
            names = datasets.__all__
            close = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
            raise ValueError(
                f"torchvision has no data set {name!r}; close names are {', '.join(close)}."
            )
        make = getattr(datasets, name)
        by_flag = "train" in inspect.signature(make).parameters
        part = {"train": train} if by_flag else {"split": "train" if train else "test"}
        try:
            return make(root, transform=transform, **part)
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            raise type(error)(f"{source} cannot be read from {root}: {error}") from error
    for part in ["train"] if train else ["test", "val"]:
        if (Path(source) / part).is_dir():
            _check_links(str(Path(source) / part))
            return datasets.ImageFolder(Path(source) / part, transform, loader=read_image)
    raise FileNotFoundError(
        f"{source} has no folder {'train' if train else 'test or val'}: put a folder of images for "
        "each class there, or pass torchvision/<name>."
    )


def _check_links(folder: str, above: tuple[str, ...] = ()) -> None:
    """Raise if a link leads back to a folder above it, which would be searched without end."""
    real = os.path.realpath(folder)
    if real in above:
        raise ValueError(f"{folder} is a link to a folder above it: remove the link.")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                _check_links(entry.path, (*above, real))


def read_image(path: str) -> Image.Image:
    """Read an image; an error names its file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    image : PIL.Image.Image
        The image, in red, green and blue.
    """
    from PIL import Image

    if not os.path.isfile(path):
        raise ImageError(f"{path} is no ordinary file: remove it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.convert("RGB")
    except Exception as error:  # PIL raises errors of many kinds, also SyntaxError
        raise ImageError(f"{path} cannot be read ({error}): replace or remove it.") from error


class ImageError(ValueError):
    """An image that cannot be read. Worker processes put their traceback before the sentence."""

    def __init__(self, message: str):
        super().__init__(message.strip().rpartition("ImageError: ")[2])


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
