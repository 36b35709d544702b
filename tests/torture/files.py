"""Damage files in all ways, or kill their writer, in a process that may crash without harm.

Run as ``python tests/torture/files.py fuzz READER DAMAGE SEED COUNT FOLDER`` or
``... kill SEED COUNT FOLDER`` or ``... solve SEED COUNT FOLDER``. It prints how many inputs ended
in which way, as JSON.
"""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import signal
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import mne
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from sealed import ROOM, seal_bytes

from mne_invkit import make_result, prepare_problem, read_result, simulate_evoked
from mne_invkit.cli import main
from mne_kronbayes import fit_kron_bayes, read_kron_bayes
from mne_piunet import make_piunet, read_piunet

TESTS = Path(__file__).parents[1]
LONGEST = 150  # s that reading may take


# %% What is damaged


def small_data():
    """Evoked, forward solution and noise covariance: 16 electrodes and 40 locations."""
    montage = mne.channels.make_standard_montage("biosemi16")
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    rng = np.random.default_rng(0)
    nn = rng.standard_normal((40, 3))
    nn /= np.linalg.norm(nn, axis=1, keepdims=True)
    rr = np.array([0, 0, 0.04]) + rng.uniform(0.02, 0.06, (40, 1)) * nn
    src = mne.setup_volume_source_space(pos=dict(rr=rr, nn=nn))
    sphere = mne.make_sphere_model(r0=(0, 0, 0.04), head_radius=0.11)
    forward = mne.make_forward_solution(info, None, src, sphere)
    sim = simulate_evoked(forward, info, sources=[3], tmax=0.1, n_trials=3, rng=0)
    return sim.evoked, forward, sim.noise_cov


def write_inverse(path):
    """Write a result of any solver."""
    problem = prepare_problem(*small_data())
    shape = (1, problem.gain.shape[1], len(problem.times))
    make_result(problem, np.random.default_rng(0).standard_normal(shape)).save(path)


def write_kron(path):
    """Write a fit."""
    fit_kron_bayes(*small_data(), tol=1e-2).save(path)


def write_operator(path):
    """Write a prepared operator."""
    evoked, forward, noise_cov = small_data()
    make_piunet(evoked.info, forward, noise_cov).save(path)


def copy_first(name, path):
    """Copy a fit of the first format."""
    path.write_bytes((TESTS / "kronbayes" / f"{name}_format1.h5").read_bytes())


READERS = {
    "inverse": (write_inverse, read_result),
    "kronbayes": (write_kron, read_kron_bayes),
    "operator": (write_operator, read_piunet),
    "evoked of format 1": (partial(copy_first, "evoked"), read_kron_bayes),
    "epochs of format 1": (partial(copy_first, "epochs"), read_kron_bayes),
}
"""How to write a small file, and how to read it."""


# %% Damage


