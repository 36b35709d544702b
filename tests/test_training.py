"""Training: examples are what they claim, runs resume exactly, exported weights load."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from mne_invkit.cli import main  # noqa: E402
from mne_invkit.heads import template_forward  # noqa: E402
from mne_invkit.population import Head  # noqa: E402
from mne_piunet.network import PatchUNet  # noqa: E402
from mne_piunet.physics import N_INPUTS, N_MOMENTS  # noqa: E402
from mne_piunet.simulation import draw_case, reference_basis  # noqa: E402
from mne_piunet.training import Examples, Recipe, relative_error, train  # noqa: E402
from mne_piunet.validation import LINES, Validation  # noqa: E402

RECIPE = Recipe(
    n_heads=2, widths=(8, 16), n_blocks=1, n_steps=8, batch_size=4, n_cases=3, mixed=2, lifetime=4,
    warmup=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def heads(eeg_info, forwards):
    """Two heads, one a volume and one a cortex, with other conductivities for the data."""
    heads = []
    for kind in ("volume", "surface"):
        options = dict(spacing="ico3") if kind == "surface" else dict(pos=20.0)
        other = template_forward(
            eeg_info, kind, conductivity=(0.3, 0.012, 0.3), verbose=False, **options
        )
        forward = forwards[kind]
        heads.append(
            Head(
                seed=len(heads),
                positions=forward["source_rr"],
                normals=forward["source_nn"][2::3] if kind == "surface" else None,
                gain=forward["sol"]["data"].astype(np.float32),
                data_gain=other["sol"]["data"].astype(np.float32),
                sensors=np.array([ch["loc"][:3] for ch in eeg_info["chs"]]),
                kinds=np.full(32, "eeg"),
                names=np.array(eeg_info["ch_names"]),
            )
        )
    return heads


# %% Examples


def test_reference_basis():
    kinds = np.array(["eeg", "mag", "eeg", "grad", "eeg"])
    basis = reference_basis(kinds)
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(basis @ (kinds == "eeg"), 0, atol=1e-12)
    np.testing.assert_allclose(basis.T @ basis @ [0, 1, 0, 2, 0], [0, 1, 0, 2, 0], atol=1e-12)


def test_noise_is_what_the_ratio_says(heads):
    """Loud data show the field of the sources alone, silent ones noise of unit power."""
    case = draw_case(heads[0], np.random.default_rng(0))
    loud, _ = case.draw(20, np.random.default_rng(1), n_sources=1, snr=80.0)
    soft, _ = case.draw(20, np.random.default_rng(1), n_sources=1, snr=-80.0)
    mask = loud[0, N_MOMENTS + 1] > 0
    levels = [30 * np.median(x[:, N_MOMENTS][:, mask]) for x in (loud, soft)]
    assert levels[0] == pytest.approx(80, abs=4)
    assert levels[1] == pytest.approx(0, abs=4)


def test_sources_of_a_fixed_cortex_follow_the_normals(heads):
    for seed in range(20):
        case = draw_case(heads[1], np.random.default_rng(seed))
        if case.fixed:
            break
    _, moments = case.draw(3, np.random.default_rng(0), n_sources=2, snr=20.0)
    along = np.sum(moments * case.normals, axis=2)
    np.testing.assert_allclose(np.abs(along), np.linalg.norm(moments, axis=2), atol=1e-5)


def test_targets_are_scaled_and_where_the_sources_are(heads):
    case = draw_case(heads[1], np.random.default_rng(0))
    inputs, moments = case.draw(6, np.random.default_rng(0))
    targets = case.voxel_moments(moments)
    assert inputs.shape == (6, N_INPUTS, *targets.shape[2:])
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1).max(axis=(1, 2, 3)), 1, rtol=1e-5)
    assert not targets[:, :, inputs[0, N_MOMENTS + 1] == 0].any()
    total = targets.sum(axis=(2, 3, 4))
    cosine = np.sum(total * moments.sum(axis=1), axis=1)
    cosine /= np.linalg.norm(total, axis=1) * np.linalg.norm(moments.sum(axis=1), axis=1)
    np.testing.assert_allclose(cosine, 1, rtol=1e-4)


def test_batches_depend_on_the_step_alone(heads):
    one, other = (Examples(RECIPE, heads, 4) for _ in range(2))
    for step in range(5):
        inputs, targets = one.batch(step)
    again = other.batch(4)
    assert torch.equal(again[0], inputs)
    assert torch.equal(again[1], targets)
    assert not torch.equal(one.batch(5)[1], targets)


# %% Loss


def test_error_is_relative_and_rewards_what_is_near():
    target, mask = torch.zeros(1, 3, 16, 16, 16), torch.ones(1, 1, 16, 16, 16)
    target[0, 0, 8, 8, 8] = 2.0
    near, far = torch.zeros_like(target), torch.zeros_like(target)
    near[0, 0, 9, 8, 8] = 2.0
    far[0, 0, 1, 8, 8] = 2.0
    errors = [relative_error(x, target, mask, 0.5).item() for x in (target, near, far)]
    assert errors == [0.0, 2.0, 5.0]
    assert relative_error(far, target, mask, 0.0).item() == 2.0
    assert relative_error(3 * far, 3 * target, mask, 0.5).item() == pytest.approx(5.0)
    assert relative_error(far, target, 0 * mask, 0.5).item() == 0.0


# %% Network


@pytest.mark.parametrize(
    ("widths", "patch"), [((8,), 1), ((8, 16), 1), ((8, 16), 2), ((16, 24, 32), 2)]
)
def test_network_keeps_the_grid(widths, patch):
    network = PatchUNet(5, widths, n_blocks=1, patch=patch)
    shape = tuple(network.multiple * k for k in (2, 1, 3))
    out = network(torch.randn(2, 5, *shape))
    assert out.shape == (2, 3, *shape)
    out.sum().backward()
    assert network.head[-1].weight.grad.abs().sum() > 0


def test_network_can_learn_one_batch(heads):
    examples = Examples(RECIPE, heads, 4)
    inputs, targets = examples.batch(0)
    torch.manual_seed(0)
    network = PatchUNet(N_INPUTS, (16, 32), n_blocks=1)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(120):
        loss = relative_error(network(inputs), targets, inputs[:, -3:-2], 0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# %% Runs


def weights(path):
    return torch.load(path, weights_only=True)


def test_resumed_run_equals_an_uninterrupted_one(heads, tmp_path):
    whole = weights(train(RECIPE, heads, tmp_path / "whole", verbose=False))
    while True:  # one step at a time
        path = train(RECIPE, heads, tmp_path / "parts", minutes=0, verbose=False)
        if weights(path)["step"] == RECIPE.n_steps:
            break
    parts = weights(path)
    assert whole["step"] == parts["step"] == 8
    for part in ("network", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name


def test_a_folder_belongs_to_one_recipe(heads, tmp_path):
    short = dataclasses.replace(RECIPE, n_steps=1)
    train(short, heads, tmp_path, verbose=False)
    with pytest.raises(ValueError, match="another recipe"):
        train(RECIPE, heads, tmp_path, verbose=False)
    assert Recipe.load(tmp_path / "recipe.json") == short


def test_command_trains_and_resumes(heads, tmp_path, monkeypatch, capsys):
    class Heads(list):
        def __init__(self, folder, seeds):
            super().__init__(heads[: len(seeds)])

        def build(self, n_jobs):
            assert n_jobs == 1

    monkeypatch.setattr("mne_invkit.population.Population", Heads)
    recipe = tmp_path / "short.json"
    recipe.write_text(json.dumps(RECIPE.as_dict()))
    arguments = ["train-piunet", str(tmp_path / "run"), "--held-out", "1", "--jobs", "1"]
    assert main([*arguments, "--recipe", str(recipe), "--minutes", "0"]) == 0
    assert weights(tmp_path / "run" / "checkpoint.ckpt")["step"] == 1
    assert main(arguments) == 0
    assert weights(tmp_path / "run" / "checkpoint.ckpt")["step"] == 8
    assert "checkpoint.ckpt" in capsys.readouterr().out
    rows = (tmp_path / "run" / "scores.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "8"]


def test_validation_knows_perfect_from_nothing(heads):
    validation = Validation(heads, n_samples=2)
    assert set(validation.score(lambda x: np.zeros_like(x[:, :3])).values()) == {1.0}
    physics = validation.score(lambda x: x[:, 3:6])
    assert set(physics) == set(LINES)
    assert all(0.1 < value < 1.3 for value in physics.values())


def test_export_loads_and_both_backends_agree(heads, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from mne_piunet.export import export
    from mne_piunet.inference import load_network
    from mne_piunet.weights import load_piunet

    train(RECIPE, heads, tmp_path / "run", verbose=False)
    model = export(tmp_path / "run", "small", folder=tmp_path, about={"domain": "a test"})
    assert model.card["domain"] == "a test"
    assert model.card["recipe"]["n_heads"] == 2
    assert model.multiple == 4
    inputs = Validation(heads[:1], 3, multiple=4)._examples["1 source, 5 dB"][0][0]
    one, other = (load_network(model, name)(inputs) for name in ("torch", "onnxruntime"))
    assert np.abs(one).max() > 0
    np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())

    card = tmp_path / "small.json"
    text = json.loads(card.read_text())
    text["sha256"][".safetensors"] = "0" * 64
    card.write_text(json.dumps(text))
    with pytest.raises(ValueError, match="damaged"):
        load_piunet(tmp_path / "small.safetensors")
    card.unlink()
    with pytest.raises(FileNotFoundError, match="model card"):
        load_piunet(tmp_path / "small.safetensors")
    with pytest.raises(ValueError, match="no model 'magic'"):
        load_piunet("magic")
