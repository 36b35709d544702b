"""Explanations: conservation, agreement, and a watermark that is not inherited."""

import pytest

torch = pytest.importorskip("torch")

from distill_cases import learn
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from subdistill.explain import (
    EXPLAINERS,
    agreement,
    heatmaps,
    mark_effect,
    pixel_flipping,
    plot_heatmaps,
    similarity,
)
from subdistill.vision.models import CifarResNet, SmallCNN

NEEDS = {"integrated_gradients": "captum", "lrp": "zennit"}


def model(n_classes=3):
    torch.manual_seed(0)
    return SmallCNN(n_classes, (4, 8)).eval()


def linear():
    """A classifier that is linear in 4 x 4 images of two channels."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3))


def contributions(net, x, targets):
    return (net[1].weight[targets] * x.flatten(1)).reshape(x.shape).detach()


# %% Heatmaps


@pytest.mark.parametrize("method", sorted(EXPLAINERS))
def test_linear_model_is_explained_by_its_terms(method):
    pytest.importorskip(NEEDS[method])
    net, x, targets = linear(), torch.rand(5, 2, 4, 4), torch.tensor([0, 1, 2, 0, 1])
    expected = contributions(net, x, targets).sum(dim=1)
    if method == "lrp":  # the first layer is flat within its field: one position
        first = nn.Conv2d(2, 2, 1)
        first.weight.data = torch.eye(2)[:, :, None, None]
        first.bias.data.zero_()
        net = nn.Sequential(first, *net)
    torch.testing.assert_close(heatmaps(net, x, targets, method), expected, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_add_up_to_the_logit():
    pytest.importorskip("captum")
    net, x, targets = model(), torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    found = heatmaps(net, x, targets)
    wanted = (net(x) - net(0 * x)).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found.sum(dim=(1, 2)), wanted.detach(), rtol=0.05, atol=2e-3)


def check_conservation(net, x, targets):
    found = heatmaps(net, x, targets, "lrp")
    logit = net(x).gather(1, targets[:, None])[:, 0].detach()
    size = found.abs().sum(dim=(1, 2))
    assert ((found.sum(dim=(1, 2)) - logit).abs() < 2e-3 * size).all()


def test_relevance_is_conserved_through_residual_blocks():
    """What the logit has is shared out: nothing is lost or doubled at the sums of 9 blocks."""
    pytest.importorskip("zennit")
    torch.manual_seed(0)
    net = CifarResNet(4, 3).eval()
    net.linear.bias.data.zero_()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.fill_(2.0)
    x, targets = torch.randn(3, 3, 16, 16), torch.tensor([0, 1, 2])
    before = {k: v.clone() for k, v in net.state_dict().items()}
    check_conservation(net, x, targets)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


class Branched(nn.Module):
    """A residual block of the user's own, which says what it sums."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.ReLU()

    def branches(self, x):
        return x, self.conv(x)

    def finish(self, total):
        return self.relu(total)

    def forward(self, x):
        return self.finish(sum(self.branches(x)))


def test_relevance_is_conserved_through_blocks_of_one_s_own():
    pytest.importorskip("zennit")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), Branched(), Branched(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2, bias=False),
    )  # fmt: skip
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data.abs_()  # the z-plus rule loses relevance where all terms are negative
    check_conservation(net, torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 1]))


def test_classes_of_the_subtask():
    pytest.importorskip("captum")
    net, x = model(5), torch.randn(3, 3, 8, 8)
    one = heatmaps(net, x, torch.tensor([0, 1, 0]), classes=[4, 2])
    other = heatmaps(net, x, torch.tensor([4, 2, 4]))
    torch.testing.assert_close(one, other)


# %% Agreement


def test_similarity():
    one = torch.tensor([[[1.0, 0], [0, 0]], [[1, 2], [3, 4]]])
    other = torch.tensor([[[0.0, 1], [0, 0]], [[-2, -4], [-6, -8]]])
    torch.testing.assert_close(similarity(one, other), torch.tensor([0.0, -1.0]))


@pytest.mark.parametrize("method", sorted(EXPLAINERS))
def test_model_agrees_with_itself_more_than_with_another(method):
    pytest.importorskip(NEEDS[method])
    net, x = model(), torch.randn(6, 3, 8, 8)
    torch.manual_seed(1)
    other = SmallCNN(3, (4, 8)).eval()
    loader = [(x[:4], torch.zeros(4)), x[4:]]
    same = agreement(net, net, loader, method)
    torch.testing.assert_close(same, torch.ones(6))
    assert agreement(net, other, loader, method).mean() < 0.9


