"""The engine learns, leaves the teacher alone, and says what is wrong before it works long."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from distill_cases import (
    FAST,
    LAYERS,
    Net,
    Noisy,
    Simulated,
    Transformer,
    hook_count,
    loader,
    net,
    same,
    shifted,
)  # fmt: skip
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from subdistill.engine import distill
from subdistill.objectives import OBJECTIVES, kd_loss
from subdistill.subspace import SUBSPACES
from subdistill.training import Recipe

# %% It learns


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_learns(teacher, objective):
    student = net(1, 4)
    found = distill(
        teacher, student, loader(), layers=LAYERS, objective=objective,
        validation=loader(shuffle=False), recipe=replace(FAST, epochs=12, learning_rate=2e-2),
    )  # fmt: skip
    losses = [row["loss"] for row in found.history]
    assert losses[-1] < 0.5 * losses[0]
    hints = {f"layers/{name}" for name in LAYERS} if objective != "kd" else set()
    assert set(found.history[0]) == {"epoch", "learning_rate", "loss", "output", "score"} | hints
    assert max(row["score"] for row in found.history) > 0.8
    assert found.student is student


@pytest.mark.parametrize("subspace", sorted(set(SUBSPACES) - {"identity"}))
def test_every_subspace(teacher, subspace):
    found = distill(
        teacher, net(1, 4), loader(), layers=LAYERS, subspace=subspace, recipe=FAST,
    )  # fmt: skip
    assert [s.rank for s in found.subspaces.values()] == [4, 8]
    assert found.history[-1]["layers/conv2"] < found.history[0]["layers/conv2"]


@pytest.mark.parametrize(("width", "subspace"), [(8, "identity"), (12, "identity"), (12, "prca")])
def test_student_as_wide_as_the_teacher_or_wider(teacher, width, subspace):
    found = distill(teacher, net(1, width), loader(), layers=LAYERS, subspace=subspace, recipe=FAST)
    assert [s.rank for s in found.subspaces.values()] == [8, 16]
    assert found.history[-1]["layers/conv2"] < found.history[0]["layers/conv2"]


@pytest.mark.parametrize("n_axes", [1, 3])
def test_one_and_three_dimensions(n_axes):
    data = DataLoader(TensorDataset(torch.randn(32, 2, *[6] * n_axes)), 8)
    found = distill(net(0, 8, n_axes=n_axes), net(1, 4, n_axes=n_axes), data, recipe=FAST)
    assert found.layers == {"norm": "norm", "conv2": "conv2"}
    assert found.history[-1]["loss"] < found.history[0]["loss"]


@pytest.mark.filterwarnings("ignore:.*nested_tensor.*")
@pytest.mark.parametrize("student", [lambda: Transformer(3, 4), lambda: Net(4)])
def test_transformer_teaches_transformer_and_convolutions(student):
    torch.manual_seed(0)
    found = distill(Transformer(6, 8), student(), loader(), recipe=FAST)
    assert list(found.layers) == ["blocks.1", "blocks.4"]
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_regression_with_a_scalar_of_one_s_own():
    """Outputs that are maps: no classes, no labels; the energy of a region is the context."""
    torch.manual_seed(0)
    teacher, student = (
        nn.Sequential(nn.Conv3d(2, n, 3, padding=1), nn.Tanh(), nn.Conv3d(n, 3, 1)) for n in (8, 4)
    )
    data = DataLoader(TensorDataset(torch.randn(16, 2, 4, 4, 4)), 8)
    found = distill(
        teacher, student, data, layers={"1": "1"}, recipe=replace(FAST, epochs=8),
        context=lambda output, targets: output[..., :2].square().sum(dim=(1, 2, 3, 4)),
        output_loss=nn.functional.l1_loss,
    )  # fmt: skip
    assert found.history[-1]["output"] < 0.8 * found.history[0]["output"]


# %% The teacher


@pytest.mark.parametrize("mode", [True, False])
def test_teacher_is_unchanged_to_the_bit(teacher, mode):
    teacher.train(mode)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    distill(teacher, net(1, 4), loader(), layers=LAYERS, recipe=FAST)
    assert same(teacher.state_dict(), before)
    assert teacher.training == teacher.norm.training == mode
    assert all(p.requires_grad and p.grad is None for p in teacher.parameters())
    assert not hook_count(teacher)


def test_random_numbers_of_the_user_are_left_alone(teacher):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    student = Net(4)  # draws its weights
    torch.manual_seed(3)
    distill(teacher, student, loader(), layers=LAYERS, recipe=FAST)
    assert torch.rand(1) == expected


# %% Several inputs, any data


class Named(TensorDataset):
    """Samples whose inputs have names."""

    def __getitem__(self, index):
        images, shift = super().__getitem__(index)
        return {"shift": shift, "images": images}


@pytest.mark.parametrize("form", ["tuple", "dict", "list of batches"])
def test_several_inputs_are_like_their_sum_in_one(form):
    """The model adds its two inputs, so that one input that holds the sum is the same."""
    torch.manual_seed(0)
    images, shift = torch.randn(32, 2, 6, 6), torch.randn(32, 2)
    total, pairs = images + shift[..., None, None], list(zip(images, shift, strict=True))
    one = DataLoader(TensorDataset(total), 16)
    if form == "tuple":
        two = DataLoader([(pair, 0.5) for pair in pairs], 16)
    elif form == "dict":
        two = DataLoader(Named(images, shift), 16)
    else:
        one, two = total.split(16), list(zip(images.split(16), shift.split(16), strict=True))
        two = [(pair, None) for pair in two]
    expected = distill(net(0, 8), net(1, 4), one, recipe=FAST)
    found = distill(shifted(0, 8), shifted(1, 4), two, recipe=FAST)
    assert found.layers == expected.layers == {"norm": "norm", "conv2": "conv2"}
    assert found.history == expected.history
    assert same(found.student.state_dict(), expected.student.state_dict())


def test_simulated_batches(tmp_path):
    """One for the probe, three for the subspaces, three for each epoch; validation of any kind."""
    data = Simulated()
    validation = SimpleNamespace(scores=iter([0.2, 0.1, 0.3]))
    found = distill(
        shifted(0, 8), shifted(1, 4), data, layers=LAYERS, recipe=FAST,
        validation=validation, score=lambda student, validation: next(validation.scores),
    )  # fmt: skip
    assert data.n_batches == 1 + 3 + 3 * FAST.epochs
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    assert found.best_epoch == 2


def test_data_that_cannot_be_trained_on():
    run = partial(distill, net(0, 8), net(1, 4))
    with pytest.raises(TypeError, match="generator ends after one"):
        run(x for x in [torch.zeros(1, 2, 6, 6)])
    with pytest.raises(TypeError, match="TensorDataset has no batches"):
        run(loader(), validation=TensorDataset(torch.zeros(1)))
    two = SimpleNamespace(world_size=2)
    with pytest.raises(TypeError, match="share its batches among 2 processes, got Simulated: pass"):
        run(Simulated(), fabric=two)


# %% Bad input


def test_errors_come_before_long_work_and_say_what_to_do(teacher):
    run = partial(distill, teacher, net(1, 4))
    with pytest.raises(ValueError, match="no layer 'conv_1'; close names are conv1"):
        run(loader(), layers={"conv_1": "conv1"})
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        run(loader(), layers={"conv1": "layer9"})
    with pytest.raises(ValueError, match="gave no batch"):
        run(DataLoader(TensorDataset(torch.zeros(0, 2, 6, 6)), 4))
    with pytest.raises(ValueError, match="no objective 'magic'"):
        run(loader(), objective="magic")
    for rank in (5, 0):
        with pytest.raises(ValueError, match=rf"rank {rank} does not fit layer 'conv1', .* 8 chan"):
            run(loader(), layers=LAYERS, recipe=replace(FAST, rank=rank))
    with pytest.raises(ValueError, match="no subspace 'magic'"):
        run(loader(), layers=LAYERS, subspace="magic")
    with pytest.raises(ValueError, match="no context 'magic'"):
        run(loader(), layers=LAYERS, context="magic")
    with pytest.raises(ValueError, match=r"\(16, 2\), the teacher of \(16, 3\): pass classes="):
        distill(teacher, net(1, 4, n_classes=2), loader(), layers=LAYERS)
    with pytest.raises(ValueError, match=r"classes \[0, 3\] are not all among the outputs"):
        distill(teacher, net(1, 4, n_classes=2), loader(), layers=LAYERS, classes=[0, 3])
    with pytest.raises(ValueError, match=r"labels go from 0 to 2, .* classes 0 to 1"):
        distill(teacher, net(1, 4, n_classes=2), loader(), objective="kd", classes=[0, 1])
    with pytest.raises(ValueError, match="no subspace of 'conv2'"):
        run(loader(), layers=LAYERS, subspace={"conv1": None})
    with pytest.raises(ValueError, match="no schedule 'magic'"):
        Recipe(schedule="magic")
    with pytest.raises(ValueError, match="at least one epoch"):
        Recipe(epochs=0)


def test_identity_of_too_many_channels_is_refused_before_the_pass(teacher):
    seen = []

    class Counted(Noisy):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    with pytest.raises(ValueError, match='"identity" keeps all 8 channels, not 4'):
        distill(
            teacher, net(1, 4), DataLoader(Counted(), 16), layers=LAYERS, subspace="identity"
        )  # fmt: skip
    assert seen == list(range(16))  # the batch that tells the channels


def test_layers_that_do_not_fit_fail_early(teacher):
    one = nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 4, 2), nn.Flatten(), nn.Linear(140, 3))
    with pytest.raises(ValueError, match=r"\(16, 4, 35\) cannot be compared with"):
        distill(teacher, one, loader(), layers={"conv1": "1"})


def test_loss_that_is_not_finite_stops_with_the_batch(teacher, tmp_path):
    data = DataLoader(TensorDataset(torch.full((4, 2, 6, 6), torch.nan), torch.zeros(4).long()), 4)
    with pytest.raises(RuntimeError, match=r"output nan.*Lower learning_rate"):
        distill(teacher, net(1, 4), data, objective="kd", folder=tmp_path)
    batch = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert batch["inputs"].isnan().all()
    assert batch["targets"].tolist() == [0] * 4


def test_checkpoint_of_another_configuration(teacher, tmp_path):
    options = dict(layers=LAYERS, folder=tmp_path)
    distill(teacher, net(1, 4), loader(), recipe=FAST, **options)
    with pytest.raises(ValueError, match=r"another configuration \(weight was 1.0, is 2.0\)"):
        distill(teacher, net(1, 4), loader(), recipe=replace(FAST, weight=2.0), **options)
    with pytest.raises(ValueError, match=r"student was Net of \d+ parameters, is Net of"):
        distill(teacher, net(1, 3), loader(), recipe=FAST, **options)
    with pytest.raises(ValueError, match="objective was subdistill, is FitNet"):
        distill(
            teacher, net(1, 4), loader(), recipe=FAST, objective=OBJECTIVES["fitnet"], **options
        )
    assert json.loads((tmp_path / "config.json").read_text())["output_loss"] == kd_loss.__name__
