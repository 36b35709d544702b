"""Classes of images by their names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from torch.utils.data import Dataset

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


def find_classes(names: Sequence[str], classes: Sequence) -> list[int | list[int]]:
    """Return the numbers of classes that are given by name.

    Parameters
    ----------
    names : sequence of str
        Names of all classes, in the order of their numbers; see :func:`class_names`.
    classes : sequence
        Each entry is a number; a name, or one of several names that are separated by commas
        ("tench" for "tench, Tinca tinca"); a word with an asterisk at its end, for all names that
        contain it ("terrier*"); a superclass of CIFAR-100, for its five classes; or a list of such
        entries, which becomes a group that counts as one class.

    Returns
    -------
    numbers : list of (int | list of int)
        Numbers and groups of numbers, as the argument `classes` of :func:`subdistill.distill`.

    Examples
    --------
    >>> from subdistill.vision.classes import find_classes
    >>> find_classes(["cat", "fox terrier", "bull terrier", "car"], ["terrier*", ["cat", "car"]])
    [1, 2, [0, 3]]
    """
    if not len(classes):
        raise ValueError("The list of classes is empty: name some, or pass null for all.")
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
    if isinstance(entry, bool) or not isinstance(entry, (int, str)):
        raise TypeError(
            f"Classes are numbers and names, got {entry!r}: put a name such as 'no' in quotes."
        )
    if isinstance(entry, int):
        if not 0 <= entry < len(names):
            raise ValueError(
                f"There is no class {entry}: pass a number from 0 to {len(names) - 1}."
            )
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
    """Return the names of all classes in words, in the order of their numbers.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        A data set with an attribute ``classes``, as those of torchvision and ImageFolder.

    Returns
    -------
    names : list of str
        Names; synonyms are separated by commas. If the names are identifiers of WordNet, like the
        folders of ImageNet, their words are put before them, by timm: "Chihuahua, n02085620".
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
