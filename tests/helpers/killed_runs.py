"""Runs that the tests kill, each in a process of its own; what they import is loaded once."""

import os
import tempfile

import nilearn.image  # noqa: F401
import torch
from distill_cases import LAYERS, loader, net

import mne_invkit.heads.template as template
import mne_piunet.training.export as exported
from mne_invkit.cli import main
from mne_invkit.population.head import Head
from mne_piunet.training.recipe import Recipe
from mne_piunet.training.train import train
from subdistill import Recipe as DistillRecipe
from subdistill import distill, export_student


def start(run, folder, scratch):
    """Run with one thread, and with another place for temporary files than that of the system."""
    torch.set_num_threads(1)
    tempfile.tempdir = str(scratch)
    run(folder)


def nothing():
    """Be a process, so that the next one need not import what it needs."""


def distill_colours(folder):
    """Distill a small network from a small one, with validation and a new order in each epoch."""
    student = net(1, 4, dropout=0.3)
    distill(
        net(0, 8), student, loader(), layers=LAYERS, validation=loader(), folder=folder,
        recipe=DistillRecipe(epochs=6, learning_rate=1e-2, weight=1.0, ema=0.9),
    )  # fmt: skip
    export_student(student, folder / "student.safetensors", torch.ones(2, 2, 6, 6), overwrite=True)


def distill_vision(folder):
    """Run the command on the pictures and the teacher beside the folder."""
    options = dict(
        teacher="small_cnn", student="small_cnn", data=folder.parent / "images",
        teacher_weights=folder.parent / "teacher.pt", size=8, batch_size=20, validation=0.3,
        recipe="{epochs: 3}",
    )  # fmt: skip
    words = [f"--set={name}={value}" for name, value in options.items()]
    if main(["distill-vision", str(folder), *words]):
        raise SystemExit(1)


def train_piunet(folder):
    """Train a small network on the heads beside the folder, with a checkpoint at every step."""
    exported.write_onnx = lambda network, path: path.write_bytes(b"twin")  # which takes longest
    heads = [Head.load(path) for path in sorted(folder.parent.glob("head-*.npz"))]
    recipe = Recipe(
        n_heads=2, widths=(8, 16), n_residual=(1, 1), n_steps=6, batch_size=2, n_cases=2, mixed=1,
        lifetime=3, warmup=2,
    )  # fmt: skip
    train(recipe, heads, folder, every=0, verbose=False)
    exported.export(folder, folder / "model.safetensors", overwrite=True)


def fill_cache(folder):
    """Write the template's subject, a BEM and a source space into a cache."""
    os.environ["MNE_INVKIT_CACHE"] = str(folder)
    template.template_source_space(spacing="ico3", verbose="error")
    template.template_bem(verbose="error")
