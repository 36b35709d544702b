"""Training: examples are what they claim, runs resume exactly, exported weights load."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from mne_invkit.cli import main
from mne_invkit.heads.template import template_forward
from mne_invkit.population.head import Head
from mne_piunet.kernel.grid import make_blocks
from mne_piunet.kernel.inputs import MASK, N_INPUTS
from mne_piunet.training.cases import draw_case, reference_basis
from mne_piunet.training.examples import Examples
from mne_piunet.training.loop import run_network, train
from mne_piunet.training.recipe import Recipe
from mne_piunet.training.validation import LINES, Validation

RECIPE = Recipe(
    n_heads=2, widths=(8, 16), n_blocks=(1, 2), n_steps=8, batch_size=4, n_cases=3, mixed=2,
    lifetime=4, warmup=2, transport=0.5,
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
    mask = loud[0, MASK] > 0
    levels = [30 * np.median(x[:, MASK - 2][:, mask]) for x in (loud, soft)]
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
    targets = case.targets(moments)
    assert inputs.shape == (6, N_INPUTS, *targets.shape[2:])
    np.testing.assert_allclose(targets[:, 3].sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    assert not targets[:, :, inputs[0, MASK] == 0].any()
    assert (np.linalg.norm(targets[:, :3], axis=1) <= targets[:, 3] + 1e-6).all()
    strength = np.linalg.norm(moments, axis=2).sum(axis=1, keepdims=True)
    total = targets[:, :3].sum(axis=(2, 3, 4))
    np.testing.assert_allclose(total, moments.sum(axis=1) / strength, atol=1e-5)


def test_batches_depend_on_the_step_alone(heads):
    one, other = (Examples(RECIPE, heads, 4) for _ in range(2))
    for step in range(5):
        inputs, targets = one.batch(step)
    again = other.batch(4)
    assert torch.equal(again[0], inputs)
    assert torch.equal(again[1], targets)
    assert not torch.equal(one.batch(5)[1], targets)


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

    monkeypatch.setattr("mne_invkit.population.draw.Population", Heads)
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
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")

    output = str(tmp_path / "model.safetensors")
    assert main(["export-piunet", str(tmp_path / "run"), output]) == 0
    assert "20 dB" in capsys.readouterr().out
    assert main(["export-piunet", str(tmp_path / "run"), output]) == 1
    assert "--overwrite" in capsys.readouterr().err
    further = tmp_path / "further.json"
    further.write_text(json.dumps(RECIPE.as_dict() | {"start": output, "n_steps": 1}))
    assert main([*arguments[:1], str(tmp_path / "more"), "--recipe", str(further), "--jobs", "1",
                 "--held-out", "1"]) == 0  # fmt: skip
    first = weights(tmp_path / "run" / "checkpoint.ckpt")["average"]
    second = weights(tmp_path / "more" / "checkpoint.ckpt")["average"]
    for name in set(first) - {"n_averaged"}:
        assert (first[name] - second[name]).abs().max() < 0.01, name


def test_validation_knows_perfect_from_nothing(heads):
    validation = Validation(heads, n_samples=2)
    number = MASK + 1  # channel of the number of sources in a voxel
    uniform = validation.score(lambda x: x[:, [number] * 4])
    physics = validation.score(lambda x: np.linalg.norm(x[:, 3:6], axis=1)[:, None].repeat(4, 1))
    assert set(uniform) == set(physics) == set(LINES)
    assert all(value == pytest.approx(1, abs=0.15) for value in uniform.values())
    assert all(0.1 < value < 1.0 for value in physics.values())


def test_export_loads_and_both_backends_agree(heads, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from mne_piunet.inference import load_network, torch_network
    from mne_piunet.training.export import export
    from mne_piunet.weights import load_piunet

    train(RECIPE, heads, tmp_path / "run", verbose=False)
    model = export(tmp_path / "run", "small", folder=tmp_path, commit="abc")
    assert model.card["commit"] == "abc"
    assert model.card["figures"] == {}  # no heads to validate on
    assert model.card["recipe"]["n_heads"] == 2
    assert model.multiple == 4
    assert b"network.py" not in model.onnx.read_bytes()  # no paths of this machine
    case = draw_case(heads[0], np.random.default_rng(0), multiple=4)
    grid, _ = case.draw(3, np.random.default_rng(0))
    blocks = make_blocks(grid[0, MASK] > 0, 2)
    inputs = grid.reshape(3, N_INPUTS, -1)[:, :, blocks.voxels.ravel()]
    one, other = (
        load_network(model, name)(inputs, blocks.places) for name in ("torch", "onnxruntime")
    )
    dense = run_network(torch_network(model), grid)
    np.testing.assert_allclose(blocks.on_grid(one), dense, atol=1e-6)
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
