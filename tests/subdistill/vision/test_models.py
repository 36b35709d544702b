"""Models of images by name."""

import io
import re
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from torch.utils.data import DataLoader, TensorDataset

from subdistill.capture import probe
from subdistill.engine import distill
from subdistill.evaluate import accuracy
from subdistill.pairing import match_layers, pair_layers
from subdistill.training import Recipe
from subdistill.vision.images import image_transform
from subdistill.vision.models import CifarResNet, SmallCNN, load_model


def test_pretrained_residual_network(shared_data):
    """The published weights classify, so every detail of the architecture is theirs."""
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
    torch.manual_seed(0)
    teacher = timm.create_model("resnet18", num_classes=3)
    student = timm.create_model("mobilenetv4_conv_small", num_classes=3)
    images = torch.randn(8, 3, 64, 64)
    theirs, ours = probe(teacher, images[:1]), probe(student, images[:1])
    found = match_layers(theirs, ours)
    assert {"layer1", "layer2", "layer3"} <= set(found)
    for name, other in found.items():
        assert theirs[name].n_positions == ours[other].n_positions > 1
    data = DataLoader(TensorDataset(images), 4)
    distilled = distill(teacher, student, data, recipe=Recipe(epochs=1))
    assert distilled.layers == found
    assert all(np.isfinite(row["loss"]) for row in distilled.history)
