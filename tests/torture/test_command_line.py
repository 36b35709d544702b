"""Damaged files on the command line: an estimate or a sentence, never a traceback or no end.

Each batch is drawn from its seed. ``pytest -m extended -s tests/torture/test_command_line.py``
prints what became of the files.
"""

import signal
from collections import Counter

import mne
import numpy as np
import pytest

from mne_invkit.cli import main
from mne_invkit.simulation.evoked import simulate_evoked

pytestmark = pytest.mark.extended
BATCHES, FILES, LONGEST = 20, 50, 20  # LONGEST: seconds for one file


def cut(content, rng):
    return content[: rng.integers(1, len(content))]


def flip(content, rng):
    for place in rng.integers(len(content), size=rng.choice([1, 3, 20])):
        content[place] ^= 1 << rng.integers(8)
    return content


def blank(content, rng):
    start, length = rng.integers(len(content)), rng.choice([4, 64, 2000])
    content[start : start + length] = bytes(len(content[start : start + length]))
    return content


def swap(content, rng):
    start = rng.integers(len(content) - 8)
    content[start : start + 8] = content[start + 4 : start + 8] + content[start : start + 4]
    return content


def insert(content, rng):
    place = rng.integers(len(content))
    return content[:place] + rng.bytes(rng.choice([1, 4, 16])) + content[place:]


@pytest.fixture(scope="module")
def files(eeg_info, forwards, tmp_path_factory):
    """Paths of sound files, small ones, by what they hold."""
    folder = tmp_path_factory.mktemp("sound")
    forward = forwards["discrete"]
    simulated = simulate_evoked(
        forward, eeg_info, sources=[30], n_trials=4, tmax=0.29, rng=0, verbose="error"
    )
    ends = dict(evoked="-ave", epochs="-epo", raw="_raw", forward="-fwd", cov="-cov")
    paths = {name: folder / f"a{end}.fif" for name, end in ends.items()}
    trials = np.concatenate(list(simulated.epochs.get_data()), axis=1)
    with mne.use_log_level("error"):
        simulated.evoked.save(paths["evoked"])
        simulated.epochs.save(paths["epochs"])
        mne.io.RawArray(trials, simulated.epochs.info).save(paths["raw"])
        mne.write_forward_solution(paths["forward"], forward)
        simulated.noise_cov.save(paths["cov"])
    return paths


@pytest.mark.filterwarnings("default")  # of MNE, on damaged files
@pytest.mark.parametrize("seed", range(BATCHES))
def test_damaged_files(files, seed, tmp_path, monkeypatch, capfd):
    rng = np.random.default_rng(seed)
    monkeypatch.chdir(tmp_path)

    def too_long(*_):
        raise AssertionError("no end")

    before = signal.signal(signal.SIGALRM, too_long)
    counts = Counter()
    try:
        for number in range(FILES):
            name = str(rng.choice(list(files)))
            damage = rng.choice([cut, flip, blank, swap, insert])
            damaged = tmp_path / files[name].name
            damaged.write_bytes(damage(bytearray(files[name].read_bytes()), rng))
            paths = files | {name: damaged}
            data = paths[name if name in ("epochs", "raw") else "evoked"]
            arguments = [data, paths["forward"], paths["cov"], "--method", "eloreta"]
            signal.alarm(LONGEST)
            code = main(["solve", *map(str, arguments), "--output", "o.h5", "--overwrite"])
            signal.alarm(0)
            error = capfd.readouterr().err
            assert code in (0, 1), (seed, number)
            assert "Traceback" not in error, (seed, number, error)
            assert "fault of ours" not in error, (seed, number, error)
            assert code == 0 or "mne-invkit: error: " in error
            counts["estimate" if code == 0 else "named" if str(damaged) in error else "told"] += 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    print(f"seed {seed}: {dict(counts)}")
    assert counts["estimate"]
    assert counts["named"]
