"""Images from folders and from torchvision."""

import shutil
import struct
import zlib

import numpy as np
import pytest
from odd_files import make_pipe

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch._utils import ExceptionWrapper

from subdistill.subtask import labels_of, select_classes
from subdistill.vision.classes import find_classes
from subdistill.vision.images import ImageError, image_transform, load_images


def test_folder_of_images(folder):
    data = load_images(folder, train=False, transform=image_transform(8))
    assert data.classes == ["blue", "green", "red"]
    red, label = select_classes(data, find_classes(data.classes, ["red"]))[0]
    assert red.shape == (3, 8, 8)
    assert red[0].mean() > red[1].mean()
    assert label == 0
    with pytest.raises(FileNotFoundError, match="has no folder train"):
        load_images(folder / "train", transform=None)
    with pytest.raises(ValueError, match=r"no data set 'CIFAR1000'; close names are .*CIFAR100"):
        load_images("torchvision/CIFAR1000", transform=None)


def test_data_set_of_torchvision(tmp_path):
    """Grey images, in the files that torchvision expects."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, labels in (("train", [5, 0, 4]), ("t10k", [7])):
        pixels = np.zeros((len(labels), 28, 28), np.uint8)
        pixels[:, 10:18, 10:18] = 255
        shapes = {"images-idx3": pixels, "labels-idx1": np.array(labels, np.uint8)}
        for name, values in shapes.items():
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            (raw / f"{part}-{name}-ubyte").write_bytes(header + values.tobytes())
    options = dict(root=tmp_path, transform=image_transform(28, mean=(0,) * 3, std=(1,) * 3))
    data = load_images("torchvision/MNIST", **options)
    assert labels_of(data).tolist() == [5, 0, 4]
    assert labels_of(load_images("torchvision/MNIST", train=False, **options)).tolist() == [7]
    image, label = select_classes(data, find_classes(data.classes, ["4 - four", 0]))[1]
    assert label == 0
    assert image.shape == (3, 28, 28)
    assert image.mean() == pytest.approx(64 / 28**2)


def test_normalized_as_told(folder):
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(np.full((8, 8, 3), 255, np.uint8))
    found = image_transform(8, mean=(0.5, 0.5, 0.75), std=(0.5, 0.25, 0.25))(picture)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([1.0, 2.0, 1.0]))


def test_training_images_are_shifted_and_flipped():
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(1, 256, (8, 8, 3)).astype(np.uint8)
    options = dict(mean=(0,) * 3, std=(1,) * 3)
    plain = image_transform(8, **options)(image.fromarray(pixels))
    torch.testing.assert_close(plain.movedim(0, 2), torch.from_numpy(pixels) / 255)
    padded, seen = torch.nn.functional.pad(plain, (1, 1, 1, 1)), set()
    windows = {
        (row, column, flip): part.flip(2) if flip else part
        for row in range(3)
        for column in range(3)
        for flip in (False, True)
        for part in [padded[:, row : row + 8, column : column + 8]]
    }
    augment = image_transform(8, train=True, **options)
    torch.manual_seed(0)
    for _ in range(50):
        found = augment(image.fromarray(pixels))
        seen |= {key for key, window in windows.items() if torch.allclose(window, found)}
    assert {flip for *_, flip in seen} == {False, True}
    assert {row for row, *_ in seen} == {column for _, column, _ in seen} == {0, 1, 2}


# %% Files that are no images


@pytest.fixture
def broken(folder, tmp_path):
    """A copy of the folder, whose first picture can be replaced."""
    shutil.copytree(folder, tmp_path / "images")
    return tmp_path / "images", tmp_path / "images" / "train" / "blue" / "0.png"


def png(width, height):
    """Return a picture that claims a size but holds a few bytes."""
    parts = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(bytes(9)), b""
    chunks = [name + part for name, part in zip((b"IHDR", b"IDAT", b"IEND"), parts, strict=True)]
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "bomb", "large", "pipe"])
def test_picture_that_cannot_be_read_is_named(damage, broken):
    pytest.importorskip("PIL.Image")
    root, path = broken
    whole = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        make_pipe(path)
    else:
        contents = dict(truncated=whole[: len(whole) // 2], empty=b"", text=b"no picture",
                        bomb=png(60_000, 60_000), large=png(10_000, 10_000))  # fmt: skip
        path.write_bytes(contents[damage])
    data = load_images(root, transform=image_transform(8))
    with pytest.raises(
        ImageError, match=r"blue/0.png (cannot be read|is no ordinary file).*remove"
    ):
        data[0]


def test_picture_that_a_worker_cannot_read_gives_one_sentence():
    """A DataLoader puts the traceback of its process before the sentence."""
    try:
        raise ImageError("0.png cannot be read: remove it.")
    except ImageError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(ImageError) as raised:
        wrapped.reraise()
    assert str(raised.value) == "0.png cannot be read: remove it."


def test_folders_without_end_are_refused(broken):
    root, path = broken
    (path.parent / "again").symlink_to(root / "train")
    with pytest.raises(ValueError, match="again is a link to a folder above it: remove the link"):
        load_images(root, transform=image_transform(8))
