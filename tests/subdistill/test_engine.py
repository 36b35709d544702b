"""The engine: it learns, resumes to the bit, leaves the teacher alone, and says what is wrong."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from distill_cases import FAST, LAYERS, Net, Noisy, loader, net, same, trained_teacher
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from subdistill.engine import distill
from subdistill.objectives import OBJECTIVES
from subdistill.subspace import SUBSPACES
from subdistill.training import SCHEDULES


@pytest.fixture(scope="module")
def teacher():
    return trained_teacher()


# %% It learns


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_learns(teacher, objective):
    student = net(1, 4)
    found = distill(
        teacher, student, loader(), layers=LAYERS, objective=objective,
        validation=loader(shuffle=False), recipe=replace(FAST, epochs=20),
    )  # fmt: skip
    losses = [row["loss"] for row in found.history]
    assert losses[-1] < losses[0]
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
    assert not any(m._forward_hooks for m in teacher.modules())


def test_random_numbers_of_the_user_are_left_alone(teacher):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    student = Net(4)  # draws its weights
    torch.manual_seed(3)
    distill(teacher, student, loader(), layers=LAYERS, recipe=FAST)
    assert torch.rand(1) == expected


# %% Runs


class Stop(Exception):
    pass


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resumed_run_equals_an_uninterrupted_one(teacher, tmp_path, ema):
    """Killed within an epoch: shuffling, noise and dropout come again as they were."""
    options = dict(
        layers=LAYERS, validation=loader(shuffle=False, noise=0),
        recipe=replace(FAST, epochs=4, ema=ema, accumulate=2),
    )  # fmt: skip

    def student():
        return net(1, 4, dropout=0.3)

    whole = distill(teacher, student(), loader(), folder=tmp_path / "whole", **options)

    class Failing(Noisy):
        looks = 0

        def __getitem__(self, index):
            self.looks += 1
            if self.looks > 48 * 4 + 20:  # probe, subspaces, and into the third epoch
                raise Stop
            return super().__getitem__(index)

    data = DataLoader(Failing(), 16, shuffle=True)
    with pytest.raises(Stop):
        distill(teacher, student(), data, folder=tmp_path / "parts", **options)
    rows = (tmp_path / "parts" / "log.csv").read_text().splitlines()
    assert 1 < len(rows) < 5
    torch.rand(7)  # the state of the random numbers does not matter
    parts = distill(teacher, student(), loader(), folder=tmp_path / "parts", **options)
    assert same(whole.student.state_dict(), parts.student.state_dict())
    assert whole.history == parts.history
    one, other = (
        torch.load(tmp_path / name / "checkpoint.ckpt", weights_only=True)
        for name in ("whole", "parts")
    )
    assert same(one["step"], other["step"])
    for number, moments in one["optimizer"]["state"].items():
        assert same(moments, other["optimizer"]["state"][number])
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_finished_run_is_only_read(teacher, tmp_path):
    options = dict(layers=LAYERS, recipe=FAST, folder=tmp_path)
    first = distill(teacher, net(1, 4), loader(), **options)
    again = distill(teacher, net(2, 4), loader(), **options)
    assert same(first.student.state_dict(), again.student.state_dict())
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in first.history]


def test_best_epoch_on_validation_is_kept_and_patience_ends(teacher):
    scores, kept = iter([0.1, 0.5, 0.2, 0.3, 0.9]), []

    def score(model, data):
        kept.append({k: v.clone() for k, v in model.state_dict().items()})
        return next(scores)

    found = distill(
        teacher, net(1, 4), loader(), layers=LAYERS, validation=loader(), score=score,
        recipe=replace(FAST, epochs=5, patience=2),
    )  # fmt: skip
    assert [row["score"] for row in found.history] == [0.1, 0.5, 0.2, 0.3]
    assert found.best_epoch == 1
    assert same(found.student.state_dict(), kept[1])
    assert not same(kept[1], kept[3])


def test_accumulated_batches_count_like_one(teacher):
    """Without batch norm, two half batches give the gradient of a whole one."""
    students = []
    for batch_size, accumulate in ((16, 1), (8, 2)):
        data = loader(shuffle=False, noise=0, batch_size=batch_size)
        recipe = replace(FAST, epochs=1, accumulate=accumulate)
        found = distill(teacher, net(1, 4, norm=False), data, objective="kd", recipe=recipe)
        students.append(found.student.state_dict())
    for name, value in students[0].items():
        torch.testing.assert_close(value, students[1][name], rtol=1e-4, atol=1e-5)


def test_rest_of_an_epoch_is_a_step_of_its_own(teacher):
    """Three batches of 16 with four for a step: one step, like that of one batch of 48."""
    students = []
    for batch_size, accumulate in ((16, 4), (48, 1)):
        data = loader(shuffle=False, noise=0, batch_size=batch_size)
        recipe = replace(FAST, epochs=1, accumulate=accumulate)
        found = distill(teacher, net(1, 4, norm=False), data, objective="kd", recipe=recipe)
        students.append(found.student.state_dict())
    before = net(1, 4, norm=False).state_dict()
    for name, value in students[0].items():  # the first step of AdamW knows no scale
        torch.testing.assert_close(value, students[1][name], rtol=1e-3, atol=1e-4)
        assert (value - before[name]).abs().max() > 5e-3


def test_average_of_the_weights(teacher):
    """One epoch of three steps: the average starts at the first and moves by a tenth."""
    kept = []

    class Recorder(nn.Module):
        def __init__(self, pair):
            super().__init__()

        def forward(self, student, teacher):
            return student.square().mean()

    student = net(1, 4, norm=False)
    student.head.register_forward_pre_hook(
        lambda m, x: kept.append(student.conv1.weight.detach().clone()) if m.training else None
    )
    options = dict(layers={"conv1": "conv1"}, objective=Recorder)
    found = distill(
        teacher, student, loader(shuffle=False, noise=0),
        recipe=replace(FAST, epochs=2, ema=0.9), **options,
    )  # fmt: skip
    expected = None
    for weight in kept[1:]:  # before each step but the first: after those of the average
        expected = weight if expected is None else 0.9 * expected + 0.1 * weight
    # the last step comes after all that was recorded: undo its tenth
    last = (found.student.conv1.weight.detach() - 0.9 * expected) / 0.1
    assert len(kept) == 6
    assert 0 < (last - kept[-1]).abs().max() < 0.02  # one step of AdamW at 0.01


def test_learning_rates(teacher):
    assert [SCHEDULES["halve"](epoch, 100) for epoch in (0, 24, 25, 75)] == [1, 1, 0.5, 0.125]
    assert [SCHEDULES["cosine"](epoch, 4) for epoch in (0, 2)] == pytest.approx([1, 0.5])
    found = distill(
        teacher, net(1, 4), loader(), objective="kd", recipe=replace(FAST, schedule="cosine")
    )
    assert [r["learning_rate"] for r in found.history] == pytest.approx([0.01, 0.0075, 0.0025])


# %% Devices


def test_mixed_precision(teacher):
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    found = distill(
        teacher, net(1, 4), loader(), layers=LAYERS, recipe=replace(FAST, clip=1.0), fabric=fabric
    )
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    assert {p.dtype for p in found.student.parameters()} == {torch.float32}


def test_compiled_student_learns_the_same(teacher):
    students = [net(1, 4), net(1, 4)]
    compiled = torch.compile(students[1], backend="eager")
    for student in (students[0], compiled):
        distill(teacher, student, loader(), layers=LAYERS, recipe=FAST)
    for one, other in zip(students[0].parameters(), students[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


TWO_PROCESSES = """
import sys, torch
from lightning_fabric import Fabric
from subdistill.engine import Recipe, distill
sys.path.insert(0, {tests!r})
from distill_cases import LAYERS, loader, net

fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
found = distill(
    net(0, 8), net(1, 4), loader(), layers=LAYERS, recipe=Recipe(epochs=2), folder={folder!r},
    fabric=fabric,
)
weights = torch.cat([p.detach().flatten() for p in found.student.parameters()])
both = fabric.all_gather(weights)
assert torch.equal(both[0], both[1])
assert found.history[1]["loss"] < found.history[0]["loss"]
if fabric.is_global_zero:
    print("done", both.shape[0])
"""


def test_two_processes(tmp_path):
    from pathlib import Path

    script = tmp_path / "train.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(TWO_PROCESSES.format(tests=tests, folder=str(tmp_path / "run")))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "done 2" in run.stdout


def test_loggers_of_fabric(teacher, tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=100)
    fabric = Fabric(accelerator="cpu", devices=1, loggers=[logger])
    found = distill(teacher, net(1, 4), loader(), layers=LAYERS, recipe=FAST, fabric=fabric)
    with (Path(logger.log_dir) / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 1, 2]
    for name in found.history[0]:
        assert [float(row[name]) for row in rows] == [row[name] for row in found.history]
