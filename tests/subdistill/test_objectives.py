"""Losses: analytic values, invariances, and gradients for all that is learned."""

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional

from subdistill.moments import Moments
from subdistill.objectives import (
    CRD,
    OBJECTIVES,
    SPKD,
    VID,
    AttentionTransfer,
    FitNet,
    Objective,
    Pair,
    SubDistill,
    VkD,
    kd_loss,
)
from subdistill.subspace import make_subspace

B, M, D, P = 6, 3, 8, 10
LAYER_LOSSES = {name: make for name, make in OBJECTIVES.items() if make}


@pytest.fixture
def maps():
    torch.manual_seed(0)
    mix = torch.randn(D, D)
    return torch.randn(B, M, P), mix @ torch.randn(B, D, P) + 2


@pytest.fixture
def pair(maps):
    rows = maps[1].transpose(1, 2).flatten(0, 1)
    moments = Moments(D)
    moments.update(rows, rows.flip(1))
    return Pair(M, D, make_subspace(moments, M))


def set_rotation(loss, weight):
    loss.rotation.linear.weight = weight


# %% What all have in common


@pytest.mark.parametrize("name", sorted(LAYER_LOSSES))
def test_student_and_all_parameters_receive_gradients(name, maps, pair):
    student, teacher = (x.clone().requires_grad_() for x in maps)
    loss = LAYER_LOSSES[name](pair)
    loss(student, teacher.detach()).backward()
    assert student.grad.abs().sum() > 0
    for key, parameter in loss.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", sorted(LAYER_LOSSES))
@pytest.mark.parametrize("n_student", [M, D, D + 3])
def test_any_number_of_channels(name, n_student, pair, maps):
    student = torch.randn(B, n_student, P, requires_grad=True)
    loss = LAYER_LOSSES[name](Pair(n_student, D, pair.subspace))(student, maps[1])
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", sorted(LAYER_LOSSES))
def test_training_lowers_the_loss(name, pair, maps):
    torch.manual_seed(0)
    student = maps[0].clone().requires_grad_()
    loss = LAYER_LOSSES[name](pair)
    optimizer = torch.optim.Adam([student, *loss.parameters()], 0.05)
    values = []
    for _ in range(100):
        value = loss(student, maps[1])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]


# %% One by one


def test_kd_is_the_divergence_of_softened_probabilities():
    output, wanted = torch.randn(5, 4), torch.randn(5, 4)
    p, q = ((x / 4).exp() / (x / 4).exp().sum(1, keepdim=True) for x in (wanted, output))
    expected = 16 * (p * (p / q).log()).sum(dim=1).mean()
    torch.testing.assert_close(kd_loss(output, wanted), expected)
    assert kd_loss(wanted + 3, wanted).abs() < 1e-5  # a constant is no difference


def test_student_equal_to_the_projected_teacher_has_no_loss(pair, maps):
    loss = SubDistill(pair)
    turn = torch.linalg.qr(torch.randn(M, M)).Q
    set_rotation(loss, turn)
    projected = pair.subspace.project(maps[1].transpose(1, 2)).transpose(1, 2)
    assert loss(turn.T @ projected + 5, maps[1]) < 1e-9  # the mean does not count either


def test_student_that_does_nothing_has_loss_one(pair, maps):
    torch.testing.assert_close(SubDistill(pair)(torch.ones(B, M, P), maps[1]), torch.tensor(1.0))


def test_rotation_of_the_basis_is_made_up_for(pair, maps):
    loss, other = SubDistill(pair), SubDistill(pair)
    turn = torch.linalg.qr(torch.randn(M, M)).Q
    other.basis = other.basis @ turn
    set_rotation(other, turn.T @ loss.rotation.linear.weight)
    torch.testing.assert_close(loss(*maps), other(*maps))


def test_scale_of_the_teacher_does_not_matter(pair, maps):
    rows = 7 * maps[1].transpose(1, 2).flatten(0, 1)
    moments = Moments(D)
    moments.update(rows, rows.flip(1))
    larger = SubDistill(Pair(M, D, make_subspace(moments, M)))
    loss = SubDistill(pair)
    larger.basis = loss.basis  # eigenvectors come with any sign
    set_rotation(larger, loss.rotation.linear.weight)
    torch.testing.assert_close(loss(*maps), larger(7 * maps[0], 7 * maps[1]))


def test_subspace_must_fit_the_student(pair):
    with pytest.raises(ValueError, match=r"3 dimensions does not fit into 2 .*truncate\(2\)"):
        SubDistill(Pair(2, D, pair.subspace))
    with pytest.raises(ValueError, match="needs a subspace"):
        SubDistill(Pair(2, D))


