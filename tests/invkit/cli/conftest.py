"""A folder of small files that a user of the command line may have, the wrong ones among them."""

import os
from collections.abc import Mapping

import mne
import numpy as np
import pytest

from mne_invkit.simulation.evoked import simulate_evoked


@pytest.fixture(scope="session")
def simulation(eeg_info, forwards):
    return simulate_evoked(
        forwards["surface"], eeg_info, sources=[300], snr_db=15, n_trials=4, tmax=0.29, rng=0,
        verbose="error",
    )  # fmt: skip


class Shop(Mapping):
    """Paths of files by name, to be filled into arguments such as ``"{evoked}"``."""

    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, name):
        return str(next(self.folder.glob(f"{name}[.-]*")))

    def __iter__(self):
        return iter(
            {path.name.partition(".")[0].partition("-")[0] for path in self.folder.iterdir()}
        )

    def __len__(self):
        return len(list(iter(self)))


@pytest.fixture(scope="session")
def shop(tmp_path_factory, simulation, forwards):
    """Averages with a standard error, epochs, continuous data, models, and wrong files."""
    folder = tmp_path_factory.mktemp("shop")
    touch, sound, spread = (simulation.evoked.copy() for _ in range(3))
    touch.comment, sound.comment, spread.comment = "touch", "sound", "touch"
    sound.data *= -2
    spread.kind = "standard_error"
    epochs = simulation.epochs.copy()
    epochs.event_id = {"touch": 1}
    trials = epochs.get_data()
    raw = mne.io.RawArray(np.concatenate(list(trials), axis=1), epochs.info, verbose="error")
    with mne.use_log_level("error"):
        mne.write_evokeds(folder / "evoked-ave.fif", [spread, touch, sound])
        mne.write_evokeds(folder / "errors-ave.fif", [spread])
        epochs.save(folder / "epochs-epo.fif")
        raw.save(folder / "raw-raw.fif")
        mne.write_forward_solution(folder / "forward-fwd.fif", forwards["surface"])
        mne.write_forward_solution(folder / "mixed-fwd.fif", forwards["mixed"])
        simulation.noise_cov.save(folder / "cov-cov.fif")
        mne.write_trans(folder / "trans-trans.fif", forwards["surface"]["mri_head_t"])
        bare = mne.EvokedArray(touch.data, mne.create_info(touch.ch_names, 100.0, "eeg"))
        bare.save(folder / "nowhere-ave.fif")
    for name in ("evoked-ave.fif", "forward-fwd.fif", "raw-raw.fif"):
        whole = (folder / name).read_bytes()
        (folder / f"half_{name}").write_bytes(whole[: len(whole) * 2 // 3])
    circle = bytearray((folder / "evoked-ave.fif").read_bytes())
    circle[68:72] = (36).to_bytes(4, "big")  # the third entry says that the second comes next
    (folder / "circle-ave.fif").write_bytes(circle)
    (folder / "zipped-ave.fif.gz").write_bytes(b"not zipped")
    (folder / "empty-ave.fif").touch()
    (folder / "hdf-fwd.h5").write_text("may run code")
    (folder / "text.txt").write_text("nothing that MNE reads")
    os.mkfifo(folder / "pipe.fif")
    return Shop(folder)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
