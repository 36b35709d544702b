"""Streamed moments, and the subspaces made of them."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from subdistill.capture import Capture
from subdistill.models import frozen
from subdistill.moments import CONTEXTS, Moments, measure_moments
from subdistill.subspace import (
    SUBSPACES,
    Subspace,
    definite_relevance,
    fit_subspaces,
    make_subspace,
)


def teacher(channels=6, classes=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
        nn.Conv2d(channels, 5, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, classes),
    )  # fmt: skip


def data(n_batches=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n_batches, 8, 2, 7, 7, generator=generator)
    labels = torch.randint(4, (n_batches, 8), generator=generator)
    return list(zip(images, labels, strict=True))


def dense(model, batches, name, scalar):
    """All activations and gradients at once, in double precision."""
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with frozen(model.double()), Capture(model, [name], gradients=True) as captured:
        gradients = captured.gradients(scalar(model(images.double()), labels))[name]
        a, c = (
            x.movedim(1, -1).flatten(0, -2) for x in (captured.maps()[name].detach(), gradients)
        )
    model.float()
    return a, c


def streamed(n=400, d=6, seed=0):
    """Moments of correlated activations and gradients."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator)
    c = 0.5 * a.flip(1) + torch.randn(n, d, generator=generator)
    moments = Moments(d)
    moments.update(a.double(), c.double())
    return moments


# %% Moments


@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_streamed_moments_equal_the_dense_ones(context):
    model, batches = teacher(), data()
    found = measure_moments(model, batches, ["0", "3"], context=context, positions=None)
    for name in ("0", "3"):
        a, c = dense(model, batches, name, CONTEXTS[context])
        centred = a - a.mean(dim=0)
        expected = {
            "activation": centred.T @ centred,
            "context": c.T @ c,
            "cross": centred.T @ c,
        }
        assert found[name].n == len(a)
        torch.testing.assert_close(found[name].mean, a.mean(dim=0), rtol=1e-6, atol=1e-6)
        for kind, value in expected.items():
            value = value / len(a)
            error = (getattr(found[name], kind) - value).norm() / value.norm()
            assert error < 1e-6, kind


def test_moments_beside_a_large_mean():
    a = 1e4 + torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    c = a.flip(0) - 1e4
    moments = Moments(4)
    for batch in zip(a.split(70), c.split(70), strict=True):
        moments.update(*batch)
    centred = a.double() - a.double().mean(dim=0)
    expected = centred.T @ centred / 300, centred.T @ c.double() / 300
    for found, value in zip((moments.activation, moments.cross), expected, strict=True):
        assert (found - value).norm() / value.norm() < 1e-9


def test_moments_are_of_the_winner_minus_the_runner_up():
    output = torch.tensor([[1.0, 5.0, 3.0], [0.0, -1.0, -4.0]])
    assert CONTEXTS["margin"](output, None).tolist() == [2.0, 1.0]
    assert CONTEXTS["target"](output, torch.tensor([0, 2])).tolist() == [1.0, -4.0]


def test_classes_of_the_subtask_alone_decide():
    """Restricting the output is the same as a teacher that has these outputs only."""
    model, batches = teacher(), data()
    small = teacher()
    small[7] = nn.Linear(5, 2)
    small[7].weight.data, small[7].bias.data = (p.data[[3, 1]] for p in model[7].parameters())
    one = measure_moments(model, batches, ["3"], classes=[3, 1])["3"]
    other = measure_moments(small, batches, ["3"])["3"]
    torch.testing.assert_close(one.context, other.context)
    assert not torch.allclose(one.context, measure_moments(model, batches, ["3"])["3"].context)


