"""Numbers that a change of the code's form must not move; run this file to write them anew.

``python tests/helpers/frozen.py`` writes ``frozen.json``. Do so only where the numbers are meant to
change, and say in the commit which and why.
"""

import json
from functools import cache
from pathlib import Path

import mne
import numpy as np
from recordings import read_auditory

from mne_invkit.datasets import load_sep
from mne_invkit.heads.conductivity import change_skull
from mne_invkit.heads.template import template_forward
from mne_invkit.metrics.estimates import score
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.solvers.eloreta import fit_eloreta
from mne_kronbayes import apply_kron_bayes_epochs, fit_kron_bayes

FILE = Path(__file__).with_suffix(".json")
SHORT = dict(max_iter=12, tol=1e-12)
"""Few sweeps, so that rounding has little time to grow."""


def machine() -> str:
    """What decides how sums are rounded: processor kernels and versions of the libraries."""
    import threadpoolctl

    kernels = sorted({str(lib.get("architecture")) for lib in threadpoolctl.threadpool_info()})
    return f"{', '.join(kernels)}; numpy {np.__version__}"


def digest(values) -> list[float]:
    """Describe an array by five numbers: two norms, the largest entry, and two random sums."""
    flat = np.asarray(values, float).ravel()
    sums = np.random.default_rng(0).standard_normal((2, flat.size)) @ flat
    return [float(np.abs(flat).sum()), float(np.linalg.norm(flat)), float(flat.max()), *sums]


def of_fit(fit) -> dict[str, list[float]]:
    """What a fit of kronbayes learned."""
    return {
        "cost": digest(fit.cost),
        "active": [float(len(fit.active)), *map(float, fit.active[:20])],
        "stc": digest(fit.stc.data),
        "std": digest(fit.std().data),
        "residual": digest(fit.residual.data),
        "noise": digest(fit.noise_cov.data),
        "evidence": [fit.evidence, float(fit.n_parameters), fit.explained_variance],
    }


@cache
def sep_forward(src: str):
    """Forward solution of the somatosensory potentials."""
    info = load_sep(verbose="error").evoked.info
    return template_forward(info, src, spacing="ico3", pos=10.0, verbose="error")


def sep_numbers() -> dict:
    """Somatosensory potentials on the template's cortex."""
    sep, forward = load_sep(verbose="error"), sep_forward("surface")
    evoked = sep.evoked.copy().crop(0.02, 0.04)
    given = evoked, forward, sep.noise_cov
    quiet = dict(verbose="error", **SHORT)
    with np.errstate(all="ignore"):
        found = {
            "default": of_fit(fit_kron_bayes(*given, **quiet)),
            "white": of_fit(fit_kron_bayes(*given, temporal="ar1", noise="scalar", occam=2,
                                           noise_temporal="white", **quiet)),
            "turned": of_fit(fit_kron_bayes(*given, temporal="identity", noise="full",
                                            learn_orient=True, loose=1.0, **quiet)),
        }  # fmt: skip
    eloreta = fit_eloreta(*given, verbose="error")
    found["eloreta"] = {"stc": digest(eloreta.stc.data), "residual": digest(eloreta.residual.data)}
    found["skull"] = {"gain": digest(change_skull(forward, 2.0)["sol"]["data"])}
    return found


def sample_numbers(evokeds, forward, noise_cov) -> dict:
    """MEG and EEG of the sample subject, both ears together."""
    evokeds = [evokeds[ear].copy().crop(0.07, 0.1) for ear in ("left", "right")]
    fit = fit_kron_bayes(evokeds, forward, noise_cov, verbose="error", pick_ori="vector", **SHORT)
    dipoles = fit.dipoles(2)
    return {
        "cost": digest(fit.cost),
        "stc": digest([stc.data for stc in fit.stc]),
        "dipoles": digest([dipole.pos[0] for dipole in dipoles]),
    }


