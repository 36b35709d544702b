"""Runs that are killed at random moments lose nothing, leave nothing, and resume to the bit."""

import os
import sys
import time
from multiprocessing import get_all_start_methods, get_context

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("onnx")
pytest.importorskip("ot")

import killed_runs
from colours import write_colours

from mne_piunet.files import read_checkpoint

pytestmark = pytest.mark.extended

SEED = int(os.environ.get("MNE_INVKIT_SEED") or time.time())
_IN_A_ROW = 4  # kills before a run may end


@pytest.fixture(scope="module")
def processes():
    """Make processes that have imported all that they need."""
    if "forkserver" not in get_all_start_methods():
        pytest.skip("this system does not fork")
    context = get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        context.set_forkserver_preload(["killed_runs"])
        first = context.Process(target=killed_runs.nothing)
        first.start()
    first.join(300)
    return context.Process


@pytest.fixture
def killing(processes, tmp_path):
    """Run to the end in one folder, and with kills in others; return how many kills there were."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def start(run, folder):
        process = processes(target=killed_runs.start, args=(run, folder, scratch))
        process.start()
        return process

    def killing(run, n_kills, check):
        rng = np.random.default_rng(SEED)
        whole = tmp_path / "whole"
        begin = time.monotonic()
        process = start(run, whole)
        process.join(300)
        assert process.exitcode == 0
        seconds = time.monotonic() - begin
        done, n_folders, n_resumed = 0, 0, 0
        while done < n_kills:
            folder, in_a_row = tmp_path / f"run{n_folders}", 0
            n_folders += 1
            while True:
                process = start(run, folder)
                if in_a_row < _IN_A_ROW and done < n_kills:
                    process.join(rng.uniform(0, seconds))
                    process.kill()
                process.join(300)
                if process.exitcode == 0:
                    break
                assert process.exitcode == -9
                done, in_a_row = done + 1, in_a_row + 1
                n_resumed += (folder / "checkpoint.ckpt").exists()
            check(whole, folder)
            assert not [*folder.rglob(".*"), *scratch.rglob("*")]
        print(f"{run.__name__}: seed {SEED}, {done} kills in {n_folders} folders, each run "
              f"{seconds:.1f} s; {n_resumed} kills left a checkpoint")  # fmt: skip

    return killing


def same(one, other):
    """Tell whether states have the same bits; the time that a run took may differ."""
    if isinstance(one, dict):
        names = set(one) - {"seconds"}
        return names == set(other) - {"seconds"} and all(same(one[k], other[k]) for k in names)
    if hasattr(one, "numpy"):
        return one.numpy().tobytes() == other.numpy().tobytes()
    return one == other


def same_files(whole, folder, others=()):
    """Compare the checkpoints bit by bit, and all other files but some by their contents."""
    names = {path.name for path in whole.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    states = (read_checkpoint(path / "checkpoint.ckpt") for path in (whole, folder))
    assert same(*states)
    for name in names - {"checkpoint.ckpt", *others}:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_distillation(killing):
    killing(killed_runs.distill_colours, 20, same_files)


def test_distill_vision(killing, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from subdistill.vision.models import SmallCNN

    write_colours(tmp_path / "images")
    torch.manual_seed(0)
    torch.save(SmallCNN(3).state_dict(), tmp_path / "teacher.pt")
    killing(killed_runs.distill_vision, 100, same_files)


def test_training_of_piunet(killing, heads, tmp_path):
    for number, head in enumerate(heads):
        head.save(tmp_path / f"head-{number}.npz")

    def check(whole, folder):  # tables and cards tell the time that it took
        same_files(whole, folder, ["log.csv", "scores.csv", "model.json"])

    killing(killed_runs.train_piunet, 100, check)


def test_cache(killing):
    def check(whole, folder):
        names = ({p.relative_to(f) for p in f.rglob("*")} for f in (whole, folder))
        assert next(names) == next(names)

    killing(killed_runs.fill_cache, 5, check)
