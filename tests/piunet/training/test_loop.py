"""The loop that all trainings share."""

import dataclasses
from types import SimpleNamespace

import pytest
from odd_files import full_disk

torch = pytest.importorskip("torch")
Fabric = pytest.importorskip("lightning_fabric").Fabric

from mne_piunet.kernel.inputs import MASK, N_INPUTS
from mne_piunet.net.unet import UNet
from mne_piunet.training.loop import Training, total_loss


@pytest.fixture
def batch():
    """From a step to one example: two bumps in the inputs, the truth is the fainter one."""

    def batch(step):
        inputs = torch.zeros(1, N_INPUTS, 4, 4, 8)
        inputs[:, MASK] = 1
        inputs[:, 3, 1, 1, 1], inputs[:, 3, 3, 3, 6] = 1.0, 0.5
        targets = torch.zeros(1, 4, 4, 4, 8)
        targets[:, 0, 3, 3, 6] = targets[:, 3, 3, 3, 6] = 1
        return inputs, targets

    return batch


@pytest.fixture
def start(recipe):
    """Start a training of a new network on the processor in single precision."""

    def start(**changed):
        torch.manual_seed(0)
        own = dataclasses.replace(recipe, transport=0.0, **changed)
        fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        return Training(UNet(**own.network), own, fabric)

    return start


def test_it_learns_and_stops_at_the_last_step(start, batch):
    training = start(learning_rate=3e-3, ema=0.5)
    costs = list(training.steps(batch, lambda training: 1.0, n_steps=40))
    assert len(costs) == training.step == 40
    assert costs[-1] < 0.5 * costs[0]
    assert not list(training.steps(batch, lambda training: 1.0, n_steps=40))


def test_it_stops_when_the_time_is_over(start, batch, monkeypatch):
    """Not before one step; a later call has its own time."""
    ticks = iter(range(0, 1000, 10))
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr("mne_piunet.training.loop.time", clock)
    training = start()
    assert len(list(training.steps(batch, lambda training: 1.0, minutes=1))) == 6
    assert training.seconds == 60
    assert len(list(training.steps(batch, lambda training: 1.0, minutes=0))) == 1
    assert training.seconds == 70


def test_the_rate_is_a_factor_of_the_learning_rate(start, batch):
    training = start()
    before = [p.detach().clone() for p in training.average.parameters()]
    list(training.steps(batch, lambda training: 0.0, n_steps=2))
    for one, other in zip(before, training.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_average_is_one_of_the_weights_so_far(start, batch):
    """The first update copies the weights; then each has the share of the decay."""
    training = start(ema=0.75)
    parameter = training._network.weigh.bias
    expected = None
    for _ in training.steps(batch, lambda training: 1.0, n_steps=3):
        now = parameter.detach().clone()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
    torch.testing.assert_close(training.average.weigh.bias.detach(), expected)


def test_a_loss_that_is_not_finite_ends_it_before_the_step(start, batch):
    training = start()

    def broken(step):
        inputs, targets = batch(step)
        return inputs, targets * (float("nan") if step == 2 else 1)

    with pytest.raises(FloatingPointError, match=r"step 2: lower the learning rate"):
        list(training.steps(broken, lambda training: 1.0, n_steps=4))
    assert training.step == 2
    assert all(torch.isfinite(p).all() for p in training.average.parameters())


def test_a_checkpoint_holds_all(start, batch, tmp_path):
    """Going on from it is the same as not having stopped."""
    whole, first, second = start(), start(), start()
    costs = list(whole.steps(batch, lambda training: 1.0, n_steps=5))
    list(first.steps(batch, lambda training: 1.0, n_steps=3))
    first.save(tmp_path / "here.ckpt")
    second.load(tmp_path / "here.ckpt")
    assert (second.step, second.seconds) == (3, first.seconds)
    assert list(second.steps(batch, lambda training: 1.0, n_steps=5)) == costs[3:]
    for one, other in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_is_written_whole_or_not_at_all(start, tmp_path):
    """A function of torch that meets a full disk while it writes ends the process."""
    training = start()
    path = tmp_path / "here.ckpt"
    training.save(path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(OSError, match="too large"):
        training.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_weights_of_the_recipe_weigh_the_terms(recipe, batch):
    inputs, targets = batch(0)
    output = targets.flip(2)

    def loss(**weights):
        none = dict.fromkeys(("sliced", "pyramid", "direction", "moment", "transport"), 0.0)
        own = dataclasses.replace(recipe, **{**none, **weights})
        generator = torch.Generator().manual_seed(0)
        return total_loss(output, targets, inputs, own, generator).item()

    pytest.importorskip("ot")
    parts = [loss(sliced=1.0), loss(moment=2.0), loss(transport=3.0)]
    assert min(parts) > 0
    assert loss(sliced=1.0, moment=2.0, transport=3.0) == pytest.approx(sum(parts), rel=1e-6)
