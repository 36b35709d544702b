"""Small models and data of the tests of subdistill's engine."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from subdistill.evaluate import accuracy
from subdistill.training import Recipe

FAST = Recipe(epochs=3, learning_rate=1e-2, weight=1.0)
LAYERS = {"conv1": "conv1", "conv2": "conv2"}


class Net(nn.Module):
    """Two convolutions of one, two or three dimensions; the last one of half the resolution."""

    def __init__(self, width, n_classes=3, n_axes=2, norm=True, dropout=0.0):
        super().__init__()
        conv, self.n_axes = getattr(nn, f"Conv{n_axes}d"), n_axes
        self.conv1 = conv(2, width, 3, padding=1)
        self.norm = getattr(nn, f"BatchNorm{n_axes}d")(width) if norm else nn.Identity()
        self.conv2 = conv(width, 2 * width, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, n_classes)

    def forward(self, x):
        x = self.conv2(self.norm(self.conv1(x)).relu()).relu()
        return self.head(self.dropout(x.flatten(2).mean(dim=2)))


class Noisy(Dataset):
    """Images with another noise at each look; the class is which channel is stronger."""

    def __init__(self, n=48, noise=0.5):
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.arange(n) % 3
        level = torch.tensor([[1.0, 0], [0, 1], [-1, -1]])[self.labels]
        self.images = level[..., None, None] + torch.randn(n, 2, 6, 6, generator=generator)
        self.noise = noise

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        return image + self.noise * torch.randn(image.shape), self.labels[index]


def net(seed, *args, **kwargs):
    torch.manual_seed(seed)
    return Net(*args, **kwargs)


def trained_teacher():
    """A teacher that knows the classes."""
    model, data = net(0, 8), DataLoader(Noisy(), 16, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    torch.manual_seed(0)
    for _ in range(15):
        for images, labels in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    model.zero_grad()
    assert accuracy(model, data) > 0.9
    return model


def loader(shuffle=True, batch_size=16, **kwargs):
    return DataLoader(Noisy(**kwargs), batch_size, shuffle=shuffle)


def same(one, other):
    return all(torch.equal(v, other[k]) for k, v in one.items())


class Shifted(Net):
    """A net of two inputs: images, and what is added to their channels."""

    def forward(self, images, shift):
        return super().forward(images + shift[..., None, None])


class Simulated:
    """Three new batches for each epoch, drawn from torch's random numbers."""

    def __init__(self, fail_at=None):
        self.fail_at, self.n_batches = fail_at, 0

    def __iter__(self):
        for _ in range(3):
            self.n_batches += 1
            if self.n_batches == self.fail_at:
                raise Stop
            yield (torch.randn(16, 2, 6, 6), torch.randn(16, 2)), None


class Stop(Exception):
    """A training is killed."""


def hook_count(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
