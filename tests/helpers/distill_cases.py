"""Small models and data of the tests of subdistill."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from subdistill.evaluate import accuracy
from subdistill.moments import Moments
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


class Transformer(nn.Module):
    """A class token and patches."""

    num_prefix_tokens = 1

    def __init__(self, depth, width, n_classes=3):
        super().__init__()
        self.embed = nn.Conv2d(2, width, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True)
            for _ in range(depth)
        )
        self.head = nn.Linear(width, n_classes)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


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


def learn(model, data, epochs, learning_rate=1e-2):
    """Train a classifier."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    for _ in range(epochs):
        for images, labels in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    model.zero_grad()


def trained_teacher():
    """A teacher that knows the classes."""
    model, data = net(0, 8), DataLoader(Noisy(), 16, shuffle=True)
    torch.manual_seed(0)
    learn(model, data, epochs=15)
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


def shifted(seed, width):
    torch.manual_seed(seed)
    return Shifted(width)


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


def conv_teacher(channels=6, classes=4):
    """A teacher of images with two channels."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
        nn.Conv2d(channels, 5, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, classes),
    )  # fmt: skip


def labelled_batches(n_batches=3, seed=0):
    """Images and labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n_batches, 8, 2, 7, 7, generator=generator)
    labels = torch.randint(4, (n_batches, 8), generator=generator)
    return list(zip(images, labels, strict=True))


def correlated(n=400, d=6, seed=0):
    """Draw activations and gradients whose channels are correlated."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator)
    return a.double(), (0.5 * a.flip(1) + torch.randn(n, d, generator=generator)).double()


def moments_of(activations, context=None):
    """Moments of all rows."""
    moments = Moments(activations.shape[1])
    moments.update(activations, context)
    return moments