def test_fitnet_is_zero_for_an_affine_teacher(pair, maps):
    loss = FitNet(pair)
    assert loss(maps[0], loss.projector(maps[0]).detach()) == 0
    weight, bias = loss.projector.layers[0].weight, loss.projector.layers[0].bias
    expected = torch.einsum("bmp,dm->bdp", maps[0], weight) + bias[None, :, None] - maps[1]
    torch.testing.assert_close(loss(*maps), expected.square().mean())


def test_attention_does_not_know_channels_apart(pair, maps):
    loss = AttentionTransfer(pair)
    turn = torch.linalg.qr(torch.randn(D, D)).Q
    torch.testing.assert_close(loss(*maps), loss(3 * maps[0], 0.1 * turn @ maps[1]))
    assert loss(turn @ maps[1], maps[1]) < 1e-9
    one = torch.zeros(1, 1, 4)
    other = one.clone()
    one[..., 0], other[..., 3] = 1, 1
    torch.testing.assert_close(loss(one, other), torch.tensor(2.0))  # energies far apart


def test_vid_is_a_gaussian_likelihood(pair, maps):
    loss = VID(pair)
    variance = functional.softplus(loss.scale) + 1e-5
    normal = torch.distributions.Normal(loss.projector(maps[0]), variance.sqrt())
    constant = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss(*maps), -normal.log_prob(maps[1]).mean() - constant)


def test_vkd_projects_orthogonally_and_standardizes(pair, maps):
    loss = VkD(pair)
    weight = loss.rotation.linear.weight
    torch.testing.assert_close(weight.T @ weight, torch.eye(M), rtol=0, atol=1e-5)
    scale, shift = torch.rand(D, 1) + 0.5, torch.randn(D, 1)
    torch.testing.assert_close(
        loss(*maps), loss(maps[0], scale * maps[1] + shift), rtol=1e-3, atol=1e-4
    )


def test_spkd_sees_similarities_alone(pair, maps):
    loss = SPKD(pair)
    turn = torch.linalg.qr(torch.randn(D, D)).Q
    torch.testing.assert_close(loss(*maps), loss(-2 * maps[0], turn @ maps[1]))
    assert loss(turn @ maps[1], maps[1]) < 1e-9


def test_crd_of_indistinguishable_samples_is_the_logarithm_of_the_batch(pair, maps):
    same = [x[:1].expand_as(x) for x in maps]
    torch.testing.assert_close(CRD(pair)(*same), torch.tensor(math.log(B)))


# %% The whole objective


def test_total_is_the_weighted_sum(pair):
    torch.manual_seed(0)
    objective = Objective({"one": pair, "two": pair}, "fitnet", weight=3.0)
    maps = {k: (torch.randn(B, M, 4), torch.randn(B, D, 4)) for k in ("one", "two")}
    losses = objective(torch.randn(B, 2), torch.randn(B, 2), maps)
    hints = losses["layers/one"] + losses["layers/two"]
    torch.testing.assert_close(losses["loss"], losses["output"] + 3 * hints)


def test_kd_has_no_layers(pair):
    objective = Objective({"one": pair}, "kd")
    output, wanted = torch.randn(B, 2), torch.randn(B, 2)
    losses = objective(output, wanted, {})
    assert list(losses) == ["loss", "output"]
    assert losses["loss"] == losses["output"] == kd_loss(output, wanted)


def test_losses_of_one_s_own(pair):
    class Norm(nn.Module):
        def __init__(self, pair):
            super().__init__()

        def forward(self, student, teacher):
            return (student.norm() - teacher.norm()).abs()

    objective = Objective({"one": pair}, Norm, weight=2.0, output_loss=functional.l1_loss)
    maps = {"one": (torch.ones(1, M, 4), torch.zeros(1, D, 4))}
    losses = objective(torch.ones(1, 2), torch.zeros(1, 2), maps)
    torch.testing.assert_close(losses["loss"], torch.tensor(1 + 2 * math.sqrt(4 * M)))


def test_unknown_objective(pair):
    with pytest.raises(ValueError, match=r"no objective 'magic': pass one of \['subdistill'"):
        Objective({"one": pair}, "magic")


def test_half_precision_is_left_for_the_losses(pair):
    maps = {"one": (torch.randn(B, M, 4).bfloat16(), torch.randn(B, D, 4).bfloat16())}
    objective = Objective({"one": pair})
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective(torch.randn(B, 2).bfloat16(), torch.randn(B, 2), maps)
    assert all(value.dtype == torch.float32 for value in losses.values())