def test_relevance_propagation_without_biases_is_the_gradient():
    """Then relevance by the epsilon rule is gradient times activation (Ancona et al., 2018)."""
    composites = pytest.importorskip("zennit.composites")
    rules = pytest.importorskip("zennit.rules")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 5, bias=False), nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )  # fmt: skip
    composite = composites.LayerMapComposite(
        [((nn.ReLU, nn.Tanh), rules.Pass()), (nn.Linear, rules.Epsilon(1e-9))]
    )
    batches = [torch.randn(30, 4), torch.randn(20, 4)]
    layers = ["1", "2"]
    found = measure_moments(model, batches, layers, rules=composite.context)
    expected = measure_moments(model, batches, layers)
    for name in layers:
        for kind in ("context", "cross"):
            one, other = (getattr(moments[name], kind) for moments in (found, expected))
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    plus = measure_moments(model, batches, ["3"], rules=composites.EpsilonPlus().context)["3"]
    assert torch.isfinite(plus.context).all()  # some activations are zero
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(ValueError, match="Rules explain a scalar"):
        measure_moments(model, batches, layers, rules=composite.context, context=None)


def test_positions_are_drawn_without_replacement_and_from_the_seed():
    class Numbers(nn.Module):
        def forward(self, x):
            return x

    model = nn.Sequential(Numbers(), nn.Flatten())
    x = torch.arange(50.0).reshape(1, 1, 5, 10)
    few = [
        measure_moments(model, [x], ["0"], context=None, positions=49, seed=seed)["0"]
        for seed in (0, 0, 1)
    ]
    assert few[0].n == 49
    assert torch.equal(few[0].mean, few[1].mean)
    assert few[0].mean != few[2].mean
    left_out = 50 * 24.5 - 49 * few[0].mean.item()  # 49 different numbers
    assert left_out == pytest.approx(round(left_out), abs=1e-6)
    assert 0 <= round(left_out) < 50


def test_teacher_is_as_it_was():
    model = teacher().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    measure_moments(model, data(), ["0"])
    assert model[1].training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


# %% Subspaces


def test_definite_matrix_where_plain_relevance_is_indefinite():
    moments = streamed()
    plain = torch.linalg.eigvalsh(moments.cross + moments.cross.T)
    definite = torch.linalg.eigvalsh(definite_relevance(moments))
    assert plain.min() < -0.1 * plain.max()
    assert definite.min() > -1e-12 * definite.max()


def test_definite_matrix_of_opposite_gradients():
    """With c = -a, S_ac + S_ca + 2 S_a + 2 S_c = 2 S_a, of full rank."""
    a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    moments = Moments(3)
    moments.update(a - a.mean(dim=0), -(a - a.mean(dim=0)))
    torch.testing.assert_close(definite_relevance(moments), 2 * moments.activation)


