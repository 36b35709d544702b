"""The training resumes to the same bits, keeps the best weights, and takes the right steps."""

import csv
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from distill_cases import (
    FAST,
    LAYERS,
    Noisy,
    Simulated,
    Stop,
    loader,
    net,
    same,
    shifted,
)  # fmt: skip
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from subdistill.engine import distill
from subdistill.training import SCHEDULES

# %% Runs


class Failing(Noisy):
    """Images that stop the training at a look."""

    def __init__(self, fail_at):
        super().__init__()
        self.fail_at, self.n_looks = fail_at, 0

    def __getitem__(self, index):
        self.n_looks += 1
        if self.n_looks == self.fail_at:
            raise Stop
        return super().__getitem__(index)


def resumed(folder, teacher, student, data, stopped, n_epochs, **options):
    """Train without a stop, and with one after some epochs; return both results."""
    whole = distill(teacher, student(), data, folder=folder / "whole", **options)
    with pytest.raises(Stop):
        distill(teacher, student(), stopped, folder=folder / "parts", **options)
    log = folder / "parts" / "log.csv"
    assert log.exists() == (n_epochs > 0)
    assert not n_epochs or len(log.read_text().splitlines()) == 1 + n_epochs
    torch.rand(7)  # the state of the random numbers does not matter
    return whole, distill(teacher, student(), data, folder=folder / "parts", **options)


@pytest.mark.parametrize(("ema", "n_epochs"), [(0.0, 2), (0.9, 2), (0.0, 0)])
def test_resumed_run_equals_an_uninterrupted_one(teacher, tmp_path, ema, n_epochs):
    """Killed within an epoch: shuffling, noise and dropout come again as they were."""
    # the probe looks at a batch, the subspaces and each epoch at all images
    stopped = DataLoader(Failing(16 + 48 + n_epochs * 48 + 20), 16, shuffle=True)
    whole, parts = resumed(
        tmp_path, teacher, lambda: net(1, 4, dropout=0.3), loader(), stopped, n_epochs,
        layers=LAYERS, recipe=replace(FAST, epochs=4, ema=ema, accumulate=2),
    )  # fmt: skip
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


@pytest.mark.parametrize("n_epochs", [0, 2])
def test_resumed_run_on_simulated_batches_of_two_inputs(tmp_path, n_epochs):
    """Each epoch draws other batches, and draws them again after a stop."""
    # the probe takes one batch, the subspaces and each epoch take three
    whole, parts = resumed(
        tmp_path, shifted(0, 8), lambda: shifted(1, 4), Simulated(),
        Simulated(fail_at=1 + 3 + n_epochs * 3 + 2), n_epochs, layers=LAYERS,
        recipe=replace(FAST, epochs=4),
    )  # fmt: skip
    assert same(whole.student.state_dict(), parts.student.state_dict())
    assert whole.history == parts.history


def test_resumed_run_remembers_the_best_epoch(teacher, tmp_path):
    scores = iter([0.1, 0.5, 0.2, 0.3, 0.3])
    options = dict(
        layers=LAYERS, validation=loader(), score=lambda student, data: next(scores),
        recipe=replace(FAST, epochs=4), folder=tmp_path,
    )  # fmt: skip
    stopped = DataLoader(Failing(16 + 48 + 2 * 48 + 20), 16, shuffle=True)
    with pytest.raises(Stop):
        distill(teacher, net(1, 4), stopped, **options)
    found = distill(teacher, net(1, 4), loader(), **options)
    assert [row["score"] for row in found.history] == [0.1, 0.5, 0.2, 0.3]
    assert found.best_epoch == 1


def test_finished_run_is_only_read(teacher, tmp_path):
    options = dict(layers=LAYERS, recipe=FAST, folder=tmp_path)
    first = distill(teacher, net(1, 4), loader(), **options)
    again = distill(teacher, net(2, 4), loader(), **options)
    assert same(first.student.state_dict(), again.student.state_dict())
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in first.history]


def trained(teacher, folder, **options):
    return distill(
        teacher, net(1, 4), loader(), layers=LAYERS, recipe=FAST, folder=folder, **options
    )


