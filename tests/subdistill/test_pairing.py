"""Layers of a teacher and a student that belong together."""

import pytest

torch = pytest.importorskip("torch")

from distill_cases import Net, Shifted, Transformer, hook_count, net
from torch import nn

from subdistill.capture import probe
from subdistill.pairing import match_layers, pair_layers


def test_pairs_by_resolution():
    one, other = net(0, 4), nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    assert pair_layers(one, other, torch.zeros(1, 2, 6, 6)) == {"norm": "1", "conv2": "3"}


@pytest.mark.filterwarnings("ignore:.*nested_tensor.*")
@pytest.mark.parametrize(
    ("student", "layers"),
    [
        (lambda: Transformer(3, 4), {"blocks.1": "blocks.0", "blocks.4": "blocks.1"}),
        (lambda: Net(4), {"blocks.1": "norm", "blocks.4": "conv2"}),
    ],
    ids=["transformer", "convolutions"],
)
def test_transformers_pair_by_depth(student, layers):
    """The last block is left out: of its tokens only the class token reaches the output."""
    assert pair_layers(Transformer(6, 8), student(), torch.zeros(1, 2, 6, 6)) == layers


@pytest.mark.parametrize("n_axes", [1, 3])
def test_one_and_three_dimensions(n_axes):
    one, other = (net(0, width, n_axes=n_axes) for width in (8, 4))
    found = pair_layers(one, other, torch.zeros(2, 2, *[6] * n_axes))
    assert found == {"norm": "norm", "conv2": "conv2"}


def test_models_run_once_and_are_left_alone():
    calls = []

    class Counted(Shifted):
        def forward(self, images, shift):
            calls.append(self.training)
            return super().forward(images, shift)

    one, other = Counted(8).train(), Counted(4).eval()
    inputs = {"shift": torch.zeros(1, 2), "images": torch.zeros(1, 2, 6, 6)}
    assert pair_layers(one, other, inputs) == {"norm": "norm", "conv2": "conv2"}
    assert calls == [False, False]
    assert (one.training, other.training) == (True, False)
    assert not hook_count(one) + hook_count(other)


def test_probes_are_enough():
    models, x = (net(0, 8), net(1, 4)), torch.zeros(1, 2, 6, 6)
    assert match_layers(*(probe(model, x) for model in models)) == pair_layers(*models, x)


def test_models_without_maps():
    with pytest.raises(ValueError, match="No layer has maps with more than one position: pass lay"):
        pair_layers(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.ReLU()), torch.zeros(3, 2))
