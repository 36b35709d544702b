"""Fine-tuning: better on the head it is for, or not at all."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mne_piunet import apply_piunet, finetune_piunet, load_piunet, make_piunet
from mne_piunet.net.unet import PatchUNet
from mne_piunet.training.export import write_model
from mne_piunet.training.finetune import draw_similar
from mne_piunet.training.loop import total_loss


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that was never trained."""
    torch.manual_seed(0)
    shape = dict(widths=(8, 16), n_blocks=(1, 2), patch=2)
    path = tmp_path_factory.mktemp("model") / "fresh.safetensors"
    return write_model(PatchUNet(**shape), path, {"domain": "none"}, shape)


def test_finetuned_model_is_better_and_can_be_used(eeg_evoked, eeg_cov, forwards, model, tmp_path):
    path = tmp_path / "own.safetensors"
    own = finetune_piunet(
        forwards["surface"], eeg_cov, path=path, minutes=0.15, model=model, learning_rate=3e-3,
        rng=0, verbose=False,
    )  # fmt: skip
    assert own.path == path
    told = own.card["finetuned"]
    assert told["from"] == "fresh"
    assert np.mean(list(told["after"].values())) < np.mean(list(told["before"].values()))
    assert own.card["domain"] == "none"
    again = load_piunet(path)
    stcs = [
        apply_piunet(eeg_evoked, forwards["surface"], eeg_cov, model=m) for m in (own, path, model)
    ]
    np.testing.assert_array_equal(stcs[0].data, stcs[1].data)
    assert np.abs(stcs[0].data - stcs[2].data).max() > 0
    assert again.card == own.card


def test_nothing_worse_is_returned(eeg_cov, forwards, model, tmp_path):
    path = tmp_path / "worse.safetensors"
    with pytest.warns(RuntimeWarning, match="not better on this head"):
        same = finetune_piunet(
            forwards["surface"], eeg_cov, path=path, minutes=0.03, model=model, learning_rate=30.0,
            rng=0, verbose=False,
        )  # fmt: skip
    assert same is model
    assert not path.exists()


def test_interrupting_keeps_what_was_learned(eeg_cov, forwards, model, tmp_path, monkeypatch):
    """Ctrl-C in the middle of an hour ends the training, not the program."""
    steps = []

    def loss(*args):
        steps.append(1)
        if len(steps) > 40:
            raise KeyboardInterrupt
        return total_loss(*args)

    monkeypatch.setattr("mne_piunet.training.finetune.total_loss", loss)
    own = finetune_piunet(
        forwards["surface"], eeg_cov, path=tmp_path / "own.safetensors", minutes=60, model=model,
        learning_rate=1e-2, rng=0, verbose=False,
    )  # fmt: skip
    assert own.card["finetuned"]["steps"] == 40


def test_bad_arguments_before_any_work(eeg_cov, forwards, model, tmp_path):
    arguments = dict(forward=forwards["surface"], noise_cov=eeg_cov, model=model)
    with pytest.raises(ValueError, match=r"end in \.safetensors"):
        finetune_piunet(**arguments, path=tmp_path / "own.pt")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        finetune_piunet(**arguments, path=model.path)
    with pytest.raises(ValueError, match="minutes must be positive"):
        finetune_piunet(**arguments, path=tmp_path / "own.safetensors", minutes=0)


@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_similar_heads_have_similar_gains(eeg_info, eeg_cov, forwards, model, kind):
    operator = make_piunet(eeg_info, forwards[kind], eeg_cov, model=model)
    case = draw_similar(operator, np.random.default_rng(0))
    other = draw_similar(operator, np.random.default_rng(1))
    gain = operator.problem.gain.reshape(len(case.data_gain), -1, 3)
    axes = operator.problem.forward["source_nn"].reshape(-1, 3, 3)
    gain = np.einsum("mno,noi->mni", gain, axes).reshape(len(gain), -1)
    for data_gain in (case.data_gain, other.data_gain):
        assert 0.03 < np.linalg.norm(data_gain - gain) / np.linalg.norm(gain) < 0.2
    assert (case.normals is None) == (kind == "volume")
