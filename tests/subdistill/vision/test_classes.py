"""Classes of images by name."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from subdistill.vision.classes import SUPERCLASSES, class_names, find_classes


def test_superclasses_are_a_partition():
    names = [name for group in SUPERCLASSES.values() for name in group]
    assert len(SUPERCLASSES) == 20
    assert len(names) == len(set(names)) == 100
    assert find_classes(sorted(names), ["people"]) == [2, 11, 35, 46, 98]  # fine labels


def test_classes_by_name():
    names = ["cat", "fox terrier", "bull terrier", "car", "Terrier hybrid"]
    assert find_classes(names, ["car", 0]) == [3, 0]
    assert find_classes(names, ["terrier*"]) == [1, 2, 4]
    assert find_classes(names, [["terrier*"], ["cat", "car"]]) == [[1, 2, 4], [0, 3]]
    with pytest.raises(ValueError, match="no class 'dog'; close names are"):
        find_classes(names, ["dog"])
    with pytest.raises(ValueError, match="no class 7: pass a number from 0 to 4"):
        find_classes(names, [7])
    with pytest.raises(ValueError, match="name a class twice"):
        find_classes(names, ["terrier*", 2])


def test_imagenet_in_words():
    pytest.importorskip("timm")
    folders = SimpleNamespace(classes=["n01440764", "n02012849", "n02096294", "n03126707"])
    names = class_names(folders)
    words = ["tench, Tinca tinca", "crane", "Australian terrier", "crane"]
    assert names == [f"{w}, {number}" for w, number in zip(words, folders.classes, strict=True)]
    assert find_classes(names, ["Tinca tinca", ["terrier*", 1]]) == [0, [2, 1]]
    assert find_classes(names, ["n03126707", names[1], "tench, Tinca tinca"]) == [3, 1, 0]
    with pytest.raises(ValueError, match=r"Several classes are called 'crane'.*\[1, 3\]"):
        find_classes(names, ["crane"])
    assert class_names(SimpleNamespace(classes=[("tench", "Tinca tinca")])) == words[:1]
    unknown = ["n01440764", "n99999999"]
    assert class_names(SimpleNamespace(classes=unknown)) == [names[0], unknown[1]]


def test_a_word_that_yaml_takes_for_false():
    with pytest.raises(TypeError, match="numbers and names, got False: put a name such as 'no' in"):
        find_classes(["yes", "no"], ["yes", False])


@pytest.mark.parametrize("classes", [[], [0, []]])
def test_an_empty_list_is_not_all_classes(classes):
    with pytest.raises(ValueError, match="list of classes is empty: name some, or pass null"):
        find_classes(["cat", "dog"], classes)
