"""Models by name, subtasks, and the command that distills a classifier of images."""

import argparse
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from torch.utils.data import DataLoader, Subset, TensorDataset

from subdistill.engine import distill
from subdistill.evaluate import accuracy
from subdistill.pairing import pair_layers
from subdistill.subtask import Selection, labels_of, select_classes, split
from subdistill.training import Recipe
from subdistill.vision.classes import SUPERCLASSES, class_names, find_classes
from subdistill.vision.cli import add_commands
from subdistill.vision.images import image_transform, load_images
from subdistill.vision.models import CifarResNet, SmallCNN, load_model

COLOURS = {"blue": (0, 0, 1), "green": (0, 1, 0), "red": (1, 0, 0)}


@pytest.fixture
def images():
    """Labels 0 to 3, each of ten samples; the image is the number of the sample."""
    data = TensorDataset(torch.arange(40), torch.arange(40) % 4)
    data.targets = data.tensors[1].tolist()
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noisy pictures of one colour in folders."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torchvision")
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, n in (("train", 20), ("test", 10)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for number in range(n):
                pixels = 100 * np.array(colour) + rng.integers(0, 156, (12, 10, 3))
                picture = image.fromarray(pixels.astype(np.uint8))
                picture.save(root / part / name / f"{number}.png")
    return root


# %% Models


def test_pretrained_residual_network(shared_data):
    """The published weights classify, so every detail of the architecture is theirs."""
    import io
    import zipfile

    from PIL import Image

    files = shared_data / "cifar10"
    teacher = load_model("cifar_resnet56", weights=files / "resnet56.safetensors")
    transform, batch, labels = image_transform(32), [], []
    with zipfile.ZipFile(files / "cifar10_images.zip") as archive:
        names = sorted(n for n in archive.namelist() if re.match(r"test/.*\.png", n))[::100]
        classes = sorted({name.split("/")[1] for name in names})
        for name in names:
            batch.append(transform(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))
            labels.append(classes.index(name.split("/")[1]))
    assert len(classes) == 10
    assert accuracy(teacher, [(torch.stack(batch), torch.tensor(labels))]) > 0.88


def test_residual_network_without_weights_in_its_branches_is_the_shortcut():
    """Zero scales leave subsampling, zero padding on both sides, and the mean."""
    model = CifarResNet(n_blocks=1).eval()
    for name, value in model.named_parameters():
        if "bn2" in name:
            value.data.zero_()
    x = torch.randn(2, 3, 8, 8)
    stem = model.bn1(model.conv1(x)).relu()
    features = torch.zeros(2, 64)
    features[:, 24:40] = stem[:, :, ::4, ::4].mean(dim=(2, 3))  # 8 of 32, then 16 of 64
    torch.testing.assert_close(model(x), model.linear(features))


def test_sizes_of_the_small_models():
    teacher, student = CifarResNet(10, 9), SmallCNN(5)
    count = [sum(p.numel() for p in m.parameters()) for m in (teacher, student)]
    assert count == [853_018, 18_461]
    assert count[1] < count[0] / 15
    found = pair_layers(teacher, student, torch.zeros(2, 3, 32, 32))
    assert found == {"layer1": "stages.0", "layer2": "stages.1", "layer3": "stages"}


def test_weights_from_files(tmp_path):
    from safetensors.torch import save_file

    model = SmallCNN(4).eval()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    x = torch.randn(2, 3, 16, 16)
    for suffix in ("pt", "safetensors"):
        again = load_model("small_cnn", weights=tmp_path / f"model.{suffix}")
        assert torch.equal(again(x), model(x))
        assert not again.training


def test_models_of_libraries(tmp_path):
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    for name in ("timm/resnet10t", "torchvision/squeezenet1_1"):
        torch.manual_seed(0)
        model = load_model(name, n_classes=3, weights=None)
        torch.save(model.state_dict(), tmp_path / "model.pt")
        again = load_model(name, n_classes=3, weights=tmp_path / "model.pt")
        x = torch.randn(2, 3, 64, 64)
        assert again(x).shape == (2, 3)
        assert torch.equal(again(x), model(x))
    with pytest.raises(ValueError, match=r"timm has no model 'resnet_18'; .*resnet18"):
        load_model("timm/resnet_18")
    with pytest.raises(ValueError, match=r"torchvision has no model 'resnet_18'; .*resnet18"):
        load_model("torchvision/resnet_18")
    with pytest.raises(ValueError, match="leave n_classes out"):
        load_model("torchvision/resnet18", n_classes=3)


@pytest.mark.parametrize("kind", ["transformer", "convolutions"])
def test_vision_transformer_of_timm_as_teacher(kind):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)

    def transformer(depth, width):
        return timm.create_model(
            "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=width, depth=depth,
            num_heads=2, num_classes=3,
        )  # fmt: skip

    teacher = transformer(5, 16)
    student = transformer(3, 8) if kind == "transformer" else SmallCNN(3)
    data = DataLoader(TensorDataset(torch.randn(32, 3, 16, 16), torch.arange(32) % 3), 16)
    found = distill(teacher, student, data, recipe=Recipe(epochs=3))
    assert list(found.layers) == ["blocks.1", "blocks.3"]
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_convolutions_of_timm_pair_by_resolution():
    timm = pytest.importorskip("timm")
    teacher = timm.create_model("resnet18", num_classes=3)
    student = timm.create_model("mobilenetv4_conv_small", num_classes=3)
    found = pair_layers(teacher, student, torch.zeros(2, 3, 64, 64))
    assert {"layer1", "layer2", "layer3"} <= set(found)
    data = DataLoader(TensorDataset(torch.randn(8, 3, 64, 64)), 8)
    distilled = distill(teacher, student, data, recipe=Recipe(epochs=2))
    assert set(distilled.subspaces) == set(found)
    assert all(np.isfinite(row["loss"]) for row in distilled.history)