def simulated_numbers() -> dict:
    """Four cells: time courses and noise of four kinds, in a head with another skull."""
    montage = mne.channels.make_standard_montage("biosemi32")
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    forward = template_forward(info, spacing="ico3", verbose="error")
    skull = (0.3, 0.012, 0.3)
    true = template_forward(info, spacing="ico3", conductivity=skull, verbose="error")
    cells = {
        "ar": (dict(snr_db=10.0), dict()),
        "patches": (dict(extent=0.01, time_course="oscillation"), dict(temporal="identity")),
        "trials": (dict(n_trials=4, snr_db=0.0), dict(temporal="squared-exponential")),
        "noise": (dict(noise_ar=0.5), dict(temporal="full", noise="fixed", select=True)),
    }
    found = {}
    for name, (simulated, options) in cells.items():
        sim = simulate_evoked(true, info, tmax=0.3, rng=1, verbose="error", **simulated)
        data, fit = (sim.evoked, fit_kron_bayes) if name != "trials" else (
            sim.epochs, apply_kron_bayes_epochs)  # fmt: skip
        got = fit(data, forward, sim.noise_cov, verbose="error", **SHORT, **options)
        if name == "trials":
            found[name] = {"stcs": digest([stc.data for stc in got])}
            continue
        found[name] = {"cost": digest(got.cost), "stc": digest(got.stc.data)}
        if got.stc.data.any():
            found[name]["scores"] = list(score(sim.stc, got.stc, forward["src"]).values())
    return found


def piunet_numbers(backend: str) -> dict:
    """One sample of the somatosensory potentials, and one of a volume."""
    from mne_piunet import apply_piunet

    sep = load_sep(verbose="error")
    evoked = sep.evoked.copy().crop(0.0298, 0.03)
    found = {}
    for src in ("surface", "volume"):
        stc = apply_piunet(
            evoked, sep_forward(src), sep.noise_cov, pick_ori="vector", backend=backend,
            verbose="error",
        )  # fmt: skip
        found[src] = digest(1e9 * stc.data)
    return found


def distillation_numbers() -> dict:
    """One step of a small student, and the subspace it learns from."""
    import torch
    from lightning_fabric import Fabric
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from subdistill.engine import Recipe, distill

    def net(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(2 * width, 4),
        )  # fmt: skip

    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher, student = net(8).eval(), net(4)
        images = torch.randn(32, 3, 8, 8)
    data = DataLoader(TensorDataset(images), batch_size=32)
    fabric = Fabric(accelerator="cpu", devices=1)
    done = distill(
        teacher, student, data, layers={"1": "1", "4": "4"},
        recipe=Recipe(epochs=1, seed=3), fabric=fabric,
    )  # fmt: skip
    return {
        "losses": [float(value) for value in done.history[0].values()],
        "subspace": digest(done.subspaces["4"].spectrum.numpy()),
        "student": digest(torch.cat([p.detach().flatten() for p in student.parameters()]).numpy()),
    }


def compare(found, frozen, rtol: float, path: str = "") -> list[str]:
    """Where numbers differ: a line each, none if all are the same."""
    if isinstance(frozen, dict):
        lines = [f"{path}: other names" for _ in [0] if found.keys() != frozen.keys()]
        for key in frozen.keys() & found.keys():
            lines += compare(found[key], frozen[key], rtol, f"{path}/{key}")
        return lines
    scale = np.abs(frozen).max(initial=1e-30)
    off = np.abs(np.subtract(found, frozen)).max() / scale if len(found) == len(frozen) else np.inf
    return [f"{path}: off by {off:.2g} of {scale:.3g}"] if not off <= rtol else []


if __name__ == "__main__":
    folder = Path(__file__).parents[3] / "shared" / "data"
    numbers = {
        "machine": machine(),
        "sep": sep_numbers(),
        "sample": sample_numbers(*read_auditory(folder)),
        "simulated": simulated_numbers(),
        "piunet": piunet_numbers("torch"),
        "distillation": distillation_numbers(),
    }
    FILE.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