def test_prca_finds_the_direction_that_matters():
    """Much variance in one channel, relevance in another: PCA and PRCA disagree."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2000, 3, generator=generator) * torch.tensor([3.0, 1.0, 0.1])
    c = torch.stack([0 * a[:, 0], 10 * a[:, 1], 0 * a[:, 2]], dim=1)
    moments = Moments(3)
    moments.update(a, c)
    leading = {
        name: make_subspace(moments, 1, name).basis[:, 0].abs().argmax().item()
        for name in ("pca", "prca", "plain_prca", "gradient_pca")
    }
    assert leading == {"pca": 0, "prca": 1, "plain_prca": 1, "gradient_pca": 1}


def test_principal_components_are_those_of_numpy():
    import numpy as np

    a = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).double()
    moments = Moments(5)
    for part in a.split(30):
        moments.update(part)
    subspace = make_subspace(moments, 2, "pca")
    _, singular, rows = np.linalg.svd((a - a.mean(dim=0)).numpy(), full_matrices=False)
    np.testing.assert_allclose(subspace.spectrum, singular**2 / 200, rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(rows[:2] * subspace.basis.numpy().T, 1)), 1, atol=1e-5)
    assert subspace.energy == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum())


@pytest.mark.parametrize("method", sorted(SUBSPACES))
def test_projection_and_reconstruction(method):
    moments = streamed()
    whole = make_subspace(moments, 6, method)
    x = torch.randn(4, 7, 6)
    torch.testing.assert_close(whole.reconstruct(whole.project(x)), x, rtol=1e-4, atol=1e-4)
    assert whole.energy == pytest.approx(1, abs=1e-5)
    part = whole.truncate(3)
    torch.testing.assert_close(part.basis.T @ part.basis, torch.eye(3), rtol=0, atol=1e-5)
    once = part.reconstruct(part.project(x))
    torch.testing.assert_close(part.reconstruct(part.project(once)), once, rtol=1e-4, atol=1e-4)
    assert 0 < part.energy < whole.energy
    variance = (part.basis.T.double() @ moments.activation @ part.basis.double()).diagonal()
    torch.testing.assert_close(part.variance.double(), variance, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["prca", "plain_prca", "pca", "gradient_pca"])
def test_rotated_channels_give_the_rotated_subspace(method):
    moments = streamed()
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(5))).Q
    rotated = Moments(6)
    rotated.update(*_rotated(rotation.double()))
    one, other = (make_subspace(m, 3, method).basis for m in (moments, rotated))
    torch.testing.assert_close(
        rotation @ one @ one.T @ rotation.T, other @ other.T, rtol=0, atol=1e-4
    )


def _rotated(rotation):
    """What ``streamed`` draws, with other axes."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(400, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    c = 0.5 * a.flip(1) + torch.randn(400, 6, generator=generator)
    return a.double() @ rotation.T, c.double() @ rotation.T


def test_order_of_layers_does_not_matter():
    model, batches = teacher(), data()
    one = fit_subspaces(model, batches, {"0": 2, "3": 3}, positions=4)
    other = fit_subspaces(model, batches, {"3": 3, "0": 2}, positions=4)
    for name in ("0", "3"):
        assert torch.equal(one[name].basis, other[name].basis)


def test_a_function_as_subspace():
    moments = streamed()
    last = make_subspace(
        moments, 2, lambda m, generator: (torch.ones(6), torch.eye(6).double().flip(1))
    )
    assert torch.equal(last.basis, torch.eye(6)[:, [5, 4]])


def test_file_round_trip(tmp_path):
    subspace = make_subspace(streamed(), 3)
    subspace.save(tmp_path / "one.safetensors")
    again = Subspace.load(tmp_path / "one.safetensors")
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(subspace).items())


def test_file_of_something_else(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors holds no subspace"):
        Subspace.load(tmp_path / "other.safetensors")


# %% Bad input


def test_errors_say_what_to_do():
    model, batches, moments = teacher(), data(), streamed()
    with pytest.raises(ValueError, match="between 1 and the 6 channels, got 7"):
        make_subspace(moments, 7)
    with pytest.raises(ValueError, match=r"no subspace 'magic': pass one of \['prca'"):
        make_subspace(moments, 2, "magic")
    with pytest.raises(ValueError, match="keeps all 6 channels, not 2"):
        make_subspace(moments, 2, "identity")
    with pytest.raises(ValueError, match=r"no context 'magic': pass one of \['margin'"):
        measure_moments(model, batches, ["0"], context="magic")
    with pytest.raises(ValueError, match="gave no batch"):
        measure_moments(model, [], ["0"])
    with pytest.raises(ValueError, match="batches hold no labels"):
        measure_moments(model, [batches[0][0]], ["0"], context="target")
    with pytest.raises(ValueError, match="margin needs logits of two classes"):
        measure_moments(teacher(classes=1), batches, ["0"])
    with pytest.raises(ValueError, match="hold no gradients"):
        make_subspace(measure_moments(model, batches, ["0"], context=None)["0"], 2)
    with pytest.raises(ValueError, match="gradients are zero in this layer"):
        fit_subspaces(model, batches, {"0": 2}, context=lambda output, targets: 0 * output[:, 0])
