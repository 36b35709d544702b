"""Auditory cortex in real MEG of few trials: kronbayes beside MNE's solvers.

The sample subject's evoked fields of tones to the left and right ear (3 and 6 averages), 80 to
120 ms, a volume source space of 10 mm. Printed is, for each side, the distance (mm) from the
auditory cortex to the nearest of three sources: those that explain most sensor variance, for dSPM
the strongest maxima 20 mm apart. Needs the recordings in the folder MNE_INVKIT_DATA.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import mne
import numpy as np

from mne_invkit.inverse.estimate import make_dipoles
from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.metrics.arrays import find_peaks
from mne_kronbayes import fit_kron_bayes

FOLDER = Path(os.environ["MNE_INVKIT_DATA"]) / "sample_subject"
CORTEX = np.array([[-0.050, 0.012, 0.062], [0.052, 0.012, 0.062]])  # head frame


def volume(info) -> mne.Forward:
    bem = mne.read_bem_solution(FOLDER / "sample-320-320-320-bem-sol.fif")
    src = mne.setup_volume_source_space(
        pos=10.0, surface=FOLDER / "inner_skull.surf", mindist=5.0, add_interpolator=False
    )
    return mne.make_forward_solution(info, FOLDER / "sample-trans.fif", src, bem)


def explaining(stc, evoked, forward, cov) -> np.ndarray:
    """Places of the three sources of a vector estimate that explain most sensor variance."""
    problem = prepare_problem(evoked, forward, cov)
    data = np.zeros((forward["nsource"], 3, len(stc.times)))
    data[np.isin(forward["src"][0]["vertno"], stc.vertices[0])] = stc.data
    axes = problem.forward["source_nn"].reshape(-1, 3, 3)
    sources = np.einsum("noi,nit->not", axes, data).reshape(-1, len(stc.times))
    sources /= problem.source_std[:, None]
    return np.array([dipole.pos[0] for dipole in make_dipoles(problem, sources, 3)])


def solutions(evoked, forward, cov, baseline) -> dict[str, np.ndarray]:
    """Places of three sources, by solver."""
    averaged = cov.copy()  # MNE's sparse solvers do not know of nave
    averaged["data"] = averaged["data"] / evoked.nave
    measured = dict(noise="scalar", noise_temporal=baseline)
    options = {
        "kronbayes": {},
        "kronbayes, orientations learned": dict(learn_orient=True),
        "kronbayes, selected, measured noise": dict(select=True, **measured),
        "kronbayes, occam=2": dict(occam=2),
        "kronbayes, occam=2, identity": dict(occam=2, temporal="identity"),
        "kronbayes, occam=2, measured noise": dict(occam=2, **measured),
        "kronbayes, occam=2, measured noise, orientations learned": dict(
            occam=2, learn_orient=True, **measured
        ),
    }
    found = {name: fit_kron_bayes(evoked, forward, cov, **o) for name, o in options.items()}
    places = {
        name: np.array([dipole.pos[0] for dipole in fit.dipoles(3)]) for name, fit in found.items()
    }
    sparse = dict(
        gamma_map=lambda: mne.inverse_sparse.gamma_map(
            evoked, forward, averaged, alpha=1.0, pick_ori="vector", maxit=1000
        ),
        mixed_norm=lambda: mne.inverse_sparse.mixed_norm(
            evoked, forward, averaged, alpha=50, pick_ori="vector"
        ),
    )
    for name, solve in sparse.items():
        places[name] = explaining(solve(), evoked, forward, cov)
    inverse = mne.minimum_norm.make_inverse_operator(evoked.info, forward, cov)
    stc = mne.minimum_norm.apply_inverse(evoked, inverse, method="dSPM")
    peaks = find_peaks(stc.data, forward["source_rr"], n_peaks=3)
    places["dSPM"] = forward["source_rr"][peaks]
    return places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sensors", nargs="+", default=["meg"], help="meg, or meg eeg")
    args = parser.parse_args()
    mne.set_log_level("error")
    warnings.simplefilter("ignore")  # convergence
    cov = mne.read_cov(FOLDER / "sample-cov.fif")
    print("| ear | solver | left cortex | right cortex |", "|:--|:--|---:|---:|", sep="\n")
    for ear, evoked in zip(
        ("left", "right"), mne.read_evokeds(FOLDER / "sample_auditory-ave.fif.gz"), strict=True
    ):
        evoked.info["bads"] = ["EEG 053", "MEG 2443"]
        evoked.apply_baseline((None, 0)).pick(args.sensors, exclude="bads")
        before = evoked.copy().crop(None, -0.002)
        baseline = mne.EpochsArray(before.data[np.newaxis], before.info, tmin=before.tmin)
        evoked.crop(0.08, 0.12)
        forward = volume(evoked.info)
        for name, places in solutions(evoked, forward, cov, baseline).items():
            left, right = (1e3 * np.linalg.norm(places - c, axis=1).min() for c in CORTEX)
            print(f"| {ear} | {name} | {left:.0f} mm | {right:.0f} mm |", flush=True)


if __name__ == "__main__":
    main()
