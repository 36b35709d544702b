"""Damaged files of models, runs and settings: the same object as before, or an error with the name.

Files that people write, recipes and configurations, may become other valid ones.
"""

import os
import time
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("lightning_fabric")

from piunet_cases import NETWORK, RECIPE

from mne_invkit.population.head import Head
from mne_piunet import load_piunet
from mne_piunet.files import read_checkpoint
from mne_piunet.net.unet import UNet
from mne_piunet.training.export import write_model
from mne_piunet.training.log import read_table
from mne_piunet.training.recipe import Recipe
from mne_piunet.weights import FILES
from subdistill import Subspace
from subdistill.files import read_checkpoint as read_state
from subdistill.files import read_tensors, write_tensors
from subdistill.vision.config import read_config

pytestmark = pytest.mark.extended

SEED = int(os.environ.get("MNE_INVKIT_SEED") or time.time())
N_TRIES = int(os.environ.get("MNE_INVKIT_TRIES") or 400)
"""Number of damaged copies of each file."""


# %% Damage


def flip(contents, rng):
    at = rng.integers(len(contents))
    return contents[:at] + bytes([contents[at] ^ 1 << rng.integers(8)]) + contents[at + 1 :]


def truncate(contents, rng):
    return contents[: rng.integers(len(contents))]


def insert(contents, rng):
    at = rng.integers(len(contents))
    return contents[:at] + rng.bytes(rng.integers(1, 9)) + contents[at:]


def cut(contents, rng):
    at = rng.integers(len(contents))
    return contents[:at] + contents[at + rng.integers(1, 9) :]


def erase(contents, rng):
    at, n = rng.integers(len(contents)), rng.integers(1, 600)
    return (contents[:at] + bytes(n) + contents[at + n :])[: len(contents)]


def repeat(contents, rng):
    begin, end = np.sort(rng.integers(len(contents), size=2))
    return contents[:end] + contents[begin:end] + contents[end:]


def replace(contents, rng):
    return rng.bytes(rng.integers(0, 100))


DAMAGE = [flip, flip, flip, truncate, insert, cut, erase, repeat, replace]


# %% Files


def plain(value):
    """Everything that an object holds, to compare bit by bit."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    return plain(vars(value)) if hasattr(value, "__dict__") else value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


def subspace(folder, request):
    path = folder / "subspace.safetensors"
    Subspace(*(torch.rand(s) for s in ((6,), (6, 2), (6,), (2,), ()))).save(path, overwrite=True)
    return path, Subspace.load


def student(folder, request):
    path = folder / "student.safetensors"
    write_tensors(path, {"a": torch.rand(7, 3), "b": torch.arange(4)})
    return path, lambda path: read_tensors(path, "weights")


def states(read):
    def state(folder, request):
        path = folder / "checkpoint.ckpt"
        optimizer = {"state": {0: {"exp_avg": torch.rand(9), "step": 3}}, "param_groups": [1, 2]}
        torch.save({"weights": torch.rand(50), "optimizer": optimizer, "epoch": 3}, path)
        return path, read

    return state


def models(suffix):
    def model(folder, request):
        with pytest.MonkeyPatch.context() as patch:
            twin = "mne_piunet.training.export.write_onnx"  # is not read here, but compared
            patch.setattr(twin, lambda network, path: path.write_bytes(bytes(range(200))))
            path = folder / "model.safetensors"
            write_model(UNet(**NETWORK), path, {"domain": "none"}, NETWORK, overwrite=True)

        def read(path):
            weights = load_piunet(path.with_suffix(".safetensors"))
            return weights.card, weights.tensors()

        return (folder / "model.any").with_suffix(suffix), read

    return model


def head(folder, request):
    path = folder / "head.npz"
    request.getfixturevalue("heads")[0].pick(np.arange(5)).save(path)
    return path, Head.load


def recipe(folder, request):
    RECIPE.keep(folder / "run")
    return folder / "run" / "recipe.json", Recipe.load


def table(folder, request):
    path = folder / "log.csv"
    path.write_text("step,loss\n1,0.5\n2,0.25\n")
    return path, read_table


def config(folder, request):
    path = folder / "config.yaml"
    path.write_text("teacher: a\nstudent: b\ndata: c\nsize: 8\nrecipe:\n  learning_rate: 1e-3\n")
    return path, lambda path: read_config(path, [])


OWN = {
    "subspace": subspace,
    "student": student,
    "checkpoint": states(read_checkpoint),
    "state": states(lambda path: read_state(path, "weights")),
    "head": head,
    **{f"model{suffix}": models(suffix) for suffix in FILES},
}
"""Files that only programs write: no change of what they hold is silent."""
THEIRS = {"recipe": recipe, "table": table, "config": config}
"""Files that people write or that anyone may edit."""


@pytest.mark.parametrize("kind", [*OWN, *THEIRS])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_damaged_files_are_noticed(kind, folder, request):
    path, read = ({**OWN, **THEIRS}[kind])(folder, request)
    contents, whole = path.read_bytes(), plain(read(path))
    rng, found = np.random.default_rng(SEED), Counter()
    for number in range(N_TRIES):
        damage = DAMAGE[rng.integers(len(DAMAGE))]
        path.write_bytes(damage(contents, rng))
        value, error = None, ""
        try:
            value = plain(read(path))
        except (ValueError, OSError, TypeError) as raised:
            error = str(raised)
        what = f"{kind}, seed {SEED}, try {number}, {damage.__name__}: {error!r}"
        if error:
            assert path.name in error or kind == "config", what
            assert "\n" not in error, what
        else:
            assert value == whole or kind in THEIRS, what
        found["named" if error else "same" if value == whole else "another"] += 1
    print(f"{kind}: seed {SEED}, {N_TRIES} tries, {dict(found)}")