# %% Subtasks


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
    with pytest.raises(ValueError, match="no class 7, only 0 to 4"):
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


def test_selected_labels_are_renumbered(images):
    found = select_classes(images, [3, [0, 1]])
    assert len(found) == 30
    assert all((int(x) % 4 == 3) == (label == 0) for x, label in found)
    assert labels_of(found).tolist() == [label for _, label in found]
    half = Subset(images, range(0, 40, 2))  # labels 0 and 2 alone
    assert [int(x) for x, _ in select_classes(half, [2])] == list(range(2, 40, 4))
    with pytest.raises(ValueError, match="No sample has the label 1; labels go from 0 to 2"):
        select_classes(half, [0, 1])
    with pytest.raises(ValueError, match="TensorDataset does not tell its labels"):
        select_classes(TensorDataset(torch.zeros(3)), [0])


def test_split_draws_from_each_class(images):
    part, rest = split(images, 0.3, seed=1)
    assert labels_of(part).bincount().tolist() == [3] * 4
    assert sorted([*part.indices, *rest.indices]) == list(range(40))
    assert part.indices != split(images, 0.3, seed=2)[0].indices
    assert part.indices == split(images, 0.3, seed=1)[0].indices
    assert labels_of(split(images, 0.01)[0]).bincount().tolist() == [1] * 4
    with pytest.raises(ValueError, match="above 0 and at most 1, got 0"):
        split(images, 0)


def test_folder_of_images(folder):
    data = load_images(folder, train=False, transform=image_transform(8))
    assert data.classes == list(COLOURS)
    assert isinstance(select_classes(data, [2]), Selection)
    red, label = select_classes(data, find_classes(data.classes, ["red"]))[0]
    assert red.shape == (3, 8, 8)
    assert red[0].mean() > red[1].mean()
    assert label == 0
    with pytest.raises(FileNotFoundError, match="has no folder train"):
        load_images(folder / "train", transform=None)
    with pytest.raises(ValueError, match=r"no data set 'CIFAR1000'; close are .*CIFAR100"):
        load_images("torchvision/CIFAR1000", transform=None)


def test_data_set_of_torchvision(tmp_path):
    """Grey images, in the files that torchvision expects."""
    pytest.importorskip("torchvision")
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
    shifted = image_transform(8, train=True, mean=(0,) * 3, std=(1,) * 3)(picture)
    assert shifted.shape == (3, 8, 8)


# %% The command


def command(*arguments):
    """What ``mne-invkit`` does with the command of this package."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    args = parser.parse_args(["distill-vision", *map(str, arguments)])
    args.run(args)


def test_command_is_registered():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    commands = tomllib.loads(text)["project"]["entry-points"]["mne_invkit.commands"]
    assert commands["subdistill"] == "subdistill.vision.cli:add_commands"


def test_command(folder, tmp_path, capsys):
    """A teacher of three colours, from a file; a student of two, from a configuration."""
    yaml = pytest.importorskip("yaml")
    torch.manual_seed(0)
    teacher = SmallCNN(3)
    data = DataLoader(load_images(folder, transform=image_transform(8)), 20, shuffle=True)
    optimizer = torch.optim.Adam(teacher.parameters(), 1e-2)
    for _ in range(4):
        for x, y in data:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(teacher(x), y).backward()
            optimizer.step()
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    config = dict(
        teacher="small_cnn", teacher_weights=str(tmp_path / "teacher.pt"), student="small_cnn",
        data=str(folder), classes=["red", "blue"], size=8, batch_size=9, validation=0.3,
        recipe=dict(epochs=12, learning_rate=0.01, schedule="cosine"),
    )  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    command(run, "--config", tmp_path / "config.yaml", "--set", "recipe.weight=2")
    printed = capsys.readouterr().out
    scores = [float(x) for x in re.findall(r"accuracy of the \w+: ([\d.]+)", printed)]
    assert len(scores) == 2
    assert min(scores) > 0.85
    student = load_model("small_cnn", weights=run / "student.safetensors")
    test = load_images(folder, train=False, transform=image_transform(8))
    assert accuracy(student, DataLoader(select_classes(test, [2, 0]), 20)) == scores[1]
    command(run, "--config", tmp_path / "config.yaml", "--set", "recipe.weight=2")
    assert capsys.readouterr().out == printed  # only read
    with pytest.raises(ValueError, match=r"another configuration \(weight was 2, is 10\.0\)"):
        command(run, "--config", tmp_path / "config.yaml")


def test_command_says_what_is_wrong(tmp_path):
    pytest.importorskip("yaml")
    with pytest.raises(ValueError, match="teacher is missing: pass --set teacher="):
        command(tmp_path)
    with pytest.raises(ValueError, match="no entry 'teacha'; there are teacher, student"):
        command(tmp_path, "--set", "teacha=1")
    with pytest.raises(ValueError, match="--set takes NAME=VALUE, got 'teacher'"):
        command(tmp_path, "--set", "teacher")