def test_log_that_a_killed_run_has_not_written_is_written_on_resuming(teacher, tmp_path):
    trained(teacher, tmp_path)
    whole = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").unlink()
    trained(teacher, tmp_path)
    assert (tmp_path / "log.csv").read_text() == whole


@pytest.mark.parametrize("other", ["teacher", "data", "validation"])
def test_other_jobs_are_refused(teacher, tmp_path, other):
    trained(teacher, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    options = dict(data=loader(), validation=None)
    if other == "teacher":
        teacher.head.bias.data += 1
    elif other == "data":
        options["data"] = loader(n=32)
    else:
        options["validation"] = loader()
    what = dict(teacher="weights of the teacher was", validation="validation was None, is 48",
                data="data was 48 samples in batches of 16, is 32 samples")  # fmt: skip
    with pytest.raises(ValueError, match=f"another configuration .*{what[other]}"):
        distill(teacher, net(1, 4), **options, layers=LAYERS, recipe=FAST, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_subspace_of_a_resumed_run_is_named(teacher, tmp_path, damage):
    trained(teacher, tmp_path)
    path = tmp_path / "conv1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    if damage == "missing":
        path.unlink()
    with pytest.raises((OSError, ValueError), match=r"conv1.safetensors.*delete .*checkpoint.ckpt"):
        trained(teacher, tmp_path)


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_does_not_run(teacher, tmp_path):
    trained(teacher, tmp_path / "run")
    path, sprung = tmp_path / "run" / "checkpoint.ckpt", tmp_path / "sprung"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"epoch": Trap(sprung)}, path)
    with pytest.raises(ValueError, match=r"checkpoint.ckpt is damaged.* nothing in it was run"):
        trained(teacher, tmp_path / "run")
    assert not sprung.exists()


@pytest.mark.parametrize(
    "change", [dict(epoch="2"), dict(step={}), dict(optimizer=3), dict(history=None), dict(best=[])]
)
def test_checkpoint_of_something_else_is_named(teacher, tmp_path, change):
    trained(teacher, tmp_path)
    path = tmp_path / "checkpoint.ckpt"
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(
        ValueError, match=r"checkpoint.ckpt is no checkpoint of this training: pass"
    ):
        trained(teacher, tmp_path)
    torch.save([1, 2], path)
    with pytest.raises(
        ValueError, match=r"checkpoint.ckpt is no checkpoint of this training: pass"
    ):
        trained(teacher, tmp_path)


@pytest.mark.parametrize("name", ["checkpoint.ckpt", "log.csv", "conv1.safetensors"])
def test_files_of_others_stay(teacher, tmp_path, name):
    (tmp_path / name).write_text("theirs")
    with pytest.raises(FileExistsError, match=f"{name} exists and belongs to no run"):
        trained(teacher, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_nothing_of_the_training_is_written_outside_its_folder(teacher, tmp_path, monkeypatch):
    """A killed process would leave it there for good."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    trained(teacher, tmp_path / "run")


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


def weights_after(teacher, batch_size, accumulate):
    """Train for one epoch, without batch norm, which sees the batches one by one."""
    student, data = net(1, 4, norm=False), loader(False, batch_size, noise=0)
    recipe = replace(FAST, epochs=1, accumulate=accumulate)
    distill(teacher, student, data, objective="kd", recipe=recipe)
    return student.state_dict()


def test_accumulated_batches_count_like_one(teacher):
    """Two half batches give the gradient of a whole one."""
    whole, halves = weights_after(teacher, 16, 1), weights_after(teacher, 8, 2)
    for name, value in whole.items():
        torch.testing.assert_close(value, halves[name], rtol=1e-4, atol=1e-5)


def test_rest_of_an_epoch_is_a_step_of_its_own(teacher):
    """Three batches of 16 with four for a step: one step, like that of one batch of 48."""
    rest, whole = weights_after(teacher, 16, 4), weights_after(teacher, 48, 1)
    before = net(1, 4, norm=False).state_dict()
    for name, value in rest.items():  # the first step of AdamW does not depend on the scale
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-4)
        assert (value - before[name]).abs().max() > 5e-3


def test_average_of_the_weights(teacher):
    """The average starts at the weights of the first step and moves by a tenth in each."""
    student, weights = net(1, 4, norm=False), []
    hook = register_optimizer_step_post_hook(
        lambda *args: weights.append(student.conv1.weight.detach().clone())
    )
    recipe = replace(FAST, epochs=2, ema=0.9)
    distill(teacher, student, loader(), objective="kd", recipe=recipe)
    hook.remove()
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.9 * expected + 0.1 * weight
    assert len(weights) == 6  # two epochs of three batches
    torch.testing.assert_close(student.conv1.weight, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_norm_of_the_gradient_is_clipped(teacher, tmp_path, clip):
    """After one step, AdamW's first moment is a tenth of the gradient."""
    recipe = replace(FAST, epochs=1, clip=clip)
    data = loader(batch_size=48)
    distill(teacher, net(1, 4), data, objective="kd", recipe=recipe, folder=tmp_path)
    state = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)["optimizer"]["state"]
    norm = torch.cat([10 * moments["exp_avg"].flatten() for moments in state.values()]).norm()
    assert norm == pytest.approx(clip, rel=1e-3) if clip else norm > 0.1


