"""Fine-tuning: better on the head it is for, or not at all."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("lightning_fabric")
pytest.importorskip("ot")

from mne_piunet import apply_piunet, finetune_piunet, load_piunet, make_piunet
from mne_piunet.net.unet import UNet
from mne_piunet.operator import xyz_gain
from mne_piunet.training import finetune, loop
from mne_piunet.training.export import write_model
from mne_piunet.training.finetune import draw_similar


@pytest.fixture
def fresh(model, tmp_path, quick_export):
    """A model whose network does nothing yet, and whose card tells the weights of the loss."""
    torch.manual_seed(0)
    arguments = model.card["network"]
    about = {"domain": "none", "recipe": {"sliced": 0.25, "transport": 1.5, "seed": 13}}
    return write_model(UNet(**arguments), tmp_path / "fresh.safetensors", about, arguments)


@pytest.fixture(autouse=True)
def few_examples(monkeypatch):
    """Fewer examples, a running average of few steps, and a clock that tells a second for each."""
    for name, value in (("_N_CASES", 3), ("_N_TESTS", 2), ("_N_SAMPLES", 2)):
        monkeypatch.setattr(finetune, name, value)
    monkeypatch.setattr(finetune, "_CHANGED", dict(batch_size=8, warmup=5, ema=0.8))
    ticks = iter(range(10_000))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


@pytest.fixture
def losses(monkeypatch):
    """Recipes that the loss was computed with, one for each step."""
    recipes, total_loss = [], loop.total_loss

    def loss(output, targets, inputs, recipe, generator):
        recipes.append(recipe)
        return total_loss(output, targets, inputs, recipe, generator)

    monkeypatch.setattr(loop, "total_loss", loss)
    return recipes


@pytest.fixture
def arguments(forwards, eeg_cov, fresh, tmp_path):
    return dict(
        forward=forwards["discrete"], noise_cov=eeg_cov, path=tmp_path / "own.safetensors",
        model=fresh, rng=0, verbose=False,
    )  # fmt: skip


def test_finetuned_model_is_better_and_can_be_used(arguments, eeg_evoked, fresh, losses):
    own = finetune_piunet(**arguments, minutes=0.25, learning_rate=1e-2)
    assert own.path == arguments["path"]
    told = own.card["finetuned"]
    assert (told["from"], told["steps"]) == ("fresh", 15)
    assert np.mean(list(told["after"].values())) < np.mean(list(told["before"].values()))
    assert own.card["domain"] == "none"
    assert load_piunet(own.path).card == own.card
    given = eeg_evoked, arguments["forward"], arguments["noise_cov"]
    one, same, other = (apply_piunet(*given, model=m).data for m in (own, own.path, fresh))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3 * other.max()
    assert {(r.sliced, r.transport) for r in losses} == {(0.25, 1.5)}  # as the card has them


def test_examples_are_not_those_of_the_training(arguments, losses):
    """The seed of the card is not used."""
    for seed in (0, 1):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "After 2 steps the model is not better")
            finetune_piunet(**{**arguments, "rng": seed}, minutes=1 / 30, overwrite=True)
    assert len({recipe.seed for recipe in losses} | {13}) == 3


@pytest.mark.parametrize(
    ("learning_rate", "match"),
    [(0.5, "not better on this head"), (1e20, "lower the learning rate. The model from before")],
)
def test_nothing_worse_is_returned(learning_rate, match, arguments, fresh):
    with pytest.warns(RuntimeWarning, match=match):
        same = finetune_piunet(**arguments, minutes=0.1, learning_rate=learning_rate)
    assert same is fresh
    assert not arguments["path"].exists()


def test_interrupting_keeps_what_was_learned(arguments, monkeypatch):
    """Ctrl-C in the middle of an hour ends the training, not the program."""
    steps, total_loss = [], loop.total_loss

    def loss(*args):
        steps.append(1)
        if len(steps) > 10:
            raise KeyboardInterrupt
        return total_loss(*args)

    monkeypatch.setattr(loop, "total_loss", loss)
    own = finetune_piunet(**arguments, minutes=60, learning_rate=1e-2)
    assert own.card["finetuned"]["steps"] == 10


def test_bad_arguments_before_any_work(arguments, fresh):
    def tune(**changed):
        finetune_piunet(**{**arguments, "forward": None, **changed})

    with pytest.raises(ValueError, match=r"end in \.safetensors"):
        tune(path="own.pt")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        tune(path=fresh.path)
    with pytest.raises(ValueError, match="minutes must be positive"):
        tune(minutes=0)


@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_similar_heads_have_similar_gains(eeg_info, eeg_cov, forwards, model, kind):
    operator = make_piunet(eeg_info, forwards[kind], eeg_cov, model=model)
    one, other = (draw_similar(operator, np.random.default_rng(seed)) for seed in (0, 1))
    gain = xyz_gain(operator.problem)
    for case in (one, other):
        error = np.linalg.norm(case.data_gain - gain) / np.linalg.norm(gain)
        assert error == pytest.approx(0.1, rel=0.3)
    assert np.abs(one.data_gain - other.data_gain).max() > 0
    assert (one.normals is None) == (kind == "volume")
