"""The engine: it learns, resumes to the bit, leaves the teacher alone, and says what is wrong."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from lightning_fabric import Fabric  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset, TensorDataset  # noqa: E402

from subdistill.data import batches  # noqa: E402
from subdistill.distill import distill  # noqa: E402
from subdistill.evaluate import accuracy  # noqa: E402
from subdistill.objectives import OBJECTIVES, kd_loss  # noqa: E402
from subdistill.pairing import pair_layers  # noqa: E402
from subdistill.subspace import SUBSPACES  # noqa: E402
from subdistill.training import SCHEDULES, Recipe  # noqa: E402

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


@pytest.fixture(scope="module")
def teacher():
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
from subdistill.distill import Recipe, distill
sys.path.insert(0, {tests!r})
from test_subdistill_distill import LAYERS, loader, net

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
    tests = str(Path(__file__).parent)
    script.write_text(TWO_PROCESSES.format(tests=tests, folder=str(tmp_path / "run")))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "done 2" in run.stdout


def test_loggers_of_fabric(teacher):
    class Logger:
        def __init__(self):
            self.rows = []

        def log_metrics(self, metrics, step):
            self.rows.append((step, metrics))

    logger = Logger()
    fabric = Fabric(accelerator="cpu", devices=1, loggers=[logger])
    found = distill(teacher, net(1, 4), loader(), layers=LAYERS, recipe=FAST, fabric=fabric)
    assert [row for _, row in logger.rows] == found.history
    assert [step for step, _ in logger.rows] == [0, 1, 2]


# %% Pairs


def test_pairs_by_resolution():
    one, other = net(0, 4), nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    assert pair_layers(one, other, torch.zeros(1, 2, 6, 6)) == {"norm": "1", "conv2": "3"}


class Transformer(nn.Module):
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


@pytest.mark.filterwarnings("ignore:.*nested_tensor.*")
@pytest.mark.parametrize(
    ("student", "layers"),
    [
        (lambda: Transformer(3, 4), {"blocks.1": "blocks.0", "blocks.4": "blocks.1"}),
        (lambda: Net(4), {"blocks.1": "norm", "blocks.4": "conv2"}),
    ],
)
def test_transformer_teaches_transformer_and_convolutions(student, layers):
    torch.manual_seed(0)
    found = distill(Transformer(6, 8), student(), loader(), recipe=FAST)
    assert found.layers == layers
    assert found.history[-1]["loss"] < found.history[0]["loss"]


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
        with pytest.raises(ValueError, match=rf"rank {rank} does not fit layer 'conv1': .* 8 chan"):
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
    with pytest.raises(TypeError, match="must come in a DataLoader, got list"):
        run([torch.zeros(1, 2, 6, 6)])
    with pytest.raises(ValueError, match="no subspace of 'conv2'"):
        run(loader(), layers=LAYERS, subspace={"conv1": None})
    with pytest.raises(ValueError, match="no schedule 'magic'"):
        Recipe(schedule="magic")
    with pytest.raises(ValueError, match="at least one epoch"):
        Recipe(epochs=0)


def test_layers_that_do_not_fit_fail_early(teacher):
    one = nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 4, 2), nn.Flatten(), nn.Linear(140, 3))
    with pytest.raises(ValueError, match=r"\(16, 4, 35\) cannot be laid beside"):
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


def test_batches_of_any_form():
    x, y = torch.zeros(1), torch.ones(1)
    cpu = torch.device("cpu")
    assert [b[1] for b in batches([x, (x,), [x, y], (x, y, y)], cpu)] == [None, None, y, y]