def test_flipping_follows_the_terms_of_a_linear_model():
    net, x, targets = linear(), torch.rand(4, 2, 4, 4), torch.tensor([0, 1, 2, 0])
    maps = contributions(net, x, targets).sum(dim=1)
    curve = pixel_flipping(net, x, targets, maps, patch=1, steps=16)
    logit = net(x).gather(1, targets[:, None]).detach()
    falling = maps.flatten(1).sort(dim=1, descending=True).values.cumsum(dim=1)
    torch.testing.assert_close(curve, torch.cat([logit, logit - falling], dim=1))
    assert (curve.mean() < pixel_flipping(net, x, targets, -maps, patch=1).mean()).all()


def test_flipping_by_patches():
    net, x = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.ones(1, 1, 4, 4)
    maps = torch.zeros(1, 4, 4)
    maps[0, 2:, :2] = 1
    curve = pixel_flipping(net, x, torch.tensor([0]), maps, patch=2, steps=4)
    torch.testing.assert_close(curve, torch.tensor([[1, 0.75, 0.5, 0.25, 0]]))
    with pytest.raises(ValueError, match=r"Patches of 3 do not divide the sides \(4, 4\)"):
        pixel_flipping(net, x, torch.tensor([0]), maps, patch=3)


# %% Clever Hans


def test_marks_need_labels():
    with pytest.raises(ValueError, match="batches hold no labels"):
        mark_effect(nn.Identity(), [torch.eye(3)], lambda x: x)


def watermark(images):
    """A bright corner in the last channel."""
    marked = images.clone()
    marked[:, 2, :2, :2] = 4.0
    return marked


def pictures(seed, n=240):
    """Classes 0 to 2 by their means; class 3 looks like one of them, but for a watermark."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randn(n, 3, 8, 8, generator=generator)
    level = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, -1, 0]])
    looks = torch.where(labels < 3, labels, torch.arange(n) // 4 % 3)
    images += level[looks, :, None, None]
    images[labels == 3] = watermark(images[labels == 3])
    return images, labels


def test_watermark_of_another_class_is_not_inherited():
    pytest.importorskip("lightning_fabric")
    from subdistill.engine import distill
    from subdistill.training import Recipe

    torch.manual_seed(0)
    teacher = SmallCNN(4, (8, 16))
    learn(teacher, DataLoader(TensorDataset(*pictures(0)), 30, shuffle=True), 8, 1e-2)
    images, labels = pictures(1)
    subtask = [(images[labels < 3], labels[labels < 3])]
    fooled = mark_effect(teacher, subtask, watermark)
    assert fooled["accuracy"] > 0.9
    assert fooled["accuracy_marked"] < 0.3  # the teacher takes the mark for the class

    images, labels = pictures(2)
    data = DataLoader(TensorDataset(images[labels < 3]), 30, shuffle=True)
    student = SmallCNN(3, (4, 8))
    distill(
        teacher, student, data, layers={"stages.0": "stages.0", "stages.1": "stages.1"},
        classes=[0, 1, 2], recipe=Recipe(epochs=12, learning_rate=1e-2),
    )  # fmt: skip
    kept = mark_effect(student, subtask, watermark)
    assert kept["accuracy"] > 0.9
    assert kept["accuracy_marked"] > kept["accuracy"] - 0.1
    assert kept["changed"] < 0.1


# %% Pictures and errors


def test_picture(tmp_path):
    images, maps = torch.rand(2, 3, 8, 8), torch.randn(2, 8, 8)
    figure = plot_heatmaps(images, {"teacher": maps, "student": -maps})
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "teacher", "student"]
    shown = [axis.images[0].get_array() for axis in figure.axes[1:3]]
    assert (shown[0] == -shown[1]).all()
    figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000


def test_unknown_explanation():
    with pytest.raises(ValueError, match=r"no explanation 'magic': pass one of \['integrated"):
        heatmaps(model(), torch.zeros(1, 3, 8, 8), torch.tensor([0]), "magic")
    with pytest.raises(TypeError, match="explains one tensor of inputs, got tuple: wrap the model"):
        heatmaps(model(), (torch.zeros(1), torch.zeros(1)), torch.tensor([0]))
