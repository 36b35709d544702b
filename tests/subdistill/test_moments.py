"""Moments of activations and gradients, streamed over the data."""

import pytest

torch = pytest.importorskip("torch")

from distill_cases import conv_teacher, hook_count, labelled_batches, net, shifted
from torch import nn

from subdistill.capture import Capture
from subdistill.models import frozen
from subdistill.moments import CONTEXTS, Moments, measure_moments


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


@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_streamed_moments_equal_the_dense_ones(context):
    model, batches = conv_teacher(), labelled_batches()
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
    model, batches = conv_teacher(), labelled_batches()
    small = conv_teacher()
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
    assert not hook_count(model)
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
    model = conv_teacher().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    measure_moments(model, labelled_batches(), ["0"])
    assert model[1].training
    assert not hook_count(model)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_several_inputs_have_the_moments_of_their_sum():
    images, shift = torch.randn(8, 2, 6, 6), torch.randn(8, 2)
    found = [
        measure_moments(model, [batch], ["conv2"])["conv2"]
        for model, batch in (
            (net(0, 4), images + shift[..., None, None]),
            (shifted(0, 4), {"shift": shift, "images": images}),
        )
    ]
    assert torch.equal(found[0].cross, found[1].cross)


def test_errors_say_what_to_do():
    model, batches = conv_teacher(), labelled_batches()
    with pytest.raises(ValueError, match=r"no context 'magic': pass one of \['margin'"):
        measure_moments(model, batches, ["0"], context="magic")
    with pytest.raises(ValueError, match="gave no batch"):
        measure_moments(model, [], ["0"])
    with pytest.raises(ValueError, match="batches hold no labels"):
        measure_moments(model, [batches[0][0]], ["0"], context="target")
    with pytest.raises(ValueError, match="margin needs logits of two classes"):
        measure_moments(conv_teacher(classes=1), batches, ["0"])
