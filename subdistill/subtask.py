"""Images of a subtask: some classes, groups of classes, a share of the samples."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from subdistill.vision import IMAGENET_MEAN, IMAGENET_STD

SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""The 20 superclasses of CIFAR-100, as torchvision spells their classes (Krizhevsky, 2009)."""


# %% Classes


def find_classes(names: Sequence[str], classes: Sequence) -> list[int | list[int]]:
    """Numbers of classes that are given by name.

    Parameters
    ----------
    names : sequence of str
        Names of all classes, in the order of their numbers; see :func:`class_names`.
    classes : sequence
        Each a number, a name or some of several with commas between them ("tench" for "tench, Tinca
        tinca"), a word with an asterisk at its end for all names that contain it
        ("terrier*"), a superclass of CIFAR-100, which stands for its five classes, or a list of
        these, which becomes a group that counts as one class.

    Returns
    -------
    numbers : list of (int | list of int)
        What ``classes`` of :func:`subdistill.distill.distill` takes.

    Examples
    --------
    >>> from subdistill.subtask import find_classes
    >>> find_classes(["cat", "fox terrier", "bull terrier", "car"], ["terrier*", ["cat", "car"]])
    [1, 2, [0, 3]]
    """
    found = []
    for entry in classes:
        if isinstance(entry, (list, tuple)):
            found.append(find_classes(names, entry))
        else:
            found.extend(_find(names, entry))
    flat = [n for entry in found for n in (entry if isinstance(entry, list) else [entry])]
    if len(set(flat)) < len(flat):
        raise ValueError(f"The classes {list(classes)} name a class twice: {flat}.")
    return found


def _find(names: Sequence[str], entry: int | str) -> list[int]:
    if isinstance(entry, int):
        if not 0 <= entry < len(names):
            raise ValueError(f"There is no class {entry}, only 0 to {len(names) - 1}.")
        return [entry]
    words = set(entry.split(", "))
    found = [n for n, name in enumerate(names) if entry == name or words <= {*name.split(", ")}]
    if len(found) > 1:
        raise ValueError(f"Several classes are called {entry!r}: pass one of the numbers {found}.")
    if found:
        return found
    if entry in SUPERCLASSES and set(SUPERCLASSES[entry]) <= set(names):
        return [names.index(name) for name in SUPERCLASSES[entry]]
    if entry.endswith("*"):
        found = [n for n, name in enumerate(names) if entry[:-1].lower() in name.lower()]
        if found:
            return found
    close = difflib.get_close_matches(entry, names, n=5, cutoff=0.4) or list(names[:5])
    raise ValueError(f"There is no class {entry!r}; close names are {', '.join(close)}.")


def class_names(data: Dataset) -> list[str]:
    """Names of all classes in words, in the order of their numbers.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        A data set of torchvision or an ImageFolder, which have ``classes``.

    Returns
    -------
    names : list of str
        Synonyms have commas between them. Numbers of WordNet, which are the folders of ImageNet,
        get its words before them, by timm: "Chihuahua, n02085620".
    """
    names = [name if isinstance(name, str) else ", ".join(name) for name in data.classes]
    if not all(re.fullmatch(r"n\d{8}", name) for name in names):
        return names
    try:
        from timm.data import ImageNetInfo
    except ImportError as error:
        raise ImportError(f'{error}: pip install "mne-invkit[vision]".') from error
    words = ImageNetInfo("imagenet-22k")
    known = set(words.label_names())

    def described(name: str) -> str:
        return f"{words.label_name_to_description(name, detailed=False)}, {name}"

    return [described(name) if name in known else name for name in names]


def labels_of(data: Dataset) -> Tensor:
    """Labels of all samples without reading the images.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        A data set of torchvision, an ImageFolder, a subset of one, or any with ``targets``.

    Returns
    -------
    labels : Tensor of int, shape (n_samples,)
        The labels.
    """
    if isinstance(data, Subset):
        return labels_of(data.dataset)[torch.as_tensor(data.indices, dtype=torch.long)]
    for name in ("targets", "labels", "_labels"):
        if hasattr(data, name):
            return torch.as_tensor(getattr(data, name)).long()
    raise ValueError(
        f"{type(data).__name__} does not tell its labels: give it an attribute `targets`, a list "
        "with the class of each sample."
    )


class Selection(Dataset):
    """Samples of some classes, with labels from 0 on.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Pairs of image and label.
    indices : sequence of int
        Samples to keep.
    targets : sequence of int
        Their new labels.
    """

    def __init__(self, data: Dataset, indices: Sequence[int], targets: Sequence[int]):
        self.data, self.indices, self.targets = data, list(indices), list(targets)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int):
        return self.data[self.indices[number]][0], self.targets[number]


def select_classes(data: Dataset, classes: Sequence[int | Sequence[int]]) -> Selection:
    """Samples of a subtask, with its labels.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Pairs of image and label; see :func:`labels_of`.
    classes : sequence of (int | sequence of int)
        Classes in the order of their new labels; a group counts as one class. With two groups
        this is some versus others.

    Returns
    -------
    selection : Selection
        The samples.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from subdistill.subtask import select_classes
    >>> data = TensorDataset(torch.arange(6), torch.tensor([0, 1, 2, 0, 1, 2]))
    >>> data.targets = data.tensors[1]
    >>> [(int(x), y) for x, y in select_classes(data, [2, [0, 1]])]
    [(0, 1), (1, 1), (2, 0), (3, 1), (4, 1), (5, 0)]
    """
    new = {
        c: label
        for label, group in enumerate(classes)
        for c in ([group] if isinstance(group, int) else group)
    }
    labels = labels_of(data).tolist()
    missing = set(new).difference(labels)
    if missing:
        raise ValueError(
            f"No sample has the label {min(missing)}; labels go from {min(labels, default=None)} "
            f"to {max(labels, default=None)}."
        )
    kept = [n for n, label in enumerate(labels) if label in new]
    return Selection(data, kept, [new[labels[n]] for n in kept])


def split(data: Dataset, fraction: float, *, seed: int = 0) -> tuple[Subset, Subset]:
    """Draw a share of each class.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        See :func:`labels_of`.
    fraction : float
        Share of the first part, of each class, at least one sample.
    seed : int
        Of the draw.

    Returns
    -------
    part, rest : torch.utils.data.Subset
        The share, and what is left.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"The fraction must be above 0 and at most 1, got {fraction}.")
    labels, generator = labels_of(data), torch.Generator().manual_seed(seed)
    part, rest = [], []
    for label in labels.unique():
        where = (labels == label).nonzero().squeeze(1)
        order = where[torch.randperm(len(where), generator=generator)].tolist()
        size = max(1, round(fraction * len(order)))
        part += order[:size]
        rest += order[size:]
    return Subset(data, sorted(part)), Subset(data, sorted(rest))


# %% Images


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