def test_learning_rates(teacher):
    assert [SCHEDULES["halve"](epoch, 100) for epoch in (0, 24, 25, 75)] == [1, 1, 0.5, 0.125]
    assert [SCHEDULES["cosine"](epoch, 4) for epoch in (0, 2)] == pytest.approx([1, 0.5])
    found = distill(
        teacher, net(1, 4), loader(), objective="kd", recipe=replace(FAST, schedule="cosine")
    )
    assert [r["learning_rate"] for r in found.history] == pytest.approx([0.01, 0.0075, 0.0025])


# %% Devices


def test_mixed_precision(teacher):
    """Layers of both models compute in bfloat16 while they train; weights and losses do not."""
    student, kinds = net(1, 4), {"teacher": [], "student": []}
    hooks = [
        model.conv2.register_forward_hook(
            lambda module, inputs, output, name=name: kinds[name].append(output.dtype)
        )
        for name, model in (("teacher", teacher), ("student", student))
    ]
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    found = distill(teacher, student, loader(), objective="fitnet", recipe=FAST, fabric=fabric)
    for hook in hooks:
        hook.remove()
    # the probe is in single precision, then come three epochs of three batches
    assert kinds["teacher"] == kinds["student"] == [torch.float32] + [torch.bfloat16] * 9
    assert {p.dtype for p in student.parameters()} == {torch.float32}
    single = distill(teacher, net(1, 4), loader(), objective="fitnet", recipe=FAST)
    for one, other in zip(found.history, single.history, strict=True):
        assert one["loss"] != other["loss"]
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)


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
sys.path.insert(0, {tests!r})
from distill_cases import FAST, LAYERS, loader, net
from subdistill import distill

def train(fabric):
    found = distill(
        net(0, 8), net(1, 4), loader(), layers=LAYERS, recipe=FAST, folder={folder!r}, fabric=fabric
    )
    weights = torch.cat([p.detach().flatten() for p in found.student.parameters()])
    both = fabric.all_gather(weights)
    assert torch.equal(both[0], both[1])
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    if fabric.is_global_zero:
        print("done", both.shape[0])

if __name__ == "__main__":
    strategy = "ddp_fork" if hasattr(__import__("os"), "fork") else "ddp_spawn"
    Fabric(accelerator="cpu", devices=2, strategy=strategy).launch(train)
"""


def test_two_processes(tmp_path):
    """Both have the same student, and the files are written once."""
    script, folder = tmp_path / "train.py", tmp_path / "run"
    tests = str(Path(__file__).parents[1] / "helpers")
    script.write_text(TWO_PROCESSES.format(tests=tests, folder=str(folder)))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "done 2" in run.stdout
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.ckpt", "config.json", "conv1.safetensors", "conv2.safetensors", "log.csv",
    }  # fmt: skip


def test_loggers_of_fabric(teacher, tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=100)
    fabric = Fabric(accelerator="cpu", devices=1, loggers=[logger])
    found = distill(teacher, net(1, 4), loader(), layers=LAYERS, recipe=FAST, fabric=fabric)
    with (Path(logger.log_dir) / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 1, 2]
    for name in found.history[0]:
        assert [float(row[name]) for row in rows] == [row[name] for row in found.history]
