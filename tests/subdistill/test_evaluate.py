"""Accuracy, also of teachers with only part of a layer."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from subdistill.evaluate import accuracy, projected, projected_accuracy
from subdistill.moments import measure_moments
from subdistill.subspace import make_subspace


class Attention(nn.Module):
    """A class token that looks at all tokens, in a block that returns a tuple."""

    num_prefix_tokens = 1

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x, _ = self.block(x)
        return self.head(x[:, 0] + x[:, 1:].mean(dim=1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 5)

    def forward(self, x):
        return self.mix(x), None


def conv():
    return nn.Sequential(
        nn.Conv2d(4, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )


MODELS = {
    "maps": (conv, "0", (8, 4, 3, 3)),
    "tokens": (Attention, "block", (8, 6, 4)),
    "vectors": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), "0", (8, 4)),
}


def test_accuracy_among_classes():
    output = torch.tensor([[0.0, 3.0, 1.0], [2.0, 3.0, 1.0], [1.0, 0.0, 5.0]])
    labels = torch.tensor([0, 1, 0])
    loader = [(output[:2], labels[:2]), (output[2:], labels[2:])]
    assert accuracy(nn.Identity(), loader) == pytest.approx(1 / 3)
    assert accuracy(nn.Identity(), loader, classes=[2, 0]) == 1.0
    assert accuracy(nn.Identity(), loader, classes=[0, 2]) == 0.0


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_whole_space_changes_nothing_and_less_changes_more(kind):
    torch.manual_seed(0)
    make, layer, shape = MODELS[kind]
    model, x = make().eval(), torch.randn(shape)
    whole = make_subspace(measure_moments(model, [x], [layer])[layer], 5, "pca")
    before = model(x)
    errors = []
    for rank in (5, 3, 1):
        with projected(model, {layer: whole.truncate(rank)}):
            errors.append((model(x) - before).norm().item())
    assert errors[0] < 1e-5
    assert 1e-3 < errors[1] < errors[2]
    assert torch.equal(model(x), before)


def test_two_relevant_dimensions_are_enough():
    """The classes are decided by a channel of little variance: PRCA keeps it, PCA does not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.Linear(6, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 1, 0, 0, 0, 0], [-1.0, 1, 0, 0, 0, 0]])
    x = torch.randn(400, 6) * torch.tensor([0.5, 0.3, 3, 3, 3, 3])
    loader = [(x, model(x).argmax(dim=1))]
    moments = measure_moments(model, loader, ["0"])["0"]
    found = {
        name: projected_accuracy(model, loader, "0", make_subspace(moments, 4, name), [2])[2]
        for name in ("prca", "gradient_pca", "pca")
    }
    assert found["prca"] > 0.95
    assert found["gradient_pca"] > 0.95
    assert found["pca"] < 0.6


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"labels go from 0 to 7, .* classes 0 to 3.*select_class"):
        accuracy(nn.Identity(), [(torch.eye(4), torch.tensor([0, 1, 2, 7]))])
    with pytest.raises(ValueError, match="batches hold no labels"):
        accuracy(nn.Identity(), [torch.eye(4)])
    with pytest.raises(ValueError, match="no layer 'conv'"), projected(conv(), {"conv": None}):
        pass


def test_accuracy_of_a_model_of_two_inputs():
    class Sum(nn.Module):
        def forward(self, one, other):
            return one + other

    labels = torch.tensor([0, 1, 2, 0])
    batch = (torch.eye(4), 2 * torch.eye(4)[[0, 1, 2, 0]]), labels
    assert accuracy(Sum(), [batch]) == 1.0
    named = {"other": batch[0][1], "one": batch[0][0]}, labels
    assert accuracy(Sum(), [named, batch]) == 1.0