def damage(contents: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes: bits, runs, parts lost, doubled, exchanged or put in."""
    changed = bytearray(contents)
    size = len(changed)
    start = int(rng.integers(size))
    length = int(min(1 + rng.geometric(0.02), size - start))
    run = slice(start, start + length)
    match rng.integers(8):
        case 0 | 1:
            for place in rng.integers(size, size=rng.integers(1, 9)):
                changed[place] ^= 1 << int(rng.integers(8))
        case 2:
            changed[run] = rng.bytes(length)
        case 3:
            changed[run] = bytes([rng.choice([0, 1, 127, 128, 255])]) * length
        case 4:
            del changed[run]
        case 5:
            del changed[start:]
        case 6:
            changed[run] = changed[run] * 2
        case 7:
            other = int(rng.integers(size - length + 1))
            changed[run] = changed[other : other + length]
    return bytes(changed)


def fuzz(reader: str, how: str, seed: int, count: int, folder: Path) -> Counter:
    """Read damaged files; `how` is "plain", or "sealed" with a checksum that fits the damage."""
    write, read = READERS[reader]
    path = folder / "damaged.h5"
    write(path)
    contents = path.read_bytes()
    whole = fingerprint(read(path))
    modules = set(sys.modules)
    ends = Counter()
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        if how == "sealed":
            kind = contents[:ROOM].split(b": ")[1].split(b",")[0].decode()
            seal_bytes(path, damage(contents[ROOM:], rng), kind=kind)
        else:
            path.write_bytes(damage(contents, rng))
        (folder / "current").write_text(f"{reader}, {how}, seed [{seed}, {k}]")
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            found = read(path)
        except (ValueError, OSError) as error:
            ends["refused" if str(path) in str(error) else f"unnamed: {error}"] += 1
        else:
            if how == "sealed":
                ends["read"] += 1
            else:
                ends["the same" if fingerprint(found) == whole else "differs"] += 1
        faulthandler.cancel_dump_traceback_later()
    assert set(sys.modules) <= modules | LATE, set(sys.modules) - modules
    return ends


LATE = {"mne.html_templates", "mne.html_templates._templates"}
"""Modules that MNE itself imports as it goes."""


def fingerprint(thing) -> bytes:
    """All arrays and numbers of a result or an operator, in bytes."""
    if hasattr(thing, "network"):
        return pickle.dumps((vars(thing.problem), thing.voxel_model, thing.gather))
    return pickle.dumps(thing.pack())


# %% Killed writers


def kill_writers(seed: int, count: int, folder: Path, write, tell) -> Counter:
    """Kill a process at random moments as it writes over a file again and again.

    ``write(k)`` writes contents 0 or 1, and ``tell()`` says which of them the file holds.
    """
    rng = np.random.default_rng(seed)
    begin = time.monotonic()
    write(0)
    seconds, names = time.monotonic() - begin, set(folder.iterdir())
    ends = Counter(killed=0, lost=0, left=0, interrupted=0)
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            while True:
                write(0)
                write(1)
        time.sleep(rng.uniform(0, 3 * seconds))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        ends["killed"] += 1
        ends["interrupted"] += any(folder.glob(".writing-*"))
        ends["lost"] += tell() not in (0, 1)
        write(0)
        ends["left"] += len(set(folder.iterdir()) - names)
    return ends


def kill(seed: int, count: int, folder: Path) -> Counter:
    """Kill ``result.save(overwrite=True)``."""
    problem = prepare_problem(*small_data())
    ones = np.ones((1, problem.gain.shape[1], len(problem.times)))
    results = [make_result(problem, ones), make_result(problem, 2 * ones)]
    path = folder / "result.h5"

    def tell():
        found = read_result(path).found
        return [np.array_equal(found, result.found) for result in results].index(True)

    return kill_writers(seed, count, folder, lambda k: results[k].save(path, overwrite=True), tell)


def kill_solve(seed: int, count: int, folder: Path) -> Counter:
    """Kill ``mne-invkit solve --overwrite``, for two recordings in turn."""
    evoked, forward, noise_cov = small_data()
    mne.write_forward_solution(folder / "data-fwd.fif", forward)
    mne.write_cov(folder / "data-cov.fif", noise_cov)
    for k, factor in enumerate((1, 2)):
        evoked.data *= factor
        mne.write_evokeds(folder / f"data{k}-ave.fif", evoked)
    output, inputs = folder / "out-stc.h5", [folder / "data-fwd.fif", folder / "data-cov.fif"]

    def write(k):
        words = [folder / f"data{k}-ave.fif", *inputs, "--output", output, "--overwrite", "-q"]
        code = main(["solve", "--method", "eloreta", *map(str, words)])
        assert code == 0, code

    def solved(k):
        write(k)
        return mne.read_source_estimate(output).data

    wholes = [solved(0), solved(1)]

    def tell():
        found = mne.read_source_estimate(output).data
        return [np.array_equal(found, whole) for whole in wholes].index(True)

    return kill_writers(seed, count, folder, write, tell)


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    mne.set_log_level("error")
    what, *arguments, place = sys.argv[1:]
    if what == "fuzz":
        *names, seed, count = arguments
        ends = fuzz(*names, int(seed), int(count), Path(place))
    else:
        ends = {"kill": kill, "solve": kill_solve}[what](*map(int, arguments), Path(place))
    print(json.dumps(ends))
