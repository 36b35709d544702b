"""Images, teachers and subtasks of vision.py."""

from __future__ import annotations

import io
import os
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
)

from subdistill.capture import Capture
from subdistill.explain import EXPLAINERS, heatmaps
from subdistill.moments import measure_moments
from subdistill.subtask import select_classes, split
from subdistill.vision.classes import find_classes
from subdistill.vision.models import IMAGENET_MEAN, IMAGENET_STD, CifarResNet, load_model

DATA = Path(os.environ.get("MNE_INVKIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip
SUBTASKS = {
    "animals": ["bird", "cat", "deer", "dog", "frog"],
    "mammals": ["cat", "deer", "dog", "horse"],
    "vehicles": ["airplane", "automobile", "ship", "truck"],
    "air and sea": ["airplane", "bird", "ship"],
}
BATCH = 32
LAYERS = {"layer1": "stages.0", "layer2": "stages.1", "layer3": "stages.2"}


class Images(Dataset):
    """Normalized images with labels, one or many at once, mirrored at random or not."""

    def __init__(self, pixels: Tensor, targets: Tensor, mirror: bool = False):
        self.pixels, self.targets, self.mirror = pixels, targets, mirror
        self._mean = 255 * torch.tensor(IMAGENET_MEAN)[:, None, None]
        self._std = 255 * torch.tensor(IMAGENET_STD)[:, None, None]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, numbers):
        images = (self.pixels[numbers] - self._mean) / self._std
        if self.mirror:
            mirrored = torch.rand(images.shape[:-3])[..., None, None, None] < 0.5
            images = torch.where(mirrored, images.flip(-1), images)
        return images, self.targets[numbers]

    def choose(self, classes: list[int]) -> Images:
        """Images of a subtask, with its labels."""
        found = select_classes(self, classes)
        return Images(self.pixels[found.indices], torch.tensor(found.targets))

    def split(self, fraction: float, seed: int) -> tuple[Images, Images]:
        """A share of each class, and what is left."""
        parts = (part.indices for part in split(self, fraction, seed=seed))
        return tuple(Images(self.pixels[numbers], self.targets[numbers]) for numbers in parts)

    def batches(self, shuffle: bool = False) -> DataLoader:
        """Batches that are taken as a whole, for speed."""
        sampler = RandomSampler(self) if shuffle else SequentialSampler(self)
        return DataLoader(self, None, sampler=BatchSampler(sampler, BATCH, drop_last=False))


class Cifar:
    """CIFAR-10 and a pretrained teacher."""

    @staticmethod
    @lru_cache
    def images(part: str) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, 32, 32) and labels of ``train`` or ``test``."""
        from PIL import Image

        pixels, labels = [], []
        with zipfile.ZipFile(DATA / "cifar10" / "cifar10_images.zip") as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(f"{part}/") and name.endswith(".png"):
                    image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
                    pixels.append(np.asarray(image).transpose(2, 0, 1))
                    labels.append(CLASSES.index(name.split("/")[1]))
        return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)

    @staticmethod
    @lru_cache
    def teacher() -> nn.Module:
        """ResNet-56."""
        teacher = load_model("cifar_resnet56", weights=DATA / "cifar10" / "resnet56.safetensors")
        return teacher.to(memory_format=torch.channels_last)


class MadeUp:
    """Noise and an untrained teacher, to try everything out."""

    @staticmethod
    def images(part: str) -> tuple[Tensor, Tensor]:
        """Pixels (80, 3, 32, 32) and labels."""
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (80, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return pixels, torch.arange(80) % 10

    @staticmethod
    @lru_cache
    def teacher() -> nn.Module:
        """ResNet-8."""
        torch.manual_seed(0)
        return CifarResNet(10, 1).eval()


class Remembering(nn.Module):
    """A teacher that works on each image once: what it said and had in its layers is kept."""

    def __init__(self, teacher: nn.Module):
        super().__init__()
        self.teacher, self._known = teacher, {}
        for name in LAYERS:
            self.add_module(name, nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        keys = [hash(image.numpy().tobytes()) for image in images]
        new = [number for number, key in enumerate(keys) if key not in self._known]
        if new:
            with Capture(self.teacher, LAYERS) as captured:
                parts = [self.teacher(images[new]), *captured.maps().values()]
            for number, *values in zip(new, *parts, strict=True):
                self._known[keys[number]] = [value.clone() for value in values]
        output, *maps = (
            torch.stack(values) for values in zip(*(self._known[key] for key in keys), strict=True)
        )
        for name, value in zip(LAYERS, maps, strict=True):
            getattr(self, name)(value)
        return output


class Block:
    """What all runs on the same images of a subtask share."""

    def __init__(self, source: type, subtask: str, fraction: float, seed: int):
        self.classes = find_classes(CLASSES, SUBTASKS[subtask])
        self.teacher = source.teacher()
        train, test = (
            Images(*source.images(part)).choose(self.classes) for part in ("train", "test")
        )
        held_out, kept = train.split(fraction, seed)[0].split(0.2, seed)
        kept.mirror = True
        self.train = kept.batches(shuffle=True)
        self.validation, self.test = held_out.batches(), test.batches()
        self.remembering = Remembering(self.teacher)
        torch.manual_seed(seed)
        self.moments = measure_moments(
            self.teacher, self.train, LAYERS, classes=self.classes, seed=seed
        )


block = lru_cache(maxsize=1)(Block)


@lru_cache
def explained(source: type, subtask: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Up to a hundred test images, the teacher's decisions and its heatmaps."""
    classes = find_classes(CLASSES, SUBTASKS[subtask])
    test = Images(*source.images("test")).choose(classes)
    images, _ = test[torch.linspace(0, len(test) - 1, min(100, len(test))).long()]
    with torch.no_grad():
        decisions = source.teacher()(images)[:, classes].argmax(dim=1)
    maps = {
        name: heatmaps(source.teacher(), images, decisions, name, classes=classes)
        for name in EXPLAINERS
    }
    return images, decisions, maps
